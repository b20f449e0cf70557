"""Kinds of steps: handler, child flow or wait, and the keys that each kind takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.handler_paths import advice, never
from pgflow_yaml.language.model import ACTIONS
from pgflow_yaml.language.source import MappingNode, ScalarNode
from pgflow_yaml.language.validation.findings import Report, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS_OF_A_WAIT = ("depends_on", "if", "when_unmet", "when_exhausted", "handles", "description")
# Advice for a key of another kind of step.
_INSTEAD_OF_WAITING = {
    "timeout": "write it inside of `wait`, beside the event",
    "start_delay": "write `wait: {for: …}`, or make them two steps",
    "repeat": "let a handler step repeat until it is so",
    "map": "put the wait into a flow of its own, and map over that",
    "with": "remove it: nothing is called",
}
_INSTEAD_OF_A_CHILD = {
    "queue": "write it in the steps of the child flow",
    "repeat": "repeat a step of the child flow",
    "resources": "write it in the steps of the child flow",
    "rate_limit": "limit the steps of the child flow, or the runs: `concurrency`",
}
# Keys without effect in a step with one task.
_NEED_MAP = ("max_parallel", "fail_fast", "tolerate")
# Keys without effect in a wait for a time.
_NEED_EVENT = ("timeout", "form", "by", "remind")


def check_action(report: Report, key: ScalarNode, step: MappingNode) -> str | None:
    """Require exactly one of handler, flow and wait; return it, or None after a report."""
    name = key.text
    written = [action for action in ACTIONS if action in step.entries]
    if len(written) > 1:
        second = step.entries[written[1]][0]
        both = f'both "{written[0]}" and "{written[1]}"'
        message = f'step "{name}" has {both}; a step does exactly one thing'
        report.add("PF204", message, second, fix="keep one, or make it two steps with depends_on")
        return None
    actions = [action for action in ACTIONS if report.has(step, action)]
    if not actions and id(step) in report.document.broken:
        return None  # the key may be the one that could not be read
    if not actions:
        message = f'step "{name}" does nothing: it has no handler, flow or wait'
        report.add("PF204", message, key, fix="write `handler: package.module.function` under it")
        return None
    _check_handler(report, name, step)
    _check_wait(report, name, step)
    kind = actions[0] if len(actions) == 1 else None
    if kind is not None:
        _check_keys(report, name, step, kind)
    return kind


def check_combinations(report: Report, name: str, step: MappingNode, *, kind: str | None) -> None:
    """Report keys that exclude or require each other."""
    entries = step.entries
    if "when_unmet" in entries and not report.has(step, "if"):
        message = f'when_unmet of step "{name}" has no effect without "if"'
        report.add("PF205", message, entries["when_unmet"][0], fix="add `if:`, or remove it")
    if kind == "wait":  # it takes none of the keys below: _check_keys reports them
        return
    if "map" in entries and "initial_tasks" in entries:
        reason = "each decides how many tasks there are"
        message = f'step "{name}" has both "map" and "initial_tasks"; {reason}'
        report.add("PF205", message, entries["initial_tasks"][0], fix="keep one of the two")
    if not report.has(step, "map") and not report.has(step, "initial_tasks"):
        for key in _NEED_MAP:
            if key in entries:
                message = f'{key} of step "{name}" has no effect without "map"'
                report.add("PF205", message, entries[key][0], fix="add `map:`, or remove it")


def _check_keys(report: Report, name: str, step: MappingNode, kind: str) -> None:
    """Report keys that this kind of step does not take."""
    for key, (node, _) in step.entries.items():
        if key in ACTIONS or key not in report.step_keys:
            continue
        if kind == "wait" and key not in _KEYS_OF_A_WAIT:
            message = f'"{key}" does not belong to step "{name}", which only waits'
            fix = _INSTEAD_OF_WAITING.get(key, "remove it, or write it in a step with a handler")
            report.add("PF237", message, node, fix=fix)
        elif kind == "flow" and key in _INSTEAD_OF_A_CHILD:
            message = f'"{key}" does not belong to step "{name}", which runs another flow'
            report.add("PF237", message, node, fix=_INSTEAD_OF_A_CHILD[key])


def _check_handler(report: Report, name: str, step: MappingNode) -> None:
    """Report a path that no worker ever calls."""
    handler = report.value(step, "handler")
    reason = never(handler.text) if isinstance(handler, ScalarNode) else None
    if isinstance(handler, ScalarNode) and reason is not None:
        message = f'handler of step "{name}" is {quoted(handler.text)}: {reason}'
        report.add("PF206", message, handler, fix=advice(handler.text))


def _check_wait(report: Report, name: str, step: MappingNode) -> None:
    wait = report.value(step, "wait")
    if not isinstance(wait, MappingNode):
        return
    entries: Mapping[str, tuple[ScalarNode, object]] = wait.entries
    written = [key for key in ("for", "until", "event") if report.has(wait, key)]
    if len(written) > 1:
        both = f'both "{written[0]}" and "{written[1]}"'
        message = f'wait of step "{name}" has {both}; it waits for exactly one thing'
        at = entries[written[1]][0] if written[1] in entries else wait
        report.add("PF204", message, at, fix="keep one, or make it two steps with depends_on")
    elif not written:
        message = f'wait of step "{name}" says nothing to wait for'
        report.add("PF204", message, wait, fix="write one of `for: 10m`, `until: …`, `event: NAME`")
    elif written[0] != "event":
        for key in _NEED_EVENT:
            if key in entries:
                message = f'{key} in wait of step "{name}" has no effect without "event"'
                fix = f"remove it: `{written[0]}` ends by itself"
                report.add("PF205", message, entries[key][0], fix=fix)
