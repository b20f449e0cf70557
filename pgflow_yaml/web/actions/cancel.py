"""Cancel a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import outcomes
from pgflow_yaml.errors import PgflowError
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.runs.snapshot import STATUS_PHRASES
from pgflow_yaml.text import clean, plural
from pgflow_yaml.web.pages.of_run import run_id, snapshot
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.asked import Asked

_MOST_CHILDREN = 100
_LONGEST_REASON = 1_000


def _ask(asked: Asked) -> Mapping[str, Any]:
    run = asked.once(snapshot)["run"]
    children = asked.client.list_runs(limit=_MOST_CHILDREN, parent=run["id"], status="started")
    more = "+" if len(children) == _MOST_CHILDREN else ""
    return {
        "run": run,
        "name": run_name(run),
        "ended": "" if run["status"] == "started" else STATUS_PHRASES[run["status"]],
        "again": run["outcome"] is not None,
        "children": plural(len(children), "child run") + more if children else "",
        "reason": asked.form.get("reason", ""),
        "longest": _LONGEST_REASON,
    }


def _do(asked: Asked) -> Done:
    run = run_id(asked)
    reason = clean(asked.form.get("reason", "")).strip()
    if len(reason) > _LONGEST_REASON:
        raise PgflowError(f"the reason has more than {_LONGEST_REASON:,} characters")
    result = asked.client.cancel(run, reason or None, by=asked.user.name)
    return Done(to=f"/runs/{run}", said=f"run {run[:8]}: {outcomes.cancelled(result)}")


ACTION = Action(path="/runs/{run}/cancel", name="cancel", ask=_ask, do=_do)
