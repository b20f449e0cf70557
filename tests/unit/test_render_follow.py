"""Following a run: one loop, which tells every change once and stops when the run ends."""

from __future__ import annotations

import io
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.cli.live import follow as following
from pgflow_yaml.cli.live import views
from pgflow_yaml.cli.options import Options
from pgflow_yaml.runs.events import changes
from tests.unit.snapshots import a_failure, a_run, a_snapshot, a_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.runs.snapshot import Snapshot


class History:
    """Snapshots that a database would give one after the other; the last one stays."""

    def __init__(self, *snapshots: Snapshot) -> None:
        self.snapshots = list(snapshots)
        self.asked: list[int] = []

    def __call__(self, after_error: int) -> Snapshot:
        """Give the next snapshot, with the errors after that number."""
        self.asked.append(after_error)
        snapshot = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        newer = [error for error in snapshot["errors"] if error["id"] > after_error]
        return {**snapshot, "errors": newer[: following.ERRORS_A_SNAPSHOT]}


@contextmanager
def recorded(seen: list[tuple[Snapshot | None, Snapshot]]) -> Iterator[views.Show]:
    """A view that keeps what it is shown."""
    yield lambda before, after: seen.append((before, after))


RUNNING = a_snapshot(a_step("a", "started"))
ENDED = a_snapshot(a_step("a"), run=a_run("completed"))


def test_following_stops_at_the_end_and_returns_the_last_look() -> None:
    """Each symbols is shown together with the one before."""
    seen: list[tuple[Snapshot | None, Snapshot]] = []

    last = following.follow(History(RUNNING, ENDED), recorded(seen))

    assert last == ENDED
    assert seen == [(None, RUNNING), (RUNNING, ENDED)]


def test_a_run_that_has_ended_is_one_look() -> None:
    """No second question is asked."""
    history = History(ENDED)

    following.follow(history, views.silence())

    assert history.asked == [0]


def test_more_errors_than_fit_into_one_look_are_all_told() -> None:
    """After 200 errors the next are asked for at once, also when the run has ended meanwhile."""
    errors = [a_failure("a", id=number) for number in range(1, 451)]
    shown: list[tuple[Snapshot | None, Snapshot]] = []
    begin = time.monotonic()

    following.follow(History({**ENDED, "errors": errors}), recorded(shown))

    assert [error["id"] for _, after in shown for error in after["errors"]] == list(range(1, 451))
    assert time.monotonic() - begin < following.SHORTEST_PAUSE


def test_failures_are_told_before_the_end_that_they_led_to() -> None:
    """Also where they are more than a snapshot has."""
    step = a_step("a", "failed", ended_at="2026-11-24T12:00:08+00:00")
    errors = [a_failure("a", id=number) for number in range(1, 451)]
    shown: list[tuple[Snapshot | None, Snapshot]] = []
    ended = a_snapshot(step, run=a_run("failed"), errors=errors)

    following.follow(History(RUNNING, ended), recorded(shown))

    events = [event for before, after in shown[1:] for event in changes(before, after)]
    assert len(events) == 452
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def test_a_time_limit_ends_following() -> None:
    """The limit holds although the run does not end."""
    begin = time.monotonic()

    with pytest.raises(following.TimeIsUp):
        following.follow(History(RUNNING), views.silence(), timeout=0.2)

    assert 0.2 <= time.monotonic() - begin < 10


def test_what_the_check_raises_ends_following() -> None:
    """A worker that died inside `run` is noticed between two snapshots."""

    def check() -> None:
        raise RuntimeError("the worker died")

    with pytest.raises(RuntimeError, match="the worker died"):
        following.follow(History(RUNNING), views.silence(), check=check)


def test_json_lines_are_json() -> None:
    """With --json each event is a line that parses."""
    out = io.StringIO()

    following.follow(History(RUNNING, ENDED), views.view_for(Options(json=True), out, hint=""))

    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(event["event"], event["status"]) for event in events] == [
        ("run", "started"),
        ("step", "started"),
        ("step", "completed"),
        ("run", "completed"),
    ]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """-q shows nothing at all."""
    out = io.StringIO()

    following.follow(History(RUNNING, ENDED), views.view_for(Options(quiet=True), out, hint=""))

    assert (out.getvalue(), *capsys.readouterr()) == ("", "", "")


def test_a_pipe_gets_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout stays free for the result."""
    following.follow(History(RUNNING, ENDED), views.view_for(Options(), io.StringIO(), hint=""))

    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 4
