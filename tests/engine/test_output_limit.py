"""The outputs of a map are one value, of limited size: the map fails as soon as they exceed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.compiled import Compiled
from tests.engine.driver import a_step, done, failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.driver import Engine

MEGABYTE = "x" * 1_000_000
MAP = """
flow: wide
defaults: {{retry: 1}}
steps:
  shards: {{handler: app.ok, initial_tasks: 4{keys}}}
  other: {{handler: app.ok}}
  after: {{handler: app.ok, depends_on: {{shards: {edge}, other: success}}}}
"""


def _filled(engine: Engine, run: str, megabytes: float) -> None:
    """As if the tasks so far had returned so much."""
    engine.db.execute(
        "update pgflow.step_states set output_bytes = %s"
        " where run_id = %s and step_slug = 'shards'",
        [int(megabytes * 1e6), run],
    )


@pytest.mark.parametrize("keys", ["", ", tolerate: 1", ", fail_fast: false"])
def test_a_map_fails_at_the_first_output_too_many(engine: Engine, keys: str) -> None:
    """Not after the last item, and in the batch of other runs, which lose nothing."""
    flow = Compiled(engine, MAP.format(keys=keys, edge="success"))
    run, neighbour = flow.start(), flow.start()
    tasks = engine.claim("wide")
    mine = [task for task in tasks if (task["run"], task["step"]) == (run, "shards")]
    theirs = [task for task in tasks if task["run"] == neighbour]
    _filled(engine, run, 255.1)

    verdicts = engine.report(
        done(mine[0], MEGABYTE), failed(mine[1], "released"), *[done(task) for task in theirs]
    )

    assert set(verdicts) == {"applied"}
    assert flow.step(run, "shards")["status"] == "failed"
    assert flow.shown(run)["error"] == {
        "type": "OutputTooLarge", "step": "shards", "attempts": 0,
        "message": "the outputs of shards are 256.1 MB after 1 of 4 tasks; "
                   "the limit of all outputs of a map is 256 MB: return references",
    }  # fmt: skip
    assert engine.status(run) == "failed"
    flow.work()
    assert engine.status(neighbour) == "completed"
    assert engine.violations() == []


def test_outputs_are_added_up_over_all_batches(engine: Engine) -> None:
    """To the limit they are one array; a step with one task counts nothing."""
    flow = Compiled(engine, MAP.format(keys=", max_parallel: 1", edge="success"))
    run = flow.start()
    _filled(engine, run, 251.9)

    for _ in range(4):
        engine.report(*[done(task, MEGABYTE) for task in engine.claim("wide")])

    assert flow.step(run, "shards")["output"] == [MEGABYTE] * 4
    sizes = engine.db.execute("select step_slug, output_bytes from pgflow.step_states order by 1")
    assert [(slug, size and size // 1000) for slug, size in sizes.fetchall()] == [
        ("after", None), ("other", None), ("shards", 255_900),
    ]  # fmt: skip


@pytest.mark.parametrize(("keys", "edge"), [(", when_exhausted: skip", "success"), ("", "failure")])
def test_too_large_outputs_are_a_failure_like_another(engine: Engine, keys: str, edge: str) -> None:
    """`when_exhausted` and edges have their say."""
    flow = Compiled(engine, MAP.format(keys=keys, edge=edge))
    run = flow.start()
    tasks = engine.claim("wide")
    _filled(engine, run, 256)

    engine.report(*[done(task, task["index"]) for task in tasks])
    flow.work()

    assert flow.ran == ["after"]
    assert (flow.step(run, "shards")["error"]["type"], engine.status(run)) == (
        "OutputTooLarge", "completed",
    )  # fmt: skip


@pytest.fixture
def narrow(engine: Engine) -> Iterator[None]:
    """The arguments of a step `after`, or of two steps, are too large for a value."""
    engine.db.execute("alter function pgflow._contexts rename to _all_contexts")
    engine.db.execute("""
        create function pgflow._contexts(p_steps pgflow._step[]) returns jsonb
        language plpgsql stable as $$
        begin
          if cardinality(p_steps) > 1 or p_steps[1].step_slug = 'after' then
            raise program_limit_exceeded using message = 'too large';
          end if;
          return pgflow._all_contexts(p_steps);
        end $$""")
    yield
    engine.db.execute("drop function pgflow._contexts")
    engine.db.execute("alter function pgflow._all_contexts rename to _contexts")


@pytest.mark.usefixtures("narrow")
def test_a_task_with_too_large_arguments_blocks_no_other(engine: Engine) -> None:
    """It fails, instead of being read again and again before all others of its queue."""
    engine.deploy("flow", {"a": a_step(), "after": a_step("a")})
    run, other = (engine.start("flow") for _ in range(2))

    with pytest.raises(psycopg.errors.ProgramLimitExceeded):
        engine.claim("flow")
    (mine,) = engine.claim("flow", quantity=1)
    (theirs,) = engine.turn(done(mine), queue="flow", quantity=1)["tasks"]
    after = engine.claim("flow", quantity=1)
    last = engine.start("flow")
    (next_one,) = engine.claim("flow", quantity=1)

    assert [task["run"] for task in (mine, theirs, *after, next_one)] == [run, other, last]
    error = engine.snapshot(run)["run"]["error"]
    assert (error["type"], error["step"]) == ("OutputTooLarge", "after")
    assert engine.statuses(other)["a"] == "started"
