"""Meaning of steps: their actions, their order, and the keys that belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from pgflow_yaml.language.graph import Ancestors
from pgflow_yaml.language.model import Formula, Json, Step, WhenExhausted, WhenUnmet
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.validation.edges import read_edges
from pgflow_yaml.language.validation.formulas import Formulas
from pgflow_yaml.language.validation.limits import read_concurrency, read_rate_limit
from pgflow_yaml.language.validation.listening import read_handles
from pgflow_yaml.language.validation.names import Scope
from pgflow_yaml.language.validation.reach import check_reach
from pgflow_yaml.language.validation.resources import read_resources
from pgflow_yaml.language.validation.step_kinds import check_action, check_combinations
from pgflow_yaml.language.validation.step_options import (
    boolean,
    duration,
    integer,
    read_repeat,
    read_retry,
    read_tolerate,
    read_wait,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Edge
    from pgflow_yaml.language.validation.findings import Report

MAX_STEPS = 2_000  # S-19


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Names that every expression of a flow may use: the input, and the steps by section."""

    flow: str
    fields: Mapping[str, Json] | None
    fields_are_unreadable: bool
    steps: Mapping[str, tuple[ScalarNode, Node]]
    finals: Mapping[str, tuple[ScalarNode, Node]]
    outer: Known | None = None
    """The names of the flow around this one, which cannot be read here."""

    def scope(self, report: Report, owner: str) -> Scope:
        """Return the scope of a formula of the flow itself."""
        return Scope(
            document=report.document,
            owner=owner,
            fields=self.fields,
            fields_are_unreadable=self.fields_are_unreadable,
            steps=self.steps,
            finals=self.finals,
            outer=self.outer,
        )


def known_names(
    report: Report,
    root: MappingNode,
    fields: Mapping[str, Json] | None,
    *,
    flow: str,
    outer: Known | None,
) -> Known:
    """Collect the names; report a step in both sections, and too many steps."""
    steps = report.written(root, "steps")
    finals = report.written(root, "finally")
    declared = report.has(root, "input") or report.has(root, "input_schema")
    known = Known(
        flow=flow,
        outer=outer,
        fields=fields,
        fields_are_unreadable=fields is None and (declared or outer is not None),
        steps=steps.entries if isinstance(steps, MappingNode) else {},
        finals=finals.entries if isinstance(finals, MappingNode) else {},
    )
    for name, (key, _) in known.finals.items():
        if name in known.steps:
            line, _ = report.document.lines.position(known.steps[name][0].start)
            message = f'"{name}" names a step of `steps` and one of `finally`'
            report.add("PF238", message, key, fix=f"rename one; the other is in line {line}")
    total = len(known.steps) + len(known.finals)
    if total > MAX_STEPS >= max(len(known.steps), len(known.finals)):
        message = f"the flow has {total:,} steps with those of `finally`, more than {MAX_STEPS:,}"
        report.add("PF209", message, root.entries["finally"][0], fix="split the flow")
    return known


def build_steps(
    report: Report, known: Known, *, final: bool = False, before: Mapping[str, Step] | None = None
) -> dict[str, Step]:
    """Return the steps of a section without those that are unreadable and reported.

    `before` are the steps of the other section, if they were built before.
    """
    section, others = (known.finals, known.steps) if final else (known.steps, known.finals)
    nodes = {name: node for name, (_, node) in section.items()}
    counted = sum(len(step.depends_on) for step in (before or {}).values())
    edges, edge_nodes = read_edges(report, nodes, others, final=final, counted=counted)
    ancestors = Ancestors(edges)
    result: dict[str, Step] = {}
    for name, (key, step) in section.items():
        if not isinstance(step, MappingNode):
            continue
        kind = check_action(report, key, step)
        check_combinations(report, name, step, kind=kind)
        scope = known.scope(report, f'step "{name}"')
        scope.step, scope.final, scope.kind = name, final, kind
        scope.ancestors, scope.depends_on = ancestors, step.get("depends_on")
        scope.item = report.has(step, "map")
        scope.index = scope.item or report.has(step, "initial_tasks")
        built = _build(report, step, Formulas(report, scope), edges[name])
        handles = read_handles(report, name, step, final=final)
        result[name] = built if handles else replace(built, handles=False)
    check_reach(report, result, edge_nodes)
    return result


def _build(
    report: Report, step: MappingNode, formulas: Formulas, parents: Mapping[str, Edge]
) -> Step:
    fail_fast = boolean(report.value(step, "fail_fast"))
    return Step(
        handler=report.text(step, "handler"),
        flow=report.text(step, "flow"),
        wait=read_wait(report, step, formulas),
        depends_on=parents,
        with_=formulas.template(report.value(step, "with"), "with"),
        if_=formulas.expression(report.value(step, "if"), "if"),
        when_unmet=cast("WhenUnmet", report.text(step, "when_unmet") or "skip"),
        map=_map(formulas, report.value(step, "map")),
        initial_tasks=integer(report.value(step, "initial_tasks")),
        max_parallel=integer(report.value(step, "max_parallel")),
        fail_fast=True if fail_fast is None else fail_fast,
        tolerate=read_tolerate(report, step),
        retry=read_retry(report, step, formulas),
        timeout=duration(report, step, "timeout"),
        repeat=read_repeat(report, step, formulas),
        queue=report.text(step, "queue"),
        start_delay=duration(report, step, "start_delay") or 0,
        when_exhausted=cast("WhenExhausted", report.text(step, "when_exhausted") or "fail"),
        concurrency=read_concurrency(report, step, formulas, step=formulas.scope.step),
        rate_limit=read_rate_limit(report, step, formulas),
        resources=read_resources(report, step),
        description=report.text(step, "description"),
    )


def _map(formulas: Formulas, node: Node | None) -> Formula | None:
    if isinstance(node, SequenceNode):
        return formulas.literal_list(node)
    return formulas.expression(node, "map")
