"""Rules of edges: the ends of a dependency that satisfy an edge (`workflow-language` §6).

The engine has the same rule in SQL: `pgflow._lower_dependents` and `pgflow._unhandled_failures`;
`tests/engine/test_plan_agrees.py` compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pgflow_yaml.language.model import Edge, WhenUnmet

End = Literal["completed", "unmet", "upstream", "failed"]
"""The end of a step.

`unmet`: skipped by its own condition. `upstream`: skipped by a dependency, or by its own condition
with `skip-cascade`; dependents behind an edge `success` are skipped too.
"""

SKIPPED: Final[frozenset[End]] = frozenset({"unmet", "upstream"})
END_IF_UNMET: Final[Mapping[WhenUnmet, End]] = {
    "skip": "unmet",
    "skip-cascade": "upstream",
    "fail": "failed",
}
"""The end of a step whose `if` is false, by its `when_unmet`."""
_SATISFYING: Final[Mapping[Edge, frozenset[End]]] = {
    "success": frozenset({"completed", "unmet"}),
    "failure": frozenset({"failed"}),
    "any": frozenset({"completed", "unmet", "upstream", "failed"}),
}


def satisfies(end: End, edge: Edge) -> bool:
    """Return True when a dependency that ended like this satisfies the edge.

    A completed dependent behind an edge that `failed` satisfies has handled the failure, unless it
    is a `finally` step or has `handles: false`.
    """
    return end in _SATISFYING[edge]


def needs_a_step_that_ran(edges: Collection[Edge]) -> bool:
    """Return True when a step with these edges is skipped if all its dependencies are skipped."""
    return bool(edges) and "any" not in edges
