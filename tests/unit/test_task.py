"""Tasks in the worker: the clock of their call."""

from __future__ import annotations

import time

import pytest

from pgflow_yaml.worker.task import RunContext, StepCall, Task


def a_task(*, timeout: float = 15) -> Task:
    call = StepCall({"handler": "shop.go", "timeout_ms": timeout * 1000})
    context = RunContext({}, run_input=lambda: None, secret=str)
    return Task({"run": "r", "step": "s", "index": 0, "attempt": 1}, call, context)


def test_the_timeout_counts_from_the_call() -> None:
    """A task that waited in the worker has all of its time (never from the claim)."""
    task = a_task(timeout=15)
    task.received -= 600

    task.begin()

    assert task.deadline - time.monotonic() == pytest.approx(15, abs=1)


def test_a_task_that_is_passed_on_waits_without_a_deadline() -> None:
    """Its call begins in the other executor."""
    task = a_task()
    task.begin()

    task.wait()

    assert (task.started, task.deadline) == (0, 0)
