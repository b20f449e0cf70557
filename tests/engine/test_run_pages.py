"""Lists of runs: the filters, the pages, and what each of them reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.engine.costs import Meter
from tests.engine.driver import Engine, a_child, a_step, failed, literal
from tests.engine.history import complete_runs

if TYPE_CHECKING:
    import psycopg

HISTORY = 21_000


def page(engine: Engine, limit: int = 50, look: int = 5000, **filters: Any) -> dict[str, Any]:
    """One page."""
    reply: dict[str, Any] = engine.call("run_page", json.dumps(filters), limit, look)
    return reply


def ids(found: list[dict[str, Any]]) -> list[str]:
    """The ids of listed runs."""
    return [run["id"] for run in found]


def every_page(engine: Engine, limit: int, look: int = 5000, **filters: Any) -> list[list[str]]:
    """The ids on the pages, from the first to the last."""
    place: dict[str, Any] | None = {}
    pages = list[list[str]]()
    while place is not None:
        shown = page(engine, limit, look, **filters, **place)
        pages.append(ids(shown["runs"]))
        place = shown["next"]
    return pages


def flat(pages: list[list[str]]) -> list[str]:
    """The ids of all pages."""
    return [run for each in pages for run in each]


def fail(engine: Engine, queue: str) -> None:
    """Fail all that can be claimed from a queue."""
    engine.report(*(failed(task, "fatal") for task in engine.claim(queue)))


def test_pages_show_each_run_once_while_others_start(engine: Engine) -> None:
    """Also runs that have started at the same moment; a new one is on no later page."""
    engine.deploy("flow", {"a": a_step()})
    engine.call("start_runs", "flow", ["{}"] * 7)
    engine.now("2036-01-01 12:00:00Z")
    runs = {engine.start("flow") for _ in range(6)}
    runs |= set(ids(engine.call("list_runs", None, None, None, 100)))

    seen = list[str]()
    place: dict[str, Any] | None = {}
    while place is not None:
        shown = page(engine, 4, **place)
        seen += ids(shown["runs"])
        place = shown["next"]
        engine.now("2036-01-01 12:00:01Z")
        engine.start("flow")

    assert sorted(seen) == sorted(runs)
    assert shown["looked"] is None
    assert [len(each) for each in every_page(engine, 8)] == [8, 8, 1]


@pytest.fixture
def varied(engine: Engine) -> Engine:
    """Runs of each status, of several flows and versions, with and without parents."""
    engine.deploy("shop", {"a": a_step()})
    for number in range(4):
        engine.call("start_run", "shop", "{}", f"k{number}", None, json.dumps({"n": str(number)}))
    fail(engine, "shop")
    engine.deploy("shop", {"a": a_step(), "b": a_step("a")})
    for _ in range(3):
        engine.start("shop")
    engine.work("shop")
    engine.call("cancel_run", engine.start("shop"), "no need")
    engine.start("shop")
    empty = {"ast": ["dict"], "paths": []}
    engine.deploy("top", {"each": a_child("shop", map=literal([1, 2, 3]), with_=empty)})
    engine.start("top")
    engine.claim("top")
    engine.db.execute(
        "update pgflow.runs set run_key = 'schedule:every 10m:' || run_id where run_key = 'k1'"
    )
    return engine


FILTERS: list[dict[str, Any]] = [
    {},
    {"children": True},
    {"flow": "shop"},
    {"flow": "shop", "children": True},
    {"flow": "nothing"},
    {"status": "failed"},
    {"status": "failed", "flow": "shop", "labels": {"n": "1"}},
    {"status": "cancelled"},
    {"status": "completed"},
    {"status": "started"},
    {"status": "started", "children": True},
    {"status": "waiting"},
    {"labels": {"n": "2"}},
    {"error": "broke"},
    {"error": "no need"},
    {"error": "broke", "status": "failed"},
    {"error": "nothing"},
    {"schedule": "every 10m"},
    {"schedule": "every", "flow": "shop"},
    {"schedule": "10m"},
    {"since": 3600},
    {"older": 3600},
    {"since": 0, "status": "failed"},
]
EXPECTED = [10, 13, 9, 12, 0, 4, 1, 1, 3, 2, 5, 1, 1, 4, 1, 4, 0, 1, 1, 0, 10, 0, 0]


def test_a_filter_finds_its_runs_on_one_page_or_on_many(varied: Engine) -> None:
    """The same ones, whichever index they are found by."""
    for filters, count in zip(FILTERS, EXPECTED, strict=True):
        whole = ids(page(varied, **filters)["runs"])
        pages = every_page(varied, 2, **filters)
        slow = every_page(varied, 2, look=3, **filters)

        assert (filters, len(whole)) == (filters, count)
        assert (filters, flat(pages)) == (filters, whole)
        assert (filters, flat(slow)) == (filters, whole)


def test_children_of_a_run_and_runs_of_a_version_have_pages(varied: Engine) -> None:
    """A version is found by its beginning, with and without the name of its flow."""
    (top,) = page(varied, flow="top")["runs"]
    versions = [row["version"] for row in varied.call("list_versions", "shop")]

    assert len(page(varied, parent=top["id"])["runs"]) == 3
    assert page(varied, parent=str(uuid4()))["runs"] == []
    found = [len(page(varied, version=each[:8])["runs"]) for each in versions]
    assert found == [len(page(varied, version=each, flow="shop")["runs"]) for each in versions]
    assert found == [5, 4]
    assert flat(every_page(varied, 1, parent=top["id"])) == ids(
        page(varied, parent=top["id"])["runs"]
    )


def test_flows_of_create_flow_are_found_by_their_slug(engine: Engine) -> None:
    """They have no versions, and their runs no flow name."""
    engine.call("create_flow", "plain")
    engine.call("add_step", "plain", "a")
    engine.db.execute("select pgflow.start_flow('plain', '{}')")

    assert len(page(engine, flow="plain")["runs"]) == 1
    engine.call("delete_flow_and_data", "plain")


def test_a_page_says_that_it_has_looked_at_enough(engine: Engine) -> None:
    """It may have no run, and the next one goes on where it has ended."""
    slug = engine.deploy("flow", {"a": a_step()})["flow_slug"]
    engine.call("start_run", "flow", "{}", None, None, '{"old": "yes"}')
    engine.db.execute("update pgflow.runs set started_at = now() - interval '3 days'")
    complete_runs(engine, slug, 250)

    first = page(engine, 50, 100, labels={"old": "yes"})
    pages = every_page(engine, 50, 100, labels={"old": "yes"})

    assert (first["runs"], first["looked"]) == ([], 100)
    assert [len(each) for each in pages] == [0, 0, 1]


@pytest.fixture
def long_history(db: psycopg.Connection) -> Engine:
    """Plans older than the runs: 21,000 of three versions, without statistics."""
    engine = Engine(db)
    for number in range(3):
        slug = engine.deploy("flow", {f"a{number}": a_step()})["flow_slug"]
        page(engine)
        complete_runs(engine, slug, HISTORY // 3)
    engine.start("flow")
    fail(engine, "flow")
    return engine


def test_no_page_reads_all_runs(long_history: Engine) -> None:
    """None scans the table, what finds no run ends after those it may look at; with statistics too.

    Where a page has no end by itself, it looks at 1,000 runs, twice. Of three versions it reads the
    runs that it shows, and not as many as it may look at.
    """
    meter = Meter(long_history)
    for statement in (b"select", b"analyze"):
        long_history.db.execute(statement)
        for filters in [*FILTERS, {"parent": str(uuid4())}, {"flow": "flow", "labels": {"n": "1"}}]:
            meter.call("page", "run_page", json.dumps(filters), 50, 1000)
            cost = meter.costs["page"]
            assert (cost.scans, cost.rows <= 2500) == (0, True), (statement, filters, cost)
        meter.call("page", "run_page", '{"flow": "flow"}', 50, 5000)
        assert meter.costs["page"].rows <= 200, (statement, meter.costs["page"])


def test_lists_read_no_input_and_no_output(engine: Engine) -> None:
    """They show neither, and ten runs have ten megabytes of them."""
    engine.deploy("flow", {"a": a_step()})
    engine.call("start_runs", "flow", ["{}"] * 10)
    engine.db.execute("""
        update pgflow.runs set input = k.large, output = k.large
        from (select to_jsonb(string_agg(md5(g::text), '')) as large
              from generate_series(1, 16384) g) k""")
    meter = Meter(engine)
    page(engine)

    meter.call("page", "run_page", "{}")
    meter.call("list", "list_runs")
    meter.call("children", "list_runs", None, None, None, 20, None, True)

    assert max(cost.pages for cost in meter.costs.values()) < 200, meter.costs


VERSIONS = """
set session_replication_role = replica;
insert into pgflow.flows (flow_slug, queue_name)
select 'often__' || g, 'often' from generate_series(1, 400) g;
insert into pgflow.definitions (name, version, flow_slug, source, definition)
select 'often', g, 'often__' || g, '', '{}' from generate_series(1, 400) g;
set session_replication_role = origin"""


def test_a_flow_that_is_deployed_often_has_pages_and_a_strip(long_history: Engine) -> None:
    """Only the versions that have runs are read, and each of them counts."""
    long_history.db.execute(VERSIONS.encode())
    for number in range(40):
        complete_runs(long_history, f"often__{number * 10 + 1}", 1)
    meter = Meter(long_history)

    found = meter.call("page", "run_page", '{"flow": "often"}', 50, 1000)
    (strip,) = meter.call("strip", "flow_strips", ["often"])

    assert (len(found["runs"]), found["next"]) == (40, None)
    assert len(strip["last"]) == 30
    assert {name: cost.rows < 600 for name, cost in meter.costs.items()} == {
        "page": True, "strip": True,
    }, meter.costs  # fmt: skip


def test_children_are_found_by_their_parent_however_many_they_are(long_history: Engine) -> None:
    """Not among all runs, of which a page looks at some only."""
    parent = long_history.start("flow")
    long_history.db.execute(
        "update pgflow.runs set parent_run_id = %s, parent_step = 'a0', parent_index = 0 "
        "where run_id in (select run_id from pgflow.runs order by started_at limit 10500)",
        [parent],
    )

    found = page(long_history, 50, 1000, parent=parent)

    assert len(found["runs"]) == 50


def test_strips_say_how_a_flow_has_fared(varied: Engine) -> None:
    """The newest runs last; times only of those that completed."""
    shop, top = varied.call("flow_strips")

    assert (shop["flow"], top["flow"]) == ("shop", "top")
    assert [run["status"] for run in shop["last"]][:4] == ["failed"] * 4
    assert len(shop["last"]) == 12
    assert shop["live"] == 4
    assert shop["day"] == {
        "started": 4,
        "completed": 3,
        "failed": 4,
        "cancelled": 1,
        "more": False,
    }
    assert 0 <= shop["median"] <= shop["p95"] < 60
    assert (top["median"], top["live"]) == (None, 1)
    assert varied.call("flow_strips", ["top"]) == [top]
    assert varied.call("flow_strips", ["nothing"]) == []


def test_strips_read_the_newest_runs(long_history: Engine) -> None:
    """Of each version 200, and those of a day; a list of flows without counts reads no run."""
    meter = Meter(long_history)

    meter.call("strips", "flow_strips")
    (flow,) = meter.call("flows", "list_flows", False)

    assert meter.costs["strips"].rows <= 1000
    assert meter.costs["flows"].rows == 0
    assert [cost.scans for cost in meter.costs.values()] == [0, 0]
    assert (flow["name"], flow["versions"], flow["runs"]) == ("flow", 3, {})
