"""Retention of wide runs and trees, which go over several commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from tests.engine.driver import Engine, a_step, path
from tests.engine.pruner import (
    DAY,
    FAN,
    ITEMS,
    LEFT,
    ONE,
    at,
    ended,
    first_commits,
    keep,
    prune,
    prune_due,
    runs,
)

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door

WIDE = {"each": a_step(map=path("input.items"))}


def wide(engine: Engine, items: int) -> str:
    """A map with so many items that has ended, and whose flow keeps its runs for a day."""
    engine.deploy("wide", WIDE, input=ITEMS)
    keep(engine, "wide", completed=1, failed=1)
    run = engine.start("wide", {"items": list(range(items))})
    while engine.work("wide"):
        pass
    return run


def test_a_wide_run_is_emptied_over_several_commits(engine: Engine) -> None:
    """5,000 tasks at a time; who looks at it meanwhile is told, and nobody else is misled."""
    at(engine, 1)
    run = wide(engine, 5100)
    at(engine, 3)

    first_commits(engine, 1)

    assert engine.one(LEFT)[:3] == [1, 1, 100]
    assert engine.snapshot(run)["run"]["pruned_at"].startswith("2036-01-03T12:00:00")
    (listed,) = engine.call("list_runs", "wide")
    assert listed["pruned_at"] is not None
    assert engine.violations() == []
    assert prune(engine, dry_run=True) == {"wide": 1, "tasks": 100}
    assert prune_due(engine) == {"wide": 1, "tasks": 100}
    assert engine.one(LEFT) == [0, 0, 0, 0, 0]


def test_logs_are_rows_as_well(engine: Engine) -> None:
    """A run with many lines goes over several commits; of one with few all go at once."""
    at(engine, 1)
    engine.deploy("flow", ONE)
    keep(engine, "flow", completed=1)
    many = ended(engine, "flow")
    at(engine, 2)
    few = ended(engine, "flow")
    for run, rows in ((many, 5_100), (few, 3)):
        engine.db.execute(
            """insert into pgflow.task_logs
              (run_id, step_slug, task_index, attempt, fence, part, lines)
            select %s, 'a', 0, 1, 1, n, '[]' from generate_series(1, %s) n""",
            [run, rows],
        )
    logs = """select array_agg(k.run_id::text || k.count order by k.count)
      from (select run_id, count(*) from pgflow.task_logs group by 1) k"""
    at(engine, 4)

    first_commits(engine, 1)

    assert engine.one(logs) == [f"{few}3", f"{many}100"]
    assert prune_due(engine) == {"flow": 2, "tasks": 2}
    assert engine.one(logs) is None


def test_a_wide_tree_is_emptied_from_below(engine: Engine) -> None:
    """Children before their parent, 200 runs at a time, also after another one was begun."""
    at(engine, 1)
    engine.deploy("child", ONE)
    engine.deploy("fan", FAN, input=ITEMS)
    keep(engine, "fan", completed=1, failed=1)
    run = engine.start("fan", {"items": list(range(230))})
    engine.work_on("child", "fan")
    assert engine.status(run) == "completed"
    at(engine, 3)

    first_commits(engine, 1)

    assert len(runs(engine)) == 31
    assert engine.snapshot(run)["run"]["pruned_at"]
    assert engine.violations() == []
    at(engine, 1)  # as after `--older-than`: by its retention alone it would stay
    assert prune(engine, dry_run=True) == {"child": 30, "fan": 1, "tasks": 260}
    assert prune_due(engine) == {"child": 30, "fan": 1, "tasks": 260}
    assert engine.one(LEFT) == [0, 0, 0, 0, 0]


def test_a_tree_with_a_live_run_stays_whole(by_hand: Door, db: psycopg.Connection) -> None:
    """Whoever made such a tree, by hand; what is behind it goes."""
    engine = Engine(db)
    at(engine, 1)
    engine.deploy("child", ONE)
    engine.deploy("fan", FAN, input=ITEMS)
    keep(engine, "fan", completed=1, failed=1)
    for items in (3, 202, 1):
        run = engine.start("fan", {"items": list(range(items))})
        engine.work_on("child", "fan")
        if items > 1:
            by_hand.one(
                """update pgflow.runs set status = 'started', completed_at = null
                where run_id = (select run_id from pgflow.runs where parent_run_id = %s limit 1)
                returning 1""",
                run,
            )
    at(engine, 3)

    assert prune_due(engine) == {"child": 1, "fan": 1, "tasks": 2}
    assert len(runs(engine)) == 207


def test_a_pass_that_was_killed_is_finished_by_another(
    engine: Engine, other: Engine, database: str
) -> None:
    """Killed in the middle of a commit: nothing of it happened; the next one begins at once."""
    at(engine, 1)
    wide(engine, 5100)
    at(engine, 3)
    other.now(DAY.format(3))
    first_commits(engine, 1)
    left = engine.one(LEFT)

    with psycopg.connect(database) as victim:
        dying = Engine(victim)
        dying.now(DAY.format(3))
        dying.worker = engine.worker
        first_commits(dying, 1)
        engine.db.execute(b"select pg_terminate_backend(%s, 5000)", [victim.info.backend_pid])
        victim.close()

    assert engine.one(LEFT) == left
    at(other, "2036-01-03 12:00:11Z")
    assert prune_due(other) == {"wide": 1, "tasks": 100}
