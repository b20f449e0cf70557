"""Approve a step that waits for people, or reject it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import outcomes
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.runs.waits import answer_command
from pgflow_yaml.text import one_line
from pgflow_yaml.web import asking
from pgflow_yaml.web.pages.of_run import run_id, snapshot
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import AwaitedShape
    from pgflow_yaml.web.asked import Asked


def _ask_of(asked: Asked) -> asking.Ask:
    return asking.ask_of(asked.client, asked.once(snapshot), asked.params["step"])


def _ask(asked: Asked, *, approves: bool) -> Mapping[str, Any]:
    ask = asked.once(_ask_of)
    return {
        "ask": ask,
        "name": run_name(ask.run),
        "mine": ask.is_for(asked.user.name, asked.user.groups),
        "fields": asking.fields_of(ask, asked.form) if approves else [],
        "comment": asked.form.get("comment", ""),
        "longest": asking.LONGEST_COMMENT,
        "command": _command(ask, approves=approves),
    }


def _command(ask: asking.Ask, *, approves: bool) -> str:
    if not approves:
        return f"pgflow-yaml reject {ask.run['id'][:8]} {one_line(ask.step)}"
    event: AwaitedShape = {
        "run_id": ask.run["id"],
        "flow": ask.run["flow"],
        "step": ask.step,
        "event": ask.event,
        "until": None,
        "by": list(ask.by),
        "form": ask.form,
    }
    return answer_command(event)


def _do(asked: Asked, *, approves: bool) -> Done:
    run = run_id(asked)
    user, ask = asked.user, asked.once(_ask_of)
    decision = asking.decide(
        asked.client, ask, asked.form, approves=approves, by=user.name, groups=user.groups
    )
    return Done(to=f"/runs/{run}", said=outcomes.decided(decision))


def _action(name: str, *, approves: bool) -> Action:
    return Action(
        path=f"/runs/{{run}}/steps/{{step}}/{name}",
        name=name,
        ask=partial(_ask, approves=approves),
        do=partial(_do, approves=approves),
    )


APPROVE = _action("approve", approves=True)
REJECT = _action("reject", approves=False)
