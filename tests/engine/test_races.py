"""Two sessions at the engine's own functions: one holds its locks, the other waits or passes by."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_child, a_step, a_wait, done, failed, literal, named
from tests.fixtures.waiting import until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.driver import Task

NOON = "2100-01-01 12:00:00Z"


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """The call, begun; its result, or the database's error, is the list's one element later."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(call())
        except psycopg.Error as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def into(engine: Engine, first: Callable[[], Any], other: Engine, then: Callable[[], Any]) -> Any:
    """Do `first` in an open transaction, let the other run into its locks, commit; what it got."""
    with engine.db.transaction():
        first()
        thread, found = in_thread(then)
        until_blocked(engine.db, other.db.info.backend_pid)
    thread.join(20)
    (result,) = found
    return result


def past(engine: Engine, first: Callable[[], Any], other: Engine, then: Callable[[], Any]) -> Any:
    """Do `first` in an open transaction; the other must not wait for it; what it got."""
    other.db.execute("set lock_timeout = '1ms'")
    with engine.db.transaction():
        first()
        result = then()
    other.db.execute("reset lock_timeout")
    return result


def test_the_last_two_steps_before_a_join_end_at_the_same_time(
    engine: Engine, other: Engine
) -> None:
    """The join begins once, with both outputs."""
    engine.deploy("flow", {"a": a_step(), "b": a_step(), "join": a_step("a", "b")})
    engine.start("flow")
    (one,) = engine.claim("flow", quantity=1)
    (two,) = other.claim("flow", quantity=1)

    reply = into(
        engine, lambda: engine.report(done(one, 1)),
        other, lambda: other.turn(done(two, 2), queue="flow"),
    )  # fmt: skip

    (join,) = reply["tasks"]
    assert reply["contexts"][f"{join['run']}/join"]["args"] == {one["step"]: 1, two["step"]: 2}
    other.report(done(join))


def test_a_turn_that_meets_a_cancel_is_told_that_the_run_is_over(
    engine: Engine, other: Engine
) -> None:
    """It waits for the run, and looks at the status only then (D7)."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    run = engine.start("flow")
    (task,) = other.claim("flow")

    verdicts = into(
        engine, lambda: engine.call("cancel_run", run), other, lambda: other.report(done(task))
    )

    assert verdicts == ["run_terminal"]
    assert engine.statuses(run) == {"a": "cancelled", "b": "cancelled"}


def test_a_cancel_that_meets_a_turn_takes_what_the_turn_began(
    engine: Engine, other: Engine
) -> None:
    """The step that the turn makes possible is not there when the cancel is called."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    run = engine.start("flow")
    (task,) = engine.claim("flow")

    reply = into(
        engine, lambda: engine.report(done(task)), other, lambda: other.call("cancel_run", run)
    )

    assert reply["cancelled"] is True
    assert engine.statuses(run) == {"a": "completed", "b": "cancelled"}
    assert engine.one("select count(*) from pgmq.q_flow") == 0


def test_a_cancel_that_meets_the_last_turn_changes_nothing(engine: Engine, other: Engine) -> None:
    """The run is completed when the cancel gets it."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    (task,) = engine.claim("flow")

    reply = into(
        engine, lambda: engine.report(done(task)), other, lambda: other.call("cancel_run", run)
    )

    assert (reply["cancelled"], reply["status"]) == (False, "completed")


def test_a_sweep_passes_by_a_turn(engine: Engine, other: Engine) -> None:
    """F12: it waits for nobody, and what the turn completes stays completed."""
    for each in (engine, other):
        each.now(NOON)
    engine.deploy("flow", {"a": a_step(map=literal([1, 2]))})
    run = engine.start("flow")
    one, two = engine.claim("flow")
    engine.db.execute("delete from pgmq.q_flow")
    other.now("2100-01-01 12:00:31Z")

    repaired = past(engine, lambda: engine.report(done(one)), other, lambda: other.call("sweep"))

    assert repaired == 1  # the task that nobody holds
    engine.report(done(two))
    assert engine.status(run) == "completed"
    assert engine.one("select count(*) from pgmq.q_flow") == 0


def test_a_claim_passes_by_whoever_settles(engine: Engine, other: Engine) -> None:
    """It comes from the queue's row, they from the run's: it takes what is free."""
    for each in (engine, other):
        each.now(NOON)
    engine.deploy("flow", {"a": a_step(map=literal([1, 2, 3, 4]))})
    engine.start("flow")
    one, two = engine.claim("flow", quantity=2)

    tasks = past(
        engine, lambda: engine.report(done(one), failed(two)), other, lambda: other.claim("flow")
    )

    assert [task["index"] for task in tasks] == [2, 3]
    other.report(*map(done, tasks))
    for each in (engine, other):
        each.now("2100-01-01 13:00:00Z")
    assert len(engine.work("flow")) == 1


def test_a_settlement_passes_by_a_claim_of_other_tasks(engine: Engine, other: Engine) -> None:
    """A claim holds its own rows only."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2]))})
    run = engine.start("flow")
    (one,) = other.claim("flow", quantity=1)
    claimed: list[Task] = []

    verdicts = past(
        engine, lambda: claimed.extend(engine.claim("flow")), other, lambda: other.report(done(one))
    )

    assert verdicts == ["applied"]
    engine.report(*map(done, claimed))
    assert engine.status(run) == "completed"


def test_a_heartbeat_passes_by_a_takeover(engine: Engine, other: Engine) -> None:
    """It does not push on what another takes just now; the next one says lost."""
    for each in (engine, other):
        each.now(NOON)
    engine.deploy("flow", {"a": a_step()})
    engine.start("flow")
    (late,) = other.claim("flow")
    engine.now("2100-01-01 12:00:31Z")
    other.now("2100-01-01 12:00:31Z")
    taken: list[Task] = []

    past(
        engine, lambda: taken.extend(engine.claim("flow", lease="10 s")),
        other, lambda: other.heartbeat(late, lease="1 hour"),
    )  # fmt: skip
    beat = other.heartbeat(late, lease="1 hour")

    assert [task["attempt"] for task in beat["lost"]] == [1]
    vt = engine.one("select vt::text from pgmq.q_flow")
    assert vt.startswith("2100-01-01 12:00:41")
    engine.report(done(taken[0]))


def test_a_takeover_passes_by_a_heartbeat(engine: Engine, other: Engine) -> None:
    """Whose worker beats just now is not dead."""
    for each in (engine, other):
        each.now(NOON)
    engine.deploy("flow", {"a": a_step()})
    engine.start("flow")
    (task,) = engine.claim("flow")
    engine.now("2100-01-01 12:00:29Z")
    other.now("2100-01-01 12:00:31Z")

    tasks = past(
        engine, lambda: engine.heartbeat(task),
        other, lambda: other.claim("flow"),
    )  # fmt: skip

    assert tasks == []
    assert engine.report(done(task)) == ["applied"]


def test_a_heartbeat_keeps_what_is_the_workers_and_named(engine: Engine, other: Engine) -> None:
    """Nothing of somebody else, and nothing that has its message's number in another queue."""
    for each in (engine, other):
        each.now(NOON)
    for name in ("one", "two", "three"):
        engine.deploy(name, {"a": a_step()})
        engine.start(name)
    (mine,), (silent,), (theirs,) = engine.claim("one"), engine.claim("two"), other.claim("three")
    engine.now("2100-01-01 12:00:20Z")

    engine.heartbeat(mine)
    engine.heartbeat(theirs)

    leases = "select jsonb_object_agg(queue_name, lease at time zone 'UTC') from pgflow.step_tasks"
    assert engine.one(leases) == {
        "one": "2100-01-01T12:00:50", "two": "2100-01-01T12:00:30", "three": "2100-01-01T12:00:30",
    }  # fmt: skip
    engine.report(done(mine), done(silent))
    other.report(done(theirs))


def test_two_starts_with_one_key_give_one_run(engine: Engine, other: Engine) -> None:
    """The second waits for the first and is given its run."""
    engine.deploy("flow", {"a": a_step()})
    first: list[str] = []

    reply = into(
        engine, lambda: first.append(engine.start("flow", key="k")),
        other, lambda: other.call("start_run", "flow", "{}", "k"),
    )  # fmt: skip

    assert (reply["run_id"], reply["created"]) == (first[0], False)
    assert len(engine.work("flow")) == 1


def test_two_deploys_of_one_file_make_one_version(engine: Engine, other: Engine) -> None:
    """R-12: the second waits for the name and then finds nothing to do."""
    steps = {"a": a_step(), "b": a_step("a")}

    reply = into(
        engine, lambda: engine.deploy("flow", steps), other, lambda: other.deploy("flow", steps)
    )

    assert reply["status"] == "unchanged"
    assert engine.one("select count(*) from pgflow.steps") == 2


def test_two_deploys_of_two_files_leave_the_later_one_active(engine: Engine, other: Engine) -> None:
    """One at a time, and never two active versions."""
    reply = into(
        engine, lambda: engine.deploy("flow", {"a": a_step()}),
        other, lambda: other.deploy("flow", {"b": a_step()}),
    )  # fmt: skip

    active = "select array_agg(version) from pgflow.definitions where active"
    assert (reply["status"], engine.one(active)) == ("created", [reply["version"]])


@pytest.mark.parametrize("function", ["start_run", "start_runs"])
def test_a_start_passes_by_an_activation(engine: Engine, other: Engine, function: str) -> None:
    """It takes the version that is active when it comes; the run stays on it."""
    old = engine.deploy("flow", {"a": a_step()})
    new = engine.deploy("flow", {"b": a_step()}, input={"x": {"default": 1}})
    inputs = "{}" if function == "start_run" else ["{}"]
    query = (
        f"select pgflow.{function}('flow', %s::{'jsonb' if function == 'start_run' else 'jsonb[]'})"
    )

    past(
        engine, lambda: engine.call("activate", "flow", old["version"]),
        other, lambda: other.db.execute(query.encode(), [inputs]),
    )  # fmt: skip
    later = engine.start("flow")

    slugs = "select array_agg(flow_slug order by started_at) from pgflow.runs"
    assert engine.one(slugs) == [new["flow_slug"], old["flow_slug"]]
    assert list(engine.statuses(later)) == ["a"]


def test_runs_are_locked_in_the_order_of_their_ids(engine: Engine, database: str) -> None:
    """R-11: who waits for the first run of a batch holds no other."""
    engine.deploy("flow", {"a": a_step()})
    low, high = sorted(engine.start("flow") for _ in range(2))
    tasks = {task["run"]: task for task in engine.claim("flow")}
    lock = "select from pgflow.runs where run_id = %s for no key update nowait"
    with psycopg.connect(database) as holder, psycopg.connect(database) as third:
        holder.execute(lock.encode(), [low])
        thread, verdicts = in_thread(lambda: engine.report(done(tasks[high]), done(tasks[low])))
        until_blocked(third, engine.db.info.backend_pid)
        third.execute(lock.encode(), [high])  # free, or this is an error
        third.rollback()
        holder.rollback()
        thread.join(20)

    assert verdicts == [["applied", "applied"]]


@pytest.mark.parametrize(
    "order", [("approve_step", "reject_step"), ("reject_step", "approve_step")]
)
def test_of_two_decisions_at_once_the_first_stands(
    engine: Engine, other: Engine, order: tuple[str, str]
) -> None:
    """The second waits, and is told which one it is."""
    engine.deploy("flow", {"ok": a_wait(wait={"event": "approval"})})
    run = engine.start("flow")

    reply = into(
        engine, lambda: engine.call(order[0], run, "ok"),
        other, lambda: other.call(order[1], run, "ok"),
    )  # fmt: skip

    assert reply["applied"] is False
    assert reply["status"] == ("approved" if order[0] == "approve_step" else "rejected")
    assert engine.status(run) == ("completed" if order[0] == "approve_step" else "failed")


def test_of_two_events_at_once_the_first_is_the_output(engine: Engine, other: Engine) -> None:
    """The second changes nothing and says so."""
    engine.deploy("flow", {"ok": a_wait(wait={"event": "paid"})})
    run = engine.start("flow")

    reply = into(
        engine, lambda: engine.call("send_event", run, "paid", "1"),
        other, lambda: other.call("send_event", run, "paid", "2"),
    )  # fmt: skip

    assert (reply["already"], reply["steps"]) == (True, [])
    assert engine.snapshot(run)["run"]["output"] == {"ok": 1}


def test_an_event_that_meets_the_turn_which_reaches_the_wait_is_heard(
    engine: Engine, other: Engine
) -> None:
    """Neither is lost: the event waits for the run and finds the step waiting."""
    engine.deploy("flow", {"a": a_step(), "ok": a_wait("a", wait={"event": "paid"})})
    run = engine.start("flow")
    (task,) = engine.claim("flow")

    reply = into(
        engine, lambda: engine.report(done(task)),
        other, lambda: other.call("send_event", run, "paid", "1"),
    )  # fmt: skip

    assert reply["steps"] == ["ok"]
    assert engine.status(run) == "completed"


def test_a_child_that_ends_passes_by_whoever_holds_its_parent(
    engine: Engine, other: Engine
) -> None:
    """It leaves word in the clock queue; the next turn that gets the parent's run reads it."""
    engine.deploy("child", {"work": a_step()})
    engine.deploy("parent", {"sub": a_child("child")})
    parent = engine.start("parent")
    engine.claim("parent")
    (task,) = other.claim("child")
    lock = "select from pgflow.runs where run_id = %s for no key update"

    verdicts = past(
        engine, lambda: engine.db.execute(lock.encode(), [parent]),
        other, lambda: other.report(done(task, 7)),
    )  # fmt: skip
    engine.claim("parent")

    assert verdicts == ["applied"]
    assert engine.snapshot(parent)["run"]["output"] == {"sub": {"work": 7}}


def test_a_timer_passes_by_whoever_holds_its_run(engine: Engine, other: Engine) -> None:
    """It is due again 50 ms later, and then the step is done."""
    for each in (engine, other):
        each.now(NOON)
    engine.deploy("flow", {"pause": a_wait(wait={"for": 60_000})})
    run = engine.start("flow")
    other.now("2100-01-01 12:01:00Z")
    lock = "select from pgflow.runs where run_id = %s for no key update"

    past(
        engine, lambda: engine.db.execute(lock.encode(), [run]),
        other, lambda: other.claim("flow"),
    )  # fmt: skip
    before = engine.status(run)
    other.now("2100-01-01 12:01:00.051Z")
    other.claim("flow")

    assert (before, engine.status(run)) == ("started", "completed")


@pytest.mark.parametrize("function", ["cancel_run", "stop_worker", "register_worker", "heartbeat"])
def test_functions_may_be_called_twice(engine: Engine, function: str) -> None:
    """The second call finds what the first has done, and no row changes but its time stamps."""
    engine.now(NOON)
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    arguments = {
        "cancel_run": (run, "enough"),
        "stop_worker": (engine.worker,),
        "register_worker": (engine.worker, ["flow"], "{}"),
        "heartbeat": (engine.worker, "30 s", named(task)),
    }[function]
    rows = """select jsonb_build_array((select jsonb_agg(r) from pgflow.runs r),
      (select jsonb_agg(s) from pgflow.step_states s),
      (select jsonb_agg(t) from pgflow.step_tasks t),
      (select jsonb_agg(w) from pgflow.workers w), (select count(*) from pgflow.audit),
      (select jsonb_agg(q) from pgmq.q_flow q))"""

    engine.call(function, *arguments)
    once = engine.one(rows)
    engine.call(function, *arguments)

    assert engine.one(rows) == once
