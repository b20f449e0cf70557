"""The lines of `show --why`; tests/engine/test_why.py has the sentences."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pgflow_yaml.cli.live.page import why_lines
from pgflow_yaml.runs.why import sentences
from tests.unit.snapshots import a_run, a_snapshot, a_step


def test_each_step_has_a_line() -> None:
    """In columns, and in the colour of its status."""
    snapshot = a_snapshot(a_step("charge", "started"), a_step("z", "created"))

    first, second = why_lines(snapshot, {"charge": "runs", "z": "waits for charge (runs)"})

    assert first[0] == (" charge  ", "")
    assert second == [(" z       ", ""), ("waits for charge (runs)", second[1][1])]


def test_nothing_waits_in_a_run_that_has_ended() -> None:
    """Whatever its steps came to."""
    snapshot = a_snapshot(a_step("a"), run=a_run("failed"))

    assert why_lines(snapshot, {}) == [[(" nothing waits: the run has failed", "")]]


NOON = datetime(2036, 1, 1, 12, tzinfo=UTC)
SINCE, UNTIL = "2036-01-01T11:56:00Z", "2036-01-01T12:00:20Z"
RUNNING = {
    "kind": "running", "since": SINCE, "attempt": 1, "running": 1, "queued": 0,
    "worker": None, "usual": None, "p95": None,
}  # fmt: skip
NO_ROOM = {
    "kind": "no_room", "workers": 2, "slots": None, "busy_with": "fetch", "busy_since": SINCE,
    "before": 1204,
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            RUNNING | {"worker": "web1/7", "usual": 20.0, "p95": 31.0},
            "running for 4 min, attempt 1, on web1/7; usually 20.0 s (95 % within 31.0 s)",
        ),
        (RUNNING | {"usual": 20.0, "p95": 20.0}, "running for 4 min, attempt 1; usually 20.0 s"),
        (
            RUNNING | {"running": 2, "queued": 1000},
            "2 tasks running, 1,000 queued, the oldest for 4 min",
        ),
        (
            {"kind": "stopping", "worker": None, "tasks": 3, "until": None},
            "stopping: its worker has not confirmed the end of 3 tasks",
        ),
        (
            {"kind": "lost_worker", "worker": None, "since": SINCE, "until": SINCE},
            "its worker was last heard from 4 min ago; the next one takes over",
        ),
        (
            NO_ROOM,
            (
                "2 workers serve its queue, all slots are busy, longest with fetch (4 min); "
                "1,204 tasks before it"
            ),
        ),
        (
            NO_ROOM | {"busy_with": None},
            "queued: 2 workers serve its queue and have a free slot",
        ),
        ({"kind": "finally", "steps": 0}, "runs last: waits for child runs to end"),
        (
            {"kind": "repeat", "until": UNTIL, "call": 2, "calls": None},
            "called again in 20 s, call 2: `until` did not hold",
        ),
        (
            {"kind": "back_off", "until": UNTIL, "attempt": 2, "attempts": 3, "error": None},
            "attempt 2 of 3 in 20 s",
        ),
    ],
)
def test_a_sentence_says_what_is_known(reason: dict[str, Any], sentence: str) -> None:
    """And leaves out what is not."""
    assert sentences({"a": reason}, NOON) == {"a": sentence}
