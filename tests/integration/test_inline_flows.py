"""Flows that are written in steps: they run in order, and their versions belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml import load
from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from tests.fixtures.working import Works

PAGE = ROOT / "docs" / "how-to" / "coming-from.md"
NESTED = next(
    block.text for block in blocks("yaml", [PAGE]) if block.text.startswith("flow: orders")
)
SHOP = """
    calls = []

    def fetch(customer, month):
        calls.append(f"fetch {customer} {month}")
        return f"{customer}-{month}"

    def store(outputs):
        calls.append(f"store {outputs['fetch']}")

    def calls_so_far(_):
        return calls
"""
SUMMARY = "finally:\n  calls: {handler: shop.calls_so_far}\n"


def test_a_loop_in_a_loop_runs_in_one_file_in_order(works: Works) -> None:
    """The example of the page: each chain ends before the next one begins."""
    works.app.write("shop.py", SHOP)
    works.deploy(NESTED + SUMMARY)

    run = works.run("orders", app_dir=works.app.folder, timeout=30)

    output = next(step.output for step in run.steps if step.slug == "calls")
    places = [(customer, month) for customer in ("ada", "grace") for month in ("10", "11")]
    assert output == [call for c, m in places for call in (f"fetch {c} {m}", f"store {c}-{m}")]


def test_a_run_keeps_the_inner_flow_of_its_version(works: Works) -> None:
    """A deploy while a run waits changes the next run alone; inner flows are not active."""
    works.app.write("shop.py", "def one(_): return 1\n\ndef two(_): return 2\n")
    text = (
        "flow: outer\nsteps:\n  hold: {wait: {event: go}}\n"
        "  in: {depends_on: [hold], flow: {steps: {a: {handler: shop.one}}}}\n"
    )
    works.deploy(text)
    first = works.client.start("outer")
    works.deploy(text.replace("shop.one", "shop.two"))
    second = works.client.start("outer")
    for run in (first, second):
        works.client.send(run.id, "go")
    works.drain()

    assert [works.ended(run.id).output for run in (first, second)] == [
        {"in": {"a": 1}},
        {"in": {"a": 2}},
    ]
    assert [flow.active for flow in works.client.list_versions("outer_in")] == [False, False]


def test_an_inner_change_is_a_change_of_its_file(works: Works) -> None:
    """`diff` names the step inside, also for versions that the database stores."""
    text = "flow: outer\nsteps:\n  in: {flow: {steps: {a: {handler: shop.one}}}}\n"
    works.deploy(text)
    old = load(works.app.folder / "flow.yaml")
    works.deploy(text.replace("shop.one", "shop.two"))
    new = load(works.app.folder / "flow.yaml")

    (change,) = works.client.compare_versions("outer", old.version, new.version).changes

    assert change.text == "step in: step a: handler shop.one → shop.two"
    assert change.path == "steps.in.flow.steps.a.handler"
