"""The clock of a test: it is asked what comes next, set to that, and chance stays the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.engine.driver import Engine, a_step, a_wait, done, failed, literal

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_what_comes_next_is_the_first_of_all_queues(engine: Engine) -> None:
    """A retry, a delayed start, a timer: whichever is first; what never comes is none."""
    engine.call("set_clock", NOON)
    assert engine.call("next_wake") is None

    engine.deploy("late", {"a": a_step(start_delay=7_200_000)})
    engine.deploy("soon", {"a": a_step(retry={"base_delay": 3_600_000})})
    engine.deploy("timer", {"a": a_wait(wait={"for": 1_800_000})})
    engine.deploy("never", {"a": a_wait(wait={"event": "e"})})
    runs = [engine.start(name) for name in ("late", "soon", "never")]
    engine.report(failed(engine.claim("soon")[0]))
    after_a_failure = engine.call("next_wake")
    runs.append(engine.start("timer"))
    before_a_timer = engine.call("next_wake")

    assert after_a_failure == NOON + timedelta(hours=1)
    assert before_a_timer == NOON + timedelta(minutes=30)
    for run in runs:
        engine.call("cancel_run", run)


def test_the_jitter_of_a_set_clock_is_the_same_each_time(engine: Engine) -> None:
    """Two runs from the same moment rest equally long; within a moment rests differ."""
    retry = {"jitter": True, "base_delay": 60_000}
    engine.deploy("flow", {"a": a_step(map=literal([0] * 5), retry=retry)})

    found = []
    for _ in range(2):
        engine.call("set_clock", NOON)
        run = engine.start("flow")
        engine.report(*[failed(task) for task in engine.claim("flow")])
        rows = engine.db.execute("select vt from pgmq.q_flow order by msg_id").fetchall()
        found.append([vt for (vt,) in rows])
        engine.call("cancel_run", run)
        engine.claim("flow")

    assert found[0] == found[1]
    assert len(set(found[0])) == 5


def test_a_set_clock_is_the_time_of_everything(engine: Engine) -> None:
    """Run, step and task are stamped with it."""
    engine.deploy("flow", {"a": a_step()})
    engine.call("set_clock", NOON)
    run = engine.start("flow")
    engine.call("set_clock", NOON + timedelta(days=1))
    engine.report(done(engine.claim("flow")[0]))

    shown = engine.snapshot(run)["run"]
    assert datetime.fromisoformat(shown["started_at"]) == NOON
    assert datetime.fromisoformat(shown["ended_at"]) == NOON + timedelta(days=1)
