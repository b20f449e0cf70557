"""A checked flow into what is deployed: canonical JSON, its version, and the order of its steps."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pgflow_yaml import graph
from pgflow_yaml.model import Defaults, Definition, Flow, Formula, Json, Retry, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_RETRY = Retry(
    max_attempts=3, base_delay=1_000, max_delay=3_600_000, backoff="exponential", jitter=True
)
DEFAULT_TIMEOUT = 60_000
_FOR_PEOPLE = frozenset({"description", "title", "examples"})
_RETRY_KEYS = ("max_attempts", "base_delay", "max_delay", "backoff", "jitter")


def compile_flow(flow: Flow, *, source: str = "") -> Definition:
    """Apply defaults and give the definition its version; `source` is kept beside it for people.

    Comments, descriptions and the order of keys are outside the version (`workflow-language` §7).
    """
    body: dict[str, Json] = {
        "flow": flow.flow,
        "steps": {name: _step(step, flow.defaults) for name, step in flow.steps.items()},
    }
    if flow.input is not None:
        body["input"] = {name: _without_words(field) for name, field in flow.input.items()}
    edges = {name: step.depends_on for name, step in flow.steps.items()}
    return Definition(
        name=flow.flow,
        version=version_of(body),
        body=body,
        order=tuple(name for level in graph.levels(edges) for name in level),
        description=flow.description,
        source=source,
    )


def version_of(body: Mapping[str, Json]) -> str:
    """Return the version: 12 hex digits over the canonical JSON of the body."""
    return hashlib.sha256(canonical(body).encode()).hexdigest()[:12]


def canonical(value: Json | Mapping[str, Json]) -> str:
    """Write JSON in the one way in which equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def merged_retry(retry: Retry | None, defaults: Retry | None) -> Retry:
    """Lay a step's retry over the flow's, and that over the built-in one.

    An int was read as `max_attempts` alone, so it leaves the other knobs as they are.
    """
    layers = [layer for layer in (retry, defaults, DEFAULT_RETRY) if layer is not None]
    values = {
        key: next(value for layer in layers if (value := getattr(layer, key)) is not None)
        for key in _RETRY_KEYS
    }
    return Retry(**values)


def _step(step: Step, defaults: Defaults) -> dict[str, Json]:
    retry = merged_retry(step.retry, defaults.retry)
    timeout = step.timeout if step.timeout is not None else defaults.timeout
    body: dict[str, Json] = {
        "handler": step.handler,
        "depends_on": dict.fromkeys(step.depends_on, "success"),
        "when_unmet": step.when_unmet,
        "retry": {key: getattr(retry, key) for key in _RETRY_KEYS},
        "timeout": DEFAULT_TIMEOUT if timeout is None else timeout,
        "start_delay": step.start_delay,
        "when_exhausted": step.when_exhausted,
    }
    for key, formula in (("with", step.with_), ("if", step.if_), ("map", step.map)):
        if formula is not None:
            body[key] = _formula(formula)
    if step.initial_tasks is not None:
        body["initial_tasks"] = step.initial_tasks
    return body


def _without_words(schema: Json) -> Json:
    """Drop what only people read, so that a better description is no new version."""
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key not in _FOR_PEOPLE}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = _without_words(kept[key])
    properties = kept.get("properties")
    if isinstance(properties, dict):
        kept["properties"] = {name: _without_words(field) for name, field in properties.items()}
    return kept


def _formula(formula: Formula) -> dict[str, Json]:
    return {"ast": formula.ast, "paths": list(formula.paths)}
