"""The page of a run: its graph and marks, the selected step, what people did, what failed."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.errors import NotFound
from pgflow_yaml.runs.audited import audit_words
from pgflow_yaml.runs.compared import changes

if TYPE_CHECKING:
    from tests.fixtures.working import Works
    from tests.web.conftest import Site

CANARY = "<script>alert(1)</script>\x1b[31mred"
FLOW = """
flow: order
input: {amount: {type: number, default: 49.9}}
steps:
  pay:
    handler: shop.pay
    with: {amount: "${{ input.amount }}"}
    retry: {max_attempts: 2, base_delay: 0s}
  pack: {handler: shop.pack}
  ship: {handler: shop.ship, depends_on: [pay, pack]}
"""
HANDLERS = f"""
import logging
def pay(amount):
    logging.getLogger("shop").warning({CANARY!r})
    raise TimeoutError({CANARY!r})
def pack(): return {{"boxes": 2}}
def ship(): ...
"""


@pytest.fixture
def failed(works: Works) -> str:
    """The id of a run in which one step failed, one completed, and one never began."""
    works.app.write("shop.py", HANDLERS)
    works.deploy(FLOW)
    run = works.client.start("order")
    works.drain()
    return run.id


def part(site: Site, run: str, name: str, query: str = "") -> str:
    """A part of the page, as a viewer gets it."""
    reply = site.browser("vera").get(f"/runs/{run}/parts/{name}{query}")
    assert reply.status_code == 200
    assert "<script>" not in reply.text
    assert "\x1b" not in reply.text
    return str(reply.text)


def test_the_graph_is_sent_once_and_then_marked(site: Site, failed: str) -> None:
    """Each box leads to its step; marks have what changes, and the layout stays as it is."""
    graph, marks = part(site, failed, "graph"), part(site, failed, "marks")

    assert 'data-live=""' in graph
    assert f'data-live="run:{failed}"' in marks
    assert f'href="/runs/{failed}?step=ship"' in graph
    found = re.search('data-marks="([^"]+)"', marks)
    assert found
    sent = json.loads(unescape(found[1]))
    assert sent["pay"] == ["failed", "✗ attempt 2 of 2", 0, "pay attempt 2 of 2: failed"]
    assert sent["ship"][0] == "skipped"
    for slug, mark in sent.items():
        assert f'class="pg-box pg-{mark[0]}" href="/runs/{failed}?step={slug}"' in graph
    assert 'data-selected="pay"' in marks


def test_a_graph_can_be_seen_otherwise(site: Site, failed: str) -> None:
    """As wide as the page, or only the steps around one; links keep what else was chosen."""
    assert 'class="pg-graph pg-fit"' in part(site, failed, "graph", "?view=fit&step=pack")
    around = part(site, failed, "graph", "?around=pack&step=pack")
    assert 'data-step="ship"' in around
    assert 'data-step="pay"' not in around
    assert f'href="/runs/{failed}?step=pack"' in around
    assert "1:1" in part(site, failed, "graph", "?view=fit&around=nonsense&step=%3Cscript%3E")


def test_the_step_shows_all_of_it(site: Site, failed: str) -> None:
    """The failed one by itself, another by the address: values, attempts, the end of its log."""
    step = part(site, failed, "step")
    assert "Step pay" in step
    assert "&#34;amount&#34;: 49.9" in step
    assert "shop.py:5 in pay" in step
    assert step.count("before the retry") == 0
    assert step.count("alert(1)") > 4
    assert f"/runs/{failed}?step=pay&amp;attempt=1" in step
    first = part(site, failed, "step", "?step=pay&attempt=1")
    assert first.count('class="level-warning"') == 1
    assert step.count('class="level-warning"') == 2
    other = part(site, failed, "step", "?step=pack")
    assert "&#34;boxes&#34;: 2" in other
    assert f"/runs/{failed}/steps/pack/output.json" in other
    never = part(site, failed, "step", "?step=ship&attempt=x")
    assert "none, it was never called" in never


def test_the_head_of_a_failed_run_is_the_last_screen_of_the_terminal(
    site: Site, failed: str
) -> None:
    """The step, its error and place, the input, what a retry keeps."""
    head = part(site, failed, "head")

    assert f'<a href="/runs/{failed}?step=pay"><strong>pay</strong></a> failed, 2 of 2' in head
    assert "shop.py:5 in pay" in head
    assert "{&#34;amount&#34;: 49.9}" in head
    assert f"pgflow-yaml retry {failed[:8]}" in head
    assert "keeps: pack" in head


def test_values_are_files(site: Site, failed: str) -> None:
    """Whole, under a harmless name; a step that is not there is a sentence."""
    vera = site.browser("vera")
    reply = vera.get(f"/runs/{failed}/input.json")
    assert reply.json() == {"amount": 49.9}
    name = f"order-{failed[:8]}-input.json"
    assert reply.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert vera.get(f"/runs/{failed}/output.json").json() is None
    assert vera.get(f"/runs/{failed}/steps/pack/output.json").json() == {"boxes": 2}
    assert vera.get(f"/runs/{failed}/steps/pakc/output.json").status_code == 404


def test_the_page_says_who_did_what(works: Works, site: Site, failed: str) -> None:
    """In the order of time, with the reason; another run's lines are not there."""
    assert "did" not in part(site, failed, "audit")
    works.client.retry(failed, by="ada")
    works.client.cancel(failed, CANARY, by="<b>")

    assert [line.action for line in works.client.audit(failed)] == ["retry", "cancel"]
    shown = part(site, failed, "audit")
    assert shown.index("retried by ada, <time") < shown.index("cancelled by &lt;b&gt;: &lt;script")
    with pytest.raises(NotFound):
        works.client.audit("0" * 32)


@pytest.mark.parametrize(
    ("action", "details", "words"),
    [
        ("cancel", {"reason": None}, "cancelled by ann"),
        ("approve", {"step": "go", "comment": "fine"}, "go approved by ann: fine"),
        ("reject", {"step": "go", "comment": "no\nway"}, "go rejected by ann: no way"),
        ("retry", {"from": ["a", "b"]}, "retried (from a, b) by ann"),
        (
            "retry",
            {"steps": ["a"], "new_input": True, "version_before": "1f"},
            "retried (steps a, with another input, before on version 1f) by ann",
        ),
        ("drop", {}, "dropped from the failed runs by ann"),
        ("after", {"reason": "the chain ends here"}, "the chain ends here"),
    ],
)
def test_the_audit_has_words(action: str, details: Any, words: str) -> None:
    """One sentence a line."""
    assert audit_words(action, "ann", details) == words


def test_child_runs_are_shown_and_watched(works: Works, site: Site) -> None:
    """A live child has a mark of its own, so the part depends on it."""
    works.deploy("flow: inner\nsteps:\n  go: {wait: {event: go}}\n")
    works.deploy("flow: outer\nsteps:\n  call: {flow: inner}\n")
    run = works.client.start("outer").id
    works.drain()
    (child,) = works.client.list_runs(parent=run)

    shown = part(site, run, "children")

    assert f'href="/runs/{child.id}"' in shown
    assert f'data-live="run:{run},run:{child.id}"' in shown
    assert "running" in shown


def test_two_runs_side_by_side(works: Works, site: Site, failed: str) -> None:
    """Input by field, durations, outputs; without another run, those to choose from."""
    vera = site.browser("vera")
    alone = vera.get(f"/runs/{failed}/compare")
    assert "order has no other run yet" in alone.text
    assert vera.get(f"/runs/{failed}/compare.json").json() is None
    other = works.client.start("order", {"amount": 5}, key=CANARY).id
    works.drain()
    assert f"/runs/{failed}/compare?with={other}" in vera.get(f"/runs/{failed}/compare").text

    page = vera.get(f"/runs/{failed}/compare", params={"with": other[:8]}).text
    pair = vera.get(f"/runs/{failed}/compare.json", params={"with": other}).json()

    assert "<code>49.9</code></td><td><code>5</code>" in page
    assert "<script>" not in page
    assert pair["changes"] == [{"path": "amount", "one": 49.9, "other": 5}]
    assert [run["id"] for run in pair["runs"]] == [failed, other]
    assert (pair["same_version"], pair["same_input"], pair["same_output"]) == (True, False, True)
    steps = {step["step"]: step for step in pair["steps"]}
    assert steps["pack"]["outputs"] == "same"
    assert steps["pay"]["statuses"] == ["failed", "failed"]
    assert steps["ship"]["seconds"] == [None, None]
    assert vera.get(f"/runs/{failed}/compare?with=nobody").status_code == 404


@pytest.mark.parametrize(
    ("one", "other", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 2}, "d": None}, ["a.b", "a.c", "d"]),
        ([1], [2], [""]),
        (None, {}, [""]),
    ],
)
def test_inputs_differ_by_path(one: Any, other: Any, paths: list[str]) -> None:
    """Objects by their fields, all else as a whole."""
    assert [path for path, *_ in changes(one, other)] == paths
