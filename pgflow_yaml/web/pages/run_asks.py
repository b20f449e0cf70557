"""The part of a run's page about what people can do for it: decide, send, retry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.runs.waits import all_awaited_events, answer_command, event_words
from pgflow_yaml.web.pages.of_run import snapshot, watched
from pgflow_yaml.web.table import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import AwaitedShape
    from pgflow_yaml.web.asked import Asked

MOST = 20


def _read(asked: Asked) -> Mapping[str, Any]:
    shown = asked.once(snapshot)
    run = shown["run"]
    events = all_awaited_events(shown)
    me = {asked.user.name, *asked.user.groups}

    def row(event: AwaitedShape) -> Mapping[str, Any]:
        return {
            "event": event,
            "own": event["run_id"] == run["id"],
            "words": event_words(event),
            "decides": "form" in event or "by" in event,
            "mine": "by" not in event or not me.isdisjoint(event["by"]),
            "command": answer_command(event),
        }

    return {
        "rows": [row(event) for event in events[:MOST]],
        "more": max(0, len(events) - MOST),
    }


ASKS = Part(read=_read, watch=watched)
