"""Two snapshots go in, what happened between them comes out, in the order of the clock."""

from __future__ import annotations

import time

from pgflow_yaml.cli.live.page import step_rows
from pgflow_yaml.runs.events import changes, line
from tests.unit.snapshots import NOW, a_failure, a_run, a_snapshot, a_step, some_tasks


def test_the_first_look_tells_everything_so_far() -> None:
    """Whoever starts to follow late still gets every start and every end, sorted by time."""
    early = a_step("early", ended_at="2026-11-24T12:00:01+00:00")
    late = a_step("late", started_at="2026-11-24T12:00:02+00:00")

    events = changes(None, a_snapshot(late, early, a_step("next", "created")))

    statuses = [(event["event"], event.get("step"), event["status"]) for event in events]
    assert statuses == [
        ("run", None, "started"),
        ("step", "early", "started"),
        ("step", "early", "completed"),
        ("step", "late", "started"),
        ("step", "late", "completed"),
    ]


def test_the_first_look_at_a_retried_run_tells_no_more_than_the_retry() -> None:
    """What it kept was told when it happened; a map that goes on has one line."""
    kept = a_step("kept", ended_at="2026-11-24T12:00:01+00:00")
    tasks = some_tasks(completed=3, started=1)
    resumed = a_step("fetch", "started", map=True, tasks=tasks, started_at=NOW)

    events = changes(None, a_snapshot(kept, resumed, run=a_run(started_at=NOW)))

    assert [(event["event"], event.get("step")) for event in events] == [
        ("run", None),
        ("step", "fetch"),
    ]


def test_the_first_line_says_how_long_runs_usually_take() -> None:
    """Where that is known and asked for."""
    first, *_ = changes(None, a_snapshot(a_step("a", "started"), usual_seconds=6.5))

    assert line(first).endswith("started, usually takes 6.5 s")


def test_nothing_new_tells_nothing() -> None:
    """The same snapshot twice has no events, whatever it shows."""
    snapshot = a_snapshot(a_step("a"), a_step("b", "started"), a_step("c", "failed"))

    assert changes(snapshot, snapshot) == []


def test_a_failed_attempt_becomes_a_line_with_its_next_try() -> None:
    """The attempt, of how many, the error, and when it goes on."""
    step = a_step("charge", "started", max_attempts=5)
    before = a_snapshot(step)
    at, retry_at = "2026-11-24T12:00:07.12+00:00", "2026-11-24T12:00:11+00:00"
    failure = a_failure("charge", attempt=2, at=at, retry_at=retry_at)

    (event,) = changes(before, a_snapshot(step, errors=[failure]))

    assert line(event) == (
        "12:00:07.120Z  charge        attempt 2 of 5 failed  "
        "CardTimeout: acquirer b did not answer in 30 s; again in 4 s"
    )


def test_a_failure_is_told_before_the_step_that_it_ends() -> None:
    """Both have the same time: cause first."""
    at = "2026-11-24T12:00:04+00:00"
    after = a_snapshot(a_step("charge", "failed"), errors=[a_failure("charge", at=at, final=True)])

    events = changes(a_snapshot(a_step("charge", "started")), after)

    assert [(event["event"], event["status"]) for event in events] == [
        ("task", "failed"),
        ("step", "failed"),
    ]


def test_a_step_ends_before_the_one_that_it_makes_possible_begins() -> None:
    """Both happen in one transaction and so at one time."""
    at = "2026-11-24T12:00:04+00:00"
    before = a_snapshot(a_step("a", "started"), a_step("b", "created"))
    after = a_snapshot(a_step("a", ended_at=at), a_step("b", "started", started_at=at))

    events = changes(before, after)

    assert [(event["step"], event["status"]) for event in events] == [
        ("a", "completed"),
        ("b", "started"),
    ]


def test_the_last_attempt_promises_no_other() -> None:
    """A final failure does not say that it is tried again."""
    step = a_step("charge", "failed", max_attempts=2)
    failure = a_failure("charge", attempt=2, final=True)

    events = changes(a_snapshot(step), a_snapshot(step, errors=[failure]))

    assert "again" not in line(events[0])


def test_an_item_of_a_map_is_named_by_its_index() -> None:
    """`fetch[17]` says which of 320 failed."""
    step = a_step("fetch", "started", map=True, tasks=some_tasks(total=320, started=9))
    before = a_snapshot(step)

    (event,) = changes(before, a_snapshot(step, errors=[a_failure("fetch", index=17)]))

    assert event["index"] == 17
    assert "  fetch[17]  " in line(event)


def test_a_wide_map_is_ten_lines_not_ten_thousand() -> None:
    """Progress is told each time another tenth is done."""
    progress = []
    before = None
    for done in range(1001):
        tasks = some_tasks(total=1000, completed=done, started=1)
        after = a_snapshot(a_step("fetch", "started", map=True, tasks=tasks))
        progress += [event for event in changes(before, after) if event["event"] == "step"]
        before = after

    assert len(progress) == 11
    assert "100 of 1,000 done" in line(progress[1])


def test_skips_and_failures_say_why() -> None:
    """A skipped step names its reason, a failed one its error, a run how long it took."""
    before = a_snapshot(a_step("vat", "created"), a_step("pay", "started"))
    after = a_snapshot(a_step("vat", "skipped"), a_step("pay", "failed"), run=a_run("failed"))

    lines = [line(event) for event in changes(before, after)]

    assert any("vat           skipped: condition not met" in text for text in lines)
    assert any("pay           failed  Boom: it broke  4.0 s" in text for text in lines)
    assert lines[-1].endswith("run           failed after 10.0 s")


def test_a_log_line_is_one_line() -> None:
    """S-18: line breaks and escapes in an error do not reach the terminal."""
    failure = a_failure("pay", message="a\nb\x1b[2J\x9b31mc")
    step = a_step("pay", "started")

    (event,) = changes(a_snapshot(step), a_snapshot(step, errors=[failure]))

    assert "CardTimeout: a bc; again soon" in line(event)


def test_an_event_without_a_time_of_its_own_has_the_time_of_the_snapshot() -> None:
    """A step that was skipped without ever starting still has a place in the order."""
    skipped = a_step("vat", "skipped", ended_at=None)

    (event,) = changes(a_snapshot(a_step("vat", "created")), a_snapshot(skipped))

    assert event["at"] == NOW


def test_a_wait_is_told_once_with_what_it_waits_for() -> None:
    """Event and time left in words; the whole of it in JSON."""
    waits = {"kind": "event", "event": "approval", "until": "2026-11-24T12:01:00+00:00"}
    waiting = a_step("ok", "waiting", action="wait", handler=None, waits=waits)
    before = a_snapshot(a_step("ok", "created"))

    started, event = changes(before, a_snapshot(waiting))

    assert (started["status"], event["status"], event["waits"]) == ("started", "waiting", waits)
    assert line(event).endswith('ok            waits for event "approval" · 60 s left')
    assert changes(a_snapshot(waiting), a_snapshot(waiting)) == []


def test_a_child_is_named_when_it_starts_and_when_another_does() -> None:
    """A second attempt is a second run."""
    waits = {"kind": "child", "event": None, "until": None}
    step = a_step("sub", "waiting", action="flow", flow="region", waits=waits)
    first = a_snapshot({**step, "children": ["7c21ab90-x"]})
    second = a_snapshot({**step, "children": ["7c21ab90-x", "8d32bc01-x"]})

    (event,) = changes(first, second)

    assert event["children"] == ["7c21ab90-x", "8d32bc01-x"]
    assert line(changes(a_snapshot(a_step("sub", "started")), first)[0]).endswith("runs 7c21ab90")


def test_a_map_of_children_is_told_once() -> None:
    """Not at each of its runs."""
    waits = {"kind": "child", "event": None, "until": None}
    tasks = some_tasks(total=50, started=2)
    step = a_step(
        "sub", "waiting", action="flow", flow="region", waits=waits, map=True, tasks=tasks
    )
    two = a_snapshot({**step, "children": ["7c21ab90-x", "8d32bc01-x"]})

    assert line(changes(a_snapshot(a_step("sub", "started")), two)[0]).endswith("runs 2 flows")
    assert changes(a_snapshot({**step, "children": ["7c21ab90-x"]}), two) == []


def test_each_call_of_a_repeated_step_is_a_line() -> None:
    """Its number, and when the next comes."""
    repeat = {"every": 4000, "max": 10}
    before = a_snapshot(a_step("poll", "started", iteration=2, repeat=repeat))
    at = "2026-11-24T12:00:14+00:00"
    after = a_snapshot(a_step("poll", "started", iteration=3, repeat=repeat, retry_at=at))

    (event,) = changes(before, after)

    assert event["iteration"] == 3
    assert line(event).endswith("poll          call 3; again in 4 s")


def test_an_outcome_that_waits_for_finally_is_told_once() -> None:
    """The outcome, and the steps that run before the end."""
    steps = [a_step("work", "started"), a_step("audit", "created", **{"finally": True})]
    after = a_snapshot(*steps, run=a_run(outcome="cancelled"))

    (event,) = changes(a_snapshot(*steps), after)

    assert line(event).endswith("run           stopping: cancelled; then finally: audit")
    assert changes(after, after) == []


def test_an_outcome_that_waits_for_child_runs_only_says_so() -> None:
    """There is no finally to be named."""
    step = a_step("sub", "cancelled", action="flow")

    (event,) = changes(a_snapshot(step), a_snapshot(step, run=a_run(outcome="failed")))

    assert line(event).endswith("run           stopping: failed; its child runs end first")


def test_a_failure_that_is_caught_says_by_whom() -> None:
    """At the failure who may handle it, at the end of the run who did."""
    catch = a_step("undo", "created", depends_on=["pay"], edges={"pay": "failure"})
    before = a_snapshot(a_step("pay", "started"), catch)
    failed = a_snapshot(a_step("pay", "failed"), catch)
    done = a_snapshot(
        a_step("pay", "failed"), {**catch, "status": "completed"}, run=a_run("completed")
    )

    (event,) = changes(before, failed)
    end = changes(failed, done)[-1]

    assert event["caught_by"] == ["undo"]
    assert line(event).endswith("undo may handle it")
    assert end["handled"] == {"pay": ["undo"]}
    assert line(end).endswith('completed after 10.0 s  the failure of "pay" was handled by undo')


def test_the_events_and_rows_of_1000_failures_are_cheap() -> None:
    """The handling of failures is derived once for all steps, not once for each."""
    steps = [a_step(f"s{number}", "failed", index=number) for number in range(1000)]
    snapshot = a_snapshot(*steps)

    begin = time.thread_time()
    events, rows = changes(None, snapshot), step_rows(snapshot)

    assert time.thread_time() - begin < 0.5
    assert (len(events), len(rows)) == (2001, 1000)
