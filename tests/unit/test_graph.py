"""Levels, cycles and ancestors."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from pgflow_yaml.language.graph import Ancestors, cycles, levels

DIAMOND = {"d": ["b", "c"], "b": ["a"], "a": [], "c": ["a"]}


def test_a_step_stands_one_level_below_its_lowest_dependency() -> None:
    """Levels follow dependencies; within one the order of the file stays."""
    assert levels(DIAMOND) == [["a"], ["b", "c"], ["d"]]
    assert levels({}) == []


def test_steps_on_or_below_a_cycle_have_no_level() -> None:
    """Steps that can never start are left out."""
    assert levels({"a": ["b"], "b": ["a"], "c": ["b"], "d": []}) == [["d"]]


def test_each_cycle_is_reported_once_and_readable() -> None:
    """A cycle is a walk along dependencies that comes back."""
    edges = {"a": ["c"], "b": ["a"], "c": ["b"], "d": ["a"], "e": ["e"], "f": []}

    loops = cycles(edges)

    assert [sorted(cycle) for cycle in loops] == [["a", "b", "c"], ["e"]]
    for cycle in loops:
        for step, parent in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert parent in edges[step]


def test_ancestors_are_known_also_below_a_cycle() -> None:
    """A broken part of a flow does not hide mistakes in the rest."""
    above = Ancestors({**DIAMOND, "x": ["y"], "y": ["x"], "z": ["x", "a"]})

    assert above.includes("a", of="d")
    assert not above.includes("d", of="a")
    assert not above.includes("b", of="c")
    assert above.includes("y", of="z")
    assert above.includes("a", of="z")
    assert above.includes("x", of="x")
    assert not above.includes("unknown", of="d")


def test_two_thousand_steps_with_twenty_thousand_edges_take_no_time() -> None:
    """Levels, cycles and ancestors stay linear (S-19)."""
    edges = {str(n): [str(m) for m in range(max(0, n - 10), n)] for n in range(2000)}
    start = time.process_time()

    result = levels(edges)
    above = Ancestors(edges)

    assert len(result) == 2000
    assert cycles(edges) == []
    assert above.includes("0", of="1999")
    assert time.process_time() - start < 1.0


@given(st.lists(st.lists(st.integers(0, 11), max_size=4), min_size=1, max_size=12))
def test_a_graph_either_has_all_levels_or_a_cycle(raw: list[list[int]]) -> None:
    """No step is both orderable and on a reported cycle, and none is lost without a cycle."""
    names = [str(n) for n in range(len(raw))]
    edges = {str(n): [str(m) for m in parents if m < len(raw)] for n, parents in enumerate(raw)}

    ordered = {step for level in levels(edges) for step in level}
    loops = cycles(edges)

    assert (ordered == set(names)) == (loops == [])
    for cycle in loops:
        assert not ordered & set(cycle)
        for step, parent in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert parent in edges[step]
