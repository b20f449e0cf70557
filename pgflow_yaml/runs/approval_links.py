"""Signed links to one approval: who has one may decide this step of this run, and nothing else.

A link holds no secret of the database: it names the run, the step, the retries of the run and the
end of its validity, and a key that the workers and the web view share signs them. So a link that is
older than a retry of the run, or whose step is decided, is found to be over by whoever looks at the
run.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pgflow_yaml.errors import PgflowError

if TYPE_CHECKING:
    from pgflow_yaml.runs.snapshot import Snapshot

PATH: Final = "/a/"
WEEK: Final = 7 * 86_400.0
_PURPOSE: Final = b"pgflow-yaml approval link 1"
_MOST_CHARACTERS = 2_000


class LinkRefused(PgflowError):
    """A link that allows nothing: forged, expired, of an earlier try of its run, or decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Content of a link; `by` is the person for whom it was made, None for anybody."""

    run: str
    step: str
    retries: int
    expires: datetime
    by: str | None = None


def approval_url(base: str, approval: Approval, key: bytes) -> str:
    """Return the link to an approval below the address of the web view."""
    return f"{base.rstrip('/')}{PATH}{sign(approval, key)}"


def sign(approval: Approval, key: bytes) -> str:
    """Return the token of a link: what it allows, and its signature."""
    fields = {
        "run": approval.run,
        "step": approval.step,
        "retries": approval.retries,
        "expires": int(approval.expires.timestamp()),
        "by": approval.by,
    }
    content = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return f"{_text(content)}.{_text(_signature(content, key))}"


def verify(token: str, key: bytes, *, now: datetime) -> Approval:
    """Return what a token allows; raises LinkRefused for one that is not ours, or has expired.

    Whether its step still waits is not known here: see `check_open`.
    """
    try:
        content, signature = map(_bytes, token[:_MOST_CHARACTERS].split("."))
    except (ValueError, NotBase64):
        raise LinkRefused("this is no link to an approval") from None
    if not hmac.compare_digest(_signature(content, key), signature):
        raise LinkRefused("this is no link to an approval")
    fields: dict[str, Any] = json.loads(content)
    expires = datetime.fromtimestamp(fields.pop("expires"), UTC)
    if now >= expires:
        raise LinkRefused(f"this link has expired, at {expires:%Y-%m-%d %H:%MZ}")
    return Approval(expires=expires, **fields)


def check_open(approval: Approval, snapshot: Snapshot) -> None:
    """Raise LinkRefused unless the step of a link can still be decided in its run, as it is now."""
    known = any(state["slug"] == approval.step for state in snapshot["steps"])
    if known and snapshot["run"].get("retries", 0) != approval.retries:
        raise LinkRefused("this link is older than the last retry of its run; ask for a new one")
    if why := undecidable(snapshot, approval.step):
        raise LinkRefused(why)


def undecidable(snapshot: Snapshot, slug: str) -> str:
    """Return why a step of a run cannot be decided, as the run is now; empty if it can."""
    step = next((state for state in snapshot["steps"] if state["slug"] == slug), None)
    if step is None or step["action"] != "wait":
        return f'step "{slug}" of this run asks for nothing'
    answer = step["answer"]
    if answer is not None and answer["kind"] == "decision":
        verb = "approved" if answer["approved"] else "rejected"
        return f'step "{slug}" is {verb} already, by {answer["by"]}'
    if snapshot["run"]["status"] != "started" or step["status"] not in ("created", "waiting"):
        return f'step "{slug}" waits no more: it is {step["status"]}'
    if answer is not None:
        return f'an event from {answer["by"]} came before a decision about step "{slug}"'
    return ""


def _signature(content: bytes, key: bytes) -> bytes:
    # A key of its own: the key that is shared may sign other things, too.
    own = hmac.digest(key, _PURPOSE, "sha256")
    return hmac.digest(own, content, "sha256")


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    decoded = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _text(decoded) != text:  # decoding leaves out what is no base64
        raise ValueError
    return decoded
