"""Steps that run after a failure and leave it unhandled: `handles: false`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.compiled import Compiled
from tests.engine.driver import a_step

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def statuses(flow: Compiled, run: str) -> str:
    """`run: step step …`, each by its status."""
    steps = " ".join(f"{slug}={status}" for slug, status in flow.engine.statuses(run).items())
    return f"{flow.engine.status(run)}: {steps}"


def test_a_pager_leaves_the_run_failed(engine: Engine) -> None:
    """It runs, with the run's other branches stopped, and the error is that of the failure."""
    flow = Compiled(
        engine,
        """
        flow: order
        steps:
          charge: {handler: app.broken, retry: 1}
          page: {handler: app.page, depends_on: {charge: failure}, handles: false}
          after_page: {handler: app.page, depends_on: [page]}
          ship: {handler: app.ship, depends_on: [charge]}
        """,
    )

    run = flow.run()

    assert flow.ran == ["charge", "page", "after_page"]
    assert statuses(flow, run) == (
        "failed: charge=failed page=completed ship=skipped after_page=completed"
    )
    assert flow.shown(run)["error"]["step"] == "charge"


def test_another_branch_is_stopped_while_the_pager_goes_on(engine: Engine) -> None:
    """As after any failure that nobody handles: fail_fast stops what is not recovery."""
    flow = Compiled(
        engine,
        """
        flow: order
        steps:
          charge: {handler: app.broken, retry: 1}
          slow: {handler: app.slow}
          later: {handler: app.later, depends_on: [slow]}
          page: {handler: app.page, depends_on: {charge: any}, handles: false}
        """,
    )
    run = flow.start()

    flow.work(hold="slow")

    assert sorted(flow.ran) == ["charge", "page", "slow"]
    assert statuses(flow, run) == (
        "failed: charge=failed slow=cancelled later=cancelled page=completed"
    )


def test_a_step_that_handles_beside_it_still_does(engine: Engine) -> None:
    """One handler is enough; without it the pager alone does not save the run."""
    text = """
        flow: order
        input: {saved: {type: boolean}}
        steps:
          charge: {handler: app.broken, retry: 1}
          page: {handler: app.page, depends_on: {charge: failure}, handles: false}
          refund: {handler: app.refund, depends_on: {charge: failure}, if: input.saved}
        """
    flow = Compiled(engine, text)

    ends = [engine.status(flow.run(saved=saved)) for saved in (True, False)]

    assert ends == ["completed", "failed"]


def test_without_fail_fast_the_branches_finish_and_the_run_fails(engine: Engine) -> None:
    """The pager changes nothing about that."""
    flow = Compiled(
        engine,
        """
        flow: order
        fail_fast: false
        steps:
          charge: {handler: app.broken, retry: 1}
          page: {handler: app.page, depends_on: {charge: failure}, handles: false}
          other: {handler: app.other}
        """,
    )

    run = flow.run()

    assert statuses(flow, run) == "failed: charge=failed other=completed page=completed"


def test_a_pager_that_is_not_needed_is_skipped(engine: Engine) -> None:
    """A flow without a failure completes."""
    flow = Compiled(
        engine,
        """
        flow: order
        steps:
          charge: {handler: app.charge}
          page: {handler: app.page, depends_on: {charge: failure}, handles: false}
        """,
    )

    assert statuses(flow, flow.run()) == "completed: charge=completed page=skipped"


def test_finally_reads_the_failure_as_unhandled(engine: Engine) -> None:
    """run.unhandled and run.status say what the run has come to."""
    flow = Compiled(
        engine,
        """
        flow: order
        steps:
          charge: {handler: app.broken, retry: 1}
          page: {handler: app.page, depends_on: {charge: failure}, handles: false}
        finally:
          note: {handler: app.note, if: 'run.unhandled == ["charge"] and run.status == "failed"'}
        """,
    )

    run = flow.run()

    assert flow.step(run, "note")["status"] == "completed"
    assert flow.step(run, "page")["handles"] is False


def test_a_value_that_no_compiler_writes_is_refused(engine: Engine) -> None:
    """From SQL as well."""
    with pytest.raises(psycopg.Error, match='step "a": handles must be true or false'):
        engine.deploy("order", {"a": a_step(handles="no")})
