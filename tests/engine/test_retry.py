"""Runs that are retried: which steps run again, what they keep, and how the run ends then."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import a_step, a_wait, done, failed, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine, Task

NOON = "2100-01-01 12:00:00Z"
VERSION = "select left(split_part(flow_slug, '__', 2), 6) from pgflow.runs where run_id = %s"


def refusal(engine: Engine, *arguments: object) -> tuple[str | None, str]:
    """The code and the sentence of a retry that is refused."""
    with pytest.raises(psycopg.Error) as error:
        engine.call("retry_run", *arguments)
    return error.value.sqlstate, str(error.value.diag.message_primary)


def again(task: Task) -> str:
    """The output of a step in its second life."""
    return f"{task['step']} again"


def work_in(
    engine: Engine, queue: str, *, broken: tuple[tuple[str, int], ...] = ()
) -> tuple[list[int], int]:
    """Work on a map item by item; the items that ran, and how many could have run at once."""
    ran: list[int] = []
    most = 0
    while tasks := engine.claim(queue):
        most = max(most, len(tasks))
        ran += [task["index"] for task in tasks]
        engine.report(
            *(
                failed(task, "fatal")
                if (task["step"], task["index"]) in broken
                else done(task, task["index"])
                for task in tasks
            )
        )
    return ran, most


def test_a_failed_step_and_what_hangs_on_it_run_again(engine: Engine) -> None:
    """Outputs of the other steps are kept; attempts and the run's timeout begin anew."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a"), "c": a_step("b")}, timeout=60_000)
    engine.now(NOON)
    run = engine.start("flow")
    engine.work("flow", broken=("b",))
    engine.now("2100-01-02 12:00:00Z")

    reply = engine.call("retry_run", run)
    ran = engine.work("flow", again)

    assert (reply["again"], reply["kept"], reply["retried"]) == (["b", "c"], ["a"], 1)
    assert ran == ["b", "c"]
    assert engine.result(run) == ("completed", {"c": "c again"}, None)
    shown = engine.snapshot(run)
    assert [step["attempts"] for step in shown["steps"]] == [1, 1, 1]
    assert [error["past"] for error in shown["errors"]] == [True]


def test_a_cancelled_run_goes_on_where_it_was_stopped(engine: Engine) -> None:
    """Also what had never begun; the second cancel of the first life counts no more."""
    engine.deploy(
        "flow", {"a": a_step(), "b": a_step(), "c": a_step("b")}, finally_={"f": a_step()}
    )
    run = engine.start("flow")
    (a, _) = engine.claim("flow")
    engine.report(done(a))
    engine.call("cancel_run", run)
    engine.call("cancel_run", run)

    reply = engine.call("retry_run", run)
    cancelled = engine.call("cancel_run", run)
    engine.work("flow")

    assert reply["again"] == ["b", "c", "f"]
    assert (cancelled["status"], cancelled["outcome"]) == ("started", "cancelled")
    assert engine.statuses(run)["f"] == "completed"
    assert engine.status(run) == "cancelled"


def test_only_the_failed_items_of_a_map_run_again(engine: Engine) -> None:
    """Ten items, three at once, one fails and stops four: never more than three, then all."""
    engine.deploy("flow", {"m": a_step(initial_tasks=10, max_parallel=3)})
    run = engine.start("flow")
    for _ in range(2):
        tasks = engine.claim("flow")
        engine.report(*(
            failed(task, "fatal") if task["index"] == 5 else done(task, task["index"])
            for task in tasks
        ))  # fmt: skip

    reply = engine.call("retry_run", run)
    ran, most = work_in(engine, "flow")

    assert reply["items_kept"] == {"m": {"kept": 5, "total": 10}}
    assert (ran, most) == ([5, 6, 7, 8, 9], 3)
    assert engine.result(run) == ("completed", {"m": list(range(10))}, None)


def test_a_large_map_goes_on_to_be_made(engine: Engine) -> None:
    """Its tasks are made 5,000 at a time, and the first one fails."""
    engine.deploy("flow", {"m": a_step(initial_tasks=5003, max_parallel=500)})
    run = engine.start("flow")
    engine.db.execute("update pgmq.q_pgflow__timers set vt = 'infinity'")
    engine.report(failed(engine.claim("flow", quantity=1)[0], "fatal"))

    engine.call("retry_run", run)
    made = [engine.one("select count(*) from pgflow.step_tasks")]
    engine.claim("none")
    made.append(engine.one("select count(*) from pgflow.step_tasks"))
    assert engine.violations() == []
    engine.call("cancel_run", run)

    assert made == [5000, 5003]


def test_a_retry_may_begin_at_a_step(engine: Engine) -> None:
    """--from: whatever it is, also in a completed run; its map begins with no item."""
    steps = {"a": a_step(), "m": a_step("a", initial_tasks=2), "b": a_step("m"), "c": a_step()}
    engine.deploy("flow", steps)
    run = engine.start("flow")
    engine.work("flow")

    reply = engine.call("retry_run", run, None, ["m"])
    ran = engine.work("flow", again)

    assert (reply["again"], reply["completed_again"]) == (["m", "b"], ["m", "b"])
    assert (reply["kept"], reply["items_kept"]) == (["a", "c"], {})
    assert ran == ["m", "m", "b"]
    assert engine.result(run)[:2] == ("completed", {"b": "b again", "c": "c"})


@pytest.mark.parametrize("left", ["failed", "cancelled"])
def test_a_retry_of_one_step_leaves_the_others(engine: Engine, left: str) -> None:
    """--step: what is left fails the run at its end, and stops nothing before."""
    keys: dict[str, Any] = {"fail_fast": False} if left == "failed" else {}
    steps = {"a": a_step(), "b": a_step(), "c": a_step("a"), "d": a_step("c")}
    engine.deploy("flow", steps, **keys)
    run = engine.start("flow")
    (a, b) = engine.claim("flow")
    engine.report(*([failed(a, "fatal"), failed(b, "fatal")] if keys else [failed(a, "fatal")]))
    assert engine.statuses(run)["b"] == left

    reply = engine.call("retry_run", run, ["a"])
    ran = engine.work("flow")

    assert (reply["again"], ran) == (["a", "c", "d"], ["a", "c", "d"])
    assert engine.statuses(run) == {"a": "completed", "b": left, "c": "completed", "d": "completed"}
    assert engine.result(run)[0] == "failed"
    engine.call("retry_run", run)
    assert engine.work("flow") == ["b"]
    assert engine.status(run) == "completed"


def test_a_handled_failure_is_left_alone(engine: Engine) -> None:
    """Its catch may have undone things: the reply names it; --from runs both again."""
    steps = {"a": a_step(), "undo": a_step(depends_on={"a": "failure"}), "b": a_step("undo")}
    engine.deploy("flow", steps)
    run = engine.start("flow")
    engine.work("flow", broken=("a", "b"))

    first = engine.call("retry_run", run)
    assert engine.work("flow") == ["b"]
    refused = refusal(engine, run)
    engine.call("retry_run", run, None, ["a"])
    engine.work("flow")

    assert (first["again"], first["handled"]) == (["b"], ["a"])
    assert refused[0] == "PF005"
    assert 'the failure of "a" was handled: --from a runs it again' in refused[1]
    assert engine.statuses(run) == {"a": "completed", "undo": "skipped", "b": "skipped"}


def test_only_failed_takes_what_was_tolerated(engine: Engine) -> None:
    """Items that a map tolerated, and a step that when_exhausted skipped."""
    steps = {
        "m": a_step(initial_tasks=3, fail_fast=False, tolerate=1),
        "s": a_step(when_exhausted="skip"),
        "after": a_step("m"),
    }
    engine.deploy("flow", steps)
    run = engine.start("flow")
    work_in(engine, "flow", broken=(("m", 1), ("s", 0)))
    assert engine.statuses(run) == {"m": "completed", "s": "skipped", "after": "completed"}
    assert "--only-failed" in refusal(engine, run)[1]

    reply = engine.call("retry_run", run, None, None, True)
    ran = engine.work("flow", again)

    assert sorted(reply["again"]) == ["after", "m", "s"]
    assert (reply["completed_again"], reply["items_kept"]) == (
        ["after"],
        {"m": {"kept": 2, "total": 3}},
    )
    assert Counter(ran) == Counter(["m", "s", "after"])
    assert engine.snapshot(run)["steps"][0]["output"] == [0, "m again", 2]


def test_errors_of_the_life_before_decide_nothing(engine: Engine) -> None:
    """steps.m.errors, the error quoted, and the tolerance begin anew."""
    given = {"ast": ["path", "steps.m.errors"], "paths": ["steps.m.errors"]}
    steps = {"m": a_step(initial_tasks=3, tolerate=1), "b": a_step("m", with_=given)}
    engine.deploy("flow", steps)
    run = engine.start("flow")
    work_in(engine, "flow", broken=(("m", 0), ("m", 1)))

    engine.call("retry_run", run)
    tasks = engine.claim("flow")
    engine.report(done(tasks[0]), failed(tasks[1], "fatal"))
    reply = engine.turn(queue="flow")
    (env,) = (context["env"] for context in reply["contexts"].values())
    engine.report(done(reply["tasks"][0]))

    assert [error["index"] for error in env["steps.m.errors"]] == [1]
    assert engine.status(run) == "completed"


def test_a_failed_output_is_evaluated_again(engine: Engine) -> None:
    """With an input that it can read; nothing but finally runs."""
    output = {"ast": ["/", ["lit", 1], ["path", "input.n"]], "paths": ["input.n"]}
    engine.deploy("flow", {"a": a_step()}, finally_={"f": a_step()}, output=output, input={"n": {}})
    run = engine.start("flow", {"n": 0})
    engine.work("flow")
    assert engine.result(run)[::2] == ("failed", "ExpressionError")

    reply = engine.call("retry_run", run, None, None, False, '{"n": 2}')
    ran = engine.work("flow")

    assert (reply["again"], ran) == (["f"], ["f"])
    assert engine.result(run) == ("completed", 0.5, None)
    assert engine.one(
        "select details -> 'input_before' from pgflow.audit where action = 'retry'"
    ) == {"n": 0}


def test_another_input_makes_the_items_anew(engine: Engine) -> None:
    """New values go over the old ones; items that the input gave are others then."""
    engine.deploy("flow", {"m": a_step(map=path("input.list"))}, input={"list": {}, "x": {}})
    run = engine.start("flow", {"list": [1, 2], "x": 0})
    engine.work("flow", broken=("m",))

    engine.call("retry_run", run, None, None, False, '{"list": [3]}')
    engine.work("flow", lambda task: task["item"])

    assert engine.snapshot(run)["run"]["input"] == {"list": [3], "x": 0}
    assert engine.result(run)[1] == {"m": [3]}
    assert refusal(engine, run, None, ["m"], False, '{"y": 1}')[0] == "PF002"


def test_a_wait_asks_again(engine: Engine) -> None:
    """Its decision is deleted, an event stands."""
    steps = {
        "review": a_wait(wait={"event": "go", "timeout": 60_000}),
        "b": a_step("review"),
        "other": a_wait(wait={"event": "other", "timeout": 60_000}),
    }
    engine.deploy("flow", steps)
    run = engine.start("flow")
    engine.call("send_event", run, "other", "1")
    engine.call("reject_step", run, "review", "no", "ada")

    engine.call("retry_run", run, None, ["other", "review"])
    waiting = engine.statuses(run)
    engine.call("approve_step", run, "review")
    engine.work("flow")

    assert waiting == {"review": "waiting", "b": "created", "other": "completed"}
    assert engine.status(run) == "completed"


def test_a_late_timer_means_the_life_before(engine: Engine, other: Engine) -> None:
    """A turn holds the messages of a deadline and of a wait when their run is cancelled."""
    wait = {"for": 10_000}
    engine.deploy("flow", {"w": a_wait(wait=wait)}, timeout=10_000)
    for one in (engine, other):
        one.now(NOON)
    run = engine.start("flow")
    with other.db.transaction():
        other.db.execute("select from pgmq.q_pgflow__timers for update")
        engine.call("cancel_run", run)
        engine.call("retry_run", run)
    engine.now("2100-01-01 12:00:09.999Z")
    engine.db.execute("update pgmq.q_pgflow__timers set vt = pgflow.clock()")
    first = engine.one(
        "update pgmq.q_pgflow__timers set vt = 'infinity' where msg_id in (select max(msg_id)"
        " from pgmq.q_pgflow__timers group by message ->> 'kind') returning 1"
    )

    engine.claim("none")

    assert first == 1
    assert engine.statuses(run) == {"w": "waiting"}
    engine.call("cancel_run", run)


def test_a_copy_goes_on_and_the_run_stays(engine: Engine) -> None:
    """With its own tasks, labelled with the id of the other."""
    engine.deploy("flow", {"a": a_step(), "m": a_step("a", initial_tasks=3), "b": a_step("m")})
    run = engine.start("flow", key="one")
    work_in(engine, "flow", broken=(("m", 2),))
    before = engine.snapshot(run)

    copy = engine.call("retry_run", run, None, None, False, None, None, True)["run_id"]
    reply = engine.call("retry_run", run)
    ran = engine.work("flow")

    assert Counter(ran) == Counter(["m", "m", "b", "b"])
    assert copy != run == reply["run_id"]
    assert [engine.status(one) for one in (run, copy)] == ["completed", "completed"]
    assert engine.snapshot(copy)["run"]["labels"] == {"retry_of": run}
    assert before["run"]["labels"] == {}


def test_a_request_that_is_repeated_counts_once(engine: Engine) -> None:
    """As after a lost reply, also where the retried run has ended already."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    engine.work("flow", broken=("a",))
    copying = [run, None, None, False, None, None, True, None, "0" * 32]
    once = [run, None, None, False, None, None, False, None, "1" * 32]

    first = [engine.call("retry_run", *copying), engine.call("retry_run", *once)]
    engine.work("flow", broken=("a",))
    second = [engine.call("retry_run", *copying), engine.call("retry_run", *once)]

    assert first == second
    assert engine.one("select array_agg(retries) from pgflow.runs") == [1, 1]
    assert first[0]["run_id"].replace("-", "") == "0" * 32


def test_a_dry_run_changes_nothing(engine: Engine) -> None:
    """It says what the retry would do."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    engine.work("flow", broken=("a",))
    before = engine.snapshot(run)["run"]

    reply = engine.call("retry_run", run, None, None, False, None, None, True, None, None, True)

    assert (reply["again"], reply["status"], reply["retried"]) == (["a"], "failed", 0)
    assert engine.snapshot(run)["run"] == before


def test_what_cannot_be_retried_is_refused(engine: Engine) -> None:
    """One sentence each."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")}, finally_={"f": a_step()})
    run = engine.start("flow", key="mine")
    goes_on = refusal(engine, run)
    engine.work("flow")
    nothing, unknown = refusal(engine, "mine"), refusal(engine, run, ["x"])
    whole = refusal(engine, run, ["a"])
    engine.db.execute("select pgflow.create_flow('old')")
    old = str(engine.one("select run_id from pgflow.start_flow('old', '{}')"))

    assert goes_on == ("PF005", f"run {run} has not ended: it goes on")
    assert nothing[0] == "PF005"
    assert nothing[1].endswith("which has completed; --from STEP runs it again from a step on")
    assert unknown == ("PF001", f'run {run} has no step "x"')
    assert whole[1].endswith("is completed, so there is nothing to retry; --from a runs it again")
    assert refusal(engine, "nobody")[0] == "PF001"
    assert "pgflow's own clients" in refusal(engine, old)[1]


def test_a_map_whose_outputs_were_too_large_begins_anew(engine: Engine) -> None:
    """To keep its items would fail it again."""
    engine.deploy("flow", {"m": a_step(initial_tasks=2, max_parallel=1)})
    run = engine.start("flow")
    engine.db.execute("create or replace function pgflow._most_output_bytes() returns bigint"
                      " language sql immutable as 'select 300::bigint'")  # fmt: skip
    engine.work("flow", lambda _: "x" * 400)
    assert engine.result(run)[2] == "OutputTooLarge"

    reply = engine.call("retry_run", run)
    ran = engine.work("flow", lambda _: "x")

    assert (reply["items_kept"], ran) == ({}, ["m", "m"])
    assert engine.result(run)[:2] == ("completed", {"m": ["x", "x"]})


def test_the_list_of_failed_work(engine: Engine) -> None:
    """A line for each failed step, the last one first; what is dropped comes back by a failure."""
    engine.deploy(
        "flow", {"a": a_step(), "m": a_step(initial_tasks=3, fail_fast=False)}, fail_fast=False
    )
    engine.deploy("slow", {"w": a_wait(wait={"for": 60_000})}, timeout=10)
    engine.now(NOON)
    run = engine.start("flow", key="one")
    work_in(engine, "flow", broken=(("a", 0), ("m", 0), ("m", 2)))
    engine.now("2100-01-01 12:01:00Z")
    slow = engine.start("slow")
    engine.now("2100-01-01 12:01:10Z")
    engine.claim("none")

    def listed(**filters: object) -> list[tuple[str, str | None, int | None]]:
        names = ", ".join(f"p_{name} => %s" for name in filters)
        rows = engine.one(f"select pgflow.list_failed({names})", *filters.values())
        return [(row["type"], row["step"], row["items"]) for row in rows]

    every = [("RunTimeout", None, None), ("Broken", "a", None), ("Broken", "m", 2)]
    assert listed() == every
    assert listed(flow="flow", step="m") == listed(error="items failed") == every[2:]
    assert listed(error="broken") == listed(version=engine.one(VERSION, run)) == every[1:]
    assert listed(since="30 s") == listed(error="RunTimeout") == listed(runs=[slow]) == every[:1]
    assert listed(older="30 s") == every[1:]
    assert listed(limit=1) == every[:1]
    assert engine.call("drop_failed", slow)["dropped"]
    assert not engine.call("drop_failed", slow)["dropped"]
    assert listed() == every[1:]
    engine.call("retry_run", slow)
    assert listed() == every[1:]
    engine.now("2100-01-01 12:02:10Z")
    engine.claim("none")
    assert listed() == every
    engine.call("retry_run", run, ["m"])
    assert refusal_of_drop(engine, run) == "PF005"
    assert json.dumps(listed()) == json.dumps(every[:1])
    engine.call("cancel_run", run)


def refusal_of_drop(engine: Engine, run: str) -> str | None:
    """The code of a drop that is refused."""
    with pytest.raises(psycopg.Error) as error:
        engine.call("drop_failed", run)
    return error.value.sqlstate
