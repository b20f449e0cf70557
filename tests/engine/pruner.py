"""A whole pass of pruning, one commit after another, and what it deleted."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.engine.driver import a_child, a_step, literal, path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.engine.driver import Engine

KINDS = ("tasks", "workers", "audit", "versions")
RUNS = ("tasks",)
LEFT = """select array[
  (select count(*) from pgflow.runs), (select count(*) from pgflow.step_states),
  (select count(*) from pgflow.step_tasks), (select count(*) from pgflow.task_errors),
  (select count(*) from pgflow.events)]"""


def prune(
    engine: Engine,
    flow: str | None = None,
    older: str | None = None,
    *,
    dry_run: bool = False,
    kinds: Sequence[str] = RUNS,
) -> dict[str, Any]:
    """The numbers of a pass that somebody asked for: runs by flow, and what is not 0."""
    pruner, cursor, replies = str(uuid4()), None, list[dict[str, Any]]()
    while not replies or cursor is not None:
        replies.append(engine.call("prune", pruner, as_text(cursor), flow, older, dry_run))
        assert not replies[-1]["busy"]
        cursor = replies[-1]["cursor"]
    return total(replies, kinds)


def prune_due(engine: Engine, kinds: Sequence[str] = RUNS) -> dict[str, Any]:
    """The numbers of a worker's pass."""
    cursor, replies = None, list[dict[str, Any]]()
    while not replies or cursor is not None:
        replies.append(engine.call("prune_due", engine.worker, as_text(cursor)))
        assert not replies[-1]["busy"]
        cursor = replies[-1]["cursor"]
    return total(replies, kinds)


def as_text(cursor: object) -> str | None:
    """A cursor as the next call gets it."""
    return None if cursor is None else json.dumps(cursor)


def total(replies: list[dict[str, Any]], kinds: Sequence[str] = RUNS) -> dict[str, Any]:
    """The sum of replies: runs by flow, and so many of each kind."""
    found: Counter[str] = Counter()
    for reply in replies:
        found.update(reply["runs"])
        found.update({kind: reply[kind] for kind in kinds})
    return {name: number for name, number in found.items() if number}


DAY = "2036-01-{:02} 12:00:00Z"
ONE = {"a": a_step()}
FAN = {"each": a_child("child", map=path("input.items"), with_=literal({}))}
ITEMS = {"items": {"type": "array"}}


def keep(engine: Engine, flow: str, **days: float | None) -> None:
    """Set the retention of a flow, as a deploy does."""
    kept = {status: n and n * 86_400_000 for status, n in days.items()}
    engine.db.execute(
        b"update pgflow.flows set retention = %s where queue_name = %s", [json.dumps(kept), flow]
    )


def at(engine: Engine, moment: int | str) -> None:
    """Set the clock to noon of a day of that month, or to a moment; the worker is alive."""
    engine.now(DAY.format(moment) if isinstance(moment, int) else moment)
    engine.call("register_worker", engine.worker, None, "{}")


def ended(engine: Engine, flow: str, *, how: str = "completed") -> str:
    """A run that has ended now."""
    run = engine.start(flow)
    if how == "cancelled":
        engine.call("cancel_run", run)
    engine.work(flow, broken=("a",) if how == "failed" else ())
    assert engine.status(run) == how
    return run


def runs(engine: Engine) -> list[str]:
    """The runs that are left, in the order of their starts."""
    query = "select array_agg(run_id::text order by started_at, run_id) from pgflow.runs"
    return engine.one(query) or []


def first_commits(engine: Engine, commits: int) -> Any:
    """Do the first commits of a pass, as a worker that is killed after them; the cursor."""
    cursor = None
    for _ in range(commits):
        cursor = engine.call("prune_due", engine.worker, as_text(cursor))["cursor"]
    return cursor
