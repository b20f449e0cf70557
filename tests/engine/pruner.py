"""A whole pass of pruning, one commit after another, and what it deleted."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

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
