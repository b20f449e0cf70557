"""The lines of `show --why`; tests/engine/test_why.py has the sentences."""

from __future__ import annotations

from pgflow_yaml.cli.live.page import why_lines
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
