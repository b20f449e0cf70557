"""The pool: the rate of its slots, and what it gives back to other workers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.worker.calls import Handlers
from pgflow_yaml.worker.executors import EXECUTORS, Pool
from pgflow_yaml.worker.leases import Leases
from pgflow_yaml.worker.task import Outcome, RunContext, StepCall, Task
from pgflow_yaml.worker.transactions import Handled
from pgflow_yaml.worker.watch import Watch
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """A pool of four slots in which nothing runs."""
    return Pool(4, Handlers(tmp_path), EXECUTORS["thread"], beat=lambda: None)


def a_task(seconds: float | None) -> Task:
    """A task of a step whose tasks last so long."""
    call = StepCall({"handler": "shop.go", "timeout_ms": 1000})
    call.supply_seconds = seconds
    context = RunContext({}, run_input=lambda: None, secret=str)
    return Task({"run": "r", "step": "s", "index": 0, "attempt": 1}, call, context)


def begin(pool: Pool, seconds: float | None, *, ran: float = 0.0) -> None:
    """Run a task in one of the slots."""
    task = a_task(seconds)
    pool.begin(task, EXECUTORS["thread"][-1](pool))
    task.started -= ran


def test_each_slot_counts_by_the_step_it_runs(pool: Pool) -> None:
    """The estimate belongs to the step: a quick one beside it says nothing about a slow one."""
    begin(pool, 10.0)
    begin(pool, 0.5)
    begin(pool, None)

    assert pool.rate([]) == pytest.approx(2.1, rel=0.01)
    assert pool.rate([a_task(0.1), a_task(0.3)]) == pytest.approx(2.1 + 5, rel=0.01)


def test_a_task_that_has_run_for_long_is_no_quick_one(pool: Pool) -> None:
    """Whatever others of its step were."""
    for _ in range(4):
        begin(pool, 0.0001, ran=100)

    assert pool.rate([a_task(0.0001)]) == pytest.approx(0.04, rel=0.01)


def test_nothing_is_known_of_a_new_step(pool: Pool) -> None:
    """A first task that has not ended, or tasks that were given back."""
    begin(pool, None)

    assert pool.rate([]) == 0
    assert pool.rate([a_task(None)]) == 0


def test_slower_tasks_count_at_once_quicker_ones_gradually(pool: Pool) -> None:
    """Too few tasks cost a round trip, too many cost others their work."""
    task = a_task(None)
    seen = []
    for elapsed in (0.001, 1.0, 0.0, 0.001):
        task.outcome = Outcome("completed")
        task.outcome.elapsed = elapsed
        pool.learn([task])
        seen.append(task.call.supply_seconds)

    assert seen == [0.001, 1.0, 1.0, pytest.approx(0.79, abs=0.01)]


@pytest.mark.parametrize(
    ("slots", "ran", "waited", "returned"),
    [
        (4, 0.3, 0.3, True),  # no slot has freed meanwhile
        (4, 0.3, 0.1, False),
        (4, 0.1, 0.3, False),  # slots free, and turns are slow
        (4, 0.1, 0.7, True),
        (3, 9.0, 0.7, False),  # a thread will take it
        (3, 9.0, 2.1, True),
    ],
)
def test_what_waits_goes_back_after_a_moment(
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    slots: int,
    ran: float,
    waited: float,
    *,
    returned: bool,
) -> None:
    """At once as long as the slots stay full, else when it has waited for longer than a supply."""
    for _ in range(slots):
        begin(pool, 0.1, ran=ran)
    pool.patience = 0.6
    waiting, ended = a_task(0.1), a_task(0.1)
    waiting.received -= waited
    ended.received -= 9
    ended.outcome = Outcome("completed")
    counts: list[int] = []
    monkeypatch.setattr(Pool, "queued", lambda _: 1)
    monkeypatch.setattr(Pool, "release", lambda _, count: counts.append(count))

    pool.return_waiting([waiting, ended])

    assert counts == [int(returned)]


def test_a_heartbeat_says_whether_the_handler_has_begun(pool: Pool) -> None:
    """The timeout counts from the call: what waits in this process has not used any of it."""
    task = a_task(None)

    before = task.lease()
    pool.begin(task, EXECUTORS["thread"][-1](pool))
    task.started -= 2.5
    running = task.lease()

    assert (before["waits"], "ran_ms" in before) == (True, False)
    assert "waits" not in running
    ran: Any = running["ran_ms"]
    assert 2_500 <= ran < 60_000


def test_what_is_given_up_while_its_transaction_settles_keeps_its_outcome(pool: Pool) -> None:
    """The timeout is reported, and not taken for a task that has committed."""
    task = a_task(None)
    pool.begin(task, EXECUTORS["thread"][-1](pool))

    class Late:
        connection: Any = None

        def settle(self, *_: object) -> dict[str, Any]:
            pool.expire(task)
            return {"verdicts": ["applied"]}

        def commit(self) -> None:
            assert task.lease()["ended"], "a heartbeat must not stop it now"

    transaction: Any = Late()
    outcome = Handled(task, transaction).complete(Outcome("completed"))

    assert not pool.finish(task, outcome)
    assert task.outcome is not None
    assert (task.outcome.kind, task.outcome.verdict) == ("failed", None)


def test_tasks_wait_while_the_system_has_no_threads(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next check starts as many as there are slots."""
    tasks = [a_task(None) for _ in range(4)]

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.submit(tasks)
        for _ in range(5):
            pool.check()
    assert pool.queued() == 4

    pool.check()
    eventually(lambda: all(task.outcome for task in tasks), what="they have run")
    pool.close()


def test_a_check_that_goes_wrong_does_not_end_the_watch(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it no handler would time out."""
    monkeypatch.setattr("pgflow_yaml.worker.watch._PAUSE_SECONDS", 0.01)
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        raise RuntimeError("can't start new thread")

    watch = Watch(pool, Leases("w", 60.0), check)
    watch.start()

    eventually(lambda: len(checks) > 1, what="it checks again")
    watch.close()
