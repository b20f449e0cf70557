"""The screens of the whole language: waits, children, handled failures, `finally`, repeats."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.cli.live.end_screen import ended, in_spite_of
from pgflow_yaml.cli.live.frame import render_run
from pgflow_yaml.cli.live.symbols import ASCII, UNICODE, Frame, Symbols
from pgflow_yaml.runs.events import changes, line
from pgflow_yaml.runs.failures import failure_handling
from pgflow_yaml.text import cells, moment
from tests.unit.snapshots import NOW, a_failure, a_run, a_snapshot, a_step, some_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot, StepShape

SOON, IN_TWO_DAYS = "2026-11-24T12:00:14+00:00", "2026-11-26T11:00:00+00:00"


def drawn(
    snapshot: Snapshot,
    width: int = 80,
    height: int = 24,
    *,
    symbols: Symbols = UNICODE,
    errors: Mapping[str, FailedAttempt] | None = None,
) -> list[str]:
    """Draw a snapshot and return its lines."""
    frame = Frame(width=width, height=height, now=moment(NOW), symbols=symbols)
    return render_run(snapshot, frame, errors=errors).plain.split("\n")


def a_wait(slug: str, kind: str = "event", until: str | None = None, **fields: Any) -> StepShape:
    """A step that waits for an event or a timer."""
    waits = {"kind": kind, "event": "approval" if kind == "event" else None, "until": until}
    no_tasks = some_tasks()
    return a_step(
        slug, "waiting", action="wait", handler=None, waits=waits, tasks=no_tasks, **fields
    )


def a_child(slug: str, *awaited: str, **fields: Any) -> StepShape:
    """A step that runs the flow `region`, some of whose steps may wait for the event `go`."""
    child = {
        "id": "7c21ab90-0000-4000-8000-000000000000",
        "flow": "region",
        "version": "5e6f7a8b9c0d",
        "index": 0,
        "status": "started",
        "outcome": None,
        "error": None,
        "steps": {"total": 5, "completed": 2, "done": 2},
    } | fields.pop("child", {})
    asks = [
        {"run_id": child["id"], "flow": "region", "step": step, "event": "go", "until": None}
        for step in awaited
    ]
    step = {
        "action": "flow",
        "flow": "region",
        "handler": None,
        "tasks": some_tasks(started=1),
        "waits": {"kind": "child", "event": None, "until": None},
        "child": child,
        "children": [child["id"]],
        "awaited": asks,
    }
    return a_step(slug, "waiting", **{**step, **fields})


def a_saga(release: str, **run: Any) -> Snapshot:
    """A payment that failed, and the step that catches this."""
    status = run.pop("status", "started")
    return a_snapshot(
        a_step("reserve"),
        a_step("charge", "failed", depends_on=["reserve"], attempts=3),
        a_step("release", release, depends_on=["charge"], edges={"charge": "failure"}),
        run=a_run(status, **run),
    )


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_wait_says_for_what_how_long_and_what_to_type(width: int) -> None:
    """The command stands whole in a line of its own, on narrow terminals too."""
    lines = drawn(a_snapshot(a_wait("approve", until=IN_TWO_DAYS)), width)

    assert "⏸ approve" in lines[2]
    assert 'waits for event "approval" · 1 d 22 h left'[: width - 25] in lines[2]
    assert lines[3].endswith("┆ pgflow-yaml approve 3f2a91c0 approve")


def test_an_event_that_is_no_approval_is_sent() -> None:
    """`send` names the event, `approve` the step."""
    step = a_wait("paid")
    step["waits"] = {"kind": "event", "event": "payment", "until": None}

    lines = drawn(a_snapshot(step))

    assert 'waits for event "payment"' in lines[2]
    assert lines[3].endswith("pgflow-yaml send 3f2a91c0 payment")


def test_a_timer_counts_down() -> None:
    """Until when, by the clock of the database, and how long that is."""
    lines = drawn(a_snapshot(a_wait("pause", "timer", SOON)))

    assert "waits until 12:00:14Z · 4 s left" in lines[2]


def test_a_wait_that_is_over_needs_a_worker_to_go_on() -> None:
    """The clock is moved by workers; a moment late is no reason to say so."""
    late, just = "2026-11-24T12:00:04+00:00", "2026-11-24T12:00:09+00:00"

    lines = drawn(a_snapshot(a_wait("pause", "timer", late), a_wait("short", "timer", just)))

    assert lines[2].endswith("waits until 12:00:04Z · over: any worker goes on")
    assert lines[3].endswith("waits until 12:00:09Z · 0 s left")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_child_run_has_its_state_below_the_step(width: int) -> None:
    """It works, so the step spins; its id leads to more."""
    lines = drawn(a_snapshot(a_child("sub")), width)

    assert "⏸" not in lines[2]
    assert "runs region" in lines[2]
    assert lines[3].endswith("┆ region 7c21ab90 running · 2 of 5 steps")


def test_a_child_that_waits_for_somebody_says_what_to_type() -> None:
    """The question comes up through all levels, with the run that asks it."""
    lines = drawn(a_snapshot(a_child("sub", "go_live")), 60)

    assert "⏸ sub" in lines[2]
    assert lines[4].endswith("┆ pgflow-yaml send 7c21ab90 go")


@pytest.mark.parametrize(
    ("width", "counts"),
    [(120, "3/8 runs of region · 1 failed · 2 at once"), (60, "3/8 · 1 failed · 2 at once")],
)
def test_a_map_of_children_counts_them(width: int, counts: str) -> None:
    """Counts in the row, below it the child that says most with its index."""
    tasks = some_tasks(total=8, completed=3, failed=1, started=2, queued=2)
    step = a_child("sub", map=True, tasks=tasks, child={"index": 6})

    lines = drawn(a_snapshot(step), width)

    assert counts in lines[2]
    assert "[6] region 7c21ab90 running · 2 of 5 steps" in lines[3]


def test_tolerated_failures_say_how_many_may_fail() -> None:
    """Number or share; a completed map still tells what is missing."""
    tasks = some_tasks(total=320, completed=214, failed=3, started=20, queued=83)
    running = a_step("fetch", "started", map=True, tasks=tasks, tolerate={"percent": 5.0})
    over = a_step("done", map=True, tasks=some_tasks(completed=9, failed=1), tolerate=2)

    lines = drawn(a_snapshot(running, over), 120)

    assert "214/320 · 3 failed (tolerate 5 %) · 20 at once · ETA" in lines[2]
    assert "10 items, 1 failed (tolerate 2)" in lines[3]


def test_a_repeated_step_counts_its_calls() -> None:
    """While it rests, while it is called, and in the end."""
    repeat = {"every": 4000, "max": 100}
    rests = a_step("rests", "started", iteration=3, repeat=repeat, retry_at=SOON, attempts=1)
    rests["tasks"] = some_tasks(queued=1)
    called = a_step("called", "started", iteration=3, repeat=repeat)
    over = a_step("over", iteration=3, repeat=repeat)

    lines = drawn(a_snapshot(rests, called, over))

    assert "↻ rests" in lines[2]
    assert "call 3 · again in 4 s" in lines[2]
    assert "call 4 of 100" in lines[3]
    assert "4 calls" in lines[4]


def test_an_error_between_two_calls_is_a_retry() -> None:
    """It uses an attempt and keeps the iteration, so it says attempt."""
    step = a_step("poll", "started", iteration=3, retry_at=SOON, attempts=1)
    step["tasks"] = some_tasks(queued=1)

    lines = drawn(a_snapshot(step), errors={"poll": a_failure("poll", retry_at=SOON)})

    assert "attempt 1 of 3 failed: CardTimeout · again in 4 s" in lines[2]


def test_a_catch_that_will_not_run_handles_nothing() -> None:
    """Once the run is being stopped."""
    assert failure_handling(a_saga("created", outcome="cancelled"))["charge"].kind == "unhandled"


def test_a_step_with_handles_false_handles_nothing() -> None:
    """It may run, or have run: the failure is unhandled from the start."""
    for status in ("created", "completed"):
        saga = a_saga(status)
        saga["steps"][2]["handles"] = False

        assert failure_handling(saga)["charge"].kind == "unhandled"


def test_a_failure_that_may_be_caught_is_not_the_end() -> None:
    """It says who may handle it, who did, and only then that nobody did."""
    open_, done, none = a_saga("started"), a_saga("completed"), a_saga("skipped")

    assert "release may handle it" in drawn(open_)[3]
    assert "handled by release" in drawn(done)[3]
    assert "handle" not in drawn(none)[3]
    assert [failure_handling(saga)["charge"].kind for saga in (open_, done, none)] == [
        "open",
        "handled",
        "unhandled",
    ]


def test_only_a_failure_that_ends_the_run_is_red() -> None:
    """The bar and the step are yellow or green as long as the run goes on."""

    def styles(snapshot: Snapshot) -> set[str]:
        frame = Frame(width=80, height=24, now=moment(NOW))
        return {str(span.style) for span in render_run(snapshot, frame).spans}

    assert "bold red" not in styles(a_saga("started"))
    assert "bold red" not in styles(a_saga("completed", status="completed"))
    assert "bold red" in styles(a_saga("skipped", status="failed"))


def test_a_handled_failure_counts_as_done() -> None:
    """A run that completed is full."""
    assert "100 %  3 of 3 steps" in drawn(a_saga("completed", status="completed"))[1]


def test_dependents_say_which_outcome_they_wait_for() -> None:
    """`failure` and `any` edges have their words."""
    catch = a_step(
        "catch",
        "created",
        depends_on=["a", "b", "c"],
        waiting_for=["a", "b", "c"],
        edges={"a": "failure", "b": "any", "c": "success"},
    )

    assert "waits for a to fail, b to end, c" in drawn(a_snapshot(catch))[2]


def test_finally_steps_have_a_line_of_their_own() -> None:
    """One line until they run, then rows under it."""
    first = a_step("work", "started")
    coming = [a_step(slug, "created", **{"finally": True}) for slug in ("audit", "alert")]
    running = [a_step("audit", "started", **{"finally": True}), coming[1]]

    before = drawn(a_snapshot(first, *coming))
    after = drawn(a_snapshot(a_step("work"), *running, run=a_run(outcome="failed")))

    assert before[-1] == " ○ finally: audit, alert"
    assert after[3] == " finally"
    assert after[4].startswith(" ├─ ")
    assert after[5].startswith(" ╰─ ○ alert")


def test_finally_steps_of_different_statuses_have_rows() -> None:
    """One line is for what is the same for all."""
    steps = [a_step("audit", "skipped"), a_step("alert", "created")]
    for step in steps:
        step["finally"] = True

    lines = drawn(a_snapshot(*steps, run=a_run(outcome="failed")))

    assert lines[2] == " finally"
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("work", "outcome", "words"),
    [
        ("started", "failed", "failed, stopping"),
        ("started", "cancelled", "cancelled, stopping"),
        ("cancelled", "cancelled", "cancelled, finally runs"),
        ("completed", "completed", "completed, finally runs"),
        ("started", None, "running"),
    ],
)
def test_a_run_whose_outcome_is_known_says_so(work: str, outcome: str | None, words: str) -> None:
    """Before it has ended: what is still stopped, or that finally runs."""
    steps = [a_step("work", work), a_step("audit", "created", **{"finally": True})]

    assert f" · {words}" in drawn(a_snapshot(*steps, run=a_run(outcome=outcome)))[0]


def test_a_run_that_waits_for_a_child_run_is_stopping() -> None:
    """All its steps have ended, and finally has not begun."""
    sub = {**a_child("sub"), "status": "cancelled", "waits": None}
    steps: Any = [sub, a_step("audit", "created", **{"finally": True})]

    assert " · failed, stopping" in drawn(a_snapshot(*steps, run=a_run(outcome="failed")))[0]


def test_labels_and_parent_stand_below_the_name() -> None:
    """On one line, which a low terminal does not have."""
    parent = {"id": "1b2c3d4e-0000-4000-8000-000000000000", "step": "deploy", "index": 2}
    run = a_run(parent=parent, labels={"team": "ml"})

    assert drawn(a_snapshot(a_step("a"), run=run))[2] == " child of 1b2c3d4e, step deploy · team=ml"
    assert "child of" not in "".join(drawn(a_snapshot(a_step("a"), run=run), height=5))


def test_a_run_of_pgflows_own_functions_has_no_version() -> None:
    """Its flow was never compiled, so there is none to show."""
    snapshot = a_snapshot(a_step("a"), run=a_run(version=None))

    assert drawn(snapshot)[0].startswith(" order 3f2a91c0 · running ")
    assert line(changes(None, snapshot)[0]).endswith("order 3f2a91c0 started")


def test_a_run_that_completed_in_spite_of_a_failure_says_so() -> None:
    """The failed step and the one that handled it; without a failure nothing is said."""
    line_of_words = in_spite_of(a_saga("completed", status="completed"))

    assert line_of_words is not None
    assert line_of_words[0][0] == (
        ' ✓ order 3f2a91c0 completed; the failure of "charge" was handled by release'
    )
    assert in_spite_of(a_snapshot(a_step("a"), run=a_run("completed"))) is None


def test_the_failure_screen_is_about_what_failed_the_run() -> None:
    """A handled failure is mentioned; the step whose error is the run's comes first."""
    snapshot = a_saga("completed", status="failed", error={"type": "Boom", "step": "reject"})
    snapshot["steps"] += [a_step("other", "failed"), a_step("reject", "failed")]

    lines = ["".join(words for words, _ in line) for line in screen(snapshot)]

    assert 'step "reject" failed' in lines[0]
    assert '   the failure of "charge" was handled by release' in lines


def test_a_failed_child_is_where_to_look() -> None:
    """The step has no handler; its flow stands there, and the command names the child."""
    step = a_child("sub", child={"status": "failed"})
    step["status"] = "failed"
    step["error"] = {"type": "ChildFailed", "message": "region 7c21 [0]: it broke"}

    lines = [
        "".join(words for words, _ in line)
        for line in screen(a_snapshot(step, run=a_run("failed")))
    ]

    assert "   flow region: ChildFailed: region 7c21 [0]: it broke" in lines
    assert lines[-1].endswith("pgflow-yaml show 7c21ab90")


def screen(snapshot: Snapshot) -> list[list[tuple[str, str]]]:
    """The screen after a run."""
    return ended(snapshot, errors=[], width=100, positions={}, folder="/")


def a_zoo(count: int, seed: int) -> list[StepShape]:
    """Steps of every kind in every state, some of them of `finally`."""
    dice = random.Random(seed)
    kinds = [
        lambda slug: a_wait(slug, until=IN_TWO_DAYS),
        lambda slug: a_wait(slug, "timer", SOON),
        lambda slug: a_child(slug, "one", "two"),
        lambda slug: a_child(slug, map=True, tasks=some_tasks(total=400, started=9, failed=3)),
        lambda slug: a_step(slug, "failed"),
        lambda slug: a_step(slug, "created", edges={"s0": "failure"}, waiting_for=["s0"]),
        lambda slug: a_step(slug, "started", iteration=4, repeat={"every": 1, "max": None}),
        lambda slug: a_step(slug, dice.choice(["completed", "cancelled", "skipped"])),
    ]
    steps = [dice.choice(kinds)(f"s{n}") for n in range(count)]
    for step in steps[count - count // 4 :]:
        step["finally"] = True
    return steps


@pytest.mark.parametrize("symbols", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("count", [1, 4, 9, 40, 400])
@pytest.mark.parametrize("width", [20, 60, 80, 120])
def test_no_kind_of_step_leaves_the_terminal(width: int, count: int, symbols: Symbols) -> None:
    """No line is wider than the width and there are never more lines than the height."""
    for seed in range(5):
        snapshot = a_snapshot(*a_zoo(count, seed), run=a_run(labels={"team": "ml" * 40}))
        for height in (1, 2, 3, 5, 8, 12, 24, 60):
            lines = drawn(snapshot, width, height, symbols=symbols)

            assert max(map(cells, lines)) <= width
            assert len(lines) <= height
            assert symbols is UNICODE or "\n".join(lines).isascii()


def test_what_somebody_is_asked_to_do_is_never_folded() -> None:
    """Of 200 steps on 24 rows, the one that waits has its row and its command."""
    statuses = ("completed", "started", "created")
    steps = [a_step(f"{status}{n}", status) for n in range(99) for status in statuses]

    picture = "\n".join(drawn(a_snapshot(*steps, a_wait("approve"))))
    both = "\n".join(drawn(a_snapshot(*steps, a_wait("approve"), a_step("bad", "failed"))))

    assert "Boom: it broke" in both
    assert "pgflow-yaml approve 3f2a91c0 approve" in both
    assert "⏸ approve" in picture
    assert "pgflow-yaml approve 3f2a91c0 approve" in picture


@pytest.mark.parametrize(
    ("approved", "words"), [(True, "approved by ann: fine"), (None, "sent by ann: fine")]
)
def test_an_ended_wait_says_who_ended_it(approved: object, words: str) -> None:
    """The decision or the event, with its comment."""
    answer = {"kind": "decision", "approved": approved, "by": "ann", "at": NOW, "comment": "fine"}

    assert words in drawn(a_snapshot(a_step("ok", action="wait", answer=answer)))[2]


def test_a_step_whose_child_has_completed_names_it() -> None:
    """Where to look for what it did."""
    step = a_child("sub")
    step["status"] = "completed"

    assert drawn(a_snapshot(step))[2].endswith("region 7c21ab90")


def test_a_step_that_no_worker_can_call_says_so() -> None:
    """It would look merely queued for a day."""
    step = a_step("work", "started", tasks=some_tasks(queued=1), attempts=0)
    step["refused_at"] = "2026-11-24T12:00:03+00:00"

    assert "queued · no worker has its handler, since 7 s" in drawn(a_snapshot(step))[2]


def test_a_command_too_long_for_a_line_goes_on_in_the_next() -> None:
    """As a shell takes it; both lines or none."""
    step = a_wait("a_gate_with_a_name_that_is_longer_than_usual")

    assert [line.split("┆ ")[-1] for line in drawn(a_snapshot(step), 60)[3:]] == [
        "pgflow-yaml approve 3f2a91c0 \\",
        "  a_gate_with_a_name_that_is_longer_than_usual",
    ]
    assert "approve 3f2a91c0" not in "".join(drawn(a_snapshot(step), 60, 4))
