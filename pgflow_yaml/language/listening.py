"""The input of a flow with `after`: what it is told of a run that has ended.

The engine gives the same fields: `pgflow._end_of_run`; `tests/engine/test_after.py` compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json

_NULLABLE: Json = {"type": ["string", "null"], "default": None}

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
