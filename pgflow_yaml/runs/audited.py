"""Acts of people on a run, in words: `retried by ada`, `cancelled by ann: wrong release`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.text import one_line

from .retrying import names

if TYPE_CHECKING:
    from collections.abc import Mapping

_DONE = {
    "start": "started",
    "cancel": "cancelled",
    "approve": "approved",
    "reject": "rejected",
    "retry": "retried",
    "drop": "dropped from the failed runs",
}


def audit_words(action: str, who: str, details: Mapping[str, Any]) -> str:
    """Format a line of the audit of a run, without its time."""
    if action == "after":
        return one_line(str(details.get("reason", "")))
    step = f"{one_line(details['step'])} " if details.get("step") else ""
    said = details.get("reason") or details.get("comment")
    words = f"{step}{_DONE.get(action, one_line(action))}{_how(details)} by {one_line(who)}"
    return words + (f": {one_line(str(said))}" if said else "")


def _how(details: Mapping[str, Any]) -> str:
    """Return how a run was retried, where not by the default rule."""
    ways = []
    if details.get("steps"):
        ways.append(f"steps {names(details['steps'])}")
    if details.get("from"):
        ways.append(f"from {names(details['from'])}")
    if details.get("new_input"):
        ways.append("with another input")
    if details.get("version_before"):
        ways.append(f"before on version {one_line(details['version_before'])}")
    return f" ({', '.join(ways)})" if ways else ""
