"""R-1 to R-4: the attempt is the fence, the message is the lease, every loop has an end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from tests.engine.driver import Engine, a_step, done, failed, literal
from tests.fixtures.waiting import until_blocked

if TYPE_CHECKING:
    from tests.engine.driver import Task


@pytest.fixture
def flow(engine: Engine) -> str:
    """A flow of one step; the clock stands still, far from the server's start."""
    engine.deploy("flow", {"a": a_step()})
    engine.now("2100-01-01 12:00:00Z")
    return "flow"


def expire(*engines: Engine) -> None:
    """Move the clocks past a lease of 30 s."""
    for engine in engines:
        engine.now("2100-01-01 12:00:31Z")


def test_a_late_completion_is_dropped(engine: Engine, other: Engine, flow: str) -> None:
    """D1, F8: the zombie's output is refused, the owner's stands."""
    run = engine.start(flow)
    (zombie,) = engine.claim(flow)
    expire(engine, other)
    (owner,) = other.claim(flow)

    late = engine.report(done(zombie, "zombie"))
    verdict = other.report(done(owner, "owner"))

    assert (late, verdict) == (["lost"], ["applied"])
    assert engine.snapshot(run)["run"]["output"] == {"a": "owner"}


def test_a_late_failure_disturbs_nobody(engine: Engine, other: Engine, flow: str) -> None:
    """D2: it neither requeues the live attempt nor uses up the budget."""
    run = engine.start(flow)
    (zombie,) = engine.claim(flow)
    expire(engine, other)
    (owner,) = other.claim(flow)

    late = engine.report(failed(zombie, "fatal"))

    assert late == ["lost"]
    assert engine.status(run) == "started"
    assert other.report(done(owner)) == ["applied"]


def test_a_report_of_somebody_elses_attempt_is_lost(
    engine: Engine, other: Engine, flow: str
) -> None:
    """The right attempt from the wrong worker changes nothing."""
    engine.start(flow)
    (task,) = engine.claim(flow)

    assert other.report(done(task)) == ["lost"]
    assert engine.report(done(task)) == ["applied"]


def test_an_older_attempt_of_the_same_worker_is_lost(engine: Engine, flow: str) -> None:
    """An abandoned thread reports after its worker claimed the task anew: the attempt decides."""
    run = engine.start(flow)
    (first,) = engine.claim(flow)
    engine.report(failed(first, "released"))
    (second,) = engine.claim(flow)

    late = engine.report(done(first, "late"))

    assert late == ["lost"]
    assert engine.report(done(second, "right")) == ["applied"]
    assert engine.snapshot(run)["run"]["output"] == {"a": "right"}


def test_the_same_completion_again_is_already_there(engine: Engine, flow: str) -> None:
    """F3: the reply to COMMIT was lost, the worker asks again; another output is refused."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    run = engine.start(flow)
    (task,) = engine.claim(flow)

    verdicts = [engine.report(done(task, output)) for output in ("one", "one", "two")]

    assert verdicts == [["applied"], ["already_same"], ["lost"]]
    assert engine.snapshot(run)["steps"][0]["output"] == "one"


@pytest.mark.parametrize("beside", [(), ("released",)], ids=["alone", "beside-a-released-one"])
def test_one_report_twice_in_a_batch_counts_once(
    engine: Engine, flow: str, beside: tuple[str, ...]
) -> None:
    """I4: a task has at most one completion, whichever way its batch is settled."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2]))})
    run = engine.start(flow)
    one, two = engine.claim(flow)
    others = [failed(two, outcome) for outcome in beside]

    verdicts = engine.report(done(one, "first"), done(one, "second"), *others)

    assert verdicts == ["applied", "lost", *("applied" for _ in others)]
    assert engine.statuses(run) == {"a": "started"}
    if beside:
        (two,) = engine.claim(flow)
    engine.report(done(two, "other"))
    assert engine.snapshot(run)["run"]["output"] == {"a": ["first", "other"]}


def test_a_report_for_nothing_is_lost(engine: Engine, flow: str) -> None:
    """A task that does not exist, in a run that does not exist."""
    ghost = {"run": "00000000-0000-0000-0000-000000000000", "step": "a", "index": 0, "attempt": 1}

    assert engine.report(done(ghost)) == ["lost"]


def test_an_expired_lease_is_taken_over_without_using_up_the_budget(
    engine: Engine, other: Engine
) -> None:
    """R-2: attempt + 1, crash + 1, and the one counted attempt is still there."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 1})})
    engine.now("2100-01-01 12:00:00Z")
    other.now("2100-01-01 12:00:29Z")
    run = engine.start("flow")
    engine.claim("flow")

    early = other.claim("flow")
    expire(other)
    (taken,) = other.claim("flow")
    other.report(done(taken))

    assert early == []
    assert taken["attempt"] == 2
    step = engine.snapshot(run)["steps"][0]
    assert (step["attempts"], step["crashes"]) == (1, 1)


def test_a_task_that_kills_its_workers_fails_at_the_fifth(engine: Engine) -> None:
    """R-4: crashes are bounded apart from attempts."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    claims = 0
    for hour in range(10):
        engine.now(f"2100-01-01 {hour:02}:00:00Z")
        claims += len(Engine(engine.db).claim("flow"))

    assert claims == 5
    assert engine.status(run) == "failed"
    error = engine.snapshot(run)["run"]["error"]
    assert error["type"] == "Crashed"
    assert "5 times" in error["message"]


def test_a_takeover_from_oneself_is_no_crash(engine: Engine, flow: str) -> None:
    """A worker whose heartbeat came late gets its own task again, under a new attempt."""
    run = engine.start(flow)
    engine.claim(flow)
    expire(engine)

    (again,) = engine.claim(flow)
    engine.report(done(again))

    assert again["attempt"] == 2
    assert engine.snapshot(run)["steps"][0]["crashes"] == 0


def test_nothing_is_taken_over_in_the_first_lease_after_a_restart(
    engine: Engine, other: Engine
) -> None:
    """Its worker may only have been cut off from a server that has just come back."""
    engine.deploy("flow", {"a": a_step()})
    engine.start("flow")
    (task,) = engine.claim("flow", lease="1 ms")

    early = other.claim("flow", lease="1 day")

    assert early == []
    assert engine.report(done(task)) == ["applied"]


def test_a_heartbeat_pushes_the_lease_on(engine: Engine, other: Engine, flow: str) -> None:
    """Heard of in time, a worker keeps its task past the first lease."""
    engine.start(flow)
    (task,) = engine.claim(flow)
    engine.now("2100-01-01 12:00:20Z")
    beat = engine.heartbeat(task)
    other.now("2100-01-01 12:00:49Z")

    assert beat == {"lost": [], "stop": []}
    assert other.claim(flow) == []
    assert engine.report(done(task)) == ["applied"]


def test_a_heartbeat_ends_at_the_attempts_own_deadline(engine: Engine, other: Engine) -> None:
    """A worker that beats but does not stop its handler loses the task after its timeout."""
    engine.deploy("flow", {"a": a_step(timeout=10_000)})
    engine.now("2100-01-01 12:00:00Z")
    engine.start("flow")
    (task,) = engine.claim("flow")
    engine.now("2100-01-01 12:00:12Z")
    engine.heartbeat(task)
    other.now("2100-01-01 12:00:16Z")

    (taken,) = other.claim("flow")

    assert taken["attempt"] == 2
    other.report(done(taken))


def test_a_heartbeat_of_an_older_attempt_keeps_nothing(
    engine: Engine, other: Engine, flow: str
) -> None:
    """An abandoned thread's attempt is lost, although the same worker has the task anew."""
    engine.start(flow)
    (first,) = engine.claim(flow)
    expire(engine)
    engine.claim(flow)
    engine.now("2100-01-01 12:00:50Z")

    beat = engine.heartbeat(first)
    other.now("2100-01-01 12:01:02Z")
    (taken,) = other.claim(flow)

    assert [task["attempt"] for task in beat["lost"]] == [1]
    assert taken["attempt"] == 3
    other.report(done(taken))


def test_a_heartbeat_says_what_is_lost_and_what_must_stop(engine: Engine, other: Engine) -> None:
    """Lost: somebody else has it. Stop: its run has ended."""
    engine.deploy("flow", {"a": a_step()})
    engine.now("2100-01-01 12:00:00Z")
    first, second = engine.start("flow"), engine.start("flow")
    tasks = {task["run"]: task for task in engine.claim("flow")}
    expire(engine, other)
    (taken,) = other.claim("flow", quantity=1)
    cancelled = second if taken["run"] == first else first
    engine.call("cancel_run", cancelled)

    beat = engine.heartbeat(*tasks.values())

    assert [task["run"] for task in beat["lost"]] == [taken["run"]]
    assert [task["run"] for task in beat["stop"]] == [cancelled]
    other.report(done(taken))


def test_a_refused_handler_is_left_as_it_was(engine: Engine, other: Engine, flow: str) -> None:
    """R-6, F31: a worker without the handler changes nothing; a capable one gets it at once."""
    engine.start(flow)
    row = "select (q.vt, q.read_ct, t.*)::text from pgmq.q_flow q, pgflow.step_tasks t"
    before = engine.one(row)

    refused = [engine.claim(flow, refused=["app.work"]) for _ in range(20)]
    after = engine.one(row)
    other.now("2100-01-01 12:00:00Z")
    (task,) = other.claim(flow)

    assert (refused, after) == ([[]] * 20, before)
    assert task["attempt"] == 1
    other.report(done(task))


def test_a_handler_that_nobody_has_fails_after_a_day(engine: Engine, flow: str) -> None:
    """R-4: that loop has an end too. The day begins when the first worker comes across the task."""
    run = engine.start(flow)
    engine.now("2100-01-03 12:00:00Z")
    engine.claim(flow, refused=["app.work"])
    engine.now("2100-01-04 11:59:59Z")
    engine.claim(flow, refused=["app.work"])
    before = engine.status(run)
    engine.now("2100-01-04 12:00:01Z")

    engine.claim(flow, refused=["app.work"])

    assert before == "started"
    assert engine.snapshot(run)["run"]["error"]["type"] == "HandlerMissing"


def test_a_handler_that_somebody_has_is_not_missing(
    engine: Engine, other: Engine, flow: str
) -> None:
    """While a capable worker is at work elsewhere, what others cannot call only waits."""
    run = engine.start(flow)
    engine.claim(flow, refused=["app.work"])
    engine.deploy("elsewhere", {"a": a_step()})
    engine.start("elsewhere")
    other.now("2100-01-01 20:00:00Z")
    other.work("elsewhere")
    engine.now("2100-01-02 13:00:00Z")

    engine.claim(flow, refused=["app.work"])

    assert engine.status(run) == "started"
    other.now("2100-01-02 13:00:02Z")
    assert len(other.work(flow)) == 1


def test_the_claim_never_waits_for_a_lock(engine: Engine, database: str) -> None:
    """What somebody holds is left alone, and is visible again 50 ms later."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2]))})
    engine.now("2100-01-01 12:00:00Z")
    engine.start("flow")
    with psycopg.connect(database) as holder:
        holder.execute("select from pgflow.step_tasks where task_index = 0 for update")
        engine.db.execute("set statement_timeout = '5s'")

        (free,) = engine.claim("flow")

    engine.now("2100-01-01 12:00:00.051Z")
    (held,) = engine.claim("flow")
    assert (free["index"], held["index"]) == (1, 0)
    engine.report(done(free), done(held))


def test_two_finishers_of_one_map_give_one_whole_output(
    engine: Engine, other: Engine, database: str
) -> None:
    """The second waits for the run's row and then sees what the first wrote."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2]))})
    run = engine.start("flow")
    (one,) = engine.claim("flow", quantity=1)
    (two,) = other.claim("flow", quantity=1)
    verdicts: list[Any] = []
    with psycopg.connect(database) as holder, psycopg.connect(database, autocommit=True) as watcher:
        holder.execute("select from pgflow.runs for no key update")
        threads = [_reporting(who, task, verdicts) for who, task in ((engine, one), (other, two))]
        for who in (engine, other):
            until_blocked(watcher, who.db.info.backend_pid)
        holder.rollback()
        for thread in threads:
            thread.join()

    assert verdicts == [["applied"], ["applied"]]
    assert engine.snapshot(run)["run"]["output"] == {"a": [0, 1]}


def test_the_sweep_sends_what_has_lost_its_message(engine: Engine) -> None:
    """R-3, I2: a queued task whose message somebody deleted runs all the same."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2, 3]))})
    run = engine.start("flow")
    engine.db.execute(
        "delete from pgmq.q_flow where msg_id <> (select min(msg_id) from pgmq.q_flow)"
    )

    repaired, again = engine.call("sweep"), engine.call("sweep")

    assert (repaired, again) == (2, 0)
    assert len(engine.work("flow")) == 3
    assert engine.status(run) == "completed"


def test_the_sweep_begins_a_step_that_was_ready_and_did_not_start(engine: Engine) -> None:
    """R-3: somebody set the row back by hand."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    run = engine.start("flow")
    engine.db.execute("delete from pgflow.step_tasks; delete from pgmq.q_flow")
    engine.db.execute(
        "update pgflow.step_states set status = 'created', remaining_tasks = null,"
        " started_at = null where step_slug = 'a'"
    )

    assert engine.call("sweep") == 1
    assert len(engine.work("flow")) == 2
    assert engine.status(run) == "completed"


def test_a_message_without_a_task_is_dropped_by_who_reads_it(engine: Engine, flow: str) -> None:
    """I8: what a hand wrote into the queue does not go round for ever."""
    engine.db.execute("select pgmq.send('flow', '{\"what\": \"is this\"}')")

    assert engine.claim(flow) == []
    assert engine.one("select count(*) from pgmq.q_flow") == 0


def test_a_sweep_looks_at_some_runs_and_in_time_at_all(engine: Engine) -> None:
    """Its cost is bounded by its limit; where it begins is random."""
    engine.deploy("flow", {"a": a_step()})
    for _ in range(20):
        engine.start("flow")
    engine.db.execute("delete from pgmq.q_flow")

    first = engine.call("sweep", 5)
    rounds = 1
    while engine.one("select count(*) from pgmq.q_flow") < 20:
        engine.call("sweep", 5)
        rounds += 1
        assert rounds < 500

    assert first == 5
    assert len(engine.work("flow")) == 20


def test_the_queues_may_all_be_dropped_and_the_sweep_brings_the_work_back(engine: Engine) -> None:
    """Callers of pgmq drop every queue; the sweep makes ours anew, no two tasks share an id."""
    steps = {"a": a_step(map=literal(list(range(6000))))}
    engine.deploy("flow", steps)
    run = engine.start("flow")
    engine.db.execute("select pgmq.drop_queue(queue_name) from pgmq.list_queues()")

    idle = engine.claim("flow")
    engine.call("sweep")
    engine.start("flow")

    assert idle == []
    assert len(engine.work("flow")) == 12_000
    assert engine.status(run) == "completed"


def _reporting(engine: Engine, task: Task, verdicts: list[Any]) -> threading.Thread:
    thread = threading.Thread(
        target=lambda: verdicts.append(engine.report(done(task, task["index"])))
    )
    thread.start()
    return thread


def test_a_worker_that_nobody_registered_is_given_nothing(engine: Engine) -> None:
    """Its tasks would have no owner: 23503, and they stay queued."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")

    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="last_worker_id"):
        engine.call("turn", str(uuid4()), "[]", ["flow"], 1, "30 s", [])

    assert engine.snapshot(run)["steps"][0]["tasks"]["queued"] == 1
    engine.work("flow")
