"""Modules that raise, hang or lie when a worker looks for a handler in them (R-5, R-6, F21)."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.worker.executors import Pool
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml import Worker
    from pgflow_yaml.worker.task import Task
    from tests.fixtures.working import Works

TWO = """
flow: two
steps:
  odd: {handler: odd.go, timeout: 300ms, retry: 1, when_exhausted: skip}
  fine: {handler: fine.go}
"""
HANGING = """
    import gate
    gate.entered.set()
    gate.open.wait(20)
    calls = []
    def go(input): calls.append(1)
"""
GATE = "import threading\nentered, open = threading.Event(), threading.Event()\n"


def begin(works: Works, odd: str, flow: str = TWO) -> str:
    """Start a run of which one step is odd."""
    works.app.write("gate.py", GATE)
    works.app.write("odd.py", odd)
    works.app.write("fine.py", "def go(input): return 1\n")
    return works.client.start(works.deploy(flow)).id


def in_thread(worker: Worker) -> tuple[threading.Thread, list[int]]:
    """Run a worker in a thread; return it with a list for the exit code."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(worker.run()), daemon=True)
    thread.start()
    return thread, codes


@pytest.mark.parametrize(
    "odd",
    [
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "def __getattr__(name): raise RuntimeError('boom')",
        "class Mute(BaseException):\n    def __str__(self): raise SystemExit\nraise Mute",
    ],
)
def test_an_exception_in_finding_a_handler_is_a_refusal(
    works: Works, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    """The task is left to other workers, the others run, and the worker can be stopped."""
    run_id = begin(works, odd)
    worker = works.worker(grace_seconds=60)
    thread, codes = in_thread(worker)
    eventually(lambda: "handler odd.go is not available" in caplog.text)
    eventually(lambda: works.client.get(run_id).steps[1].status == "completed")

    worker.stop()
    thread.join(20)

    assert codes == [0]
    step = works.client.get(run_id).steps[0]
    assert (step.tasks["queued"], step.attempts) == (1, 0)


def test_a_module_that_hangs_is_a_timeout(works: Works) -> None:
    """Time runs while the module is imported; other handlers do not wait for it."""
    run_id = begin(works, HANGING)

    works.start()

    run = works.ended(run_id)
    import gate  # type: ignore[import-not-found]

    gate.open.set()
    assert run.output == {"fine": 1}
    (error,) = works.client.run_snapshot(run_id)["errors"]
    assert (error["type"], error["step"]) == ("Timeout", "odd")
    assert error["message"] == "its module was not imported within 0.3 s"


def test_a_handler_whose_time_was_up_in_the_import_is_not_called(works: Works) -> None:
    """The thread that returns from the import has been replaced, and ends."""
    run_id = begin(works, HANGING)
    before = threads()
    works.start(concurrency=1)
    works.ended(run_id)
    import gate

    gate.open.set()

    eventually(lambda: hasattr(sys.modules.get("odd"), "calls"))
    eventually(lambda: threads() <= before + 1, what="the thread that was given up ends")
    import odd  # type: ignore[import-not-found]

    assert odd.calls == []


def threads() -> int:
    """Return the number of threads for handlers."""
    return sum(thread.name == "pgflow-handler" for thread in threading.enumerate())


@pytest.mark.parametrize("now", [False, True])
def test_a_worker_leaves_a_module_that_hangs(works: Works, now: bool) -> None:  # noqa: FBT001
    """After its grace period, or at once; the task is given back, no attempt used (R-14)."""
    run_id = begin(works, HANGING, TWO.replace("300ms", "60s"))
    worker = works.worker(grace_seconds=60 if now else 0.1)
    thread, codes = in_thread(worker)
    eventually(lambda: works.client.get(run_id).steps[1].status == "completed")
    import gate

    assert gate.entered.wait(10)

    worker.stop(now=now)
    thread.join(20)

    gate.open.set()
    assert codes == [1 if now else 0]
    step = works.client.get(run_id).steps[0]
    assert (step.tasks["queued"], step.attempts, step.crashes) == (1, 0, 0)


def test_a_lost_task_does_not_keep_a_worker_alive(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks still held after the grace period go back to the database (R-14)."""
    lost: list[Task] = []

    def lose(_pool: Pool, tasks: Sequence[Task]) -> None:
        lost.extend(tasks)

    monkeypatch.setattr(Pool, "submit", lose)
    run_id = begin(works, "def go(input): return 1\n")
    worker = works.worker(grace_seconds=0.1)
    thread, codes = in_thread(worker)
    eventually(lambda: len(lost) == 2)

    worker.stop()
    thread.join(20)

    assert codes == [0]
    for step in works.client.get(run_id).steps:
        assert (step.tasks["queued"], step.attempts) == (1, 0)
