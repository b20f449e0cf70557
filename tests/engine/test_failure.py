"""Failures: retries, exhausted attempts, conditions, what is skipped behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.driver import a_step, done, failed, literal, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def test_a_failed_attempt_rests_for_its_back_off_and_goes_again(engine: Engine) -> None:
    """base_delay * 2^(n-1): one second after the first failure, two after the second."""
    engine.deploy("flow", {"a": a_step()})
    engine.now("2026-01-01 12:00:00Z")
    run = engine.start("flow")
    (first,) = engine.claim("flow")

    engine.report(failed(first))
    engine.now("2026-01-01 12:00:00.9Z")
    early = engine.claim("flow")
    engine.now("2026-01-01 12:00:01Z")
    (second,) = engine.claim("flow")
    engine.report(failed(second))
    engine.now("2026-01-01 12:00:02.9Z")
    too_early = engine.claim("flow")
    engine.now("2026-01-01 12:00:03Z")
    (third,) = engine.claim("flow")
    engine.report(done(third, "at last"))

    assert (early, too_early) == ([], [])
    assert [first["attempt"], second["attempt"], third["attempt"]] == [1, 2, 3]
    assert engine.snapshot(run)["run"]["output"] == {"a": "at last"}
    assert [error["attempt"] for error in engine.snapshot(run)["errors"]] == [1, 2]


def test_jitter_spreads_the_back_off_below_its_bound(engine: Engine) -> None:
    """Full jitter: between nothing and the delay, and not always the same."""
    engine.deploy(
        "flow", {"a": a_step(map=literal([0] * 40), retry={"jitter": True, "base_delay": 60_000})}
    )
    engine.now("2026-01-01 12:00:00Z")
    run = engine.start("flow")

    engine.report(*[failed(task) for task in engine.claim("flow")])

    rests = engine.db.execute(
        "select extract(epoch from vt - '2026-01-01 12:00:00Z')::float from pgmq.q_flow"
    ).fetchall()
    assert all(0 <= rest <= 60 for (rest,) in rests)
    assert len({rest for (rest,) in rests}) > 20
    engine.call("cancel_run", run)


@pytest.mark.parametrize(
    ("backoff", "cap", "rest"), [("fixed", 3_600_000, 10), ("exponential", 15_000, 15)]
)
def test_the_back_off_may_be_fixed_and_is_capped(
    engine: Engine, backoff: str, cap: int, rest: int
) -> None:
    """The second rest of a fixed delay is the first; max_delay bounds an exponential one."""
    retry = {"backoff": backoff, "base_delay": 10_000, "max_delay": cap}
    engine.deploy("flow", {"a": a_step(retry=retry)})
    engine.now("2026-01-01 12:00:00Z")
    run = engine.start("flow")
    engine.report(failed(engine.claim("flow")[0]))
    engine.now("2026-01-01 13:00:00Z")

    engine.report(failed(engine.claim("flow")[0]))

    due = engine.one(
        "select extract(epoch from vt - '2026-01-01 13:00:00Z')::float from pgmq.q_flow"
    )
    assert due == rest
    engine.call("cancel_run", run)


def test_the_last_attempt_fails_the_step_the_run_and_what_was_live(engine: Engine) -> None:
    """I1: the siblings that wait or run are cancelled; nothing stays in the queue."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 1}), "b": a_step(), "c": a_step("b")})
    run = engine.start("flow")
    a, b = engine.claim("flow")

    engine.report(failed(a))

    assert engine.statuses(run) == {"a": "failed", "b": "cancelled", "c": "cancelled"}
    assert engine.snapshot(run)["run"]["error"] == {
        "type": "Broken", "message": "attempt 1 broke", "attempts": 1, "step": "a", "index": 0,
    }  # fmt: skip
    assert engine.report(done(b)) == ["run_terminal"]
    assert engine.one("select count(*) from pgmq.q_flow") == 0


def test_a_fatal_failure_is_not_tried_again(engine: Engine) -> None:
    """PermanentError: the first attempt is the last."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")

    engine.report(failed(engine.claim("flow")[0], "fatal"))

    assert engine.status(run) == "failed"


def test_retry_later_names_its_own_rest(engine: Engine) -> None:
    """RetryLater(90): the delay given, and an attempt used."""
    engine.deploy("flow", {"a": a_step()})
    engine.now("2026-01-01 12:00:00Z")
    engine.start("flow")

    engine.report(failed(engine.claim("flow")[0], "retry_later", delay_ms=90_000))
    engine.now("2026-01-01 12:01:29Z")
    early = engine.claim("flow")
    engine.now("2026-01-01 12:01:30Z")
    (again,) = engine.claim("flow")

    assert early == []
    assert again["attempt"] == 2
    engine.report(done(again))


def test_a_released_attempt_does_not_use_up_the_budget(engine: Engine) -> None:
    """A drained worker gives back: visible at once, the attempt grows, the count does not."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 1})})
    run = engine.start("flow")

    engine.report(failed(engine.claim("flow")[0], "released"))
    (again,) = engine.claim("flow")
    engine.report(done(again))

    assert again["attempt"] == 2
    step = engine.snapshot(run)["steps"][0]
    assert (step["status"], step["attempts"]) == ("completed", 1)


@pytest.mark.parametrize(
    ("policy", "behind", "output"),
    [("skip", "completed", {"c": "c"}), ("skip-cascade", "skipped", {})],
)
def test_when_exhausted_says_whether_a_failure_ends_the_run(
    engine: Engine, policy: str, behind: str, output: dict[str, str]
) -> None:
    """skip: dependents go on without its key; skip-cascade: they are skipped; the run completes."""
    engine.deploy(
        "flow",
        {
            "a": a_step(retry={"max_attempts": 1}, when_exhausted=policy),
            "b": a_step(),
            "c": a_step("a", "b"),
        },
    )
    run = engine.start("flow")
    a, b = engine.claim("flow")

    engine.report(failed(a), done(b))
    engine.work("flow")

    assert engine.statuses(run) == {"a": "skipped", "b": "completed", "c": behind}
    assert engine.snapshot(run)["steps"][0]["skip_reason"] == "handler_failed"
    assert engine.snapshot(run)["run"]["output"] == output


def test_an_item_that_is_used_up_ends_the_whole_map(engine: Engine) -> None:
    """Its siblings end with it; a late one is told so."""
    engine.deploy(
        "flow",
        {"a": a_step(map=literal([1, 2, 3]), retry={"max_attempts": 1}, when_exhausted="skip")},
    )
    run = engine.start("flow")
    one, two, three = engine.claim("flow")

    engine.report(done(one), failed(two))

    assert engine.report(done(three)) == ["run_terminal"]
    assert engine.snapshot(run)["steps"][0]["items"] == ["completed", "failed", "skipped"]
    assert engine.status(run) == "completed"


def test_a_mistake_in_an_expression_is_softened_by_nothing(engine: Engine) -> None:
    """when_exhausted speaks about handlers, not about the file."""
    engine.deploy("flow", {"a": a_step(when_exhausted="skip")})
    run = engine.start("flow")
    error = {"type": "ExpressionError", "message": "with: 1 + text"}

    engine.report(failed(engine.claim("flow")[0], "fatal", error=error))

    assert engine.status(run) == "failed"


@pytest.mark.parametrize(
    ("mode", "status", "statuses"),
    [
        ("skip", "completed", {"a": "completed", "b": "skipped", "c": "completed"}),
        ("skip-cascade", "completed", {"a": "completed", "b": "skipped", "c": "skipped"}),
        ("fail", "failed", {"a": "completed", "b": "failed", "c": "skipped"}),
    ],
)
def test_an_unmet_condition_does_what_when_unmet_says(
    engine: Engine, mode: str, status: str, statuses: dict[str, str]
) -> None:
    """The three modes, with a dependent that has another dependency which ran."""
    engine.deploy(
        "flow",
        {
            "a": a_step(),
            "b": a_step("a", if_=path("input.wanted"), when_unmet=mode),
            "c": a_step("a", "b"),
        },
        input={"wanted": {"type": "boolean"}},
    )
    run = engine.start("flow", {"wanted": False})

    engine.work("flow")

    assert engine.status(run) == status
    assert engine.statuses(run) == statuses


def test_a_condition_that_holds_changes_nothing(engine: Engine) -> None:
    """It is truth as Python has it: a text that is not empty is true."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a", if_=path("steps.a.output"))})
    run = engine.start("flow")

    engine.work("flow", lambda _: "yes")

    assert engine.statuses(run) == {"a": "completed", "b": "completed"}


def test_a_condition_that_cannot_be_evaluated_fails_its_step(engine: Engine) -> None:
    """The transaction that completes the predecessor still commits."""
    broken = {"ast": ["+", ["lit", 1], ["lit", "a"]], "paths": []}
    engine.deploy("flow", {"a": a_step(), "b": a_step("a", if_=broken)})
    run = engine.start("flow")

    engine.work("flow")

    assert engine.statuses(run) == {"a": "completed", "b": "failed"}
    assert engine.snapshot(run)["run"]["error"]["type"] == "ExpressionError"


def test_behind_a_branch_not_taken_nothing_runs(engine: Engine) -> None:
    """All dependencies skipped: the step is skipped as well, and so on down the chain."""
    engine.deploy(
        "flow",
        {"a": a_step(if_=literal(value=False)), "b": a_step("a"), "c": a_step("b"), "d": a_step()},
    )
    run = engine.start("flow")

    engine.work("flow")

    assert engine.statuses(run) == {
        "a": "skipped",
        "b": "skipped",
        "c": "skipped",
        "d": "completed",
    }
    assert [step["skip_reason"] for step in engine.snapshot(run)["steps"]] == [
        "condition_unmet", "dependency_skipped", "dependency_skipped", None,
    ]  # fmt: skip


def test_a_chain_of_hundreds_of_skips_ends_in_one_turn(engine: Engine) -> None:
    """No limit of fifty waves."""
    steps = {"s0": a_step(if_=literal(value=False))}
    steps |= {f"s{n}": a_step(f"s{n - 1}") for n in range(1, 300)}
    engine.deploy("flow", steps)

    run = engine.start("flow")

    assert set(engine.statuses(run).values()) == {"skipped"}
    assert engine.status(run) == "completed"


def test_all_rows_of_a_batch_settle_before_their_runs_are_judged(engine: Engine) -> None:
    """Mixed outcomes: the verdicts and the end do not depend on the order in the batch."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 1}), "b": a_step(), "c": a_step("b")})
    runs = [engine.start("flow"), engine.start("flow")]
    tasks = {(task["run"], task["step"]): task for task in engine.claim("flow")}
    forward, backward = runs

    verdicts = engine.report(
        failed(tasks[forward, "a"]), done(tasks[forward, "b"]),
        done(tasks[backward, "b"]), failed(tasks[backward, "a"]),
    )  # fmt: skip

    assert verdicts == ["applied"] * 4
    for run in runs:
        assert engine.statuses(run) == {"a": "failed", "b": "completed", "c": "cancelled"}


def test_a_cancelled_run_ends_once_and_takes_its_tasks_along(engine: Engine) -> None:
    """F32: while queued, started and in a retry's rest; a second cancel changes nothing."""
    engine.deploy("flow", {"a": a_step(map=literal([1, 2, 3])), "b": a_step("a")})
    run = engine.start("flow")
    one, two = engine.claim("flow", quantity=2)
    engine.report(failed(one))

    first = engine.call("cancel_run", run, "enough")
    second = engine.call("cancel_run", run)

    assert (first["cancelled"], second["cancelled"]) == (True, False)
    assert engine.snapshot(run)["run"]["error"]["message"] == "enough"
    assert engine.report(done(two)) == ["run_terminal"]
    assert set(engine.statuses(run).values()) == {"cancelled"}


def test_the_longest_durations_of_the_language_fit(engine: Engine) -> None:
    """A year as timeout, start_delay and back-off: parked until then, nobody is held up."""
    longest = 365 * 86_400_000
    retry = {"base_delay": longest, "max_delay": longest}
    engine.deploy(
        "long", {"a": a_step(timeout=longest, retry=retry), "b": a_step("a", start_delay=longest)}
    )
    engine.now("2100-01-01 12:00:00Z")
    run = engine.start("long")

    (first,) = engine.claim("long")
    beat = engine.heartbeat(first)
    engine.report(failed(first))
    engine.now("2101-01-01 12:00:00Z")
    engine.report(done(engine.claim("long")[0]))
    resting = engine.claim("long")
    engine.snapshot(run)
    engine.now("2102-01-01 12:00:01Z")
    engine.work("long")

    assert beat == {"lost": [], "stop": []}
    assert resting == []
    assert engine.status(run) == "completed"
