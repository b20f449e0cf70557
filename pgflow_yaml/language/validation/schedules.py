"""Meaning of `schedule`: times that come, zones that exist, and an input that the flow accepts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.language import durations, ticks
from pgflow_yaml.language.inputs import check_value
from pgflow_yaml.language.model import Schedule
from pgflow_yaml.language.source import MappingNode, ScalarNode, SequenceNode
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.language.validation.constants import constant
from pgflow_yaml.language.validation.findings import quoted
from pgflow_yaml.language.validation.formulas import Formulas
from pgflow_yaml.language.validation.step_options import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgflow_yaml.language.model import Catchup, Formula, Json, Overlap
    from pgflow_yaml.language.source import Node
    from pgflow_yaml.language.validation.findings import Report
    from pgflow_yaml.language.validation.steps import Known

MOST = 20
_BEFORE_ALL = datetime(2000, 1, 1, tzinfo=UTC)  # a cron that comes at all comes after any time
_FIELDS = "minute, hour, day of the month, month, day of the week"
_INPUT = tuple["Mapping[str, Json] | None", "Json"]


def read_schedules(
    report: Report, root: MappingNode, known: Known, accepted: _INPUT
) -> tuple[Schedule, ...]:
    """Read `schedule`; `accepted` are `input` and `input_schema` of the flow."""
    node = report.written(root, "schedule")
    if not isinstance(node, MappingNode | SequenceNode):
        return ()
    if report.has(root, "after"):
        message = 'the flow has both "schedule" and "after", which gives the input of its runs'
        key = root.entries.get("schedule", (node,))[0]  # it may be mistyped
        report.add("PF205", message, key, fix="remove one; a second flow can have the other")
        return ()
    items = node.items if isinstance(node, SequenceNode) else [node]
    if len(items) > MOST:
        message = f"the flow has {len(items)} schedules, more than {MOST}"
        report.add("PF209", message, node, fix="split the flow")
    found: dict[str, Schedule] = {}
    for item in items:
        if isinstance(item, MappingNode) and report.usable(item):
            schedule = _Reader(report, item, known, accepted).read()
            if schedule is not None and schedule.name in found:
                message = f'the schedule "{schedule.name}" stands twice'
                report.add("PF270", message, item, fix="keep one of the two, or change its time")
            elif schedule is not None:
                found[schedule.name] = schedule
    return tuple(found.values())


class _Reader:
    """Reader of one schedule."""

    def __init__(self, report: Report, node: MappingNode, known: Known, accepted: _INPUT) -> None:
        self.report, self.node = report, node
        self.fields, self.schema = accepted
        self.formulas = Formulas(report, known.scope(report, "schedule"))

    def read(self) -> Schedule | None:
        """Return the schedule, or None after a finding about its time."""
        overlap = cast("Overlap", self.report.text(self.node, "overlap") or "skip")
        catchup = cast("Catchup", self.report.text(self.node, "catchup") or "none")
        given = self._input()
        has_cron = self.report.has(self.node, "cron")
        if has_cron == self.report.has(self.node, "every"):
            which = 'both "cron" and "every"' if has_cron else 'neither "cron" nor "every"'
            fix = 'write `cron: "30 2 * * *"`, or `every: 10m`'
            self._add(f"a schedule has {which}", self.node, fix=fix)
            return None
        name = self._cron() if has_cron else self._every()
        if name is None:
            return None
        text, spec = name
        return Schedule(name=text, overlap=overlap, catchup=catchup, input=given, **spec)

    def _cron(self) -> tuple[str, dict[str, Any]] | None:
        node, zone = self.report.value(self.node, "cron"), self._zone()
        if not isinstance(node, ScalarNode) or zone is None:
            return None
        cron = " ".join(node.text.split())
        cron = ticks.SHORTHANDS.get(cron.lower(), cron)
        problem = _problem(cron)
        if problem is not None:
            self._add(f"cron {quoted(node.text)} {problem[0]}", node, fix=problem[1])
            return None
        return f"{cron} {zone}", {"cron": cron, "timezone": zone}

    def _zone(self) -> str | None:
        if not self.report.has(self.node, "timezone"):
            return "UTC"
        node = self.report.value(self.node, "timezone")
        if not isinstance(node, ScalarNode):
            return None
        try:
            ticks.zone(node.text)
        except ticks.NoTicks as error:
            near = did_you_mean(node.text, ticks.zones())
            fix = "write a name such as Europe/Berlin, which knows when the clocks change"
            self._add(f"{error}{near}", node, fix=fix)
            return None
        return node.text

    def _every(self) -> tuple[str, dict[str, Any]] | None:
        if "timezone" in self.node.entries:
            message = '"timezone" has no effect with "every", which counts from 1970 in UTC'
            self._add(message, self.node.entries["timezone"][0], fix="remove it, or write `cron`")
        every, node = duration(self.report, self.node, "every"), self.node.get("every")
        if every is None or not isinstance(node, ScalarNode):
            return None
        if every < 1000 or every % 1000:
            message = f"a schedule of every {quoted(node.text)} is not of whole seconds"
            fix = "write 1s or more; a step with `repeat` or a worker of your own can be faster"
            self._add(message, node, fix=fix if every < 1000 else "write whole seconds")
            return None
        return f"every {durations.as_text(every)}", {"every": every}

    def _input(self) -> Formula | None:
        """Compile the input, and compare it with what the flow takes."""
        entry = self.node.entries.get("input")
        formula = self.formulas.template(self.report.value(self.node, "input"), "schedule")
        if entry is not None and formula is None:
            return None
        ast: Any = ["dict"] if formula is None else formula.ast
        for at, message in self._refused(entry[1] if entry else None, ast):
            fix = "change the value, or the input of this flow"
            self.report.add("PF271", message, at or self.node, fix=fix)
        return formula

    def _refused(self, node: Node | None, ast: Any) -> Iterator[tuple[Node | None, str]]:
        if self.schema is not None:
            yield from self._whole(node, ast)
        elif ast[0] == "dict":
            yield from self._by_field(node, ast)
        elif constant(ast) is not None and not isinstance((constant(ast) or (None,))[0], dict):
            yield node, "the flow takes an object as its input, and the schedule gives none"

    def _by_field(self, node: Node | None, ast: Any) -> Iterator[tuple[Node | None, str]]:
        fields = self.fields or {}
        values = dict(zip(ast[1::2], ast[2::2], strict=True))
        nodes = node.entries if isinstance(node, MappingNode) else {}
        for name, field in fields.items():
            if name not in values and not (isinstance(field, dict) and "default" in field):
                yield node, f'the flow needs the input "{name}", which the schedule does not give'
        for name, value in values.items():
            key, at = nodes.get(name, (None, node))
            if name not in fields:
                yield key, f"the flow has no input {quoted(name)}{did_you_mean(name, fields)}"
            elif value is not None and (known := constant(value)) is not None:
                for problem in check_value(fields[name], known[0], path=name):
                    yield at, f"the flow refuses this: {problem['path']} {problem['message']}"

    def _whole(self, node: Node | None, ast: Any) -> Iterator[tuple[Node | None, str]]:
        known = constant(ast)
        if known is not None:
            for problem in check_value(self.schema, known[0], path=""):
                subject = f"{problem['path'] or 'the input'} {problem['message']}"
                yield node, f"the flow refuses what the schedule gives it: {subject}"

    def _add(self, message: str, node: Node, *, fix: str) -> None:
        self.report.add("PF270", message, node, fix=fix)


def _problem(cron: str) -> tuple[str, str] | None:
    """Return what is wrong with a cron text, and how to write it; None where it is right."""
    if cron.startswith("@"):
        return "is no time", f"one of {', '.join(ticks.SHORTHANDS)}"
    count = len(cron.split())
    if count != 5:
        fix = f"write {_FIELDS}"
        if count == 6:
            fix += '; for seconds write `every: 30s` in place of "cron"'
        return f"has {count} fields, not five", fix
    if re.search(r"[^0-9A-Za-z*,/#\- ]", cron):
        return "has signs that cron does not know", f"write {_FIELDS}: 30 2 * * 1-5"
    try:
        ticks.first({"cron": cron, "timezone": "UTC"}, _BEFORE_ALL)
    except (ticks.NoTicks, AssertionError) as error:
        field = re.search(r"Bad ([a-z-]+)", str(error))
        if field is None:
            return "is a time that never comes", "write a day that some month has"
        return (
            f"is a time that never comes, by its {field[1].replace('-', ' ')}",
            f"write {_FIELDS}: 30 2 * * 1-5",
        )
    return None
