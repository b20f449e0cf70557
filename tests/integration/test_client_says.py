"""Events and decisions from a program: who waits goes on, the first word stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml import InvalidInput, NotFound, PgflowError
from tests.fixtures.waiting import at_rest

if TYPE_CHECKING:
    from tests.fixtures.working import Works

WAITING = """
flow: release
steps:
  paid: {wait: {event: paid}}
  go_live: {wait: {event: go_live}}
  ship: {handler: shop.ship, depends_on: [paid, go_live]}
"""


def begin(works: Works, *, key: str | None = None) -> str:
    """A run whose steps wait."""
    works.app.write("shop.py", "def ship(outputs): return outputs\n")
    works.deploy(WAITING)
    return works.client.start("release", key=key).id


def test_an_event_and_an_approval_let_a_run_go_on(works: Works) -> None:
    """Their data are the outputs of the steps that waited; a run's key names it as well."""
    run_id = begin(works, key="order-7")

    sent = works.client.send("order-7", "paid", {"amount": 12}, by="bank")
    approved = works.client.approve(run_id, "go_live", "fine", by="ann")
    works.drain()

    assert (sent.run_id, sent.steps, sent.stored) == (run_id, ("paid",), False)
    assert (approved.status, approved.applied, approved.by) == ("approved", True, "ann")
    assert works.client.get(run_id).output == {
        "ship": {"paid": {"amount": 12}, "go_live": {"by": "ann", "comment": "fine"}}
    }


def test_the_first_word_stands(works: Works) -> None:
    """A later one changes nothing and says so; a rejection fails the step for good."""
    run_id = begin(works)

    first = works.client.reject(run_id, "go_live", "not on a Friday", by="bob")
    second = works.client.approve(run_id, "go_live", by="ann")

    assert (first.status, first.applied) == ("rejected", True)
    assert (second.status, second.applied, second.by) == ("rejected", False, "bob")
    run = works.client.get(run_id)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["type"] == "Rejected"
    with pytest.raises(PgflowError, match="has ended"):
        works.client.send(run_id, "paid")


def test_a_second_event_of_a_name_changes_nothing(works: Works) -> None:
    """It is told so."""
    run_id = begin(works)

    works.client.send(run_id, "paid", 1)
    again = works.client.send(run_id, "paid", 2)
    unheard = works.client.send(run_id, "never")

    assert (again.already, again.steps) == (True, ())
    assert (unheard.already, unheard.stored) == (False, True)
    assert works.client.get(run_id).steps[0].output == 1


def test_what_is_said_joins_the_callers_transaction(works: Works) -> None:
    """A rollback unsays it, a commit lets the run go on."""
    run_id = begin(works)

    with psycopg.connect(works.database) as mine:
        works.client.send(run_id, "paid", conn=mine)
        works.client.reject(run_id, "go_live", conn=mine)
        mine.rollback()
        works.client.send(run_id, "paid", {"n": 1}, conn=mine)
        works.client.approve(run_id, "go_live", conn=mine)
        mine.commit()
    works.drain()

    assert works.client.get(run_id).status == "completed"


def test_what_cannot_be_said_is_refused(works: Works) -> None:
    """An unknown run, an unknown step, a step that waits for nothing, data that are no JSON."""
    run_id = begin(works)

    with pytest.raises(NotFound, match="no run"):
        works.client.send("nobody", "paid")
    with pytest.raises(NotFound, match='no step "go_lve"'):
        works.client.approve(run_id, "go_lve")
    with pytest.raises(PgflowError, match="waits for no event"):
        works.client.reject(run_id, "ship")
    with pytest.raises(PgflowError, match="event name"):
        works.client.send(run_id, "not a name")
    with pytest.raises(InvalidInput, match="not JSON"):
        works.client.send(run_id, "paid", {"x": float("nan")})


def test_an_event_wakes_an_idle_worker(works: Works, db: psycopg.Connection) -> None:
    """The step behind the wait begins although the worker would look in half a minute."""
    run_id = begin(works)
    works.client.approve(run_id, "go_live")
    works.start(poll_interval_ms=30_000, max_poll_seconds=30)
    at_rest(db)

    works.client.send(run_id, "paid")

    assert works.ended(run_id, seconds=10).status == "completed"
