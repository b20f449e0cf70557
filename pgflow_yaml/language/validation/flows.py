"""Flows of a file: the one at its top, and those that are written in steps."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgflow_yaml.language import listening
from pgflow_yaml.language.model import Defaults, Flow, inner_name
from pgflow_yaml.language.source import MappingNode
from pgflow_yaml.language.validation.fields import build_input, build_input_schema, fields_of
from pgflow_yaml.language.validation.formulas import Formulas
from pgflow_yaml.language.validation.limits import read_concurrency
from pgflow_yaml.language.validation.listening import read_after
from pgflow_yaml.language.validation.schedules import read_schedules
from pgflow_yaml.language.validation.step_options import (
    boolean,
    check_timeouts,
    duration,
    integer,
    read_retention,
    read_retry,
)
from pgflow_yaml.language.validation.steps import Known, build_steps, known_names
from pgflow_yaml.language.validation.webhooks import read_webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json, Step
    from pgflow_yaml.language.source import Node, ScalarNode
    from pgflow_yaml.language.validation.findings import Report

MAX_LEVELS = 4
"""Number of flows in each other, the file's own included."""
_NAME = re.compile(r"(?!.*__)[a-z_][a-z0-9_]{0,46}")
_ANYTHING: dict[str, Json] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """The flow around one that is written in a step of it."""

    flow: Flow
    known: Known
    step: MappingNode
    levels: int
    names: dict[str, str]
    """The steps by the names of their flows, in the whole file."""


def build_flow(report: Report, root: MappingNode) -> Flow:
    """Return the flow of a file."""
    return _build(report, root, report.text(root, "flow") or "")


def _build(report: Report, root: MappingNode, name: str, around: _Around | None = None) -> Flow:
    fields, schema = _input(report, root, around)
    after = read_after(report, root)
    outer = around.known if around else None
    named = fields_of(fields, schema) if after is None else listening.fields(after.status)
    known = known_names(report, root, named, flow=name, outer=outer)
    output = Formulas(report, known.scope(report, "output"))
    fail_fast = boolean(report.value(root, "fail_fast"))
    limited = Formulas(report, known.scope(report, "concurrency"))
    timeout = duration(report, root, "timeout")
    steps = build_steps(report, known)
    check_timeouts(report, root, steps, timeout)
    flow = Flow(
        flow=name,
        steps=steps,
        description=report.text(root, "description"),
        labels=_labels(report, root),
        input=fields,
        input_schema=schema,
        after=after,
        schedule=read_schedules(report, root, known, (fields, schema)),
        webhook=read_webhook(report, root, known, (fields, schema)),
        output=output.template(report.value(root, "output"), "output"),
        timeout=timeout,
        retention=read_retention(report, root),
        concurrency=read_concurrency(report, root, limited),
        priority=integer(report.value(root, "priority")) or 0,
        fail_fast=True if fail_fast is None else fail_fast,
        defaults=_defaults(report, root, known, around),
        finally_=build_steps(report, known, final=True, before=steps),
    )
    return _with_inner_flows(report, flow, known, around)


def _input(
    report: Report, root: MappingNode, around: _Around | None
) -> tuple[dict[str, Json] | None, Json]:
    """Return `input` and `input_schema`; a flow in a step need not declare what `with` gives it."""
    fields, schema = build_input(report, root), build_input_schema(report, root)
    if around is None or report.has(root, "input") or report.has(root, "input_schema"):
        return fields, schema
    given = around.step.get("with")
    if isinstance(given, MappingNode):
        return dict.fromkeys(given.entries, _ANYTHING), None
    return None, _ANYTHING


def _with_inner_flows(report: Report, flow: Flow, known: Known, around: _Around | None) -> Flow:
    """Return the flow with those that are written in its steps."""
    levels = 1 + (around.levels if around else 0)
    names = around.names if around else {}

    def complete(
        steps: Mapping[str, Step], section: Mapping[str, tuple[ScalarNode, Node]]
    ) -> dict[str, Step]:
        result = dict(steps)
        for slug, step in steps.items():
            key, node = section[slug]
            root = node.get("flow") if isinstance(node, MappingNode) else None
            if not isinstance(node, MappingNode) or not isinstance(root, MappingNode):
                continue
            name = inner_name(flow.flow, slug)
            if not _may_be_written(report, key, name, levels=levels, names=names):
                continue
            inside = _Around(flow=flow, known=known, step=node, levels=levels, names=names)
            result[slug] = replace(step, flow=_build(report, root, name, inside))
        return result

    return replace(
        flow,
        steps=complete(flow.steps, known.steps),
        finally_=complete(flow.finally_, known.finals),
    )


def _may_be_written(
    report: Report, key: ScalarNode, name: str, *, levels: int, names: dict[str, str]
) -> bool:
    """Report a flow that is nested too deeply, or whose name is not one or is taken."""
    if levels >= MAX_LEVELS:
        message = f"flows are written in each other {levels + 1} levels deep; at most {MAX_LEVELS}"
        fix = "write this one as a file of its own, and name it: `flow: NAME`"
        report.add("PF209", message, key, fix=fix)
        return False
    if not _NAME.fullmatch(name):
        message = f'the flow in step "{key.text}" gets the name "{name}", which is not a flow name'
        fix = (
            "rename the step: lower-case letters, digits and single underscores; at most 47 in all"
        )
        report.add("PF107", message, key, fix=fix)
        return False
    if name in names:
        message = (
            f'the flow in step "{key.text}" gets the name "{name}", as that in "{names[name]}"'
        )
        report.add("PF303", message, key, fix="rename one of the two steps")
        return False
    names[name] = key.text
    return True


def _defaults(report: Report, root: MappingNode, known: Known, around: _Around | None) -> Defaults:
    """Return the defaults; a flow in a step has those around it where it has none of its own."""
    node = report.value(root, "defaults")
    own = Defaults()
    if isinstance(node, MappingNode):
        formulas = Formulas(report, known.scope(report, "defaults"))
        own = Defaults(
            retry=read_retry(report, node, formulas),
            timeout=duration(report, node, "timeout"),
            queue=report.text(node, "queue"),
        )
    if around is None:
        return own
    outer = around.flow.defaults
    return Defaults(
        retry=own.retry or outer.retry,
        timeout=outer.timeout if own.timeout is None else own.timeout,
        queue=own.queue or outer.queue or around.flow.flow,
    )


def _labels(report: Report, root: MappingNode) -> dict[str, str]:
    node = report.value(root, "labels")
    if not isinstance(node, MappingNode):
        return {}
    return {name: text for name in node.entries if (text := report.text(node, name)) is not None}
