"""Forecast of a run, as far as it is certain before the run starts; no handler is called.

Each step gets the set of ways in which it may end if every handler succeeds, by the same rules as
in the engine (`workflow-language` §6): its edges first, then its condition. A condition over the
input, or over steps that are certain to be skipped, already has a value; any other is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pgflow_yaml.language.edge_rules import (
    END_IF_UNMET,
    SKIPPED,
    needs_a_step_that_ran,
    satisfies,
)
from pgflow_yaml.language.expressions import ExpressionError, evaluate, write_expression
from pgflow_yaml.language.expressions.values import kind
from pgflow_yaml.language.graph import as_listed, levels
from pgflow_yaml.language.inputs import apply_defaults_and_check
from pgflow_yaml.language.model import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgflow_yaml.language.edge_rules import End
    from pgflow_yaml.language.model import Definition, Edge, Json

Outcome = Literal["runs", "skipped", "fails", "open", "on_failure"]
"""`open`: decided by the input or at run time; `on_failure`: skipped unless a step fails."""

UNKNOWN: Final = object()
"""The input of a run that is not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """Forecast of one step: its outcome with the reason, and its number of tasks if certain."""

    slug: str
    outcome: Outcome
    reason: str | None = None
    tasks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Forecast of a run: step names by level, the longest chain of dependencies, each step."""

    levels: tuple[tuple[str, ...], ...]
    final_levels: tuple[tuple[str, ...], ...]
    critical_path: tuple[str, ...]
    waiting: int
    """Milliseconds of waits and start delays on the critical path."""
    steps: Mapping[str, PlannedStep]

    @property
    def skipped(self) -> tuple[str, ...]:
        """The steps that are certain to be skipped."""
        return tuple(slug for slug, step in self.steps.items() if step.outcome == "skipped")


def plan(definition: Definition, run_input: Json | object = UNKNOWN) -> Plan:
    """Return the plan of a run with this input, which the caller has checked."""
    body: Any = definition.body
    forecast = _Forecast(definition, _with_defaults(body, run_input))
    planned: dict[str, PlannedStep] = {}
    by_section = []
    for section in SECTIONS:
        steps = body.get(section, {})
        edges = {
            slug: list(steps[slug]["depends_on"]) for slug in as_listed(steps, definition.order)
        }
        by_section.append(levels(edges))
        for level in by_section[-1]:
            for slug in level:
                planned[slug] = forecast.add(slug, steps[slug])
    path, waiting = _critical(body["steps"], by_section[0], planned)
    return Plan(
        levels=tuple(map(tuple, by_section[0])),
        final_levels=tuple(map(tuple, by_section[1])),
        critical_path=path,
        waiting=waiting,
        steps=planned,
    )


def limits_of(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the limits of a flow: of its runs, then of its steps; `per_ms` is that of a rate."""
    steps = {slug: step for section in SECTIONS for slug, step in body.get(section, {}).items()}
    for step, holder in ((None, body), *steps.items()):
        for key in ("concurrency", "rate_limit"):
            if (limit := holder.get(key)) is not None:
                yield {
                    "step": step,
                    "limit": limit["limit"],
                    "per_ms": limit.get("per"),
                    "key": write_expression(limit["key"]["ast"]) if "key" in limit else None,
                    "when_full": limit.get("when_full", "queue") if step is None else None,
                }


def _with_defaults(body: Mapping[str, Any], run_input: Any) -> Any:
    if run_input is UNKNOWN:
        takes_nothing = not body.get("input") and "input_schema" not in body
        return {} if takes_nothing else UNKNOWN
    if "input_schema" in body:
        return run_input
    return apply_defaults_and_check(body.get("input"), run_input)[0]


class _Forecast:
    """The steps forecast so far; a step is added after its dependencies."""

    def __init__(self, definition: Definition, run_input: Any) -> None:
        self.run = {"run.flow": definition.name, "run.version": definition.version}
        self.run_input = run_input
        self.ends: dict[str, set[End]] = {}
        self.planned: dict[str, PlannedStep] = {}

    def add(self, slug: str, step: Mapping[str, Any]) -> PlannedStep:
        """Forecast one step of a definition."""
        ends, reason = self._ends(step)
        tasks = None
        if "completed" in ends:
            tasks, problem = self._tasks(step)
            if problem is not None:
                ends, reason = (ends - {"completed"}) | {"failed"}, problem
        outcome = self._outcome(ends, step)
        self.ends[slug] = ends
        self.planned[slug] = PlannedStep(slug=slug, outcome=outcome, reason=reason, tasks=tasks)
        return self.planned[slug]

    def _outcome(self, ends: set[End], step: Mapping[str, Any]) -> Outcome:
        if ends == {"completed"}:
            return "runs"
        if ends == {"failed"}:
            return "fails"
        if ends <= SKIPPED:
            return "on_failure" if self._waits_for_failure(step["depends_on"]) else "skipped"
        return "open"

    def _waits_for_failure(self, edges: Mapping[str, Edge]) -> bool:
        """Return True when a step is skipped only as long as no other step fails."""
        unmet = [
            (slug, edge)
            for slug, edge in edges.items()
            if not any(satisfies(end, edge) for end in self.ends[slug])
        ]
        return bool(unmet) and all(
            self.planned[slug].outcome == "on_failure"
            if edge == "success"
            else "completed" in self.ends[slug]
            for slug, edge in unmet
        )

    def _ends(self, step: Mapping[str, Any]) -> tuple[set[End], str | None]:
        upstream, why = self._upstream(step["depends_on"])
        if upstream is True:
            return {"upstream"}, why
        ends: set[End] = set() if upstream is False else {"upstream"}
        reason = why
        met: bool | None = True
        if "if" in step:
            text = write_expression(step["if"]["ast"])
            try:
                met = self.truth(step["if"]["ast"])
            except ExpressionError as error:
                return ends | {"failed"}, f"its condition has no value: {error}"
            if met is False:
                reason = f"its condition is false: {text}"
            elif met is None:
                reason = f"{self._decided(step['if']['ast'])}: if {text}"
        if met is not False:
            ends.add("completed")
        if met is not True:
            ends.add(END_IF_UNMET[step["when_unmet"]])
        return ends, reason

    def _decided(self, ast: Any) -> str:
        """Format the moment at which an open condition is decided."""
        by_input = {path.partition(".")[0] for path in _paths(ast)} == {"input"}
        return "decided by the input" if by_input else "decided at run time"

    def _upstream(self, edges: Mapping[str, Edge]) -> tuple[bool | None, str | None]:
        """Return True when the edges skip the step, None when that is open; and the reason."""
        reason = None
        for slug, edge in edges.items():
            satisfied = {satisfies(end, edge) for end in self.ends[slug]}
            if satisfied == {False}:
                return True, self._why_unmet(slug, edge)
            if len(satisfied) == 2:
                reason = reason or f"decided at run time: depends on {slug}"
        if needs_a_step_that_ran(edges.values()):
            if all(self.ends[slug] <= SKIPPED for slug in edges):
                return True, f"everything it depends on is skipped: {', '.join(edges)}"
            if all(self.ends[slug] & SKIPPED for slug in edges):
                names = f"{', '.join(edges)} may {'all ' * (len(edges) > 1)}be skipped"
                reason = reason or f"decided at run time: {names}"
        return (None, reason) if reason else (False, None)

    def _why_unmet(self, slug: str, edge: Edge) -> str:
        if edge == "failure":
            return f"only if {slug} fails"
        outcome = self.planned[slug].outcome
        if outcome == "on_failure":
            return f"after {slug}, {self.planned[slug].reason}"
        return f"depends on {slug}, which {'fails' if outcome == 'fails' else 'is skipped'}"

    def truth(self, ast: Any) -> bool | None:
        """Return the truth of a condition, None where it is open; raises ExpressionError."""
        operator, *parts = ast
        if operator in ("and", "or"):
            for part in parts:
                met = self.truth(part)
                if met is None or met is (operator == "or"):
                    return met
            return bool(operator == "and")
        if operator == "not":
            met = self.truth(parts[0])
            return None if met is None else not met
        value = self.value(["not", ast])
        return None if value is UNKNOWN else not value

    def value(self, ast: Any) -> Json | object:
        """Return the value of an expression, or UNKNOWN; raises ExpressionError."""
        env = {path: self._known(path) for path in set(_paths(ast))}
        if UNKNOWN in env.values():
            return UNKNOWN
        return evaluate(ast, env)

    def _known(self, path: str) -> Any:
        root, *keys = path.split(".")
        if root == "input":
            value = self.run_input
        elif root == "steps" and len(keys) > 1 and self.ends.get(keys[0], {"completed"}) <= SKIPPED:
            if self.planned[keys[0]].outcome == "on_failure":
                return UNKNOWN
            value, keys = self._of_skipped(keys[0]).get(keys[1]), keys[2:]
        else:
            return self.run.get(path, UNKNOWN)
        if value is UNKNOWN:
            return UNKNOWN
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def _of_skipped(self, slug: str) -> dict[str, Any]:
        """Return the fields that expressions read of a step that is certain to be skipped."""
        by_condition = self.ends[slug] == {"unmet"}
        return {
            "status": "skipped",
            "skip_reason": "condition_unmet" if by_condition else UNKNOWN,
        }

    def _tasks(self, step: Mapping[str, Any]) -> tuple[int | None, str | None]:
        """Return the number of tasks of a step, None where it is open; or why it has none."""
        if "map" not in step:
            return step.get("initial_tasks"), None
        try:
            items = self.value(step["map"]["ast"])
        except ExpressionError as error:
            return None, f"its map has no value: {error}"
        if items is UNKNOWN:
            return None, None
        if items is not None and not isinstance(items, list):
            return None, f"its map is {kind(items)}, and a list is needed"  # type: ignore[arg-type]
        return len(items or []), None


def _paths(ast: Any) -> Iterator[str]:
    """Yield the environment paths that an expression tree reads."""
    if isinstance(ast, list) and ast:
        if ast[0] == "path":
            yield ast[1]
        elif ast[0] != "lit":
            for part in ast:
                yield from _paths(part)


def _critical(
    steps: Mapping[str, Any], by_level: Sequence[Sequence[str]], planned: Mapping[str, PlannedStep]
) -> tuple[tuple[str, ...], int]:
    """Return the longest chain of steps that may run, and its waits in milliseconds.

    Of two chains with the same number of steps, the one that waits longer is returned.
    """
    longest: dict[str, tuple[int, int, tuple[str, ...]]] = {}
    for level in by_level:
        for slug in level:
            above = (longest[parent] for parent in steps[slug]["depends_on"])
            count, wait, path = max(above, key=_length, default=(0, 0, ()))
            if planned[slug].outcome in ("runs", "open"):
                count, wait, path = count + 1, wait + _wait(steps[slug]), (*path, slug)
            longest[slug] = (count, wait, path)
    _, wait, path = max(longest.values(), key=_length, default=(0, 0, ()))
    return path, wait


def _length(chain: tuple[int, int, tuple[str, ...]]) -> tuple[int, int]:
    return chain[:2]


def _wait(step: Mapping[str, Any]) -> int:
    fixed = step.get("wait", {}).get("for", 0)
    delay: int = step.get("start_delay", 0)
    return delay + (fixed if isinstance(fixed, int) else 0)
