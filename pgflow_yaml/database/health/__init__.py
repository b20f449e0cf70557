"""The health of a database: checks that end in time, each apart from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.database.health import engine, schedules, security, server
from pgflow_yaml.database.health.findings import Check, Finding, Report, checked
from pgflow_yaml.database.health.inspector import Inspector, Limits, NotAnswered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.database.health.findings import Seen

__all__ = ["Check", "Finding", "Limits", "Report", "examine"]

CHECKS: Mapping[str, Callable[[Inspector], Seen]] = {
    "functions": engine.functions,
    "invariants": engine.invariants,
    "handlers": engine.handlers,
    "queues": engine.queues,
    "timers": engine.timers,
    "schedules": schedules.schedules,
    "transactions": server.transactions,
    "vacuum": server.vacuum,
    "size": server.size,
    "settings": server.settings,
    "clocks": server.clocks,
}
SECURITY: Mapping[str, Callable[[Inspector], Seen]] = {
    "grants": security.grants,
    "owners": security.owners,
    "passwords": security.passwords,
}
OF_ANY_DATABASE = ("transactions", "vacuum", "clocks", "passwords")


def examine(conninfo: str, *, secure: bool = False, limits: Limits | None = None) -> Report:
    """Make all checks, and with `secure` those of security; raises Unavailable.

    A database that this release cannot use is only checked for what does not depend on its tables.
    """
    ask = Inspector(conninfo, limits or Limits())
    try:
        first, usable = _versions(ask)
        others = [
            _made(ask, name, check)
            for name, check in {**CHECKS, **(SECURITY if secure else {})}.items()
            if usable or name in OF_ANY_DATABASE
        ]
    finally:
        ask.close()
    return Report(checks=(first, *others), usable=usable)


def _versions(ask: Inspector) -> tuple[Check, bool]:
    """Return the check of the versions, and whether the database is one that others can be made of.

    If it could not be made, the others are tried.
    """
    usable = True

    def versions(inspector: Inspector) -> Seen:
        nonlocal usable
        seen = engine.versions(inspector)
        usable = seen.usable
        return seen

    return _made(ask, "versions", versions), usable


def _made(ask: Inspector, name: str, check: Callable[[Inspector], Seen]) -> Check:
    try:
        with ask.asking():
            return checked(name, check(ask))
    except NotAnswered as error:
        return Check(check=name, status="failed", summary=str(error))
