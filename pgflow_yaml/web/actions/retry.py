"""Retry a run that has ended: the page shows what runs again and what is kept, before the button.

What is shown comes from the database, which tries the retry and changes nothing. The button acts
only on what was shown: with other options, or if the run has changed since, the page shows it anew.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import outcomes
from pgflow_yaml.errors import PgflowError, WrongSetting
from pgflow_yaml.language.json_text import NotJson, read_json
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.text import one_line
from pgflow_yaml.web.failures import sentence
from pgflow_yaml.web.pages.of_run import run_id, snapshot
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.client import Retried
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.web.asked import Asked

_OPTIONS = ("from", "only_failed", "version", "as_new", "input")


def _options(asked: Asked) -> dict[str, str]:
    """Return what was chosen: in the form, or at first in the address."""
    given: Mapping[str, str] = asked.form or asked.query
    return {name: given.get(name, "").strip() for name in _OPTIONS}


def _call(asked: Asked) -> dict[str, Any]:
    """Return the arguments of the retry; raises WrongSetting or NotFound."""
    chosen = asked.once(_options)
    return {
        "run": run_id(asked),
        "from_steps": [chosen["from"]] if chosen["from"] else [],
        "only_failed": bool(chosen["only_failed"]),
        "input": _input(chosen["input"]) if chosen["input"] else None,
        "version": chosen["version"] or None,
        "as_new": bool(chosen["as_new"]),
    }


def _input(text: str) -> Json:
    try:
        value = read_json(text)
    except NotJson as error:
        raise WrongSetting(f"the new input is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise WrongSetting('the new input is an object, such as {"amount": 5}')
    return value


def _plan(asked: Asked) -> Retried:
    return asked.client.retry(**_call(asked), dry_run=True)


def _print(asked: Asked) -> str:
    """Return the fingerprint of what a retry with these options would do now."""
    shown = [asked.once(_options), asked.once(_plan).as_json()]
    return sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _ask(asked: Asked) -> Mapping[str, Any]:
    shown = asked.once(snapshot)
    run = shown["run"]
    plan, problem, seen = None, "", ""
    try:
        plan, seen = asked.once(_plan), _print(asked)
    except PgflowError as error:
        problem = sentence(error)
    active = asked.client.get_definition(run["flow"])
    return {
        "run": run,
        "name": run_name(run),
        "closed": run["status"] == "started" or run["parent"] is not None,
        "problem": "" if asked.error else problem,
        "effects": list(outcomes.retried(plan, run["id"])) if plan else [],
        "again": outcomes.agreement(plan) if plan else None,
        "seen": seen,
        "changed": _wants(asked) and bool(plan) and asked.form.get("seen") != seen,
        "chosen": asked.once(_options),
        "steps": [step["slug"] for step in shown["steps"]],
        "latest": active.version if active and active.version != run["version"] else "",
        "command": _command(run["id"], asked.once(_options)),
    }


def _wants(asked: Asked) -> bool:
    """Return true for the button that retries, not for the one that looks."""
    return asked.form.get("do") == "retry"


def _command(run: str, chosen: Mapping[str, str]) -> str:
    words = ["pgflow-yaml retry", run[:8]]
    words += [f"--from {one_line(chosen['from'])}"] if chosen["from"] else []
    words += ["--only-failed"] if chosen["only_failed"] else []
    words += ["--on latest"] if chosen["version"] else []
    words += ["--as-new"] if chosen["as_new"] else []
    words += ["--input JSON"] if chosen["input"] else []
    return " ".join(words)


def _do(asked: Asked) -> Done | None:
    asked.once(_plan)
    if not _wants(asked) or asked.form.get("seen") != _print(asked):
        return None
    result = asked.client.retry(**_call(asked), by=asked.user.name)
    said = " · ".join(outcomes.retried(result, run_id(asked)))
    return Done(to=f"/runs/{result.run_id}", said=f"run {run_id(asked)[:8]} retried: {said}")


ACTION = Action(path="/runs/{run}/retry", name="retry", ask=_ask, do=_do, asks_writing=True)
