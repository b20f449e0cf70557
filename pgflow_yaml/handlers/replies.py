"""Replies of HTTP servers: read up to a limit, and their bodies as JSON or text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import IncompleteRead
from typing import TYPE_CHECKING

from pgflow_yaml.errors import PermanentError
from pgflow_yaml.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPResponse

    from pgflow_yaml.language.model import Json

MAX_REPLY = 1024 * 1024
_LONGEST_DELAY = 24 * 3600.0
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json|text/json")
_CHARSET = re.compile(r'charset="?([\w.-]+)')


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply; its headers have names in small letters, and no cookies."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def body(self, asked: str) -> Json:
        """Return the body as JSON or text; raise PermanentError if it is neither."""
        if not self.content:
            return None
        kind = self.headers.get("content-type", "").lower()
        try:
            if _JSON.match(kind):
                return json.loads(self.content)  # type: ignore[no-any-return]
            charset = _CHARSET.search(kind)
            return self.content.decode(charset[1] if charset else "utf-8")
        except (ValueError, LookupError):
            what = "JSON" if _JSON.match(kind) else "text"
            raise PermanentError(
                f"{asked}: the body of the answer is not {what} (content-type {kind or 'unknown'})"
            ) from None

    def excerpt(self, most: int) -> str:
        """Return the beginning of the body for a message."""
        return one_line(self.content[:most].decode(errors="replace"))


def read_reply(response: HTTPResponse, asked: str) -> Reply:
    """Read a reply; raise PermanentError if it is larger than the limit."""
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        name = name.lower()  # noqa: PLW2901
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    headers.pop("set-cookie", None)
    content = response.read(MAX_REPLY + 1)
    if len(content) > MAX_REPLY:
        raise PermanentError(
            f"{asked}: the answer is larger than 1 MB; fetch it in a function of your own"
        )
    if response.length:  # `read` with a limit says nothing of an end that came too early
        raise IncompleteRead(content, response.length)
    return Reply(response.status, headers, content)


def retry_after(reply: Reply) -> float | None:
    """Return the seconds after which the server wants another attempt; at most a day."""
    wanted = reply.headers.get("retry-after", "").strip()
    if wanted.isascii() and wanted.isdigit():
        return min(float(wanted[:9]), _LONGEST_DELAY)
    try:
        moment = parsedate_to_datetime(wanted)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_DELAY)
