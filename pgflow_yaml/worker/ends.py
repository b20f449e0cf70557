"""The log of what has ended in a turn: runs, and steps that failed for good."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgflow_yaml.database.store import EndShape, TimersReply

log = logging.getLogger(__name__)


def asked_for() -> str | None:
    """Return the option of a turn for the lines that somebody reads; None: there are none."""
    if log.isEnabledFor(logging.INFO):
        return "all"
    return "failed" if log.isEnabledFor(logging.ERROR) else None


def log_ends(reply: TimersReply) -> None:
    """Log what a reply says has ended."""
    for end in reply.get("ended", ()):
        level = logging.ERROR if end["status"] == "failed" else logging.INFO
        log.log(level, "%s", _sentence(end), extra=_fields(end))


def _sentence(end: EndShape) -> str:
    what = "step" if "step" in end else "run"
    verb = "was cancelled" if end["status"] == "cancelled" else end["status"]
    error = end.get("error")
    return f"{what} {verb}" + (f": {error['type']}: {error['message']}" if error else "")


def _fields(end: EndShape) -> dict[str, str]:
    fields = {"run_id": end["run"], "flow": end["flow"], "action": "ended"}
    return fields | {"step": end["step"]} if "step" in end else fields
