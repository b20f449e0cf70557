"""What a task costs does not depend on how many there are: pages counted by the server (R-11)."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.engine.costs import Meter
from tests.engine.driver import Engine, a_step, done, path

if TYPE_CHECKING:
    import psycopg


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("length", [400, 1000])
def test_the_last_hop_of_a_long_chain_costs_what_the_first_did(
    engine: Engine, *, length: int, known: bool
) -> None:
    """One turn reports a step and is given the next (F25), also if statistics are out of date."""
    if known:
        engine.deploy("other", {"a": a_step()})
        engine.db.execute("analyze pgflow.steps")
    steps = {f"s{i}": a_step(*([f"s{i - 1}"] if i else [])) for i in range(length)}
    engine.deploy("chain", steps)
    meter = Meter(engine)
    run = engine.start("chain")

    tasks = engine.claim("chain")
    for hop in range(1, length):
        if 20 <= hop < 50 or hop >= length - 30:
            tasks = meter.turn(f"hop {hop}", *map(done, tasks), queue="chain")
        else:
            tasks = engine.turn(*map(done, tasks), queue="chain")["tasks"]
        assert [task["step"] for task in tasks] == [f"s{hop}"]
    engine.report(*map(done, tasks))

    assert engine.status(run) == "completed"
    pages = [cost.pages for cost in meter.costs.values()]
    first, last = median(pages[:30]), median(pages[30:])
    assert last <= first * 1.2
    assert max(pages) <= first * 3


def pages_of_a_map(db: psycopg.Connection, *, width: int) -> int:
    """Run a map of that width in turns of 100 tasks; the pages of all its calls."""
    engine = Engine(db)
    meter = Meter(engine)
    items = json.dumps({"items": list(range(width))})
    run = meter.call("start", "start_run", "fan", items)["run_id"]
    tasks, count = meter.turn("claim", queue="fan"), 0
    while tasks:
        count += 1
        tasks = meter.turn(f"turn {count}", *map(done, tasks), queue="fan")
    assert engine.status(run) == "completed"
    return sum(cost.pages for cost in meter.costs.values())


@pytest.mark.slow
def test_a_map_eight_times_as_wide_costs_eight_times_as_much(db: psycopg.Connection) -> None:
    """From 1,000 to 8,000 tasks, through windows and a second making: not n to the 1.05th more."""
    steps = {"each": a_step(map=path("input.items"))}
    Engine(db).deploy("fan", steps, input={"items": {"type": "array"}})
    pages_of_a_map(db, width=1000)  # so that what is counted is not the catalog's pages

    narrow = pages_of_a_map(db, width=1000)
    wide = pages_of_a_map(db, width=8000)

    assert wide <= narrow * 8**1.05
