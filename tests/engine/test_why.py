"""`show --why`: each state of a step has one reason of one kind, and one sentence."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pgflow_yaml.runs.why import KINDS, sentences
from pgflow_yaml.text import moment
from tests.engine.driver import a_child, a_step, a_wait, done, failed, path

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"
OTHERS = {"dependency", "child", "child_told", "run_limit", "missing_slot"}
OTHERS |= {"start_time", "overlap", "backfill"}
ANY: dict[str, Any] = {"input": {"c": {}}}
SOON = "2036-01-01 12:00:10Z"
"""Ten seconds later."""
INFO = json.dumps({"host": "web1", "pid": 7, "concurrency": 2})


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """A worker with a name and two slots, at noon."""
    engine.now(NOON)
    engine.worker = str(uuid4())
    engine.call("register_worker", engine.worker, None, INFO)
    return engine


def told(engine: Engine, run: str) -> dict[str, str]:
    """The sentence of each step that the run waits for."""
    reasons = engine.call("run_why", run)
    now = engine.snapshot(run)["now"]
    return sentences(reasons, moment(now))


def kinds(engine: Engine, run: str) -> dict[str, str]:
    """The kind of each reason."""
    return {step: reason["kind"] for step, reason in engine.call("run_why", run).items()}


def one(engine: Engine, **keys: Any) -> str:
    """Start a run whose first step is `a`, and a step behind it; its id."""
    engine.deploy("flow", {"a": a_step(**keys), "z": a_step("a")})
    return engine.start("flow")


def running(engine: Engine) -> str:
    run = one(engine)
    engine.claim("flow")
    engine.now(SOON)
    engine.heartbeat()
    return run


def last(engine: Engine) -> str:
    engine.deploy("flow", {"b": a_step(), "c": a_step("b")}, finally_={"a": a_step()})
    return engine.start("flow")


def stopping(engine: Engine) -> str:
    engine.deploy("flow", {"a": a_step()}, finally_={"b": a_step()})
    run = engine.start("flow")
    engine.claim("flow")
    engine.now(SOON)
    engine.call("cancel_run", run)
    return run


def timer(engine: Engine) -> str:
    engine.deploy("flow", {"a": a_wait(wait={"for": 7_800_000})})
    return engine.start("flow")


def event(engine: Engine) -> str:
    engine.deploy("flow", {"a": a_wait(wait={"event": "approval", "timeout": 172_800_000})})
    return engine.start("flow")


def start_delay(engine: Engine) -> str:
    return one(engine, start_delay=40_000)


def back_off(engine: Engine) -> str:
    run = one(engine, retry={"max_attempts": 5, "base_delay": 8_000})
    engine.report(failed(engine.claim("flow")[0]))
    return run


def repeat(engine: Engine) -> str:
    again = {"every": 4_000, "max": 60, "until": {"ast": ["lit", False], "paths": []}}
    run = one(engine, repeat=again)
    engine.report({**failed(engine.claim("flow")[0]), "outcome": "completed", "output": 1})
    return run


def max_parallel(engine: Engine) -> str:
    items = {"ast": ["lit", [1, 2, 3]], "paths": []}
    run = one(engine, map=items, max_parallel=2)
    engine.claim("flow")
    return run


def making(engine: Engine) -> str:
    run = one(engine, initial_tasks=6_000)
    engine.db.execute("delete from pgmq.q_pgflow__timers")  # the next tasks are not made
    engine.db.execute("update pgflow.step_states set timer_message_id = null where step_slug = 'a'")
    engine.claim("flow")
    return run


def silent(engine: Engine) -> str:
    run = one(engine)
    engine.claim("flow")
    engine.now("2036-01-01 12:00:24Z")
    return run


def no_worker(engine: Engine) -> str:
    engine.call("stop_worker", engine.worker)
    engine.call("register_worker", str(uuid4()), ["flow"], INFO)
    return one(engine, queue="gpu")


def no_handler(engine: Engine) -> str:
    run = one(engine)
    engine.db.execute(
        "insert into pgflow.missing_handlers values ('app.work', %s)", ["2036-01-01 11:46Z"]
    )
    engine.now("2036-01-01 12:14Z")
    engine.call("register_worker", str(uuid4()), ["flow"], INFO)
    return run


def no_room(engine: Engine) -> str:
    engine.deploy("other", {"fetch": a_step(queue="flow"), "save": a_step(queue="flow")})
    engine.start("other")
    engine.claim("flow")
    run = one(engine)
    engine.now("2036-01-01 12:00:20Z")
    engine.heartbeat()
    return run


def missing(engine: Engine) -> str:
    run = one(engine)
    engine.db.execute("delete from pgmq.q_flow")
    return run


def paused(engine: Engine) -> str:
    run = one(engine)
    engine.call("pause_queue", "flow", "anna")
    return run


def overdue(engine: Engine) -> str:
    run = timer(engine)
    engine.now("2036-01-01 14:10:30Z")
    return run


def step_limit(engine: Engine) -> str:
    engine.deploy("flow", {"a": a_step(concurrency={"limit": 1, "key": path("input.c")})}, **ANY)
    runs = [engine.start("flow", {"c": "acme"}) for _ in range(3)]
    engine.claim("flow")
    return runs[2]


def rate(engine: Engine) -> str:
    engine.deploy("flow", {"a": a_step(rate_limit={"limit": 1, "per": 60_000})})
    runs = [engine.start("flow") for _ in range(3)]
    engine.claim("flow")
    engine.now("2036-01-01 12:00:01Z")
    engine.claim("flow")  # the first start counts from now
    engine.now(SOON)
    return runs[2]


def ready(engine: Engine) -> str:
    run = overdue(engine)
    engine.call("register_worker", str(uuid4()), ["flow"], INFO)
    return run


def restarted(engine: Engine) -> str:
    """The server starts ten seconds after the claim, and the lease ends twenty seconds later."""
    server = engine.one("select pg_postmaster_start_time()")
    engine.now((server - timedelta(seconds=10)).isoformat())
    engine.call("register_worker", engine.worker, None, INFO)
    run = one(engine)
    engine.claim("flow")
    engine.now((server + timedelta(seconds=24)).isoformat())
    return run


STATES: list[tuple[Callable[[Engine], str], str, str]] = [
    (step_limit, "step_limit", 'place 2 of 2 for a slot of step a, key "acme" (1 at once)'),
    (rate, "rate", "next start in 54 s: 1 in 1m; 1 before it"),
    (running, "running", "running for 10 s, attempt 1, on web1/7"),
    (last, "finally", "runs last: waits for 2 steps to end"),
    (
        stopping,
        "stopping",
        (
            "stopping: worker web1/7 has not confirmed the end of its task; "
            "the lease ends in 20 s at the latest"
        ),
    ),
    (timer, "timer", "waits until 2036-01-01T14:10:00.000Z, 2 h 10 m"),
    (
        event,
        "event",
        'waits for event "approval", 2 d 0 h left: pgflow-yaml approve RUN a',
    ),
    (start_delay, "start_delay", "starts in 40 s (its start delay)"),
    (back_off, "back_off", "attempt 2 of 5 in 8 s, after Broken"),
    (repeat, "repeat", "called again in 4 s, call 2 of 60: `until` did not hold"),
    (max_parallel, "max_parallel", "2 items running, the maximum"),
    (making, "making", "5,000 of 6,000 items made"),
    (
        silent,
        "lost_worker",
        "its worker web1/7 was last heard from 24 s ago; another takes over in 6 s",
    ),
    (no_worker, "no_worker", 'no worker serves queue "gpu": pgflow-yaml worker --queue gpu'),
    (
        no_handler,
        "no_handler",
        "no worker has had app.work for 14 min; the step fails in 23 h 46 m",
    ),
    (
        no_room,
        "no_room",
        "1 worker serves its queue, all 2 slots are busy, longest with fetch (20 s)",
    ),
    (
        missing,
        "missing",
        "its message is gone; the next sweep sends it again, within 30 s",
    ),
    (
        paused,
        "paused",
        (
            'queue "flow" is paused by anna since 2036-01-01T12:00:00.000Z: '
            "pgflow-yaml resume --queue flow"
        ),
    ),
    (overdue, "clock", "overdue by 30 s, and no worker is alive: pgflow-yaml worker"),
    (ready, "ready", "is ready; the next turn of any worker goes on"),
    (
        restarted,
        "restarted",
        "the database restarted 24 s ago: old leases are left alone for 6 s more",
    ),
]


@pytest.mark.parametrize(("state", "kind", "sentence"), STATES)
def test_each_state_has_its_sentence(
    engine: Engine, state: Callable[[Engine], str], kind: str, sentence: str
) -> None:
    """Step `a` is in this state."""
    run = state(engine)

    assert (kinds(engine, run)["a"], told(engine, run)["a"]) == (
        kind,
        sentence.replace("RUN", run[:8]),
    )
    engine.call("sweep")


def test_no_kind_is_without_a_state() -> None:
    """The others have tests of their own below."""
    assert {kind for _, kind, _ in STATES} | OTHERS == KINDS


def test_a_run_that_has_not_begun_has_a_reason_of_its_own(engine: Engine) -> None:
    """Its place, and who holds the slots and since when; its parent follows it there."""
    engine.deploy("flow", {"a": a_step()}, concurrency={"limit": 1, "key": path("input.c")}, **ANY)
    holder = engine.start("flow", {"c": 7})
    engine.claim("flow")
    engine.now(SOON)
    runs = [engine.start("flow", {"c": 7}) for _ in range(2)]
    engine.claim("flow")

    assert kinds(engine, runs[1]) == {"run": "run_limit"}
    place = f"for a slot of flow flow, key 7 (1 at once): held by {holder[:8]} (10 s)"
    assert told(engine, runs[1]) == {"run": f"place 2 of 2 {place}"}
    assert engine.snapshot(runs[0])["run"]["why"]["place"] == 1
    parent = a_step(flow="flow", with_={"ast": ["lit", {"c": 7}], "paths": []})
    del parent["handler"]
    engine.deploy("parent", {"p": parent})
    run = engine.start("parent")
    engine.claim("flow")
    told_of_child = told(engine, run)["p"]
    assert f": place 3 of 3 {place}" in told_of_child
    engine.db.execute("delete from pgflow.slots where not held")
    assert kinds(engine, runs[1]) == {"run": "missing_slot"}
    engine.call("sweep")


def test_a_step_waits_for_others_and_what_they_do(engine: Engine) -> None:
    """Each with its end, where an edge asks for one."""
    engine.deploy(
        "flow",
        {
            "a": a_step(retry={"base_delay": 60_000}),
            "b": a_step(),
            "z": a_step(depends_on={"a": "failure", "b": "any"}),
        },
    )
    run = engine.start("flow")
    engine.report(failed(engine.claim("flow", quantity=1)[0]))
    engine.claim("flow")

    assert told(engine, run)["z"] == "waits for a (retries) to fail, b (runs) to end"


def nested(engine: Engine, **steps: Any) -> str:
    """Start a run whose child runs a child with these steps; its id."""
    engine.deploy("leaf", steps)
    engine.deploy("middle", {"inner": a_child("leaf")})
    engine.deploy("top", {"a": a_child("middle")})
    run = engine.start("top")
    for _ in range(3):
        engine.claim("nothing")
    return run


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            {"work": a_step(queue="gpu"), "sign": a_wait(wait={"event": "go"})},
            (
                "waits for middle MIDDLE, step inner: waits for leaf LEAF, step sign: waits for "
                'event "go": pgflow-yaml send LEAF go'
            ),
        ),
        (
            {"work": a_step(), "other": a_step("work")},
            (
                "waits for middle MIDDLE, step inner: waits for leaf LEAF, step work: queued: 1 "
                "worker serves its queue and has a free slot; more: pgflow-yaml show --why LEAF"
            ),
        ),
        (
            {"cool": a_wait(wait={"for": 10_000})},
            (
                "waits for middle MIDDLE, step inner: waits for leaf LEAF, step cool: waits until "
                "2036-01-01T12:00:10.000Z, 10 s; more: pgflow-yaml show --why LEAF"
            ),
        ),
    ],
)
def test_a_child_is_followed_to_what_it_waits_for(
    engine: Engine, steps: dict[str, Any], sentence: str
) -> None:
    """Through both runs, to the step that somebody can do something about."""
    run = nested(engine, **steps)

    rows = engine.db.execute("select flow_name, left(run_id::text, 8) from pgflow.runs").fetchall()
    ids = {name.upper(): short for name, short in rows}
    for name in ("MIDDLE", "LEAF"):
        sentence = sentence.replace(name, ids[name])
    assert told(engine, run) == {"a": sentence}


def test_the_end_of_a_child_is_told(engine: Engine) -> None:
    """It has ended, and no turn has told its parent yet."""
    engine.deploy("leaf", {"work": a_step()})
    engine.deploy("top", {"a": a_child("leaf")})
    run = engine.start("top")
    engine.claim("nothing")
    (task,) = engine.claim("leaf")
    engine.report(done(task))

    assert told(engine, run)["a"] == "its child run has ended; the next turn of any worker goes on"


def test_an_ended_step_tells_of_the_child_that_its_run_waits_for(engine: Engine) -> None:
    """The child was told to stop, and cleans up."""
    engine.deploy("leaf", {"work": a_step()}, finally_={"tidy": a_step()})
    engine.deploy("top", {"a": a_child("leaf")})
    run = engine.start("top")
    engine.claim("nothing")
    engine.call("cancel_run", run)

    reasons = engine.call("run_why", run)

    assert reasons["a"]["kind"] == "child"
    assert reasons["a"]["stops"] is True
    assert "step tidy: " in told(engine, run)["a"]


def test_nothing_waits_in_a_run_that_has_ended(engine: Engine) -> None:
    """And an unknown run has no reasons at all."""
    run = one(engine)
    engine.work("flow")

    assert engine.call("run_why", run) == {}
    assert engine.call("run_why", str(uuid4())) is None
