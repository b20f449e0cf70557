"""Steps with `repeat`: each iteration is a separate call, with its number and its key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import Store
from pgflow_yaml.worker.calls import Handlers
from pgflow_yaml.worker.leases import Leases
from pgflow_yaml.worker.logs import Logs
from pgflow_yaml.worker.missing import MissingHandlers
from pgflow_yaml.worker.schedules import Schedules
from pgflow_yaml.worker.task import RunContext, Sources, StepCall, Task
from pgflow_yaml.worker.timers import TimerErrors
from pgflow_yaml.worker.turn import TurnClient

if TYPE_CHECKING:
    from tests.fixtures.working import Works

POLL = """
flow: poll
steps:
  ready:
    handler: shop.look
    repeat: {{until: output.round >= 2, every: {every}}}
"""
LOOK = """
calls = []
def look(input, ctx):
    calls.append((ctx.iteration, ctx.attempt, ctx.idempotency_key))
    return {"round": ctx.iteration}
"""


def test_each_iteration_knows_its_number(works: Works) -> None:
    """The idempotency key differs between iterations; no attempt is used."""
    works.app.write("shop.py", LOOK)
    works.deploy(POLL.format(every="0s"))
    run_id = works.client.start("poll").id

    works.start()

    run = works.ended(run_id)
    assert run.output == {"ready": {"round": 2}}
    assert (run.steps[0].iteration, run.steps[0].attempts) == (2, 1)
    import shop  # type: ignore[import-not-found]

    keys = [f"{run_id}/ready/0/{number}" for number in range(3)]
    assert shop.calls == [(number, 1, key) for number, key in enumerate(keys)]


def test_a_late_iteration_is_not_mistaken_for_the_next() -> None:
    """Iteration 0 was lost to another worker and 1 comes here: 1 runs, 0 is cancelled.

    A task that comes again within its iteration is the one that runs already.
    """
    leases = Leases("w", 30)
    sources = Sources(run_input=lambda _: None, secret=str)
    missing = MissingHandlers(Handlers(Path.cwd()))
    turns = TurnClient(
        "w",
        Store(""),
        leases,
        missing,
        lease=30,
        sources=sources,
        timer_errors=TimerErrors(),
        schedules=Schedules(lambda: None),
        logs=Logs(),
    )

    def task(attempt: int, iteration: int) -> Task:
        call = StepCall({"handler": "shop.look", "timeout_ms": 1000})
        context = RunContext({}, run_input=lambda: None, secret=str)
        row = {"run": "r", "step": "s", "index": 0, "attempt": attempt, "iteration": iteration}
        return Task(row, call, context)

    late, current, again = task(1, 0), task(3, 1), task(4, 1)
    kept = [turns._keep(late), turns._keep(current), turns._keep(again)]

    assert kept == [True, True, False]
    assert (late.cancelled, current.cancelled) == (True, False)
    assert (late.fence, current.fence) == (1, 4)
    assert leases.held == {("r", "s", 0): current}
