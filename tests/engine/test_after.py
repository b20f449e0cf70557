"""Flows that the ends of other runs start: who is told, and of what."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.language import listening
from pgflow_yaml.language.inputs import apply_defaults_and_check
from tests.engine.compiled import Compiled
from tests.engine.driver import a_child, a_step, a_wait
from tests.engine.listeners import ORDER, TIMERS, end, heard, listen, told, wind
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def test_an_alert_hears_a_failed_run(engine: Engine) -> None:
    """Its run gets the facts of the end, and its key names the run."""
    listen(engine)
    engine.deploy("order", ORDER, input={"n": {}})
    run = engine.start("order", {"n": 1})

    engine.work("order", broken=["work"])
    engine.turn(queue="none")

    version = engine.snapshot(run)["run"]["version"]
    assert told(engine) == [
        {
            "run": run,
            "flow": "order",
            "version": version,
            "status": "failed",
            "error": {"type": "Broken", "message": "attempt 1 broke", "step": "work", "index": 0,
                      "attempts": 1},
            "step": "work",
            "labels": {},
            "output": None,
            "scheduled_at": None,
            "retries": 0,
        }
    ]  # fmt: skip
    assert engine.one("select run_key from pgflow.runs where flow_name = 'alert'") == (
        f"after:{run}:0"
    )
    assert engine.work("alert") == ["tell"]


def test_each_hears_the_ends_that_it_names(engine: Engine) -> None:
    """failed, cancelled and completed, one or several; the output of a completed run is told."""
    listen(engine, "alert", status=["failed", "cancelled"])
    listen(engine, "next", status=["completed"])
    engine.deploy("order", ORDER)

    runs = {status: end(engine, "order", status) for status in ("failed", "cancelled", "completed")}
    wind(engine)

    bad, good = told(engine), told(engine, "next")
    assert {(one["run"], one["status"]) for one in bad} == {
        (runs[status], status) for status in ("failed", "cancelled")
    }
    (cancelled,) = (one for one in bad if one["status"] == "cancelled")
    assert cancelled["error"] == {"type": "Cancelled", "message": "not wanted"}
    assert cancelled["step"] is None
    assert [(one["run"], one["output"]) for one in good] == [
        (runs["completed"], {"work": "work"}),
    ]


def test_names_and_globs(engine: Engine) -> None:
    """A star stands for any letters; another letter for itself."""
    names = ["order", "order_eu", "reorder"]
    for name in names:
        engine.deploy(name, ORDER)
    found = {}
    for flows in (["order"], ["*"], ["order_*", "re*"], ["*order"], ["nothing"]):
        listen(engine, flows=flows)
        found[" ".join(flows)] = [name for name in names if heard(engine, name) != [None]]

    assert found == {
        "order": ["order"],
        "*": names,
        "order_* re*": ["order_eu", "reorder"],
        "*order": ["order", "reorder"],
        "nothing": [],
    }


def test_several_flows_hear_one_end(engine: Engine) -> None:
    """Each starts one run; the key of a run belongs to its flow."""
    for name in ("alert", "ticket"):
        listen(engine, name)
    engine.deploy("order", ORDER)

    end(engine, "order", "failed")
    wind(engine)

    assert [len(told(engine, name)) for name in ("alert", "ticket")] == [1, 1]


def test_a_flow_never_hears_itself(engine: Engine) -> None:
    """A broken alert does not alert about itself; another one hears it."""
    listen(engine)
    engine.deploy("order", ORDER)
    end(engine, "order", "failed")
    wind(engine)

    engine.work("alert", broken=["tell"])
    wind(engine)

    assert engine.one("select count(*) from pgflow.runs where flow_name = 'alert'") == 1
    assert heard(engine, "alert") == [None]


def test_who_is_not_heard_keeps_the_short_way(engine: Engine) -> None:
    """Nor is the end of a run made longer by somebody who hears its failures alone."""
    for name in ("free", "watched", "followed"):
        engine.deploy(name, ORDER)

    listen(engine, flows=["watched"])
    listen(engine, "next", flows=["followed"], status=["completed"])

    rows = engine.db.execute(
        "select queue_name, ends_simply, fails_at_once from pgflow.flows where after is null"
    )
    assert sorted(rows.fetchall()) == [
        ("followed", False, True),
        ("free", True, True),
        ("watched", True, True),
    ]
    end(engine, "free", "failed")
    end(engine, "watched", "completed")
    assert engine.one(f"select count(*) from {TIMERS}") == 0


def test_only_runs_without_a_parent_tell(engine: Engine) -> None:
    """The failure of a child is that of its parent, which is told of once."""
    engine.deploy("child", ORDER)
    engine.deploy("parent", {"sub": a_child("child")})
    listen(engine)
    run = engine.start("parent")

    wind(engine)
    engine.work("child", broken=["work"])
    wind(engine)

    assert [(one["run"], one["flow"]) for one in told(engine)] == [(run, "parent")]


def test_every_way_to_end_is_heard(engine: Engine) -> None:
    """By a timeout, before the first task, after `finally`, by the second cancel, by a worker."""
    listen(engine, status=["failed", "cancelled"])
    waits = {"event": "go"}
    engine.deploy("late", {"wait": a_wait(wait=waits)}, timeout=1000)
    engine.deploy("never", {"wait": a_wait(wait=waits)}, finally_={"tidy": a_step()})
    engine.deploy("broken", {"a": a_step(if_={"ast": ["path", "input.x"], "paths": ["input.x"]},
                                         when_unmet="fail")}, input={"x": {}})  # fmt: skip
    engine.deploy("order", ORDER)
    engine.now("2036-01-01 12:00:00Z")
    late, broken = engine.start("late"), engine.start("broken", {"x": False})
    never, stopped, given_up = engine.start("never"), engine.start("never"), engine.start("order")

    engine.call("cancel_run", never)
    engine.call("cancel_run", stopped)
    engine.call("cancel_run", stopped)
    engine.claim("order")
    engine.call("fail_run", given_up, '{"type": "X", "message": "x"}')
    engine.work("never")
    engine.now("2036-01-01 12:00:01Z")
    wind(engine)

    assert {one["run"] for one in told(engine)} == {late, broken, never, stopped, given_up}
    kinds = {one["run"]: one["error"]["type"] for one in told(engine)}
    assert kinds[late] == "RunTimeout"
    assert kinds[broken] == "ConditionUnmet"


def test_an_output_that_is_large_is_left_out(engine: Engine) -> None:
    """64 kB are told, one letter more is not."""
    listen(engine, status=["completed"])
    engine.deploy("order", ORDER, output={"ast": ["path", "steps.work.output"],
                                          "paths": ["steps.work.output"]})  # fmt: skip
    for size in (65_534, 65_535):
        engine.start("order")
        engine.work("order", lambda _, size=size: "x" * size)  # type: ignore[misc]
        wind(engine)

    assert sorted(len(one["output"] or "") for one in told(engine)) == [0, 65_534]


def test_a_listener_that_is_deployed_later_hears_only_later_ends(engine: Engine) -> None:
    """Even while the news of an earlier end is still on its way to another listener."""
    listen(engine, "alert")
    engine.deploy("order", ORDER)
    end(engine, "order", "failed")

    listen(engine, "later")
    wind(engine)
    second = end(engine, "order", "failed")
    wind(engine)

    assert len(told(engine, "alert")) == 2
    assert [one["run"] for one in told(engine, "later")] == [second]


def test_a_flow_that_listens_no_more_is_not_started(engine: Engine) -> None:
    """Its next version has no `after`: the news on its way changes nothing."""
    listen(engine)
    engine.deploy("order", ORDER)
    end(engine, "order", "failed")

    engine.deploy("alert", ORDER)
    wind(engine)

    assert told(engine) == []
    assert heard(engine, "order") == [None]
    assert engine.one(f"select count(*) from {TIMERS}") == 0


def test_the_version_that_is_active_then_is_started(engine: Engine) -> None:
    """As a start would: news on its way goes to the alert as it was mended meanwhile."""
    listen(engine)
    engine.deploy("order", ORDER)
    end(engine, "order", "failed")

    listen(engine, timeout=5000)
    wind(engine)

    slug = engine.one("select flow_slug from pgflow.definitions where name = 'alert' and active")
    assert engine.one("select flow_slug from pgflow.runs where flow_name = 'alert'") == slug


def test_all_versions_are_heard(engine: Engine) -> None:
    """Old ones, whose runs go on, those that come later, and what `activate` changes."""
    engine.deploy("order", ORDER)
    engine.deploy("order", {"work": a_step(timeout=1)})
    listen(engine)
    engine.deploy("order", {"work": a_step(timeout=2)})
    assert heard(engine, "order") == [{"failed": ["alert"]}] * 3

    silent = engine.deploy("alert", ORDER)["version"]
    assert heard(engine, "order") == [None] * 3
    loud = engine.one("select version from pgflow.definitions where name = 'alert' and not active")
    engine.call("activate", "alert", loud)
    assert heard(engine, "order") == [{"failed": ["alert"]}] * 3
    engine.call("activate", "alert", silent)
    assert heard(engine, "order") == [None] * 3


def test_a_deploy_and_an_activation_do_not_miss_each_other(engine: Engine, other: Engine) -> None:
    """The flow is deployed in an open transaction: the listener waits for it, and hears it."""
    listener = threading.Thread(target=listen, args=(other,))
    with engine.db.transaction():
        engine.deploy("order", ORDER)
        listener.start()
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        eventually(lambda: engine.one(waiting), what="the listener waits for the deploy")
    listener.join()

    assert heard(engine, "order") == [{"failed": ["alert"]}]


def test_chains_end(engine: Engine) -> None:
    """Two flows that hear each other: four runs after the first, and a line in the audit."""
    listen(engine, "ping", flows=["pong"], status=["completed"])
    listen(engine, "pong", flows=["ping"], status=["completed"])
    engine.start("ping")

    for _ in range(8):
        engine.work("ping")
        engine.work("pong")
        wind(engine)

    chains = engine.db.execute("select flow_name, chain from pgflow.runs order by chain").fetchall()
    assert chains == [("ping", 0), ("pong", 1), ("ping", 2), ("pong", 3), ("ping", 4)]
    lines = engine.db.execute("select details from pgflow.audit where action = 'after'").fetchall()
    assert lines == [
        (
            {
                "flow": "ping",
                "status": "completed",
                "not_started": ["pong"],
                "reason": "4 runs have started each other by `after`; the chain ends here",
            },
        )
    ]


def test_an_after_that_no_compiler_writes_is_refused(engine: Engine) -> None:
    """From SQL as well."""
    shapes: list[object] = [
        None,
        {},
        {"flows": [], "status": ["failed"]},
        {"flows": ["*"], "status": []},
        {"flows": "*", "status": ["failed"]},
        {"flows": ["*"], "status": ["started"]},
        {"flows": ["*", 5], "status": ["failed"]},
        {"flows": ["a|b"], "status": ["failed"]},
        {"flows": ["o.*"], "status": ["failed"]},
    ]
    for after in shapes:
        with pytest.raises(psycopg.Error, match='"after" needs "flows", a list of names'):
            engine.deploy("alert", ORDER, after=after)


def test_the_compiled_input_is_what_a_listener_is_given(engine: Engine) -> None:
    """Every field, and of the type that the compiler declares."""
    text = "flow: alert\nafter: {flows: [order, o*]}\nsteps: {tell: {handler: app.tell}}\n"
    alert = Compiled(engine, text)
    body = engine.one("select definition from pgflow.definitions where name = 'alert'")
    engine.deploy("order", ORDER)
    end(engine, "order", "failed")
    wind(engine)

    (given,) = told(engine)

    assert set(given) == set(listening.INPUT)
    assert apply_defaults_and_check(body["input"], given) == (given, [])
    assert body["after"] == {"flows": ["o*", "order"], "status": ["failed"]}
    assert alert.start(**given)
