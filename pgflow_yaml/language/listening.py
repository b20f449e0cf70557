"""The input of a flow with `after`: what it is told of a run that has ended, or that waits.

The engine gives the same fields: `pgflow._end_of_run` and `_facts_of_wait`; the tests in
`tests/engine/test_after.py` and `test_approvals.py` compare them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pgflow_yaml.language.model import Json

_NULLABLE: Json = {"type": ["string", "null"], "default": None}
WAITING: Final = "waiting"

INPUT: Final[Mapping[str, Json]] = {
    "run": {"type": "string"},
    "flow": {"type": "string"},
    "version": {"type": "string", "default": ""},
    "status": {"enum": ["failed", "cancelled", "completed"], "default": "failed"},
    "error": {"type": ["object", "null"], "default": None},
    "step": _NULLABLE,
    "labels": {"type": "object", "default": {}},
    "output": {"default": None},
    "scheduled_at": _NULLABLE,
    "retries": {"type": "integer", "default": 0},
}
"""Fields by name. The defaults are for those who start such a flow by hand, to try it."""

INPUT_OF_WAITS: Final[Mapping[str, Json]] = {
    **INPUT,
    "status": {"enum": ["failed", "cancelled", "completed", WAITING], "default": WAITING},
    "event": _NULLABLE,
    "form": {"type": ["object", "null"], "default": None},
    "by": {"type": ["array", "null"], "default": None},
    "until": _NULLABLE,
    "reminder": {"type": ["integer", "null"], "default": None},
}
"""Fields of a flow that hears of waits, too; those of a wait are null at an end."""


def fields(status: Collection[str]) -> Mapping[str, Json]:
    """Return the fields of a flow that hears of runs with one of these."""
    return INPUT_OF_WAITS if WAITING in status else INPUT
