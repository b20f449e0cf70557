"""Meaning of steps: what each does, after which others, and which keys belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pgflow_yaml import durations
from pgflow_yaml.graph import Ancestors, cycles
from pgflow_yaml.model import Backoff, Defaults, Json, Retry, Step, WhenExhausted, WhenUnmet
from pgflow_yaml.source import MappingNode, Node, ScalarNode, SequenceNode
from pgflow_yaml.suggestions import did_you_mean
from pgflow_yaml.validation.formulas import Formulas, Scope
from pgflow_yaml.validation.report import Report, quoted
from pgflow_yaml.validation.sentences import nearest_step

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_EDGES = 20_000  # S-19
_ACTIONS = ("handler", "flow", "wait")


def build_steps(
    report: Report, root: MappingNode, fields: Mapping[str, Json] | None
) -> dict[str, Step]:
    """Return the steps; those that cannot be understood are left out, and were reported."""
    node = report.written(root, "steps")
    if not isinstance(node, MappingNode):
        return {}
    unreadable = fields is None and report.written(root, "input") is not None
    steps = {
        name: step for name, (_, step) in node.entries.items() if isinstance(step, MappingNode)
    }
    edges = _edges(report, node, steps)
    ancestors = Ancestors(edges)
    result: dict[str, Step] = {}
    for name, step in steps.items():
        key = node.entries[name][0]
        scope = Scope(
            step=name,
            fields=fields,
            fields_are_unreadable=unreadable,
            steps=node.entries,
            ancestors=ancestors,
            depends_on=step.get("depends_on"),
            item=report.has(step, "map"),
            index=report.has(step, "map") or report.has(step, "initial_tasks"),
        )
        _check_action(report, key, step)
        _check_company(report, name, step)
        built = _build(report, step, Formulas(report, scope), edges[name])
        if built is not None:
            result[name] = built
    return result


def build_defaults(report: Report, root: MappingNode) -> Defaults:
    """Return the defaults of the flow."""
    node = report.value(root, "defaults")
    if not isinstance(node, MappingNode):
        return Defaults()
    return Defaults(retry=_retry(report, node), timeout=_duration(report, node, "timeout"))


def _edges(
    report: Report, node: MappingNode, steps: Mapping[str, MappingNode]
) -> dict[str, list[str]]:
    """Read all `depends_on` and report unknown steps, cycles and too many edges."""
    edges: dict[str, list[str]] = {name: [] for name in node.entries}
    places: dict[tuple[str, str], Node] = {}
    for name, step in steps.items():
        for item in _dependencies(report, step):
            parent = item.text
            if parent not in node.entries:
                _report_unknown(report, item, node.entries)
            elif (name, parent) not in places:
                edges[name].append(parent)
                places[name, parent] = item
    for cycle in cycles(edges):
        _report_cycle(report, cycle, places)
    if len(places) > MAX_EDGES:
        message = f"the flow has {len(places):,} dependencies, more than {MAX_EDGES:,}"
        report.add("PF209", message, node, fix="split the flow, or collect in between")
    return edges


def _dependencies(report: Report, step: MappingNode) -> list[ScalarNode]:
    node = report.written(step, "depends_on")
    if isinstance(node, ScalarNode) and node.text:
        return [node]
    if not isinstance(node, SequenceNode):
        return []
    return [item for item in node.items if isinstance(item, ScalarNode) and item.text]


def _report_unknown(report: Report, item: ScalarNode, steps: Mapping[str, object]) -> None:
    message = f"there is no step {quoted(item.text)}{did_you_mean(item.text, steps)}"
    report.add("PF202", message, item, fix=nearest_step(item.text, steps))


def _report_cycle(report: Report, cycle: list[str], places: Mapping[tuple[str, str], Node]) -> None:
    if len(cycle) == 1:
        name = cycle[0]
        fix = f'remove "{name}" from its own depends_on'
        report.add("PF201", f'step "{name}" depends on itself', places[name, name], fix=fix)
        return
    edges = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    last = min(edges, key=lambda edge: places[edge].start)
    at = cycle.index(last[0])
    walk = [*cycle[at:], *cycle[:at], cycle[at]]
    shown = walk if len(walk) <= 12 else [*walk[:6], "…", *walk[-5:]]
    message = f"these steps wait for each other: {' → '.join(shown)}"
    fix = f'remove one of these dependencies, such as "{last[1]}" here'
    report.add("PF201", message, places[last], fix=fix, label="each depends on the next")


def _check_action(report: Report, key: ScalarNode, step: MappingNode) -> None:
    """Exactly one of handler, flow and wait."""
    name = key.text
    written = [action for action in _ACTIONS if action in step.entries]
    if len(written) > 1:
        second = step.entries[written[1]][0]
        both = f'both "{written[0]}" and "{written[1]}"'
        message = f'step "{name}" has {both}; a step does exactly one thing'
        report.add("PF204", message, second, fix="keep one, or make it two steps with depends_on")
    elif not any(report.has(step, action) for action in _ACTIONS):
        message = f'step "{name}" does nothing: it has no handler'
        report.add("PF204", message, key, fix="write `handler: package.module.function` under it")
    handler = report.value(step, "handler")
    if isinstance(handler, ScalarNode) and "__" in handler.text:
        part = next((p for p in handler.text.split(".") if p.startswith("__")), None)
        if part is not None:
            message = (
                f'handler of step "{name}" goes through {quoted(part)}, which is private to Python'
            )
            report.add("PF206", message, handler, fix="name a function of your own module")


def _check_company(report: Report, name: str, step: MappingNode) -> None:
    """Keys that exclude or need each other."""
    entries = step.entries
    if "map" in entries and "initial_tasks" in entries:
        why = "each decides how many tasks there are"
        message = f'step "{name}" has both "map" and "initial_tasks"; {why}'
        report.add("PF205", message, entries["initial_tasks"][0], fix="keep one of the two")
    if "when_unmet" in entries and not report.has(step, "if"):
        message = f'when_unmet of step "{name}" has no effect without "if"'
        report.add("PF205", message, entries["when_unmet"][0], fix="add `if:`, or remove it")


def _build(
    report: Report, step: MappingNode, formulas: Formulas, parents: list[str]
) -> Step | None:
    with_node, if_node = report.value(step, "with"), report.value(step, "if")
    map_node = report.value(step, "map")
    with_ = formulas.template(with_node) if with_node is not None else None
    if_ = formulas.expression(if_node, "if") if isinstance(if_node, ScalarNode) else None
    map_ = None
    if isinstance(map_node, SequenceNode):
        map_ = formulas.literal_list(map_node)
    elif isinstance(map_node, ScalarNode):
        map_ = formulas.expression(map_node, "map")
    timeout = _duration(report, step, "timeout")
    start_delay = _duration(report, step, "start_delay")
    retry = _retry(report, step)
    handler = report.text(step, "handler")
    if handler is None:
        return None
    tasks = report.value(step, "initial_tasks")
    return Step(
        handler=handler,
        depends_on=tuple(parents),
        with_=with_,
        if_=if_,
        when_unmet=cast("WhenUnmet", report.text(step, "when_unmet") or "skip"),
        map=map_,
        initial_tasks=_integer(tasks),
        retry=retry,
        timeout=timeout,
        start_delay=start_delay or 0,
        when_exhausted=cast("WhenExhausted", report.text(step, "when_exhausted") or "fail"),
        description=report.text(step, "description"),
    )


def _retry(report: Report, mapping: MappingNode) -> Retry | None:
    node = report.value(mapping, "retry")
    if isinstance(node, ScalarNode):
        return Retry(max_attempts=_integer(node))
    if not isinstance(node, MappingNode):
        return None
    jitter = report.value(node, "jitter")
    value = jitter.value if isinstance(jitter, ScalarNode) else None
    return Retry(
        max_attempts=_integer(report.value(node, "max_attempts")),
        base_delay=_duration(report, node, "base_delay"),
        max_delay=_duration(report, node, "max_delay"),
        backoff=cast("Backoff | None", report.text(node, "backoff")),
        jitter=value if isinstance(value, bool) else None,
    )


def _duration(report: Report, mapping: MappingNode, key: str) -> int | None:
    node = report.value(mapping, key)
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str | int | float):
        return None
    found = durations.milliseconds(node.value)
    if found is None:
        return None
    if found > durations.MAX_MILLISECONDS:
        message = f"a {key} of {quoted(node.text)} is longer than 365 days"
        report.add("PF109", message, node, fix="write 365d or less")
    elif key == "timeout" and found < 1:
        message = f"a timeout of {quoted(node.text)} is less than a millisecond"
        report.add("PF109", message, node, fix="write 60s, or leave it out")
    return found


def _integer(node: Node | None) -> int | None:
    value = node.value if isinstance(node, ScalarNode) else None
    return int(value) if isinstance(value, int | float) else None
