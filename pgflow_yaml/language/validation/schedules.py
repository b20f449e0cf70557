"""Meaning of `schedule`: times that come, zones that exist, and an input that the flow accepts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.language import durations, ticks
from pgflow_yaml.language.model import Schedule
from pgflow_yaml.language.source import MappingNode, ScalarNode, SequenceNode
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.language.validation.findings import quoted
from pgflow_yaml.language.validation.formulas import Formulas
from pgflow_yaml.language.validation.given_input import check_given
from pgflow_yaml.language.validation.step_options import duration

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Catchup, Formula, Overlap
    from pgflow_yaml.language.source import Node
    from pgflow_yaml.language.validation.findings import Report
    from pgflow_yaml.language.validation.given_input import Accepted
    from pgflow_yaml.language.validation.steps import Known

MOST = 20
_BEFORE_ALL = datetime(2000, 1, 1, tzinfo=UTC)  # a cron that comes at all comes after any time
_FIELDS = "minute, hour, day of the month, month, day of the week"


def read_schedules(
    report: Report, root: MappingNode, known: Known, accepted: Accepted
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

    def __init__(self, report: Report, node: MappingNode, known: Known, accepted: Accepted) -> None:
        self.report, self.node, self.accepted = report, node, accepted
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
        check_given(self.report, self.node, ast, self.accepted, giver="the schedule")
        return formula

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
