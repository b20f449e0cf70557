"""Starting runs, waiting for them, running them in one's own process."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from pgflow_yaml import InvalidInput, NotFound, PgflowError, RunFailed, SchemaMismatch
from pgflow_yaml.client import inputs

if TYPE_CHECKING:
    from tests.fixtures.working import Works


def test_a_client_runs_a_flow_in_its_own_process(works: Works) -> None:
    """`client.run` starts, works and returns the completed run."""
    works.app.write("shop.py", "def go(input): return input['x'] * 2\n")
    works.deploy("flow: double\ninput: {x: {type: integer}}\nsteps:\n  go: {handler: shop.go}\n")

    run = works.run("double", {"x": 21}, app_dir=works.app.folder, timeout=20)

    assert (run.status, run.output) == ("completed", {"go": 42})


def test_a_client_whose_worker_ends_does_not_wait_for_ever(
    works: Works, db: psycopg.Connection
) -> None:
    """What ended the worker is raised: here, a database that lost a function."""
    works.deploy("flow: idle\nsteps:\n  go: {handler: shop.go}\n")
    db.execute("alter function pgflow.turn rename to turned")

    with pytest.raises(SchemaMismatch, match="pgflow-yaml migrate"):
        works.run("idle", app_dir=works.app.folder, timeout=20)


def test_waiting_for_a_failed_run_raises(works: Works) -> None:
    """RunFailed names the run, the step and the error."""
    works.app.write("shop.py", "def go(input): raise ValueError('broken')\n")
    works.deploy("flow: bad\nsteps:\n  go: {handler: shop.go, retry: 1}\n")
    run = works.client.start("bad")
    works.drain()

    with pytest.raises(RunFailed, match="broken") as failed:
        works.client.wait(run.id, timeout=5)

    assert (failed.value.run, failed.value.step) == (run.id, "go")


def test_a_run_that_a_client_ends_is_in_its_log(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, for no worker logs it; one that had ended is not."""
    works.deploy("flow: one\nsteps: {a: {handler: app.a}}\n")
    run = works.client.start("one").id
    with caplog.at_level("INFO", "pgflow_yaml.client"):
        works.client.cancel(run)
        works.client.cancel(run)

    (record,) = [each for each in caplog.records if each.name.startswith("pgflow_yaml.client")]
    assert record.getMessage() == "run was cancelled"
    assert vars(record)["run_id"] == run


def test_waiting_has_an_end(works: Works) -> None:
    """The run goes on when the time is up."""
    works.deploy("flow: idle\nsteps:\n  go: {handler: shop.go}\n")
    run = works.client.start("idle")

    with pytest.raises(TimeoutError, match="goes on"):
        works.client.wait(run.id, timeout=0.1)


def test_a_start_joins_the_callers_transaction(works: Works) -> None:
    """A rollback undoes the run, a commit keeps it."""
    works.deploy("flow: idle\nsteps:\n  go: {handler: shop.go}\n")

    with psycopg.connect(works.database, row_factory=dict_row) as mine:
        undone = works.client.start("idle", conn=mine)
        mine.rollback()
        kept = works.client.start("idle", conn=mine)
        mine.commit()

    assert works.client.get(kept.id).status == "started"
    with pytest.raises(NotFound):
        works.client.get(undone.id)


def test_a_key_makes_a_start_repeatable(works: Works) -> None:
    """The same key and input give the same run, another input is an error."""
    works.deploy("flow: keyed\ninput: {x: {default: 1}}\nsteps:\n  go: {handler: shop.go}\n")

    first = works.client.start("keyed", {"x": 1}, key="k")

    assert works.client.start("keyed", {"x": 1}, key="k").id == first.id
    with pytest.raises(PgflowError, match="another input"):
        works.client.start("keyed", {"x": 2}, key="k")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"rows": [{"id": "x"}]}, "rows[0].id"),
        ({"rows": "x"}, "rows"),
        ({"rows": [], "more": 1}, "more"),
        ({}, "rows"),
        ({"rows": [float("nan")]}, "rows[0]"),
    ],
)
def test_a_wrong_input_is_refused_with_its_place(works: Works, given: Any, path: str) -> None:
    """Also what lies deep in a field, which the database does not look at."""
    works.deploy(
        """
        flow: strict
        input: {rows: {type: array, items: {type: object, properties: {id: {type: integer}}}}}
        steps:
          go: {handler: shop.go}
        """
    )

    with pytest.raises(InvalidInput) as refused:
        works.client.start("strict", given)

    assert [problem["path"] for problem in refused.value.problems] == [path]


def test_an_unknown_flow_or_run_is_not_found(works: Works) -> None:
    """NotFound, with a sentence."""
    with pytest.raises(NotFound, match='no flow "nope"'):
        works.client.start("nope")
    with pytest.raises(NotFound, match="no run"):
        works.client.get("00000000-0000-0000-0000-000000000000")


def test_many_runs_start_in_the_order_of_their_inputs(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches, with the active version of that moment, each id beside its input."""
    monkeypatch.setattr(inputs, "BATCH", 3)
    works.app.write("shop.py", "def go(input): return input['x']\n")
    works.deploy("flow: many\ninput: {x: {type: integer}}\nsteps:\n  go: {handler: shop.go}\n")

    ids = works.client.start_many("many", ({"x": x} for x in range(7)))
    works.drain()

    assert [works.client.get(each).output for each in ids] == [{"go": x} for x in range(7)]
    assert works.client.start_many("many", []) == []


def test_a_whole_number_is_an_integer_in_an_integer_field(works: Works) -> None:
    """1000.0 starts a run with 1000, at any depth; a number field keeps what it was given."""
    works.app.write("shop.py", "def go(input): return repr(input)\n")
    works.deploy(
        """
        flow: whole
        input:
          n: {type: integer}
          rows: {type: array, items: {type: object, properties: {id: {type: integer}}}}
          price: {type: number}
        steps:
          go: {handler: shop.go}
        """
    )
    value = {"n": 1000.0, "rows": [{"id": 2.0}], "price": 3.0}

    ids = [works.client.start("whole", value).id, *works.client.start_many("whole", [value])]
    works.drain()

    for each in ids:
        written = str(works.client.get(each).output)
        assert all(part in written for part in ("'n': 1000,", "'id': 2}", "'price': 3.0"))


def test_long_inputs_start_in_more_statements() -> None:
    """In order, as many as fit; one that is too long for any goes alone; none are one statement."""
    long, short, too_long = "x" * 5_000_000, "x", "x" * 9_000_000

    found = list(inputs.batches([long, short, long, too_long, short]))

    assert found == [[long, short], [long], [too_long], [short]]
    assert list(inputs.batches([])) == [[]]


def test_one_wrong_input_among_many_starts_none(works: Works) -> None:
    """The problem says which one it is, also where only the client looks."""
    works.deploy(
        """
        flow: strict
        input: {rows: {type: array, items: {type: object, properties: {id: {type: integer}}}}}
        steps:
          go: {handler: shop.go}
        """
    )
    fine: dict[str, Any] = {"rows": [{"id": 1}]}

    with pytest.raises(InvalidInput) as refused:
        works.client.start_many("strict", [fine, {"rows": [{"id": "x"}]}])
    with pytest.raises(InvalidInput, match="is not JSON"):
        works.client.start_many("strict", [fine, {"rows": [float("nan")]}])
    with pytest.raises(NotFound, match='no flow "nope"'):
        works.client.start_many("nope", [])

    assert [problem["path"] for problem in refused.value.problems] == ["[1].rows[0].id"]
    assert works.client.list_runs() == []


def test_starting_many_joins_the_callers_transaction(works: Works) -> None:
    """A rollback undoes all of them."""
    works.deploy("flow: idle\nsteps:\n  go: {handler: shop.go}\n")

    with psycopg.connect(works.database) as mine:
        assert len(works.client.start_many("idle", [{}, {}], conn=mine)) == 2
        mine.rollback()

    assert works.client.list_runs() == []


def test_runs_are_found_by_their_labels(works: Works) -> None:
    """Those that have all of the labels asked for."""
    works.deploy("flow: idle\nlabels: {team: ml}\nsteps:\n  go: {handler: shop.go}\n")
    works.client.start("idle")
    urgent = works.client.start("idle", labels={"urgent": "yes"}).id

    found = works.client.list_runs(labels={"team": "ml", "urgent": "yes"})

    assert [run.id for run in found] == [urgent]
    assert len(works.client.list_runs(labels={"team": "ml"})) == 2
    assert works.client.list_runs(labels={"team": "web"}) == []


SHOP = """
    from __future__ import annotations
    import datetime as dt
    from dataclasses import dataclass
    from decimal import Decimal

    @dataclass
    class Order:
        day: dt.date
        price: Decimal

    def price(order: Order) -> Order:
        return Order(order.day, order.price * 2)
"""


def test_everyday_values_go_through_a_run(works: Works) -> None:
    """From the input of a start over two handlers to the output; wrong data is not tried again."""
    works.app.write("shop.py", SHOP)
    works.deploy(
        "flow: shop\ninput: {day: {type: string}, price: {type: string}}\nsteps:\n"
        "  a: {handler: shop.price}\n"
        "  b: {handler: shop.price, depends_on: [a], with: {order: '${{ steps.a.output }}'}}\n"
    )
    order = {"day": dt.date(2026, 11, 25), "price": Decimal("1.10")}

    run = works.run("shop", order, app_dir=works.app.folder, timeout=20)

    assert run.output == {"b": {"day": "2026-11-25", "price": "4.40"}}
    (wrong,) = works.client.start_many("shop", [{**order, "price": "dear"}])
    works.drain()
    with pytest.raises(RunFailed, match=r"argument order\.price must be a number") as no:
        works.client.wait(wrong, timeout=5)
    assert works.client.get(wrong).input == {"day": "2026-11-25", "price": "dear"}
    assert no.value.error["attempts"] == 1


def test_an_input_without_json_is_refused_with_its_place(works: Works) -> None:
    """The conversion to write stands in the sentence."""
    works.deploy("flow: idle\ninput: {tags: {}}\nsteps:\n  go: {handler: shop.go}\n")

    with pytest.raises(InvalidInput, match=r"tags.*set is not JSON: return sorted\(value\)"):
        works.client.start("idle", {"tags": {"a"}})
