"""Words that people bring from other tools, and words that later releases will know.

Each is answered with our own word instead of a bare "unknown key".
"""

from __future__ import annotations

from typing import Literal

from pgflow_yaml.language.suggestions import bare

Level = Literal["flow", "step", "defaults", "retry", "wait", "repeat", "field"]

# Keys of later releases. Their value is what can be done today.
LATER: dict[Level, dict[str, str]] = {
    "flow": {
        "concurrency": "remove it, or limit the tasks with `pgflow-yaml worker --concurrency`",
        "schedule": "start the flow from cron with `pgflow-yaml start`",
        "retention": "remove it: finished runs are kept",
        "priority": "remove it: runs begin in the order of their starts",
    },
    "step": {
        "concurrency": "remove it; `max_parallel` limits the tasks of one run",
        "rate_limit": "remove it; `max_parallel` limits the tasks of one run",
        "cache": "remove it",
        "output_schema": "let the handler check its result",
    },
}

# Foreign words, written without `_` and `-` in lower case → our key.
_FOREIGN: dict[Level, dict[str, str]] = {
    "flow": {
        "name": "flow",
        "id": "flow",
        "slug": "flow",
        "workflow": "flow",
        "dag": "flow",
        "dagid": "flow",
        "jobs": "steps",
        "tasks": "steps",
        "states": "steps",
        "nodes": "steps",
        "activities": "steps",
        "stages": "steps",
        "inputs": "input",
        "params": "input",
        "parameters": "input",
        "arguments": "input",
        "env": "input",
        "vars": "input",
        "variables": "input",
        "title": "description",
        "doc": "description",
        "on": "schedule",
        "cron": "schedule",
        "trigger": "schedule",
        "triggers": "schedule",
        "outputs": "output",
        "returns": "output",
        "onexit": "finally",
        "onfailure": "finally",
        "onsuccess": "finally",
        "onerror": "finally",
        "always": "finally",
        "default": "defaults",
        "defaultargs": "defaults",
        "tags": "labels",
        "failfast": "fail_fast",
        "activedeadlineseconds": "timeout",
        "schema": "input_schema",
    },
    "step": {
        "run": "handler",
        "uses": "handler",
        "call": "handler",
        "function": "handler",
        "func": "handler",
        "task": "handler",
        "action": "handler",
        "command": "handler",
        "script": "handler",
        "image": "handler",
        "template": "handler",
        "activity": "handler",
        "pythoncallable": "handler",
        "needs": "depends_on",
        "dependencies": "depends_on",
        "depends": "depends_on",
        "requires": "depends_on",
        "after": "depends_on",
        "runafter": "depends_on",
        "upstream": "depends_on",
        "next": "depends_on",
        "when": "if",
        "condition": "if",
        "runif": "if",
        "onlyif": "if",
        "unless": "if",
        "foreach": "map",
        "matrix": "map",
        "strategy": "map",
        "loop": "map",
        "each": "map",
        "withitems": "map",
        "withparam": "map",
        "continueonerror": "when_exhausted",
        "continueonfail": "when_exhausted",
        "allowfailure": "when_exhausted",
        "ignoreerrors": "when_exhausted",
        "retries": "retry",
        "attempts": "retry",
        "maxattempts": "retry",
        "maxretries": "retry",
        "retrystrategy": "retry",
        "retrypolicy": "retry",
        "basedelay": "retry",
        "maxdelay": "retry",
        "backoff": "retry",
        "jitter": "retry",
        "env": "with",
        "input": "with",
        "inputs": "with",
        "params": "with",
        "parameters": "with",
        "args": "with",
        "arguments": "with",
        "kwargs": "with",
        "timeoutminutes": "timeout",
        "timeoutseconds": "timeout",
        "executiontimeout": "timeout",
        "delay": "start_delay",
        "maxparallel": "max_parallel",
        "parallelism": "max_parallel",
        "concurrencylimit": "max_parallel",
        "workflow": "flow",
        "subworkflow": "flow",
        "childworkflow": "flow",
        "subflow": "flow",
        "child": "flow",
        "suspend": "wait",
        "sleep": "wait",
        "pause": "wait",
        "waitfor": "wait",
        "waituntil": "wait",
        "approval": "wait",
        "until": "repeat",
        "loopuntil": "repeat",
        "repeatpolicy": "repeat",
        "pollinterval": "repeat",
        "runson": "queue",
        "pool": "queue",
        "taskqueue": "queue",
        "toleratedfailurepercentage": "tolerate",
        "toleratedfailurecount": "tolerate",
        "desc": "description",
        "title": "description",
    },
    "wait": {
        "duration": "for",
        "delay": "for",
        "seconds": "for",
        "sleep": "for",
        "time": "for",
        "date": "until",
        "at": "until",
        "timestamp": "until",
        "signal": "event",
        "message": "event",
        "approval": "event",
        "name": "event",
    },
    "repeat": {
        "interval": "every",
        "delay": "every",
        "limit": "max",
        "maxattempts": "max",
        "times": "max",
        "condition": "until",
        "while": "until",
    },
    "defaults": {"retries": "retry", "attempts": "retry", "maxattempts": "retry"},
    "retry": {
        "attempts": "max_attempts",
        "limit": "max_attempts",
        "count": "max_attempts",
        "max": "max_attempts",
        "retries": "max_attempts",
        "maxretries": "max_attempts",
        "delay": "base_delay",
        "interval": "base_delay",
        "initialdelay": "base_delay",
        "strategy": "backoff",
        "type": "backoff",
        "when": "if",
    },
    "field": {
        "min": "minimum",
        "max": "maximum",
        "choices": "enum",
        "options": "enum",
        "values": "enum",
        "desc": "description",
        "help": "description",
        "fields": "properties",
    },
}

# What to write where our key alone does not say it.
_ADVICE: dict[tuple[Level, str], str] = {
    ("step", "handler"): "name a Python function: `handler: package.module.function`",
    ("step", "depends_on"): "write `depends_on: [step]`",
    ("step", "when_exhausted"): "write `when_exhausted: skip`",
    ("step", "if"): 'write an expression: `if: input.plan == "premium"`',
    ("step", "map"): "write `map: steps.fetch.output` or a list; the handler gets one item",
    ("step", "with"): 'write `with: {name: "${{ input.name }}"}`',
    ("step", "retry"): "write `retry: 3` (tries in all), or a mapping with `max_attempts`",
    ("flow", "input"): "write `input: {name: {type: string}}`",
    ("flow", "steps"): "write `steps:` and under it `NAME: {handler: package.module.function}`",
    ("step", "flow"): "name the flow to run: `flow: other_flow`",
    ("step", "wait"): "write `wait: {for: 10m}`, or `wait: {event: NAME}`",
    ("step", "repeat"): "write `repeat: {until: output.ready, every: 10s}`",
    ("step", "tolerate"): 'write `tolerate: 3`, or `tolerate: "5%"`',
    ("repeat", "until"): "write when to stop: `until: output.ready`",
    ("flow", "flow"): "write `flow: my_flow`",
    ("flow", "finally"): "write `finally:` and under it `NAME: {handler: package.module.function}`",
}

# Keywords of JSON Schema that nobody checks, and other ways to say "optional".
_FIELD_ADVICE: dict[str, str] = {
    "optional": "give the field a `default`: that makes it optional",
    "nullable": 'write `type: [string, "null"]`',
    "pattern": "remove it, and let the first step check the text",
    "format": "remove it, and let the first step check the text",
    "regex": "remove it, and let the first step check the text",
    "$ref": "write the schema out, or use a YAML alias",
    "anyOf": "use `enum`, or a list of types",
    "oneOf": "use `enum`, or a list of types",
    "allOf": "write all keywords side by side",
    "not": "use `enum`",
}


def later(level: Level, key: str) -> str | None:
    """Return what to do today about a key of a later release, or None."""
    return LATER.get(level, {}).get(key)


def foreign(level: Level, key: str) -> tuple[str, str] | None:
    """Return our key for a word of another tool, and how to write it; None for other words."""
    ours = _FOREIGN.get(level, {}).get(bare(key))
    if ours is None or ours == key:
        return None
    return ours, _ADVICE.get((level, ours), f"write `{ours}:`")


def has_our_shape(level: Level, key: str) -> bool:
    """Tell whether the value of a foreign word is worth checking as that of our key."""
    word = key.lower()
    return level == "flow" and (
        _FOREIGN["flow"].get(word) == "steps" or word in ("inputs", "params", "parameters")
    )


def hook_advice(level: Level, key: str) -> tuple[str, str] | None:
    """Return what a hook of another tool is here, and how to write it; None for other words."""
    if level != "step":
        return None
    word = bare(key)
    if word in ("onfailure", "onerror", "catch", "rescue", "compensate"):
        return "an edge", "write `depends_on: {STEP: failure}` in the step that handles the failure"
    if word in ("onsuccess", "then"):
        return "an edge", "write `depends_on: [STEP]` in the step that comes next"
    if word in ("onexit", "always", "finally", "cleanup"):
        return "`finally`", "write the step under `finally:`, at the top of the flow"
    return None


def field_advice(key: str) -> str | None:
    """Return what to write instead of a keyword that an input field cannot have, or None."""
    return _FIELD_ADVICE.get(key)
