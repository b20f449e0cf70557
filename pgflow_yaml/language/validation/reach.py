"""Steps that can never run, because their edges cannot all be satisfied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml.language.edge_rules import END_IF_UNMET, satisfies
from pgflow_yaml.language.graph import levels
from pgflow_yaml.language.validation.constants import truth_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Edge, Step
    from pgflow_yaml.language.source import Node
    from pgflow_yaml.language.validation.findings import Report


@dataclass(slots=True)
class _Requirements:
    """Outcomes that a step requires of its ancestors, as one bit per ancestor."""

    failed: int = 0
    passed: int = 0
    never: bool = False


def check_reach(
    report: Report, steps: Mapping[str, Step], nodes: Mapping[tuple[str, str], Node]
) -> None:
    """Report each step that can never run, but not the steps that depend on it."""
    edges = {name: step.depends_on for name, step in steps.items()}
    bits = {name: 1 << number for number, name in enumerate(steps)}
    reached: dict[str, _Requirements] = {}
    for level in levels({n: [p for p in e if p in steps] for n, e in edges.items()}):
        for name in level:
            reached[name] = _check_step(
                report, name, steps, bits=bits, reached=reached, nodes=nodes
            )


def _check_step(
    report: Report,
    name: str,
    steps: Mapping[str, Step],
    *,
    bits: Mapping[str, int],
    reached: Mapping[str, _Requirements],
    nodes: Mapping[tuple[str, str], Node],
) -> _Requirements:
    required = _Requirements()
    for parent, edge in steps[name].depends_on.items():
        if edge == "any" or parent not in reached:
            continue
        above = reached[parent]
        impossible = _impossible_outcome(parent, steps[parent], edge)
        if above.never or impossible is not None:
            required.never = True
            if impossible is not None and not above.never:
                message, fix = impossible
                message = f'step "{name}" never runs: {message}'
                at = nodes[name, parent]
                report.add("PF260", message, at, fix=fix, severity="warning")
            continue
        required.failed |= above.failed | (bits[parent] if edge == "failure" else 0)
        required.passed |= above.passed | (bits[parent] if edge == "success" else 0)
        both = required.failed & required.passed
        if both and not required.never:
            required.never = True
            _report_conflict(report, name, list(steps)[both.bit_length() - 1], nodes[name, parent])
    return required


def _report_conflict(report: Report, name: str, ancestor: str, at: Node) -> None:
    message = f'step "{name}" never runs: it needs "{ancestor}" to fail, and not to fail'
    fix = "use an edge `any` where the outcome does not matter"
    report.add("PF261", message, at, fix=fix, label=f'"{ancestor}" cannot do both')


def _impossible_outcome(name: str, step: Step, edge: Edge) -> tuple[str, str] | None:
    """Return the reason why a step never has the outcome of an edge, and a fix; or None."""
    never_runs = step.if_ is not None and truth_of(step.if_.ast) is False
    refused = never_runs and not satisfies(END_IF_UNMET[step.when_unmet], edge)
    if edge == "failure":
        if refused:
            return (
                f'"{name}" never fails, as its `if` is always false',
                f"change the `if` of {name}",
            )
        if step.wait is not None and isinstance(step.wait.for_, int):
            return f'"{name}" never fails: it only lets time pass', "write `success`, or `any`"
    elif refused:
        return (
            f'"{name}" never succeeds, as its `if` is always false',
            f"change the `if` of {name}, or use an edge `any`",
        )
    return None
