"""The rule of edges, end by end; `tests/engine/test_plan_agrees.py` compares it with the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.language.edge_rules import (
    END_IF_UNMET,
    SKIPPED,
    needs_a_step_that_ran,
    satisfies,
)

if TYPE_CHECKING:
    from pgflow_yaml.language.edge_rules import End
    from pgflow_yaml.language.model import Edge

ENDS: tuple[End, ...] = ("completed", "unmet", "upstream", "failed")


@pytest.mark.parametrize(
    ("edge", "ends"),
    [
        ("success", {"completed", "unmet"}),
        ("failure", {"failed"}),
        ("any", {"completed", "unmet", "upstream", "failed"}),
    ],
)
def test_an_edge_is_satisfied_by_these_ends_only(edge: Edge, ends: set[End]) -> None:
    assert {end for end in ENDS if satisfies(end, edge)} == ends


def test_a_step_skipped_by_a_dependency_spreads_its_skip_through_success_only() -> None:
    assert not satisfies("upstream", "success")
    assert satisfies("upstream", "any")


def test_a_false_condition_skips_the_step_or_fails_it() -> None:
    assert {END_IF_UNMET["skip"], END_IF_UNMET["skip-cascade"]} == SKIPPED
    assert END_IF_UNMET["fail"] == "failed"


def test_a_step_whose_dependencies_are_all_skipped_runs_only_behind_an_edge_any() -> None:
    assert needs_a_step_that_ran(["success", "failure"])
    assert not needs_a_step_that_ran(["success", "any"])
    assert not needs_a_step_that_ran([])
