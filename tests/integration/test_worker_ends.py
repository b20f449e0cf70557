"""The worker's log of what has ended: runs, and steps that failed for good."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.working import Works

FLOW = """
flow: order
steps:
  charge: {handler: shop.charge, retry: {max_attempts: 2, base_delay: 10ms}}
  refund: {handler: shop.refund, depends_on: {charge: failure}, handles: false}
"""
HANDLERS = """
def charge(order): raise ValueError("card declined")
def refund(order): return "refunded"
def fine(order): return 1
"""
HELD = """
import time
from pathlib import Path

def held(order):
    here = Path(__file__).parent / "held"
    here.touch()
    while here.exists():
        time.sleep(0.02)
"""


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str | None, str, str]]:
    """Level, flow, step, run and words of each such line."""
    return [
        (
            record.levelname,
            getattr(record, "flow", ""),
            getattr(record, "step", None),
            getattr(record, "run_id", ""),
            record.getMessage(),
        )
        for record in caplog.records
        if getattr(record, "action", "") == "ended"
    ]


def test_a_failed_step_and_its_run_are_errors(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, when no attempt is left; run, flow, step and error are there."""
    works.app.write("shop.py", HANDLERS)
    works.deploy(FLOW)
    run = works.client.start("order").id

    works.drain()

    said = "ValueError: card declined"
    assert lines(caplog) == [
        ("ERROR", "order", "charge", run, f"step failed: {said}"),
        ("ERROR", "order", None, run, f"run failed: {said}"),
    ]


@pytest.mark.parametrize(
    ("level", "said"), [(logging.INFO, ["run completed"]), (logging.ERROR, [])]
)
def test_a_completed_run_is_a_line_at_info(
    works: Works, caplog: pytest.LogCaptureFixture, level: int, said: list[str]
) -> None:
    """A quieter log does not even ask for it."""
    logging.getLogger("pgflow_yaml").setLevel(level)
    works.app.write("shop.py", HANDLERS)
    works.deploy("flow: fine\nsteps: {a: {handler: shop.fine}}")
    run = works.client.start("fine").id

    works.drain()

    assert [(line[0], line[3], line[4]) for line in lines(caplog)] == [
        ("INFO", run, text) for text in said
    ]


def test_what_ends_while_all_slots_are_busy_is_logged_too(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    """By the thread that runs the timers then."""
    works.app.write("shop.py", HELD)
    works.deploy("flow: held\nsteps: {a: {handler: shop.held}}")
    works.deploy("flow: late\ntimeout: 1s\nsteps: {a: {wait: {event: go}}}")
    held = works.client.start("held").id
    works.start(concurrency=1)
    eventually((works.app.folder / "held").exists, what="the only slot is busy")
    late = works.client.start("late").id

    works.ended(late)
    eventually(lambda: ("ERROR", late) in [(line[0], line[3]) for line in lines(caplog)])
    (works.app.folder / "held").unlink()
    assert works.ended(held).status == "completed"
