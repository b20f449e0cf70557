"""The page about metrics, the dashboard and the alert rules name what a worker really exports."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.docs.fenced import ROOT
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.working import Works

PAGE = (ROOT / "docs/how-to/monitor.md").read_text()
FOLDER = ROOT / "docs/how-to/monitor"
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ROW = re.compile(r"^\| `(pgflow_\w+)` \|(.*?)\| ", re.MULTILINE)
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "info": ("_info",)}


class Family:
    """The samples of one metric, with the labels that they have."""

    def __init__(self, family: Any) -> None:
        ends = SUFFIXES.get(family.type, ("",))
        self.samples = {family.name + end for end in ends}
        # a histogram has one name for people, and each other kind that of its samples
        self.shown = family.name if family.type == "histogram" else family.name + ends[0]
        self.labels = {label for sample in family.samples for label in sample.labels} - {"le"}


@pytest.fixture
def exported(works: Works) -> list[Family]:
    """What a worker exports once a run has ended."""
    works.app.write("shop.py", "def go(input): return 1\n")
    works.deploy("flow: one\nsteps:\n  go: {handler: shop.go}\n  no: {handler: shop.no}\n")
    works.client.start("one")
    worker = works.start(metrics=True)
    assert worker.measures is not None
    registry = worker.measures.registry
    done = {"flow": "one", "step": "go", "outcome": "completed"}
    eventually(lambda: registry.get_sample_value("pgflow_attempts_total", done), what="it ends")
    eventually(lambda: registry.get_sample_value("pgflow_workers"), what="the gauges are read")
    return [Family(family) for family in registry.collect()]


def expressions() -> list[str]:
    """All queries of the dashboard and of the rules."""
    rules = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
    return rules + [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_page_dashboard_and_rules_name_what_is_exported(exported: list[Family]) -> None:
    """The page all of it with its labels, the others nothing else; the dashboard all."""
    samples = {sample: family for family in exported for sample in family.samples}
    page = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in ROW.findall(PAGE)}
    used = {name for text in expressions() for name in re.findall(r"pgflow_\w+", text)}
    used.discard("pgflow__timers")

    assert page == {family.shown: family.labels for family in exported}
    assert used <= set(samples)
    shown = {name for panel in PANELS for t in panel["targets"]
             for name in re.findall(r"pgflow_\w+", t["expr"])}  # fmt: skip
    assert all(family.samples & shown for family in exported)
    for text in expressions():
        labels = set[str]().union(*(samples[n].labels for n in re.findall(r"pgflow_[a-z]\w+", text)
                                    if n in samples))  # fmt: skip
        named = {word for part in re.findall(r"by \((.*?)\)", text) for word in part.split(", ")}
        named |= set(re.findall(r"[{,](\w+)(?:!=|=~|=)", text))
        assert named <= labels | {"le", "instance"}, text


def test_each_panel_has_a_place_of_its_own() -> None:
    """None lies upon another; each queries the source that is chosen."""
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]

    assert len(cells) == len(set(cells))
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${source}"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_each_rule_says_what_to_do() -> None:
    """A summary, a description, a severity; brackets are closed."""
    for rule in (rule for group in ALERTS["groups"] for rule in group["rules"]):
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
    for text in expressions():
        assert all(text.count(a) == text.count(b) for a, b in ("()", "[]", "{}")), text
