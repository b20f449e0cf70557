"""What a step may say about its tasks, and a flow about its runs."""

from __future__ import annotations

import json
from collections import Counter

import psycopg
import pytest

from tests.engine.driver import Engine, a_step, done, failed, literal, path

NOON = "2036-01-01 12:00:00Z"
ONCE = {"max_attempts": 1}


def run_map(engine: Engine, broken: set[int], **keys: object) -> str:
    """A map over ten items of which these fail, item by item in order; the run."""
    engine.deploy(
        "flow",
        {"each": a_step(map=literal(list(range(10))), retry=ONCE, **keys), "end": a_step("each")},
    )
    run = engine.start("flow")
    while tasks := engine.claim("flow", quantity=1):
        (task,) = tasks
        engine.report(
            failed(task)
            if task["step"] == "each" and task["index"] in broken
            else done(task, task["item"])
        )
    return run


def test_a_map_stops_at_its_first_failure(engine: Engine) -> None:
    """fail_fast is the default: the others are cancelled."""
    run = run_map(engine, {3})

    each = engine.snapshot(run)["steps"][0]
    assert each["status"] == "failed"
    assert each["items"] == ["completed"] * 3 + ["failed"] + ["cancelled"] * 6


def test_without_fail_fast_all_items_run_and_then_the_step_fails(engine: Engine) -> None:
    """The error counts them and cites the last."""
    run = run_map(engine, {3, 5}, fail_fast=False)

    each = engine.snapshot(run)["steps"][0]
    assert each["items"].count("completed") == 8
    assert (each["status"], each["error"]["type"]) == ("failed", "Broken")
    assert each["error"]["message"] == "2 of 10 items failed (0 may), the last: attempt 1 broke"


@pytest.mark.parametrize("tolerate", [2, {"percent": 20}, {"percent": 29.9}])
def test_tolerated_failures_are_null_in_the_output(engine: Engine, tolerate: object) -> None:
    """So many items may fail; the step is completed."""
    run = run_map(engine, {0, 9}, tolerate=tolerate)

    each = engine.snapshot(run)["steps"][0]
    assert each["status"] == "completed"
    assert each["output"] == [None, 1, 2, 3, 4, 5, 6, 7, 8, None]
    assert engine.status(run) == "completed"


@pytest.mark.parametrize(("more", "ran"), [({}, 6), ({"fail_fast": False}, 10)])
def test_one_failure_too_many_fails_the_step(
    engine: Engine, more: dict[str, object], ran: int
) -> None:
    """At once, or after the rest where fail_fast is off."""
    run = run_map(engine, {1, 3, 5}, tolerate=2, **more)

    each = engine.snapshot(run)["steps"][0]
    assert each["status"] == "failed"
    assert sum(item in ("completed", "failed") for item in each["items"]) == ran


def test_a_map_of_which_all_may_fail_completes(engine: Engine) -> None:
    """100 %: nothing but nulls."""
    run = run_map(engine, set(range(10)), tolerate={"percent": 100})

    assert engine.snapshot(run)["steps"][0]["output"] == [None] * 10


def test_a_tolerant_map_that_fails_may_be_skipped(engine: Engine) -> None:
    """when_exhausted decides what a failed step means, as for any."""
    run = run_map(engine, {0, 1}, tolerate=1, when_exhausted="skip-cascade")

    assert engine.statuses(run) == {"each": "skipped", "end": "skipped"}
    assert engine.status(run) == "completed"


def test_the_errors_of_items_can_be_read(engine: Engine) -> None:
    """steps.each.errors, in the order of the items."""
    read = {"ast": ["path", "steps.each.errors"], "paths": ["steps.each.errors"]}
    engine.deploy(
        "flow",
        {
            "each": a_step(map=literal([1, 2, 3]), retry=ONCE, tolerate=3),
            "end": a_step("each", with_=read),
        },
    )
    run = engine.start("flow")
    one, two, three = engine.claim("flow")

    reply = engine.turn(failed(three), done(two), failed(one), queue="flow")

    errors = reply["contexts"][f"{run}/end"]["env"]["steps.each.errors"]
    assert [(error["index"], error["type"]) for error in errors] == [(0, "Broken"), (2, "Broken")]
    engine.report(done(reply["tasks"][0]))


def test_a_name_below_the_errors_of_items_is_none(engine: Engine) -> None:
    """They are a list: what is not in it is null, not the whole of it."""
    below = path("steps.map.errors.message")
    engine.deploy(
        "flow",
        {"map": a_step(map=literal([1]), tolerate=1), "a": a_step("map", with_=below)},
    )
    engine.start("flow")
    (item,) = engine.claim("flow")

    reply = engine.turn(failed(item, "fatal"), queue="flow")

    (context,) = reply["contexts"].values()
    assert context["env"] == {"steps.map.errors.message": None}


def test_a_wide_tolerant_map_goes_on_past_its_window(engine: Engine) -> None:
    """Failed items free their places too."""
    engine.deploy(
        "flow",
        {"each": a_step(initial_tasks=2500, retry=ONCE, tolerate={"percent": 50}, fail_fast=False)},
    )
    run = engine.start("flow")
    while tasks := engine.claim("flow", quantity=500):
        engine.report(*(failed(task) if task["index"] % 3 == 0 else done(task) for task in tasks))

    assert engine.status(run) == "completed"


def test_max_parallel_bounds_what_is_claimed(engine: Engine, other: Engine) -> None:
    """Of one run, over all workers; another run has its own."""
    engine.deploy("flow", {"each": a_step(map=literal(list(range(7))), max_parallel=3)})
    runs = [engine.start("flow") for _ in range(2)]

    first = engine.claim("flow")
    elsewhere = other.claim("flow")
    more = engine.turn(done(first[0]), done(first[1]), queue="flow")["tasks"]

    assert Counter(task["run"] for task in first) == dict.fromkeys(runs, 3)
    assert elsewhere == []
    assert sorted(task["run"] for task in more) == sorted(task["run"] for task in first[:2])
    engine.report(*map(done, first[2:] + more))
    engine.work("flow")


def test_a_step_is_called_again_until_its_expression_holds(engine: Engine) -> None:
    """Rounds use no attempts; the last output is the step's."""
    until = {"ast": ["==", ["path", "output.ready"], ["lit", True]], "paths": ["output.ready"]}
    engine.deploy(
        "flow", {"poll": a_step(retry=ONCE, repeat={"until": until, "every": 10_000, "max": 5})}
    )
    engine.now(NOON)
    run = engine.start("flow")

    (first,) = engine.claim("flow")
    engine.report(done(first, {"ready": False}))
    engine.now("2036-01-01 12:00:09.9Z")
    early = engine.claim("flow")
    engine.now("2036-01-01 12:00:10Z")
    (second,) = engine.claim("flow")
    engine.report(done(second, {"ready": True}))

    assert early == []
    assert ("iteration" in first, second["iteration"], second["attempt"]) == (False, 1, 2)
    step = engine.snapshot(run)["steps"][0]
    assert (step["status"], step["output"], step["iteration"]) == ("completed", {"ready": True}, 1)
    assert step["attempts"] == 1


def test_a_step_that_is_called_for_weeks_may_lose_many_workers(engine: Engine) -> None:
    """Crashes are bounded for each call: one that ended shows that it is not what kills them."""
    forever = {"until": path("output"), "every": 0, "max": None}
    engine.now("2036-01-01 12:00:00Z")
    engine.deploy("flow", {"poll": a_step(repeat=forever, retry={"max_attempts": 1})})
    run = engine.start("flow")

    for day in range(2, 10):
        Engine(engine.db).claim("flow")  # and dies
        engine.now(f"2036-01-{day:02d} 12:00:00Z")
        (call,) = engine.claim("flow")
        engine.report(done(call, False))

    (step,) = engine.snapshot(run)["steps"]
    assert (step["status"], step["iteration"], step["attempts"]) == ("started", 8, 0)


def test_an_error_between_rounds_keeps_the_iteration(engine: Engine) -> None:
    """It uses an attempt; the next call is of the same round."""
    until = {"ast": ["path", "output"], "paths": ["output"]}
    engine.deploy(
        "flow",
        {"poll": a_step(retry={"base_delay": 0}, repeat={"until": until, "every": 0, "max": None})},
    )
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    (task,) = engine.turn(done(task, False), queue="flow")["tasks"]
    (task,) = engine.turn(failed(task), queue="flow")["tasks"]

    again = task["iteration"]
    engine.report(done(task, True))

    assert again == 1
    assert engine.status(run) == "completed"


@pytest.mark.parametrize(
    ("until", "kind"),
    [
        ({"ast": ["lit", False], "paths": []}, "RepeatExhausted"),
        ({"ast": ["+", ["lit", 1], ["lit", "a"]], "paths": []}, "ExpressionError"),
    ],
)
def test_a_repeat_that_cannot_end_fails_without_a_retry(
    engine: Engine, until: dict[str, object], kind: str
) -> None:
    """Past `max` calls, or where the expression is wrong."""
    engine.deploy("flow", {"poll": a_step(repeat={"until": until, "every": 0, "max": 3})})
    run = engine.start("flow")

    calls = 0
    while tasks := engine.claim("flow"):
        calls += 1
        engine.report(done(tasks[0], 7))

    assert calls == (3 if kind == "RepeatExhausted" else 1)
    assert engine.snapshot(run)["run"]["error"]["type"] == kind


@pytest.mark.parametrize(("kind", "attempts"), [("CardDeclined", 1), ("Timeout", 3), ("Other", 2)])
def test_retry_if_decides_which_errors_are_tried_again(
    engine: Engine, kind: str, attempts: int
) -> None:
    """Over the error and the number of the attempt."""
    kind_of, early = ["path", "error.type"], ["<", ["path", "attempt"], ["lit", 2]]
    timeout, other = ["==", kind_of, ["lit", "Timeout"]], ["==", kind_of, ["lit", "Other"]]
    again = {
        "ast": ["or", timeout, ["and", other, early]],
        "paths": ["attempt", "error.type"],
    }
    engine.deploy("flow", {"a": a_step(retry={"base_delay": 0, "if": again})})
    run = engine.start("flow")

    while tasks := engine.claim("flow"):
        engine.report(failed(tasks[0], error={"type": kind, "message": "no"}))

    step = engine.snapshot(run)["steps"][0]
    assert (step["status"], step["attempts"], step["error"]["type"]) == ("failed", attempts, kind)


def test_a_failure_without_an_error_is_refused_another_try_as_well(engine: Engine) -> None:
    """A report need not say what was wrong for `retry.if` to decide."""
    engine.deploy("flow", {"a": a_step(retry={"if": literal(False)})})
    run = engine.start("flow")
    (task,) = engine.claim("flow")

    engine.report(failed(task, error=None))

    assert engine.status(run) == "failed"


def test_a_retry_if_that_goes_wrong_says_so(engine: Engine) -> None:
    """ExpressionError instead of the handler's error."""
    wrong = {"ast": ["-", ["path", "error.type"], ["lit", 1]], "paths": ["error.type"]}
    engine.deploy("flow", {"a": a_step(retry={"if": wrong})})
    run = engine.start("flow")

    engine.report(failed(engine.claim("flow")[0]))

    error = engine.snapshot(run)["run"]["error"]
    assert error["type"] == "ExpressionError"
    assert error["message"].startswith("retry.if: ")


def test_a_step_may_have_a_queue_of_its_own(engine: Engine) -> None:
    """Its tasks lie there and nowhere else."""
    engine.deploy("flow", {"a": a_step(), "heavy": a_step("a", queue="gpu"), "z": a_step("heavy")})
    run = engine.start("flow")
    engine.work("flow")

    before = engine.statuses(run)
    ran = engine.work("gpu")
    engine.work("flow")

    assert (before["heavy"], ran) == ("started", ["heavy"])
    assert engine.status(run) == "completed"


def test_a_runs_output_is_what_the_flow_says(engine: Engine) -> None:
    """An expression over all steps, with the type it has."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")}, output=path("steps.a.output"))
    run = engine.start("flow")

    engine.work("flow", lambda task: {"step": task["step"]})

    assert engine.snapshot(run)["run"]["output"] == {"step": "a"}


def test_an_output_that_cannot_be_computed_fails_the_run(engine: Engine) -> None:
    """ExpressionError, after all steps have completed."""
    engine.deploy(
        "flow", {"a": a_step()}, output={"ast": ["/", ["lit", 1], ["lit", 0]], "paths": []}
    )
    run = engine.start("flow")

    engine.work("flow")

    shown = engine.snapshot(run)["run"]
    assert (shown["status"], shown["error"]["type"]) == ("failed", "ExpressionError")


def test_an_input_may_be_anything_with_a_schema(engine: Engine) -> None:
    """input_schema: a list, checked at its top in SQL."""
    engine.deploy(
        "flow",
        {"each": a_step(map=path("input"))},
        input_schema={"type": "array", "minItems": 1},
    )
    run = str(engine.call("start_run", "flow", "[1, 2]")["run_id"])
    engine.work("flow", lambda task: task["item"])

    with pytest.raises(psycopg.Error) as empty:
        engine.call("start_run", "flow", "[]")
    with pytest.raises(psycopg.Error) as other:
        engine.call("start_run", "flow", "{}")

    assert engine.snapshot(run)["run"]["output"] == {"each": [1, 2]}
    assert [error.value.sqlstate for error in (empty, other)] == ["PF002", "PF002"]
    assert json.loads(str(empty.value.diag.message_detail)) == [
        {"path": "", "message": "must have at least 1 items"}
    ]


def test_runs_carry_labels_and_are_found_by_them(engine: Engine) -> None:
    """The flow's, and those of the start over them; another deploy renews the flow's."""
    body = json.dumps({"flow": "flow", "steps": {"a": a_step()}})
    for labels in ({"team": "ml"}, {"team": "ops"}):
        engine.call(
            "deploy", body, "0123456789ab", ["a"], "source", None, None, True, json.dumps(labels)
        )
    plain = str(engine.call("start_run", "flow", "{}")["run_id"])
    urgent = str(engine.call("start_run", "flow", "{}", None, None, '{"urgent": "yes"}')["run_id"])

    found = engine.call("list_runs", None, None, None, 20, '{"team": "ops", "urgent": "yes"}')

    assert [run["id"] for run in found] == [urgent]
    assert engine.snapshot(plain)["run"]["labels"] == {"team": "ops"}
    engine.work("flow")


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"wait": {"for": 1}, "handler": "a.b"}, "exactly one of handler, flow and wait"),
        ({"handler": "a.b", "cache": {}}, 'unknown key "cache"'),
        ({"handler": "a.b", "queue": "a__b"}, "queue name"),
    ],
)
def test_a_definition_that_no_release_writes_is_refused(
    engine: Engine, step: dict[str, object], sentence: str
) -> None:
    """PF004, whoever wrote it."""
    with pytest.raises(psycopg.Error, match=sentence) as refused:
        engine.deploy("flow", {"a": step | {"depends_on": {}}})

    assert refused.value.sqlstate == "PF004"
