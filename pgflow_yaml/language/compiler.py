"""Compile a checked flow: canonical JSON, its version, and the display order of its steps."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pgflow_yaml.language import graph, listening
from pgflow_yaml.language.model import (
    Concurrency,
    Definition,
    Flow,
    Formula,
    Json,
    Percent,
    RateLimit,
    Retry,
    Schedule,
    Step,
    Wait,
    Webhook,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_RETRY = Retry(
    max_attempts=3, base_delay=1_000, max_delay=3_600_000, backoff="exponential", jitter=True
)
CHILD_RETRY = Retry(max_attempts=1)
DEFAULT_TIMEOUT = 60_000
# A change to a text for people makes no new version.
_FOR_PEOPLE = frozenset({"description", "title", "examples"})
_RETRY_KEYS = ("max_attempts", "base_delay", "max_delay", "backoff", "jitter")


def compile_flow(flow: Flow, *, source: str = "") -> Definition:
    """Return the definition with defaults applied; `source` is the text of the file, for people.

    Comments, descriptions, labels, retention and the order of keys do not change the version
    (`workflow-language` §7). A key with its default value is left out, so that a file that does
    not use a new part of the language keeps its version.
    """
    inner = {
        step.flow.flow: compile_flow(step.flow, source=source)
        for step in (*flow.steps.values(), *flow.finally_.values())
        if isinstance(step.flow, Flow)
    }
    versions = {name: child.version for name, child in inner.items()}
    body: dict[str, Json] = {
        "flow": flow.flow,
        "steps": {name: _step(step, flow, versions) for name, step in flow.steps.items()},
    }
    if flow.finally_:
        body["finally"] = {
            name: _step(step, flow, versions) for name, step in flow.finally_.items()
        }
    if flow.input is not None:
        body["input"] = {name: _without_texts(field) for name, field in flow.input.items()}
    if flow.input_schema is not None:
        body["input_schema"] = _without_texts(flow.input_schema)
    if flow.after is not None:
        body["after"] = {"flows": list(flow.after.flows), "status": list(flow.after.status)}
        body["input"] = dict(listening.fields(flow.after.status))
    if flow.schedule:
        body["schedule"] = [_schedule(schedule) for schedule in flow.schedule]
    if flow.webhook is not None:
        body["webhook"] = _webhook(flow.webhook)
    if flow.output is not None:
        body["output"] = _formula(flow.output)
    if flow.timeout is not None:
        body["timeout"] = flow.timeout
    if not flow.fail_fast:
        body["fail_fast"] = False
    if flow.concurrency is not None:
        body["concurrency"] = _limit(flow.concurrency)
    if flow.priority:
        body["priority"] = flow.priority
    return Definition(
        name=flow.flow,
        version=version_of(body),
        body=body,
        order=(*_order(flow.steps), *_order(flow.finally_)),
        description=flow.description,
        source=source,
        labels=flow.labels,
        retention=flow.retention,
        inner=tuple(below for child in inner.values() for below in child.family),
    )


def version_of(body: Mapping[str, Json]) -> str:
    """Return the version: 12 hex digits of the hash of the body's canonical JSON."""
    return hashlib.sha256(canonical(body).encode()).hexdigest()[:12]


def canonical(value: Json | Mapping[str, Json]) -> str:
    """Return canonical JSON: equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def merged_retry(retry: Retry | None, defaults: Retry | None) -> Retry:
    """Return a step's retry, completed by the flow's defaults and the built-in ones.

    An int was read as `max_attempts` alone, so the other options keep their defaults.
    """
    layers = [layer for layer in (retry, defaults, DEFAULT_RETRY) if layer is not None]
    values = {
        key: next((value for layer in layers if (value := getattr(layer, key)) is not None), None)
        for key in (*_RETRY_KEYS, "if_")
    }
    return Retry(**values)


def _order(steps: Mapping[str, Step]) -> list[str]:
    edges = {name: step.depends_on for name, step in steps.items()}
    return [name for level in graph.levels(edges) for name in level]


def _step(step: Step, flow: Flow, versions: Mapping[str, str]) -> dict[str, Json]:
    body: dict[str, Json] = {
        **_action(step, flow, versions),
        "depends_on": dict(step.depends_on),
        "when_unmet": step.when_unmet,
        "start_delay": step.start_delay,
        "when_exhausted": step.when_exhausted,
    }
    for key, formula in (("with", step.with_), ("if", step.if_), ("map", step.map)):
        if formula is not None:
            body[key] = _formula(formula)
    if step.initial_tasks is not None:
        body["initial_tasks"] = step.initial_tasks
    if step.max_parallel is not None:
        body["max_parallel"] = step.max_parallel
    if not step.fail_fast:
        body["fail_fast"] = False
    if isinstance(step.tolerate, Percent):
        body["tolerate"] = {"percent": step.tolerate.percent}
    elif step.tolerate:
        body["tolerate"] = step.tolerate
    if not step.handles:
        body["handles"] = False
    if step.concurrency is not None:
        body["concurrency"] = _limit(step.concurrency)
    if step.rate_limit is not None:
        body["rate_limit"] = _limit(step.rate_limit)
    return body


def _action(step: Step, flow: Flow, versions: Mapping[str, str]) -> dict[str, Json]:
    """Return the action of a step with the options of this kind of step.

    A flow that is written in the step is named with its version, which so follows this flow's.
    """
    if step.wait is not None:
        return {"wait": _wait(step.wait)}
    body: dict[str, Json]
    if step.flow is not None:
        name = step.flow
        if isinstance(name, Flow):
            name = f"{name.flow}@{versions[name.flow]}"
        body = {"flow": name, "retry": _retry(merged_retry(step.retry, CHILD_RETRY))}
        if step.timeout is not None:
            body["timeout"] = step.timeout
        return body
    timeout = step.timeout if step.timeout is not None else flow.defaults.timeout
    body = {
        "handler": step.handler,
        "retry": _retry(merged_retry(step.retry, flow.defaults.retry)),
        "timeout": DEFAULT_TIMEOUT if timeout is None else timeout,
    }
    if step.repeat is not None:
        body["repeat"] = {
            "until": _formula(step.repeat.until),
            "every": step.repeat.every,
            "max": step.repeat.max,
        }
    queue = step.queue or flow.defaults.queue
    if queue is not None and queue != flow.flow:
        body["queue"] = queue
    if step.resources:
        body["resources"] = dict(step.resources)
    return body


def _limit(limit: Concurrency | RateLimit) -> dict[str, Json]:
    body: dict[str, Json] = {"limit": limit.limit}
    if isinstance(limit, RateLimit):
        body["per"] = limit.per
    elif limit.when_full != "queue":
        body["when_full"] = limit.when_full
    if limit.key is not None:
        body["key"] = _formula(limit.key)
    return body


def _wait(wait: Wait) -> dict[str, Json]:
    if wait.for_ is not None:
        return {"for": _formula(wait.for_) if isinstance(wait.for_, Formula) else wait.for_}
    if wait.until is not None:
        return {"until": _formula(wait.until)}
    body: dict[str, Json] = {"event": wait.event}
    if wait.timeout is not None:
        body["timeout"] = wait.timeout
    if wait.form is not None:
        body["form"] = {name: _without_texts(field) for name, field in wait.form.items()}
    if wait.by:
        body["by"] = list(wait.by)
    if wait.remind is not None:
        body["remind"] = wait.remind
    return body


def _schedule(schedule: Schedule) -> dict[str, Json]:
    body: dict[str, Json] = {"name": schedule.name}
    if schedule.cron is not None:
        body |= {"cron": schedule.cron, "timezone": schedule.timezone}
    else:
        body["every"] = schedule.every
    if schedule.overlap != "skip":
        body["overlap"] = schedule.overlap
    if schedule.catchup != "none":
        body["catchup"] = schedule.catchup
    if schedule.input is not None:
        body["input"] = _formula(schedule.input)
    return body


def _webhook(webhook: Webhook) -> dict[str, Json]:
    body: dict[str, Json] = {"secret": webhook.secret}
    if webhook.key is not None:
        body["key"] = _formula(webhook.key)
    if webhook.input is not None:
        body["input"] = _formula(webhook.input)
    return body


def _retry(retry: Retry) -> dict[str, Json]:
    body: dict[str, Json] = {key: getattr(retry, key) for key in _RETRY_KEYS}
    if retry.if_ is not None:
        body["if"] = _formula(retry.if_)
    return body


def _without_texts(schema: Json) -> Json:
    """Return a schema without texts for people, so that they do not change the version."""
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key not in _FOR_PEOPLE}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = _without_texts(kept[key])
    properties = kept.get("properties")
    if isinstance(properties, dict):
        kept["properties"] = {name: _without_texts(field) for name, field in properties.items()}
    return kept


def _formula(formula: Formula) -> dict[str, Json]:
    return {"ast": formula.ast, "paths": list(formula.paths)}
