"""What a client reads for pages: typed, with the names of the commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from pgflow_yaml import NotFound

if TYPE_CHECKING:
    from tests.fixtures.working import Works

IDLE = "flow: idle\nlabels: {team: ml}\nsteps:\n  go: {handler: shop.go}\n"
MAP = """
flow: wide
steps:
  each: {handler: shop.go, map: "${{ [1, 2, 3] }}"}
"""


def test_pages_of_runs_follow_each_other(works: Works) -> None:
    """Each run as `runs` prints it; the place is a value that a URL can have."""
    works.deploy(IDLE)
    ids = works.client.start_many("idle", [{}] * 5)
    listed = works.client.list_runs(flow="idle")

    first = works.client.page_runs(limit=3, flow="idle", labels={"team": "ml"})
    place = json.loads(json.dumps(first.next))
    last = works.client.page_runs(limit=3, place=place, flow="idle", labels={"team": "ml"})

    assert [*first.runs, *last.runs] == listed
    assert {run.id for run in listed} == set(ids)
    assert (last.next, last.looked) == (None, None)
    assert first.as_json()["runs"] == [run.as_json() for run in first.runs]
    assert works.client.page_runs(parent=str(uuid4())).runs == ()
    with pytest.raises(NotFound):
        works.client.page_runs(parent="none")


def test_marks_tell_which_runs_have_changed(works: Works) -> None:
    """A run that is gone has none."""
    works.deploy(IDLE)
    first, second = works.client.start_many("idle", [{}, {}])
    before = works.client.run_marks([first, second, str(uuid4())])

    works.client.cancel(first)

    after = works.client.run_marks([first, second])
    assert set(before) == set(after) == {first, second}
    assert (before[first] != after[first], before[second]) == (True, after[second])


def test_strips_and_items_are_values(works: Works) -> None:
    """Before anything has run."""
    works.deploy(MAP)
    run = works.client.start("wide")

    (strip,) = works.client.flow_strips(["wide"])
    items = works.client.step_items(run.id, "each")
    (item, *_) = works.client.list_items(run.id, "each", statuses=["queued"])

    assert strip.last[0]["status"] == "started"
    assert (strip.median, strip.p95, strip.live, strip.day["started"]) == (None, None, 1, 1)
    assert (items.status, items.first, items.total, items.items) == ("started", 0, 3, "q0q0q0")
    assert (item.index, item.status, item.attempts, item.error) == (0, "queued", 0, None)
    assert works.client.list_items(run.id, "each", first=3) == []
    with pytest.raises(NotFound, match='no step "none"'):
        works.client.step_items(run.id, "none")


def test_flows_are_listed_without_their_counts(works: Works) -> None:
    """For those who need names."""
    works.deploy(IDLE)

    (flow,) = works.client.list_flows(counts=False)

    assert (flow.name, flow.runs) == ("idle", {})
