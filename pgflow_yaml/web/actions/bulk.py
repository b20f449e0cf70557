"""Cancel or retry all runs that the filter of a page finds, in the background."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import PgflowError, WrongSetting
from pgflow_yaml.runs.listed import run_status, run_trouble
from pgflow_yaml.text import clean, plural
from pgflow_yaml.web.bulk import MOST_RUNS
from pgflow_yaml.web.pages.filters import address, chosen, filters
from pgflow_yaml.web.table import Action, Done

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgflow_yaml.client import Client, RunSummary
    from pgflow_yaml.runs.filters import RunFilters
    from pgflow_yaml.web.asked import Asked
    from pgflow_yaml.web.bulk import Act

TYPED_FROM = 100
"""Above so many runs, somebody must write their number."""
_SHOWN = 20
_LONGEST_REASON = 1_000
_STATUSES: Mapping[Act, Sequence[str]] = {
    "cancel": ("started", "waiting"),
    "retry": ("failed", "cancelled"),
}


def _found(asked: Asked, act: Act) -> list[RunSummary]:
    """Return the runs that the filter finds and that can be changed so; raises WrongSetting."""
    wanted: RunFilters = asked.once(filters)
    if not chosen(asked):
        raise WrongSetting("choose runs by a filter first: without one, all runs would be meant")
    statuses = _STATUSES[act]
    status = wanted.get("status") or statuses[0]
    if status not in statuses:
        raise WrongSetting(f"runs with status {status} cannot be changed so: choose {statuses[0]}")
    wanted = {**wanted, "status": status}
    found = asked.client.list_runs(limit=MOST_RUNS, **wanted)
    # Those that are stopping already are left alone.
    return [run for run in found if act == "retry" or run.outcome is None]


def _ask(asked: Asked, *, act: Act) -> Mapping[str, Any]:
    found = [run.as_json() for run in _found(asked, act)]
    return {
        "act": act,
        "count": len(found),
        "many": plural(len(found), "run"),
        "typed": len(found) > TYPED_FROM,
        "most": MOST_RUNS,
        "rows": [(run, run_status(run), run_trouble(run)) for run in found[:_SHOWN]],
        "chips": chosen(asked),
        "list": asked.url(address("/", chosen(asked))),
        "reason": asked.form.get("reason", ""),
        "longest": _LONGEST_REASON,
    }


def _do(asked: Asked, *, act: Act) -> Done:
    found = _found(asked, act)
    agreed = _number(asked.form.get("typed") or asked.form.get("count", ""))
    if not found:
        raise PgflowError("no run is left that this would change")
    if len(found) > TYPED_FROM and "typed" not in asked.form:
        raise PgflowError(f"the filter finds {len(found):,} runs by now: write their number")
    if agreed is None or len(found) > agreed:
        raise PgflowError(f"the filter finds {len(found):,} runs: agree to this number")
    reason = clean(asked.form.get("reason", "")).strip()
    if len(reason) > _LONGEST_REASON:
        raise PgflowError(f"the reason has more than {_LONGEST_REASON:,} characters")
    runs = [run.id for run in found]
    job = asked.jobs.start(act, runs, _change(act, reason, asked.user.name), by=asked.user.name)
    return Done(to=f"/bulk/{job.id}", said=f"{act} of {plural(len(runs), 'run')} has begun")


def _change(act: Act, reason: str, by: str) -> Callable[[Client, str], object]:
    if act == "cancel":
        return lambda client, run: client.cancel(run, reason or None, by=by)
    return lambda client, run: client.retry(run, by=by)


def _number(text: str) -> int | None:
    text = text.strip().replace(",", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else None


CANCEL, RETRY = (
    Action(
        path=f"/bulk/{act}",
        name=f"bulk_{act}",
        ask=partial(_ask, act=act),
        do=partial(_do, act=act),
    )
    for act in _STATUSES
)
