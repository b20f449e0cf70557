"""The live view is pure: a snapshot and a size go in, lines that fit come out."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.cli.live.frame import render_run
from pgflow_yaml.cli.live.page import step_rows
from pgflow_yaml.cli.live.redrawing import breaks_lines
from pgflow_yaml.cli.live.symbols import ASCII, UNICODE, Frame, Symbols, symbols_for
from pgflow_yaml.runs.events import changes, line
from pgflow_yaml.text import cells, moment
from tests.unit.snapshots import NOW, a_failure, a_run, a_snapshot, a_step, some_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot, StepShape

STATUSES = ("completed", "started", "created", "failed", "skipped", "cancelled")


def drawn(
    snapshot: Snapshot,
    width: int = 80,
    height: int = 24,
    *,
    symbols: Symbols = UNICODE,
    errors: Mapping[str, FailedAttempt] | None = None,
    hint: str | None = None,
    resume: str | None = None,
) -> list[str]:
    """Draw a snapshot and return its lines."""
    frame = Frame(width=width, height=height, now=moment(NOW), symbols=symbols)
    return render_run(snapshot, frame, errors=errors, hint=hint, resume=resume).plain.split("\n")


def a_crowd(count: int, seed: int = 7) -> list[StepShape]:
    """Many steps in all states, in a random DAG, with some maps and wide names."""
    dice = random.Random(seed)
    steps: list[StepShape] = []
    for number in range(count):
        status = dice.choice(STATUSES)
        depends_on = [f"s{dice.randrange(number)}" for _ in range(min(number, 2))]
        steps.append(
            a_step(
                f"s{number}",
                status,
                depends_on=depends_on,
                waiting_for=depends_on if status == "created" else [],
                map=dice.random() < 0.1,
                error={"type": "Böse", "message": "幅の広い文字 " * 20},
            )
        )
    return steps


@pytest.mark.parametrize(
    ("width", "left", "right"),
    [
        (80, " order 3f2a91c0 · version 8c41e07b · running", "10.0 s · usually 6.5 s"),
        (60, " order 3f2a91c0 · running", "10.0 s · usually 6.5 s"),
        (40, " order 3f2a91c0 · running", "10.0 s"),
    ],
)
def test_the_usual_time_stands_beside_the_time_so_far(width: int, left: str, right: str) -> None:
    """Where the width is too small for all, the version goes first and the usual time next."""
    snapshot = a_snapshot(a_step("a", "started"), usual_seconds=6.5)

    assert drawn(snapshot, width)[0] == left + right.rjust(width - 1 - len(left))


@pytest.mark.parametrize("symbols", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 30, 300, 2000])
@pytest.mark.parametrize("width", [20, 60, 80, 120])
def test_a_frame_never_leaves_its_terminal(width: int, count: int, symbols: Symbols) -> None:
    """No line is wider than the width and there are never more lines than the height."""
    steps = a_crowd(count)
    # Messages of every length, in characters that take two columns each.
    errors = {
        step["slug"]: a_failure(step["slug"], message="幅" * (number % 70))
        for number, step in enumerate(steps)
    }

    for height in (1, 2, 3, 4, 5, 8, 24, 60):
        lines = drawn(
            a_snapshot(*steps),
            width,
            height,
            symbols=symbols,
            errors=errors,
            hint="Ctrl-C detaches",
        )

        assert max(cells(line) for line in lines) <= width
        assert len(lines) <= height


@pytest.mark.parametrize("count", [100, 2000])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_running_and_failed_steps_are_never_folded(width: int, count: int) -> None:
    """Where the rows do not suffice, it is other steps that fold."""
    steps = [a_step(f"done{n}") for n in range(count)]
    steps[count // 3] = a_step("this_failed", "failed")
    steps[count // 2 : count // 2 + 10] = [a_step(f"busy{n}", "started") for n in range(10)]

    picture = "\n".join(drawn(a_snapshot(*steps), width, 24))

    assert "✗ this_failed" in picture
    assert all(f"busy{n} " in picture for n in range(10))


def test_urgent_steps_that_find_no_row_are_counted() -> None:
    """With more running steps than rows, the rest is a number."""
    steps = [a_step(f"busy{n}", "started") for n in range(500)]

    lines = drawn(a_snapshot(*steps), height=24)

    shown = sum("busy" in line for line in lines)
    assert shown > 10
    assert f"{500 - shown} more running" in lines[-1]


def test_finished_steps_fold_into_one_line() -> None:
    """412 finished steps are one row that says how many."""
    steps = [a_step(f"done{n}") for n in range(430)] + [a_step("busy", "started")]

    lines = drawn(a_snapshot(*steps), height=24)

    shown = sum("done" in line for line in lines)
    assert lines[2].strip() == f"✓ {430 - shown} steps"


@pytest.mark.parametrize("status", ["created", "completed"])
def test_a_folded_picture_still_fills_the_terminal(status: str) -> None:
    """Rows that nobody else wants show what is next, or what was last."""
    steps = [a_step("busy", "started"), *(a_step(f"s{n}", status) for n in range(100))]

    lines = drawn(a_snapshot(*steps), height=24)

    assert sum(" s" in line for line in lines[2:]) > 15


@pytest.mark.parametrize("edges", [2, 10])
def test_a_frame_of_2000_steps_is_cheap(edges: int) -> None:
    """Folding comes before drawing, so a frame costs less than 50 ms."""
    steps = a_crowd(2000)
    for number, step in enumerate(steps):
        step["depends_on"] = [f"s{max(number - back, 0)}" for back in range(1, edges + 1)][:number]
    snapshot = a_snapshot(*steps)

    costs = []
    for _ in range(3):
        begin = time.thread_time()
        drawn(snapshot, 120, 50)
        costs.append(time.thread_time() - begin)

    assert min(costs) < 3 * 0.05


def test_a_step_hangs_under_the_dependency_that_ended_last() -> None:
    """Of two finished dependencies, the later one carries the step."""
    steps = [
        a_step("fetch"),
        a_step("analyze", depends_on=["fetch"], ended_at="2026-11-24T12:00:09+00:00"),
        a_step("summarize", depends_on=["fetch"], ended_at="2026-11-24T12:00:05+00:00"),
        a_step("save", "started", depends_on=["analyze", "summarize"]),
    ]

    lines = drawn(a_snapshot(*steps))

    assert [line.split("  ")[0].rstrip() for line in lines[2:]] == [
        " ✓ fetch",
        " ├─ ✓ analyze",
        " │",
        " ╰─ ✓ summarize",
    ]
    assert lines[4].startswith(" │  ╰─ ")


def test_a_deep_chain_stays_in_the_window() -> None:
    """A chain of 18 steps is not indented beyond use."""
    steps = [a_step(f"s{n}", depends_on=[f"s{n - 1}"] if n else []) for n in range(18)]

    lines = drawn(a_snapshot(*steps), 60)

    assert all(f"s{n} " in lines[n + 2] for n in range(18))


def test_a_map_shows_its_bar_and_its_counts() -> None:
    """214 of 320 items, three failed, twenty at once, and when it will be done."""
    tasks = some_tasks(total=320, completed=214, failed=3, started=20, queued=83)
    step = a_step("fetch", "started", map=True, tasks=tasks)

    line = drawn(a_snapshot(step), 120)[2]

    assert "██████████░░░░░  214/320 · 3 failed · 20 at once · ETA 5 s" in line


def test_a_narrow_map_keeps_its_count() -> None:
    """What has no room goes from the right; the count stays."""
    tasks = some_tasks(total=320, completed=214, failed=3, started=20, queued=83)

    line = drawn(a_snapshot(a_step("fetch", "started", map=True, tasks=tasks)), 60)[2]

    assert "214/320" in line
    assert "…" not in line


def test_a_step_between_two_attempts_says_when_it_goes_on() -> None:
    """The symbol changes, the attempt and its error are named, the wait counts down."""
    step = a_step(
        "charge",
        "started",
        tasks=some_tasks(queued=1),
        max_attempts=5,
        retry_at="2026-11-24T12:00:14+00:00",
    )

    lines = drawn(a_snapshot(step), errors={"charge": a_failure("charge", attempt=2)})

    assert "↻ charge" in lines[2]
    assert "attempt 2 of 5 failed: CardTimeout · again in 4 s" in lines[2]
    assert "┆ CardTimeout: acquirer b did not answer in 30 s" in lines[3]


def test_a_second_attempt_names_the_first_error() -> None:
    """While it tries again, the last error stays in view with its age."""
    step = a_step("charge", "started", attempts=2, max_attempts=5)

    lines = drawn(a_snapshot(step), errors={"charge": a_failure("charge")})

    assert "attempt 2 of 5 · CardTimeout 3 s ago" in lines[2]


def test_waiting_and_skipped_steps_say_why() -> None:
    """A created step names what it waits for; a skipped one its reason."""
    steps = [
        a_step("charge", "started"),
        a_step("ship", "created", depends_on=["charge"], waiting_for=["charge"]),
        a_step("vat_check", "skipped"),
    ]

    picture = "\n".join(drawn(a_snapshot(*steps)))

    assert "waits for charge" in picture
    assert "skipped: condition not met" in picture


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ({"pay": "failure"}, "not needed: pay did not fail"),
        ({"pay": "failure", "off": "failure"}, "not needed: pay, off did not fail"),
        ({"pay": "success", "off": "success"}, "off was skipped"),
        ({"broken": "success", "pay": "failure"}, "broken failed"),
        ({"stopped": "success"}, "stopped was cancelled"),
        ({"stopped": "failure"}, "stopped was cancelled"),
        ({"lax": "failure"}, "not needed: the failure of lax is allowed"),
        ({"lax": "failure", "pay": "failure"}, "not needed: pay did not fail"),
        ({"lax": "success"}, "lax was skipped"),
        ({"gone": "success"}, "a step before it did not complete"),
    ],
)
def test_the_reason_of_a_skip_is_true(edges: dict[str, str], reason: str) -> None:
    """It names the steps that left nothing to do, in the picture, in a pipe and in a log."""
    last = a_step(
        "last",
        "skipped",
        skip_reason="dependency_skipped",
        depends_on=list(edges),
        edges=edges,
        ended_at="2026-11-24T12:00:01+00:00",
    )
    run = a_snapshot(
        a_step("pay"),
        a_step("off", "skipped"),
        a_step("lax", "skipped", skip_reason="handler_failed"),
        a_step("broken", "failed"),
        a_step("stopped", "cancelled"),
        last,
    )

    assert f"skipped: {reason}" in "\n".join(drawn(run))
    assert step_rows(run)[-1][-1] == reason
    assert f"skipped: {reason}" in "\n".join(map(line, changes(None, run)))


def test_a_name_is_cut_only_for_words_beside_it() -> None:
    """On a line that would be half empty it is whole."""
    name = "charge_the_credit_card_of_the_customer_who_ordered"
    calm = drawn(a_snapshot(a_step(name)))
    told = drawn(a_snapshot(a_step(name, "failed", attempts=3, max_attempts=3), a_step("b")))

    assert any(name in line for line in calm)
    assert not any(name in line for line in told)
    assert any("failed · 3 of 3 attempts" in line for line in told)


def test_all_views_count_the_same_steps_as_done() -> None:
    """A failure that ended its run is not done; one that a run survived is."""
    steps = [a_step("a"), a_step("b", "skipped"), a_step("c", "failed"), a_step("d", "started")]

    going = drawn(a_snapshot(*steps))[1]
    failed = drawn(a_snapshot(*steps, run=a_run("failed", outcome="failed")))[1]

    assert "3 of 4 steps" in going
    assert "2 of 4 steps" in failed


def test_the_bar_is_full_only_when_all_steps_ended() -> None:
    """A map with all but one item done does not show 100 %."""
    nearly = a_step("m", "started", map=True, tasks=some_tasks(total=1000, completed=999))

    assert " 98 %  0 of 1 step" in drawn(a_snapshot(nearly))[1]
    assert "100 %  1 of 1 step" in drawn(a_snapshot(a_step("m"), run=a_run("completed")))[1]


def test_names_cannot_paint_the_terminal() -> None:
    """S-18: escapes in data are stripped and rich markup is shown as it stands."""
    evil = "\x1b]8;;http://x\x07[red]name\x1b[31m\x9b2J\x00"
    step = a_step(evil, "failed", error={"type": evil, "message": f"a\nb {evil}"})

    picture = "\n".join(drawn(a_snapshot(step, run=a_run(flow=evil)), 120))

    assert "[red]name" in picture
    assert not any((ord(char) < 32 and char != "\n") or 127 <= ord(char) < 160 for char in picture)
    assert "http://x" not in picture


def test_an_ascii_terminal_gets_ascii() -> None:
    """Nothing in the frame needs more than ASCII when the encoding has no more."""
    steps = [a_step(status, status) for status in STATUSES]
    steps.append(a_step("wide", "started", map=True, tasks=some_tasks(started=2, completed=5)))

    lines = drawn(a_snapshot(*steps), symbols=symbols_for("latin-1"), width=60)

    assert "\n".join(lines).isascii()
    assert any("[ok]" in line for line in lines)


def test_utf_8_gets_the_symbols() -> None:
    """The set follows the encoding; an unknown encoding is ASCII."""
    assert symbols_for("utf-8") is UNICODE
    assert symbols_for("no-such-encoding") is ASCII
    assert symbols_for(None) is ASCII


RESUME = "pgflow-yaml run --resume 3f2a91c0"


@pytest.mark.parametrize(
    ("width", "last"),
    [(80, [f" no worker is alive: {RESUME}"]), (50, [" no worker is alive:", f" {RESUME}"])],
)
def test_a_run_without_a_worker_names_what_continues_it(width: int, last: list[str]) -> None:
    """Above the hint, and never cut; with a worker, and after the end, there is nothing to say."""
    step = a_step("a", "started")
    alone = a_snapshot(step, workers=0)
    ended = a_snapshot(a_step("a"), run=a_run("completed"), workers=0)

    lines = drawn(alone, width, height=len(last) + 4, hint="the hint", resume=RESUME)

    assert lines[-len(last) - 1 :] == [*last, " the hint"]
    for other in (a_snapshot(step, workers=1), ended):
        assert RESUME not in "\n".join(drawn(other, width, resume=RESUME))


def test_a_long_name_is_cut_only_for_words_beside_it() -> None:
    """Words beside another step cost it nothing; its row leaves the columns instead."""
    long = "a_step_with_a_name_that_is_longer_than_usual"
    skipped = a_step("skipped_one", "skipped")
    error = a_failure("again", retry_at="2026-11-24T12:00:13+00:00")
    again = a_step("again", "started", retry_at=error["retry_at"], max_attempts=20)
    again["tasks"] = some_tasks(queued=1)

    lines = drawn(a_snapshot(a_step(long), again, skipped), errors={"again": error})[2:]
    narrow = drawn(a_snapshot(a_step(long, "skipped"), again), errors={"again": error})[2:]

    assert lines[0].rstrip() == f" ✓ {long}    4.0 s"
    assert lines[1].index("10.0 s") == lines[-1].index("skipped:") - 8
    assert "…" in narrow[0].split("  ")[0]


def test_a_retry_says_when_before_it_says_why() -> None:
    """The error stands below the row as well, the time of the next attempt only in it."""
    error = a_failure("charge", retry_at="2026-11-24T12:00:13+00:00")
    step = a_step("charge", "started", retry_at=error["retry_at"], max_attempts=20)
    step["tasks"] = some_tasks(queued=1)
    snapshot = a_snapshot(step)

    wide, narrow = (drawn(snapshot, width, errors={"charge": error})[2] for width in (80, 60))

    assert wide.endswith("attempt 1 of 20 failed: CardTimeout · again in 3 s")
    assert narrow.endswith("attempt 1 of 20 failed · again in 3 s")


@pytest.mark.parametrize(
    ("names", "breaks"),
    [((), True), (("XTERM_VERSION",), False), (("STY",), False), (("STY", "TMUX"), True)],
)
def test_a_terminal_that_cuts_lines_is_known(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], *, breaks: bool
) -> None:
    """There a picture has the rows that were drawn; erasing more would take what stands above."""
    for name in ("XTERM_VERSION", "STY", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, "1")

    assert breaks_lines() == breaks


def test_a_failing_step_has_its_last_lines_below_it() -> None:
    """While it is tried again and when it has failed; they give way to what must be read."""
    said = [[0, "info", "stdout", f"line {number}"] for number in range(5)]
    step = a_step("charge", "started", attempts=2, log=said)
    failures = {"charge": a_failure("charge")}
    snapshot = a_snapshot(step, a_step("other"))

    notes = [line.split("┆ ")[1] for line in drawn(snapshot, errors=failures) if "┆" in line]
    low = drawn(snapshot, height=6, errors=failures)

    assert notes == [
        "CardTimeout: acquirer b did not answer in 30 s",
        *(f"line {number}" for number in range(5)),
    ]
    assert [line for line in low if "line " in line] == []


def test_a_running_step_has_its_progress_beside_it() -> None:
    """A share, and words if there are any; of a map, its items say more."""
    report = {"index": 0, "done": 0.4, "text": "page 12 of 30", "at": NOW}
    steps = [
        a_step("print", "started", progress=report),
        a_step("pack", "started", progress={**report, "done": 0.999, "text": ""}),
    ]
    wide = a_step("map", "started", map=True, tasks=some_tasks(started=2), progress=report)

    printed, packed, mapped = drawn(a_snapshot(*steps, wide))[2:5]

    assert printed.endswith("40 %, page 12 of 30")
    assert packed.endswith("99 %")
    assert "%" not in mapped
    assert [row[-1] for row in step_rows(a_snapshot(*steps))] == ["40 %, page 12 of 30", "99 %"]
