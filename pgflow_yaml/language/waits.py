"""Words for the `wait` of a step in a definition, for drawings and for differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language import durations

if TYPE_CHECKING:
    from collections.abc import Mapping


def wait_note(wait: Mapping[str, Any]) -> str:
    """Return the short form under a node of a drawing: `waits for paid`."""
    if "event" in wait:
        return f"waits for {wait['event']}"
    if isinstance(wait.get("for"), int):
        return f"waits {durations.as_text(wait['for'])}"
    return "waits for a time"


def wait_phrase(wait: Mapping[str, Any]) -> str:
    """Return the form that completes "wait": `for event "paid"`."""
    if "event" in wait:
        return f'for event "{wait["event"]}"'
    if isinstance(wait.get("for"), int):
        return f"for {durations.as_text(wait['for'])}"
    return "until a time that is computed"
