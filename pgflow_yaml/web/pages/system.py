"""The page of the database: the checks of `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.web.pages import queries
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.asked import Asked


def _secure(asked: Asked) -> bool:
    """Return true if the checks of security are asked for."""
    queries.check(asked, ("security",))
    return queries.choice(asked, "security", ("1",)) == "1"


def _json(asked: Asked) -> object:
    return asked.client.examine(secure=asked.once(_secure)).as_json()


def _read(asked: Asked) -> Mapping[str, Any]:
    secure = asked.once(_secure)
    return {
        "secure": secure,
        "command": "pgflow-yaml doctor" + (" --security" if secure else ""),
    }


def _checks(asked: Asked) -> Mapping[str, Any]:
    report = asked.client.examine(secure=asked.once(_secure))
    return {
        "report": report,
        "kind": report.status,
        "fixes": bool(report.repairs),
    }


PAGE = Page(
    path="/system",
    name="system",
    nav="System",
    read=_read,
    json=_json,
    parts={"checks": Part(read=_checks)},
)
