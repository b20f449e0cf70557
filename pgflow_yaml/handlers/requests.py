"""The handler `http`: one request, and a reply of limited size from a host that may be asked.

No message names more of a URL than its host: its path and query may hold secrets.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from http.client import HTTPException
from importlib.metadata import version
from ssl import SSLCertVerificationError
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

from pgflow_yaml.errors import PermanentError, PgflowError, RetryLater
from pgflow_yaml.handlers.arguments import (
    METHODS,
    WrongArgument,
    one_of,
    shown,
    text,
    texts,
    whole_numbers,
    word,
)
from pgflow_yaml.handlers.replies import Reply, read_reply, retry_after
from pgflow_yaml.handlers.sockets import NoAnswer, Wire, connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.handlers.grants import Grants
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Context

_PORTS = {"http": 80, "https": 443}
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})  # of 4xx, those that another attempt may change
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_EXCERPT = 500


class RequestRefused(PermanentError):
    """The server answered that the request is wrong: 4xx."""


class ServerFailed(PgflowError):
    """The server answered with a status that another attempt may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of a step, checked."""

    method: str
    url: SplitResult
    headers: Mapping[str, str]
    body: bytes | None
    expect: frozenset[int]

    @classmethod
    def read(
        cls, *, url: Json, method: Json, json: Json, body: Json, headers: Json, expect: Json
    ) -> Request:
        """Return the request of a step; raise PermanentError for what it cannot be."""
        if json is not None and body is not None:
            raise WrongArgument("a request has json or body, not both")
        content, kind = _content(json, body)
        default = "GET" if content is None else "POST"
        own = _headers(headers)
        if kind is not None:
            own.setdefault("content-type", kind)
        return cls(
            method=one_of(default if method is None else method, "method", METHODS),
            url=_url(text(url, "url")),
            headers=own,
            body=content,
            expect=_success(expect),
        )

    @property
    def host(self) -> str:
        """The host of the URL."""
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        """The port of the URL."""
        return self.url.port or _PORTS[self.url.scheme]

    @property
    def target(self) -> str:
        """The path and the query, as they are sent."""
        query = f"?{self.url.query}" if self.url.query else ""
        return f"{self.url.path or '/'}{query}"

    def __str__(self) -> str:
        """Return the method and the host."""
        return f"{self.method} {self.url.scheme}://{self.url.netloc}"

    def redirected(self, location: str) -> Request:
        """Return the request that follows a redirect; raise PermanentError for another host."""
        try:
            url = _url(urljoin(self.url.geturl(), location))
        except WrongArgument:
            raise RequestRefused(f"{self}: it redirects to what is not a URL") from None
        after = replace(self, url=url)
        is_upgrade = (self.url.scheme, url.scheme) == ("http", "https")
        is_same = after.port == self.port or (is_upgrade and (self.port, after.port) == (80, 443))
        if after.host != self.host or not is_same or (url.scheme == "http" != self.url.scheme):
            raise RequestRefused(
                f"{self}: it redirects to {url.scheme}://{url.netloc}; only redirects within a "
                "host are followed: name that one if it is meant"
            )
        return after


def request(first: Request, grants: Grants, ctx: Context) -> Json:
    """Send a request and follow its redirects; return the reply if its status is expected."""
    current = first
    for _ in range(_MOST_REDIRECTS + 1):
        reply = _send(current, grants, ctx)
        location = reply.headers.get("location")
        follows = reply.status in _REDIRECTS - first.expect and location is not None
        if not follows or first.method not in {"GET", "HEAD"}:
            return _judged(current, reply)
        current = current.redirected(location or "")
    raise RequestRefused(f"{first}: more than {_MOST_REDIRECTS} redirects")


def _send(current: Request, grants: Grants, ctx: Context) -> Reply:
    wire = Wire(ctx)
    try:
        with connect(current, grants, wire) as connection:
            connection.request(
                current.method, current.target, body=current.body, headers=_all_headers(current)
            )
            return read_reply(connection.getresponse(), str(current))
    except (OSError, HTTPException, ValueError) as error:  # its message may show the request
        raise NoAnswer(f"{current}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return why there is no reply, in words that hold nothing of the request."""
    if isinstance(error, SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"its answer cannot be read ({type(error).__name__})"


def _judged(asked: Request, reply: Reply) -> Json:
    status = reply.status
    if status in asked.expect or (not asked.expect and 200 <= status < 300):
        return {"status": status, "headers": dict(reply.headers), "body": reply.body(str(asked))}
    reason = f"{asked}: the answer has status {status}"
    if excerpt := reply.excerpt(_EXCERPT):
        reason += f": {excerpt}"
    if status in _LATER or status >= 500:
        delay = retry_after(reply)
        if delay is not None:
            raise RetryLater(delay, f"{reason} (it asks for another attempt in {delay:g} s)")
        raise ServerFailed(reason)
    raise RequestRefused(reason)


def _all_headers(current: Request) -> dict[str, str]:
    ours = {"user-agent": f"pgflow-yaml/{version('pgflow-yaml')}", "accept": "*/*"}
    return {**ours, **current.headers, "accept-encoding": "identity", "connection": "close"}


def _content(json_: Json, body: Json) -> tuple[bytes | None, str | None]:
    if json_ is not None:
        return json.dumps(json_, ensure_ascii=False).encode(), "application/json"
    if body is not None:
        if not isinstance(body, str):
            raise WrongArgument("body is a text; for JSON write `json`")
        return body.encode(), "text/plain; charset=utf-8"
    return None, None


def _headers(value: Json) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, content in texts(value, "headers").items():
        if not _HEADER.fullmatch(name):
            raise WrongArgument("headers: a name has a character that no header can have")
        if name.lower() in _OURS:
            raise WrongArgument(f'headers: "{name}" follows from the request, leave it out')
        if not content.isascii() or not content.isprintable():
            raise WrongArgument(f'headers: the value of "{name}" has a character that is not sent')
        headers[name.lower()] = content
    return headers


def _url(value: str) -> SplitResult:
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise WrongArgument("url is not a URL") from None
    if url.scheme not in _PORTS or not url.hostname:
        raise WrongArgument("url is not a URL that begins with http:// or https:// and a host")
    if url.username is not None or url.password is not None:
        raise WrongArgument("url holds a user or a password: put them into `headers`")
    if _UNSAFE.search(value) or not value.isascii() or "\\" in value or port == 0:
        raise WrongArgument("url has a character that must be written as %XX")
    return url._replace(fragment="")


def with_query(url: Json, query: Json) -> Json:
    """Return the URL with further names and values, quoted; a list is a value for each item."""
    pairs: list[tuple[str, str]] = []
    if query is not None and not isinstance(query, dict):
        raise WrongArgument(f"query is a mapping of names to texts, not {shown(query)}")
    for name, value in (query or {}).items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, word(item, f"query.{name}")) for item in values]
    if not pairs:
        return url
    base, mark, part = text(url, "url").partition("#")
    return f"{base}{'&' if '?' in base else '?'}{urlencode(pairs)}{mark}{part}"


def _success(value: Json) -> frozenset[int]:
    """Return the expected statuses; none stand for 2xx."""
    return frozenset() if value is None else whole_numbers(value, "expect", 200, 599)
