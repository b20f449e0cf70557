"""What a snapshot says of runs that wait, repeat and have children; who works for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.engine.driver import a_child, a_step, a_wait, done, failed, literal

if TYPE_CHECKING:
    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"


def test_edges_and_bounds_are_those_of_the_flow(engine: Engine) -> None:
    """Which outcome is asked of which dependency, how many at once, how many may fail, where."""
    each = a_step("a", map=literal([1]), max_parallel=3, tolerate={"percent": 5}, queue="fast")
    catch = a_step() | {"depends_on": {"a": "failure", "each": "any"}}
    engine.deploy("flow", {"a": a_step(), "each": each, "catch": catch})

    a, wide, last = engine.snapshot(engine.start("flow"))["steps"]

    assert (a["queue"], a["max_parallel"], a["tolerate"], a["repeat"]) == ("flow", None, None, None)
    assert (wide["queue"], wide["max_parallel"], wide["tolerate"]) == ("fast", 3, {"percent": 5})
    assert (wide["edges"], last["edges"]) == ({"a": "success"}, {"a": "failure", "each": "any"})


def test_a_repeated_step_says_when_it_is_called_again(engine: Engine) -> None:
    """Between two calls; not while it is called."""
    repeat = {"until": literal(False), "every": 10_000, "max": 5}
    engine.deploy("flow", {"poll": a_step(repeat=repeat)})
    engine.now(NOON)
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    engine.report(done(task))

    between = engine.snapshot(run)["steps"][0]
    engine.now("2036-01-01 12:00:10Z")
    engine.claim("flow")
    during = engine.snapshot(run)["steps"][0]

    assert (between["iteration"], between["retry_at"]) == (1, "2036-01-01T12:00:10+00:00")
    assert between["repeat"] == {"every": 10_000, "max": 5}
    assert (during["iteration"], during["retry_at"]) == (1, None)


def test_a_step_shows_the_child_that_goes_on_and_what_it_asks(engine: Engine) -> None:
    """Through all levels: the event that a grandchild waits for stands at the step."""
    engine.deploy("leaf", {"work": a_step(), "ok": a_wait("work", wait={"event": "go"})})
    engine.deploy("middle", {"leaf": a_child("leaf")})
    empty = {"ast": ["dict"], "paths": []}
    engine.deploy("top", {"middle": a_child("middle", map=literal([1, 2]), with_=empty)})
    run = engine.start("top")
    for _ in range(4):
        engine.work("leaf")

    (step,) = engine.snapshot(run)["steps"]

    assert step["child"]["id"] in step["children"]
    assert step["child"]["steps"] == {"total": 1, "completed": 0, "done": 0}
    assert [(each["flow"], each["step"], each["event"]) for each in step["awaited"]] == [
        ("leaf", "ok", "go")
    ] * 2
    for each in step["awaited"]:
        engine.call("send_event", each["run_id"], "go")
    for _ in range(4):
        engine.work("leaf")
    (step,) = engine.snapshot(run)["steps"]
    assert (step["status"], step["awaited"], step["child"]["status"]) == (
        "completed",
        [],
        "completed",
    )


def test_a_failed_child_is_the_one_that_is_shown(engine: Engine) -> None:
    """Once none goes on."""
    engine.deploy("child", {"work": a_step(retry={"max_attempts": 1})}, input={"n": {}})
    with_n = {"ast": ["dict", "n", ["path", "item"]], "paths": ["item"]}
    engine.deploy(
        "top", {"each": a_child("child", map=literal([1, 2, 3]), with_=with_n, tolerate=1)}
    )
    run = engine.start("top")
    engine.claim("nobody")
    for task in engine.claim("child"):
        engine.report(
            {**done(task), "outcome": "fatal", "error": {"type": "Broken", "message": "it broke"}}
            if task["index"] == 0 and engine.call("run_input", task["run"]) == {"n": 2}
            else done(task)
        )
    engine.claim("nobody")

    (step,) = engine.snapshot(run)["steps"]

    assert step["status"] == "completed"
    assert (step["child"]["index"], step["child"]["status"]) == (1, "failed")
    assert step["child"]["error"]["message"] == "it broke"


def test_a_run_says_how_many_workers_are_alive(engine: Engine) -> None:
    """Not one that was last heard from before the server started, or more than a minute ago."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    engine.call("register_worker", str(uuid4()), ["other"], "{}")
    alive = engine.snapshot(run)["workers"]
    engine.db.execute(
        "update pgflow.workers set last_heartbeat_at = "
        "pg_postmaster_start_time() - '1 ms'::interval where queue_name = 'other'"
    )
    restarted = engine.snapshot(run)["workers"]
    engine.db.execute("update pgflow.workers set last_heartbeat_at = now() - '61 s'::interval")

    assert (alive, restarted, engine.snapshot(run)["workers"]) == (2, 1, 0)


def test_a_task_whose_handler_nobody_has_says_since_when(engine: Engine) -> None:
    """A worker that refuses it leaves its mark; one that has the handler removes it."""
    engine.deploy("flow", {"a": a_step()})
    engine.now(NOON)
    run = engine.start("flow")
    (step,) = engine.snapshot(run)["steps"]

    engine.claim("flow", refused=[step["handler"]])
    refused = engine.snapshot(run)["steps"][0]["refused_at"]
    engine.now("2036-01-01 12:00:02Z")
    engine.claim("flow")

    assert step["refused_at"] is None
    assert refused == "2036-01-01T12:00:00+00:00"
    assert engine.snapshot(run)["steps"][0]["refused_at"] is None


def test_a_wait_says_who_ended_it(engine: Engine) -> None:
    """By a decision or by the event, whichever came first; nothing where time ended it."""
    engine.deploy(
        "flow",
        {
            "ok": a_wait(wait={"event": "x"}),
            "paid": a_wait(wait={"event": "y"}),
            "late": a_wait(wait={"event": "z", "timeout": 1000}, when_exhausted="skip"),
            "end": a_step("ok"),
        },
    )
    engine.now(NOON)
    run = engine.start("flow")
    engine.call("approve_step", run, "ok", "fine", "ann")
    engine.call("send_event", run, "x", "1", "bob")
    engine.call("send_event", run, "y", "1", "bob")
    engine.now("2036-01-01 12:00:02Z")
    engine.claim("nobody")
    engine.now("2036-01-01 12:00:03Z")
    engine.call("send_event", run, "z", "1", "bob")

    ok, paid, late, end = (step["answer"] for step in engine.snapshot(run)["steps"])

    assert ok == {
        "kind": "decision",
        "approved": True,
        "by": "ann",
        "at": "2036-01-01T12:00:00+00:00",
        "comment": "fine",
    }
    assert (paid["kind"], paid["approved"], paid["by"]) == ("event", None, "bob")
    assert (late, end) == (None, None)


def test_what_a_worker_has_no_slot_for_is_shown_as_queued(engine: Engine) -> None:
    """It claims a supply for its slots; the first ones of its claims are those that run."""
    engine.call("register_worker", engine.worker, None, "{}")
    engine.db.execute("""update pgflow.workers set info = '{"concurrency": 3}'""")
    engine.deploy("flow", {"a": a_step(map=literal([0] * 4)), "b": a_step(map=literal([0] * 4))})
    run = engine.start("flow")

    tasks = engine.claim("flow", quantity=6)

    snapshot = engine.call("run_snapshot", run, True)
    shown = [(step["tasks"]["started"], step["tasks"]["queued"]) for step in snapshot["steps"]]
    assert (len(tasks), shown) == (6, [(3, 1), (0, 4)])
    started, queued = ["started"], ["queued"]
    assert [step["items"] for step in snapshot["steps"]] == [started * 3 + queued, queued * 4]
    engine.report(done(tasks[0]), done(tasks[1]))
    running = [step["tasks"]["started"] for step in engine.snapshot(run)["steps"]]
    assert running == [2, 1]


def test_a_task_tells_what_it_was_called_with(engine: Engine) -> None:
    """The value of `with`, the item, the outputs before it or the input; secrets are masked."""
    tree = ["dict", "x", ["path", "item"], "key", ["path", "secrets.KEY"]]
    paths = ["item", "secrets.KEY"]
    engine.deploy(
        "flow",
        {
            "first": a_step(),
            "next": a_step("first"),
            "each": a_step(map=literal([7, 8]), with_={"ast": tree, "paths": paths}),
            "plain": a_step(map=literal([None])),
        },
        input={"n": {"type": "integer"}},
    )
    run = engine.start("flow", {"n": 1})
    before = engine.call("task_snapshot", run, "first")
    engine.report(*(done(task, "out") for task in engine.claim("flow", quantity=9)))
    engine.claim("flow")

    def arguments(step: str, index: int = 0) -> object:
        return engine.call("task_snapshot", run, step, index)["arguments"]

    assert (before["status"], "arguments" in before) == ("queued", False)
    assert arguments("first") == {"n": 1}
    assert arguments("next") == {"first": "out"}
    assert arguments("each", 1) == {"x": 8, "key": "***"}
    assert arguments("plain") is None
    assert engine.call("task_snapshot", run, "each", 2) is None


def test_a_task_has_its_own_output_and_errors(engine: Engine) -> None:
    """Those of other items, of which there may be thousands, are not among them."""
    engine.deploy("flow", {"each": a_step(map=literal([7, 8]))})
    run = engine.start("flow")
    first, second = engine.claim("flow")
    engine.report(done(first, "out"), failed(second))

    ended, failing = (engine.call("task_snapshot", run, "each", n) for n in (0, 1))

    assert (ended["status"], ended["output"], ended["errors"]) == ("completed", "out", [])
    assert (failing["output"], [error["attempt"] for error in failing["errors"]]) == (None, [1])
    assert (failing["attempts"], failing["arguments"]) == (1, 8)


def test_the_usual_time_is_the_median_of_the_runs_before(engine: Engine) -> None:
    """Of those of the same flow that completed; three are needed, and later ones do not count."""
    engine.deploy("flow", {"a": a_step()})
    engine.deploy("other", {"a": a_step()})

    def run_of(minute: int, seconds: int, flow: str = "flow", end: Any = done) -> str:
        engine.now(f"2036-01-01 12:{minute}:00Z")
        run = engine.start(flow)
        (task,) = engine.claim(flow)
        engine.now(f"2036-01-01 12:{minute}:{seconds}Z")
        engine.report(end(task))
        return run

    runs = [run_of(10, 10), run_of(11, 20), run_of(12, 45, "other"), run_of(13, 30)]
    runs += [run_of(14, 59, end=lambda task: failed(task, "fatal")), run_of(15, 50)]

    usual = [engine.call("usual_seconds", run) for run in runs]

    assert usual == [None, None, None, None, 20, 20]
