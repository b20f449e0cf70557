"""Steps that can never run: what their edges ask for cannot all come true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml.language.graph import levels
from pgflow_yaml.language.validation.constants import truth_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Edge, Step
    from pgflow_yaml.language.source import Node
    from pgflow_yaml.language.validation.findings import Report


@dataclass(slots=True)
class _Reached:
    """What must have happened above a step for it to be looked at: a bit for each step."""

    failed: int = 0
    passed: int = 0
    never: bool = False


def check_reach(
    report: Report, steps: Mapping[str, Step], places: Mapping[tuple[str, str], Node]
) -> None:
    """Report the first cause of each step that can never run; what follows from it is silent."""
    edges = {name: step.depends_on for name, step in steps.items()}
    bits = {name: 1 << number for number, name in enumerate(steps)}
    reached: dict[str, _Reached] = {}
    for level in levels({n: [p for p in e if p in steps] for n, e in edges.items()}):
        for name in level:
            reached[name] = _look(report, name, steps, bits=bits, reached=reached, places=places)


def _look(
    report: Report,
    name: str,
    steps: Mapping[str, Step],
    *,
    bits: Mapping[str, int],
    reached: Mapping[str, _Reached],
    places: Mapping[tuple[str, str], Node],
) -> _Reached:
    here = _Reached()
    for parent, edge in steps[name].depends_on.items():
        if edge == "any" or parent not in reached:
            continue
        above = reached[parent]
        why = _impossible(parent, steps[parent], edge)
        if above.never or why is not None:
            here.never = True
            if why is not None and not above.never:
                message, fix = why
                message = f'step "{name}" never runs: {message}'
                at = places[name, parent]
                report.add("PF260", message, at, fix=fix, severity="warning")
            continue
        here.failed |= above.failed | (bits[parent] if edge == "failure" else 0)
        here.passed |= above.passed | (bits[parent] if edge == "success" else 0)
        both = here.failed & here.passed
        if both and not here.never:
            here.never = True
            _report_conflict(report, name, list(steps)[both.bit_length() - 1], places[name, parent])
    return here


def _report_conflict(report: Report, name: str, torn: str, at: Node) -> None:
    message = f'step "{name}" never runs: it needs "{torn}" to fail, and not to fail'
    fix = "use an edge `any` where the outcome does not matter"
    report.add("PF261", message, at, fix=fix, label=f'"{torn}" cannot do both')


def _impossible(name: str, step: Step, edge: Edge) -> tuple[str, str] | None:
    """Return why a step never has the outcome that an edge asks for, and what to do; or None."""
    condition = None if step.if_ is None else truth_of(step.if_.ast)
    if edge == "failure":
        if condition is False and step.when_unmet != "fail":
            return (
                f'"{name}" never fails, as its `if` is always false',
                f"change the `if` of {name}",
            )
        if step.wait is not None and isinstance(step.wait.for_, int):
            return f'"{name}" never fails: it only lets time pass', "write `success`, or `any`"
    elif condition is False and step.when_unmet != "skip":
        return (
            f'"{name}" never succeeds, as its `if` is always false',
            f"change the `if` of {name}, or use an edge `any`",
        )
    return None
