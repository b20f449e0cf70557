"""What assistants are told by the tools that only look, without a process around them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.mcp.tools import tools

if TYPE_CHECKING:
    import pytest

    from tests.fixtures.working import Works

REVIEW = """
flow: review
steps:
  look: {wait: {event: looked, form: {amount: {type: integer}}}}
"""
TESTS = "flow: tests\nsteps:\n  result: {wait: {event: tested}}\n"


def ask(works: Works, tool: str, **given: Any) -> Any:
    """The answer of a tool."""
    return json.loads(tools(actions=False)[tool].answer(works.client, given, by="mcp:ada"))


def test_the_longest_waits_come_first(works: Works) -> None:
    """However many runs are newer; an answer that may leave some out says so."""
    works.deploy(REVIEW)
    oldest = works.client.start_run("review").run_id
    works.deploy(TESTS)
    works.client.start_many("tests", [{}] * 60)

    every = ask(works, "list_waiting", limit=100)
    few = ask(works, "list_waiting")

    assert len(every["waiting"]) == 61
    assert "looked_at" not in every
    first, second = every["waiting"][:2]
    assert first["run_id"] == oldest
    assert first["answer"] == f"""pgflow-yaml approve {oldest[:8]} look --data '{{"amount": …}}'"""
    assert second["answer"] == f"pgflow-yaml send {second['run_id'][:8]} tested"
    assert None not in second.values()
    assert few == {"waiting": every["waiting"][:50], "looked_at": "the 50 longest waits"}


def test_a_filter_by_flow_counts_no_runs(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is enough to know that there is such a flow: a count reads all of its runs."""
    works.deploy(TESTS)
    counted: list[bool] = []

    def listed(*, counts: bool = True) -> Any:
        counted.append(counts)
        return list_flows(counts=counts)

    list_flows = works.client.list_flows
    monkeypatch.setattr(works.client, "list_flows", listed)

    assert ask(works, "list_runs", flow="tests") == {"runs": []}
    assert counted == [False]
