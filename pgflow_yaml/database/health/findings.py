"""The findings of the checks of a database, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgflow_yaml.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgflow_yaml.language.model import Json

Severity = Literal["warning", "problem"]
Status = Literal["ok", "warning", "problem", "failed"]
Repair = Literal["migrate", "restore", "sweep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be, in one sentence; `fix` says or shows the remedy.

    `repair` names the remedy where `doctor --fix` may apply it.
    """

    message: str
    severity: Severity = "problem"
    fix: str | None = None
    repair: Repair | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Result of a check: its summary is shown where there are no findings."""

    summary: str
    findings: tuple[Finding, ...] = ()
    usable: bool = True
    """False if the database is none that this release can use: no other check makes sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check of the database; `failed` if it could not be made, and then `summary` says why."""

    check: str
    status: Status
    summary: str
    findings: tuple[Finding, ...] = ()

    @property
    def sentence(self) -> str:
        """The value of a check without findings."""
        return f"not checked: {self.summary}" if self.status == "failed" else self.summary

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `doctor` prints for this check."""
        return {
            "check": self.check,
            "status": self.status,
            "summary": self.summary,
            "findings": [
                {"severity": each.severity, "message": each.message, "fix": each.fix}
                for each in self.findings
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks, in their order; `usable` is False for no database that this release can use."""

    checks: tuple[Check, ...]
    usable: bool

    @property
    def status(self) -> Status:
        """The worst status of a check; one that could not be made is a problem."""
        statuses = {check.status for check in self.checks}
        if statuses & {"problem", "failed"}:
            return "problem"
        return "warning" if "warning" in statuses else "ok"

    @property
    def summary(self) -> str:
        """The numbers of checks and findings: `12 checks passed, 1 problem`."""
        passed = sum(check.status == "ok" for check in self.checks)
        failed = sum(check.status == "failed" for check in self.checks)
        found = [finding.severity for check in self.checks for finding in check.findings]
        severities: tuple[Severity, ...] = ("problem", "warning")
        parts = [f"{plural(passed, 'check')} passed"]
        parts += [plural(found.count(each), each) for each in severities if each in found]
        parts += [f"{failed} not made"] if failed else []
        return ", ".join(parts)

    def as_json(self, fixed: Sequence[str] = ()) -> dict[str, Json]:
        """Return the JSON that `doctor` prints; `fixed` has what was mended before."""
        checks: list[Json] = [check.as_json() for check in self.checks]
        return {"status": self.status, "checks": checks, "fixed": list(fixed)}

    @property
    def repairs(self) -> list[Repair]:
        """The remedies that may be applied without asking, each once, in the order to apply."""
        wanted = {finding.repair for check in self.checks for finding in check.findings}
        order: tuple[Repair, ...] = ("migrate", "restore", "sweep")
        return [repair for repair in order if repair in wanted]


def checked(name: str, seen: Seen) -> Check:
    """Return a check with the worst of its findings as its status."""
    status: Status = worst(seen.findings) if seen.findings else "ok"
    return Check(check=name, status=status, summary=seen.summary, findings=seen.findings)


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the severity of the worst finding."""
    return "problem" if any(each.severity == "problem" for each in findings) else "warning"
