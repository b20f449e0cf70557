"""Write: show what a run would do, and what deploying would change."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli import comparing
from pgflow_yaml.cli.diagnostics import valid_definitions
from pgflow_yaml.cli.options import Options, command, input_option, pass_options
from pgflow_yaml.cli.output import write_lines
from pgflow_yaml.errors import SchemaMismatch, Unavailable
from pgflow_yaml.language import durations
from pgflow_yaml.language.plan import limits_of
from pgflow_yaml.project.versions import change_json
from pgflow_yaml.text import cells, one_line, plural, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgflow_yaml.language.model import Definition
    from pgflow_yaml.language.plan import Plan, PlannedStep
    from pgflow_yaml.project.versions import Comparison


@command("plan", example="pgflow-yaml plan hello.flow.yaml --input name=Ada")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@input_option
@pass_options
def plan_command(options: Options, *, files: Sequence[str], inputs: Sequence[str]) -> None:
    """Forecast a run of a file, and the changes that deploying it would make.

    Further files are the flows that its steps run: they are checked with it, as by `run`. Levels,
    the longest chain, and which steps an input would skip, as far as that is certain before the
    run; and the next five ticks of its schedules. No handler is called, and no database is started.
    """
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.run_input import read_input
    from pgflow_yaml.language.plan import UNKNOWN, plan
    from pgflow_yaml.project.flow_set import FlowSet

    flows = FlowSet.load(files)
    definition = valid_definitions(flows.check() if len(files) > 1 else flows, options)[0]
    run_input = read_input(inputs, definition.body) if inputs else UNKNOWN
    planned = plan(definition, run_input)
    deployed = _compare_with_active(definition, files[0], options)
    if options.json:
        write_json(_shape(definition, planned, deployed))
    else:
        _write(definition, planned, deployed, options)


_WAITS = (None, "queue")
Line = list[tuple[str, str]]
_STYLES = {"runs": "", "skipped": "dim", "fails": "red", "open": "yellow", "on_failure": "dim"}
_PIPE_WIDTH = 100
_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploying:
    """Changes that deploying would make; `reason` explains why they are unknown."""

    comparison: Comparison | None
    reason: str | None = None


def _compare_with_active(definition: Definition, file: str, options: Options) -> Deploying:
    """Compare with the active version, if there is a database; none is created."""
    from pgflow_yaml.cli.database import database, has_database

    if not has_database(options, definition.name):
        return Deploying(comparison=None, reason="this project has no database yet")
    try:
        with database(options, flow=definition.name) as client:
            return Deploying(comparison=client.compare_with_active(definition, file))
    except (Unavailable, SchemaMismatch) as error:
        return Deploying(comparison=None, reason=error.message)


def _shape(definition: Definition, planned: Plan, deployed: Deploying) -> dict[str, Any]:
    """Return the JSON of a plan; its field names are API."""
    comparison = deployed.comparison
    return {
        "flow": definition.name,
        "version": definition.version,
        "levels": [list(level) for level in planned.levels],
        "finally": [list(level) for level in planned.final_levels],
        "critical_path": list(planned.critical_path),
        "skipped": list(planned.skipped),
        "limits": list(limits_of(definition.body)),
        "schedules": [
            {"name": name, "next_ticks": [tick.isoformat() for tick in ticks]}
            for name, ticks in _next_ticks(definition)
        ],
        "steps": [
            {
                "slug": step.slug,
                "outcome": step.outcome,
                "reason": step.reason,
                "tasks": step.tasks,
            }
            for step in planned.steps.values()
        ],
        "active": comparison.before.version if comparison else None,
        "changes": [change_json(change) for change in comparison.changes] if comparison else None,
    }


def _write(definition: Definition, planned: Plan, deployed: Deploying, options: Options) -> None:
    """Write the plan for a person."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else _PIPE_WIDTH
    count = plural(len(planned.steps), "step")
    head = f"{definition.name} {definition.version}: {count} on {plural(_height(planned), 'level')}"
    lines: list[Line] = [*([(line, "bold")] for line in wrapped(head, width)), []]
    lines += _steps(planned, planned.levels, width)
    if planned.final_levels:
        lines += [[], [("finally", "bold")], *_steps(planned, planned.final_levels, width)]
    lines += [
        [],
        *_limits(definition, width),
        *_path(planned, width),
        *_schedules(definition),
        *_changes(deployed, width if terminal else 0),
    ]
    write_lines(lines, sys.stdout, options)


def _height(planned: Plan) -> int:
    return len(planned.levels) + len(planned.final_levels)


def _steps(planned: Plan, by_level: Sequence[Sequence[str]], width: int) -> Iterator[Line]:
    """Yield the lines of the steps by level, with the certain facts about each."""
    digits = len(str(len(by_level)))
    names = max((len(slug) for level in by_level for slug in level), default=0)
    names = min(names, max(width // 2 - digits, 8))
    for number, level in enumerate(by_level, 1):
        for slug in level:
            step = planned.steps[slug]
            shown = f" {number:>{digits}}  " if slug == level[0] else " " * (digits + 3)
            words = wrapped(_words(step), max(width - digits - names - 5, 16))
            style = _STYLES[step.outcome]
            yield [(shown, "dim"), (f"{slug:<{names}}", style), (f"  {words[0]}", style)]
            blank = " " * (digits + names + 5)
            yield from ([(blank + line, style)] for line in words[1:])


def _words(step: PlannedStep) -> str:
    tasks = "" if step.tasks is None else plural(step.tasks, "task")
    if step.outcome == "runs":
        return tasks
    reason = one_line(step.reason or "")
    if step.outcome in ("open", "on_failure"):
        return f"{reason}; then {tasks}" if tasks else reason
    return f"{step.outcome}: {reason}"


def _limits(definition: Definition, width: int) -> Iterator[Line]:
    """Yield the lines of the limits of the flow and of its steps."""
    limits = list(limits_of(definition.body))
    if not limits:
        return
    yield [("limits:", "")]
    for limit in limits:
        noun = "run" if limit["step"] is None else "start" if limit["per_ms"] else "task"
        words = plural(limit["limit"], noun)
        words += f" of {limit['step']}" if limit["step"] else ""
        words += f" in {durations.as_text(limit['per_ms'])}" if limit["per_ms"] else " at once"
        words += f", for each {limit['key']}" if limit["key"] else ""
        words += f"; when full: {limit['when_full']}" if limit["when_full"] not in _WAITS else ""
        yield from ([(f"    {line}", "")] for line in wrapped(one_line(words), width - 4))
    yield []


def _path(planned: Plan, width: int) -> Iterator[Line]:
    """Yield the lines of the longest chain; a wide one is shortened in its middle."""
    path = list(planned.critical_path)
    waits = f", waits {durations.as_text(planned.waiting)}" if planned.waiting else ""
    head = f"longest chain: {plural(len(path), 'step')}{waits}"
    if not path:
        yield [("longest chain: no step runs", "")]
        return
    shown = " → ".join(path)
    while cells(shown) + 4 > width and len(path) > 2:
        del path[len(path) // 2]
        middle = (len(path) + 1) // 2
        shown = " → ".join([*path[:middle], "…", *path[middle:]])
    yield [(head, "")]
    yield [(f"    {shown}", "")]


def _next_ticks(definition: Definition) -> Iterator[tuple[str, list[datetime]]]:
    """Yield the name of each schedule with its next five ticks, in its time zone."""
    from pgflow_yaml.language import ticks

    body: Any = definition.body
    for spec in body.get("schedule", ()):
        zone = ticks.zone(spec.get("timezone", "UTC"))
        following = islice(ticks.after(spec, datetime.now(UTC)), _TICKS)
        yield spec["name"], [tick.astimezone(zone) for tick in following]


def _schedules(definition: Definition) -> Iterator[Line]:
    for name, ticks in _next_ticks(definition):
        yield [(f"starts by itself: {name}", "")]
        for tick in ticks:
            yield [(f"    {tick:%a %Y-%m-%d %H:%M:%S %z}", "")]


def _changes(deployed: Deploying, width: int) -> Iterator[Line]:
    comparison = deployed.comparison
    if comparison is None:
        sentence = f"deploying: no database was asked what would change ({deployed.reason})"
        yield from ([(line, "dim")] for line in wrapped(one_line(sentence), width))
    elif not comparison.changes:
        sentence = f"deploying: nothing changes, {comparison.before.version} is the active version"
        yield from ([(line, "")] for line in wrapped(sentence, width))
    else:
        count = plural(len(comparison.changes), "change")
        sentence = (
            f"deploying: {count} in {comparison.before.name} {comparison.before.version or ''}"
        )
        yield from ([(line, "")] for line in wrapped(sentence.rstrip(), width))
        for change in comparison.changes:
            yield from comparing.change_lines(change, width)
