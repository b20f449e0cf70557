"""Options of steps and of the flow: durations, retry, repeat, wait, tolerated failures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from pgflow_yaml.language import durations
from pgflow_yaml.language.model import (
    DEFAULT_EVERY,
    DEFAULT_ROUNDS,
    RETAINED,
    Backoff,
    Formula,
    Percent,
    Repeat,
    Retention,
    Retry,
    Wait,
)
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.language.validation.constants import constant
from pgflow_yaml.language.validation.fields import read_fields
from pgflow_yaml.language.validation.findings import Report, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json, Step
    from pgflow_yaml.language.validation.formulas import Formulas

_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})", re.ASCII
)
_LEAST_REMIND = 60_000
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9:]+)?)?")


def read_retry(report: Report, mapping: MappingNode, formulas: Formulas) -> Retry | None:
    """Read `retry`; an integer is `max_attempts` alone."""
    node = report.value(mapping, "retry")
    if isinstance(node, ScalarNode):
        return Retry(max_attempts=integer(node))
    if not isinstance(node, MappingNode):
        return None
    retry = Retry(
        max_attempts=integer(report.value(node, "max_attempts")),
        base_delay=duration(report, node, "base_delay"),
        max_delay=duration(report, node, "max_delay"),
        backoff=cast("Backoff | None", report.text(node, "backoff")),
        jitter=boolean(report.value(node, "jitter")),
        if_=formulas.expression(report.value(node, "if"), "retry.if"),
    )
    _check_retry(report, node, retry)
    return retry


def _check_retry(report: Report, node: MappingNode, retry: Retry) -> None:
    """Warn of options without effect."""
    if retry.max_attempts == 1:
        for key in ("base_delay", "max_delay", "backoff", "jitter", "if"):
            if key in node.entries:
                message = f'"{key}" has no effect with max_attempts: 1'
                fix = "remove it, or allow more attempts: the first one counts"
                report.add("PF254", message, node.entries[key][0], fix=fix, severity="warning")
    base, longest = retry.base_delay, retry.max_delay
    if base is not None and longest is not None and longest < base:
        message = "max_delay is shorter than base_delay, so every delay is max_delay"
        fix = "write `backoff: fixed` and one delay, or a longer max_delay"
        report.add("PF254", message, node.entries["max_delay"][1], fix=fix, severity="warning")


def read_repeat(report: Report, mapping: MappingNode, formulas: Formulas) -> Repeat | None:
    """Read `repeat`; `max: null` means no limit."""
    node = report.value(mapping, "repeat")
    if not isinstance(node, MappingNode):
        return None
    until = formulas.expression(report.value(node, "until"), "repeat.until")
    every = duration(report, node, "every")
    if until is None:
        return None
    return Repeat(
        until=until,
        every=DEFAULT_EVERY if every is None else every,
        max=integer(report.value(node, "max")) if "max" in node.entries else DEFAULT_ROUNDS,
    )


def read_wait(report: Report, mapping: MappingNode, formulas: Formulas) -> Wait | None:
    """Read `wait`."""
    node = report.value(mapping, "wait")
    if not isinstance(node, MappingNode):
        return None
    form = report.value(node, "form")
    path = ("steps", formulas.scope.step or "", "wait", "form")
    timeout, remind = duration(report, node, "timeout"), duration(report, node, "remind")
    if remind is not None:
        _check_remind(report, node, remind, timeout)
    return Wait(
        for_=_wait_for(report, node, formulas),
        until=_wait_until(report, node, formulas),
        event=report.text(node, "event"),
        timeout=timeout,
        form=read_fields(report, form, path) if isinstance(form, MappingNode) else None,
        by=texts(report.value(node, "by")),
        remind=remind,
    )


def _check_remind(report: Report, wait: MappingNode, remind: int, timeout: int | None) -> None:
    """Report an interval that would flood people, or that the wait never reaches."""
    node = wait.entries["remind"][1]
    if remind < _LEAST_REMIND:
        message = "reminders less than a minute apart are no reminders"
        report.add("PF109", message, node, fix="write 4h, or leave it out")
    elif timeout is not None and remind >= timeout:
        message = "the wait times out before its first reminder"
        fix = "shorten it, or remove it"
        report.add("PF254", message, node, fix=fix, severity="warning")


def _wait_for(report: Report, wait: MappingNode, formulas: Formulas) -> int | Formula | None:
    """Read a duration or an expression; report a misspelt duration, which is neither."""
    node = report.value(wait, "for")
    if not isinstance(node, ScalarNode):
        return None
    if not isinstance(node.value, str) or durations.milliseconds(node.text) is not None:
        return duration(report, wait, "for")
    suggestion = durations.suggestion(node.text)
    if suggestion is not None:
        message = f"a wait for {quoted(node.text)} is neither a duration nor an expression"
        report.add("PF106", message, node, write=suggestion)
        return None
    formula = formulas.expression(node, "wait.for")
    known = _known(formula)
    if isinstance(known, str) and durations.milliseconds(known) is not None:
        return formula
    if known is not None and (isinstance(known, bool) or not isinstance(known, int | float)):
        message = "a wait needs seconds, or a duration as a text"
        report.add("PF106", message, node, fix="write for: 10m")
    return formula


def _wait_until(report: Report, wait: MappingNode, formulas: Formulas) -> Formula | None:
    node = report.value(wait, "until")
    if isinstance(node, ScalarNode) and _DATE.fullmatch(node.text.strip()):
        text = node.text.strip()
        message = "a fixed time is a text, and a text has quotes inside of an expression"
        write = f"'\"{text}\"'"
        report.add("PF106", message, node, fix=f"write until: {write}", write=write)
        return None
    formula = formulas.expression(node, "wait.until")
    known = _known(formula)
    is_time = isinstance(known, str) and _MOMENT.fullmatch(known)
    is_number = isinstance(known, int | float) and not isinstance(known, bool)
    if isinstance(node, ScalarNode) and known is not None and not (is_time or is_number):
        message = "a wait ends at a time with its offset, or at seconds since 1970"
        report.add("PF106", message, node, fix="write until: '\"2030-01-31T08:00:00Z\"'")
    return formula


def _known(formula: Formula | None) -> Json:
    """Return the value of a constant formula; None for others."""
    value = None if formula is None else constant(formula.ast)
    return None if value is None else value[0]


def read_tolerate(report: Report, mapping: MappingNode) -> int | Percent:
    """Read the number or the share of items that may fail."""
    node = report.value(mapping, "tolerate")
    if not isinstance(node, ScalarNode):
        return 0
    if isinstance(node.value, str):
        share = float(node.value.removesuffix("%"))
        return Percent(percent=share) if share else 0
    return integer(node) or 0


def duration(report: Report, mapping: MappingNode, key: str) -> int | None:
    """Read a duration as milliseconds."""
    node = report.value(mapping, key)
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str | int | float):
        return None
    length = durations.milliseconds(node.value)
    if length is None:
        return None
    if length > durations.MAX_MILLISECONDS:
        message = f"a {key} of {quoted(node.text)} is longer than 365 days"
        report.add("PF109", message, node, fix="write 365d or less")
    elif key == "timeout" and length < 1:
        message = f"a timeout of {quoted(node.text)} is less than a millisecond"
        report.add("PF109", message, node, fix="write 60s, or leave it out")
    return length


def read_retention(report: Report, root: MappingNode) -> Retention:
    """Read how long ended runs are kept: one time for all, or one for some."""
    node = report.value(root, "retention")
    nodes = (
        {status: report.value(node, status) for status in RETAINED}
        if isinstance(node, MappingNode)
        else dict.fromkeys(RETAINED, node)
    )
    kept: dict[str, int | None] = {}
    for status, value in nodes.items():
        if not isinstance(value, ScalarNode) or not isinstance(value.value, str | int | float):
            continue
        length = durations.milliseconds(value.value)
        if length is None and value.text != durations.FOR_EVER:
            continue
        if length is not None and length > durations.MAX_RETENTION:
            message = f"a retention of {quoted(value.text)} is longer than 36,500 days"
            report.add("PF109", message, value, fix="write off, to keep runs for ever", write="off")
            break
        kept[status] = length
    return kept


def check_timeouts(
    report: Report, root: MappingNode, steps: Mapping[str, Step], timeout: int | None
) -> None:
    """Warn of step timeouts longer than the timeout of the flow."""
    section = root.entries.get("steps")
    for name, step in steps.items():
        if timeout is None or step.timeout is None or step.timeout <= timeout:
            continue
        node = section[1].get(name) if section and isinstance(section[1], MappingNode) else None
        if isinstance(node, MappingNode):
            message = f'timeout of step "{name}" is longer than that of the whole flow'
            fix = "shorten it, or give the flow more time"
            value = node.entries["timeout"][1]
            report.add("PF254", message, value, fix=fix, severity="warning")


def texts(node: Node | None) -> tuple[str, ...]:
    """Read a text, or a list of texts."""
    if isinstance(node, SequenceNode):
        return tuple(item.text for item in node.items if isinstance(item, ScalarNode))
    return (node.text,) if isinstance(node, ScalarNode) else ()


def integer(node: Node | None) -> int | None:
    """Read a whole number."""
    value = node.value if isinstance(node, ScalarNode) else None
    return int(value) if isinstance(value, int | float) else None


def boolean(node: Node | None) -> bool | None:
    """Read true or false."""
    value = node.value if isinstance(node, ScalarNode) else None
    return value if isinstance(value, bool) else None
