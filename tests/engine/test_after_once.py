"""The end of a run is told once: whatever crashes, comes twice, or comes late."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.driver import failed
from tests.engine.listeners import ORDER, TIMERS, end, listen, told, wind

if TYPE_CHECKING:
    from tests.engine.driver import Engine


def test_news_that_comes_twice_starts_one_run(engine: Engine) -> None:
    """A message is only a reason to look; the key of the run that it starts is its end's."""
    listen(engine)
    engine.deploy("order", ORDER)
    run = end(engine, "order", "failed")
    engine.db.execute(f"insert into {TIMERS} (vt, message) select vt, message from {TIMERS}")
    assert engine.one(f"select count(*) from {TIMERS} where message ->> 'run_id' = %s", run) == 2

    wind(engine)

    assert len(told(engine)) == 1
    assert engine.one(f"select count(*) from {TIMERS}") == 0


def test_news_of_a_run_that_goes_on_or_is_gone_changes_nothing(engine: Engine) -> None:
    """The reader looks at the run as it is now."""
    listen(engine)
    engine.deploy("order", ORDER)
    live = engine.start("order")
    for run in (live, "00000000-0000-0000-0000-000000000000"):
        news = {"kind": "after", "run_id": run, "flows": ["alert"]}
        engine.db.execute(
            f"insert into {TIMERS} (vt, message) values (pgflow.clock(), %s)", [json.dumps(news)]
        )

    wind(engine)

    assert told(engine) == []
    assert engine.one(f"select count(*) from {TIMERS}") == 0


def test_the_end_and_its_news_are_one_commit(engine: Engine, other: Engine) -> None:
    """The worker that ended the run does nothing more: another one starts the alert."""
    listen(engine)
    engine.deploy("order", ORDER)
    engine.start("order")
    (task,) = engine.claim("order")
    with engine.db.transaction(force_rollback=True):
        engine.report(failed(task, "fatal"))
        assert engine.one(f"select count(*) from {TIMERS}") == 1
    assert engine.one(f"select count(*) from {TIMERS}") == 0

    engine.report(failed(task, "fatal"))
    wind(other)

    assert len(told(engine)) == 1


def test_many_ends_at_once(engine: Engine) -> None:
    """200 runs fail in one commit; each is told of, once."""
    listen(engine)
    engine.deploy("order", ORDER)
    runs = engine.db.execute(
        "select pgflow.start_runs('order', array_fill('{}'::jsonb, array[200]))"
    ).fetchall()

    tasks = engine.claim("order", quantity=200)
    engine.report(*[failed(task, "fatal") for task in tasks])
    wind(engine)

    assert sorted(one["run"] for one in told(engine)) == sorted(str(run) for (run,) in runs)


def test_a_start_cannot_take_the_key_of_such_a_run(engine: Engine) -> None:
    """It would keep an alert from being sent."""
    engine.deploy("order", ORDER)

    with pytest.raises(psycopg.Error) as refused:
        engine.start("order", key="after:x:0")

    assert '"must not begin with \\"after:\\"' in str(refused.value.diag.message_detail)
