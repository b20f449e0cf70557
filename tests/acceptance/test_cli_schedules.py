"""Schedules on the command line: list, pause, resume, backfill, a start for later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

FLOW = """
flow: nightly
input: {day: {type: string}}
schedule:
  - {cron: "30 2 * * *", timezone: Europe/Berlin, input: {day: "${{ run.scheduled_at }}"}}
  - {every: 1h, input: {day: now}}
steps:
  pause: {wait: {for: 0s}}
output: ${{ run.scheduled_at }}
"""


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A project with a scheduled flow."""
    shell = Shell(tmp_path, database)
    shell.write("nightly.yaml", FLOW)
    return shell


def test_a_plan_shows_the_next_ticks(shell: Shell) -> None:
    """Five of each schedule, in its zone; `--json` has them as times."""
    text = shell("plan", "nightly.yaml").out
    assert text.count(" 02:30:00 +0") == 5
    assert "starts by itself: every 1h\n" in text
    (nightly, hourly) = shell("plan", "nightly.yaml", "--json").json["schedules"]
    assert nightly["name"] == "30 2 * * * Europe/Berlin"
    ticks = [datetime.fromisoformat(tick) for tick in hourly["next_ticks"]]
    assert [b - a for a, b in pairwise(ticks)] == [timedelta(hours=1)] * 4


def test_schedules_are_listed_paused_and_filled(shell: Shell) -> None:
    """Before any worker lives, the list says so; a backfill starts what a range lacks."""
    shell("compile", "nightly.yaml")
    listed = shell("schedules").out
    assert "30 2 * * * Europe/Berlin" in listed
    assert "no worker is alive: pgflow-yaml worker" in listed
    assert len(shell("schedules", "nightly", "--next", "3", "--json").json[0]["next_ticks"]) == 3

    assert "nightly  every 1h  paused" in shell("pause", "nightly", "--schedule", "every").out
    assert "was paused by" in shell("pause", "nightly", "--schedule", "every", "--by", "bo").out
    assert [row["resumed"] for row in shell("resume", "nightly", "--json").json] == [False, True]

    begin, end = "2026-03-28T00:00Z", "2026-03-31T00:00Z"
    span = ["nightly", "--schedule", "30 2", "--from", begin, "--to", end]
    assert shell("backfill", *span, "--dry-run").out == "would start 3 runs of nightly\n"
    assert shell("backfill", *span).out == "started 3 runs of nightly\n"
    assert shell("backfill", *span).out == "started 0 runs of nightly; 3 ticks had one\n"
    again = shell("backfill", *span, "--again", "--at-once", "2", "--json").json
    assert (again["started"], again["existing"]) == (3, 0)
    shell("worker", "--burst")
    runs = shell("runs", "--label", "backfill=true", "--json").json
    assert {run["status"] for run in runs} == {"completed"}
    outputs = {shell("show", run["id"], "--json").json["run"]["output"] for run in runs}
    # 02:30 of Berlin: winter time, the day on which it is left out, summer time
    assert outputs == {"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}
    found = shell("runs", "--flow", "nightly", "--schedule", "30 2", "--json").json
    assert {run["id"] for run in runs} <= {run["id"] for run in found}
    assert {run["key"][:13] for run in found} == {"schedule:30 2"}
    assert shell("runs", "--schedule", "2 30", "--json").json == []

    err = shell("backfill", "nightly", "--from", "1d", expect=2).err
    assert 'it has "30 2 * * * Europe/Berlin", "every 1h"' in err
    assert "fill it in parts" in shell(
        "backfill", "nightly", "--schedule", "every", "--from", "600d", expect=2
    ).err  # fmt: skip


def test_a_run_for_later_waits(shell: Shell) -> None:
    """It is listed, says when it begins, and can be cancelled."""
    shell("compile", "nightly.yaml")
    run = shell("start", "nightly", "--input", "day=x", "--at", "3h").out.strip()
    shown = shell("show", run, "--why").out
    assert "begins at " in shown
    assert "in 2 h 59 m" in shown or "in 3 h 00 m" in shown
    why = shell("show", run, "--why", "--json").json["run"]["why"]
    due = datetime.fromisoformat(why["until"]) - datetime.now(UTC)
    assert timedelta(hours=2, minutes=50) < due < timedelta(hours=3)
    shell("worker", "--burst")
    assert shell("show", run, "--json").json["run"]["status"] == "started"
    shell("cancel", run)
    assert shell("show", run, "--json").json["run"]["status"] == "cancelled"


def test_a_paused_queue_is_left_alone(shell: Shell) -> None:
    """`queues` and `--why` say who paused it, and the command that resumes it."""
    shell.write("app.py", "def work(): pass\n")
    shell.write("work.yaml", "flow: work\nsteps: {a: {handler: app.work}}\n")
    shell("compile", "work.yaml")
    run = shell("start", "work").out.strip()
    shell("pause", "--queue", "work", "--by", "anna")
    shell("worker", "--burst")
    assert "pgflow-yaml resume --queue work" in shell("show", run, "--why").out
    assert "paused by anna" in shell("queues").out
    shell("resume", "--queue", "work")
    shell("worker", "--burst")
    assert shell("show", run, "--json").json["run"]["status"] == "completed"
