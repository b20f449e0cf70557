"""Failures of a run, as the terminal shows it at the end: steps, errors, their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.frames import render
from pgflow_yaml.language.validation import error_finding
from pgflow_yaml.runs import steps
from pgflow_yaml.runs.failures import distinct, failed_steps, raised_at
from pgflow_yaml.text import error_text
from pgflow_yaml.web.pages.of_run import definition, snapshot
from pgflow_yaml.web.pages.run_pictures import address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import StepShape
    from pgflow_yaml.web.asked import Asked

MOST_FAILED = 3


def failures(asked: Asked) -> list[Mapping[str, Any]]:
    """Return what the terminal shows of a failed run: each failed step, its errors, their place."""
    shown = asked.once(snapshot)
    if shown["run"]["status"] not in ("failed", "cancelled"):
        return []
    found: list[Mapping[str, Any]] = []
    for step in failed_steps(shown)[:MOST_FAILED]:
        own = [error for error in shown["errors"] if error["step"] == step["slug"]]
        errors = [
            {
                "text": error_text(error),
                "who": f"{steps.action(step)}{steps.item(step, error)}",
                "place": raised_at(error["trace"] or ""),
            }
            for error in distinct(own)[:MOST_FAILED]
        ] or [{"text": error_text(step["error"]), "who": steps.action(step), "place": None}]
        found.append(
            {
                "slug": step["slug"],
                "attempts": steps.attempts(step),
                "errors": errors,
                "link": address(asked, step=step["slug"]),
                "child": step["child"],
                "frame": _frame(asked, step, own[-1] if own else step["error"]),
            }
        )
    return found


def _frame(asked: Asked, step: StepShape, error: Mapping[str, Any] | None) -> str:
    """Return the place in the flow's text of an expression that failed; empty for others."""
    if error is None or error["type"] != "ExpressionError":
        return ""
    stored = asked.once(definition)
    if stored is None or not stored.source:
        return ""
    message = str(error["message"])
    finding = error_finding(stored.source, flow=stored.name, step=step["slug"], message=message)
    if finding is None:
        return ""
    return render(finding, file=f"{stored.name}@{stored.version}", source=stored.source)
