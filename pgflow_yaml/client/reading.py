"""A run as `show` and `logs` read it, for every screen and program that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import lookup
from pgflow_yaml.errors import NotFound, WrongSetting
from pgflow_yaml.runs.logs import LogFilter
from pgflow_yaml.runs.shown import only, with_reasons
from pgflow_yaml.runs.steps import is_wide

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgflow_yaml.client import Client
    from pgflow_yaml.runs.snapshot import Snapshot, StepShape


def read_run(
    client: Client,
    run_id: str,
    *,
    step: str | None = None,
    item: int | None = None,
    items: bool = False,
    arguments: bool = True,
) -> Snapshot:
    """Return the snapshot of a run with all that `show` shows of it.

    `step` has its arguments, unless these are left out, or with `item` that task of a map. Raises
    NotFound, and WrongSetting for the item of a step that is no map.
    """
    snapshot = lookup.snapshot(client, run_id, items=items, logs=True)
    if step is not None:
        state = lookup.step(snapshot, step)
        snapshot = _with_task(client, snapshot, state, item) if arguments else snapshot
    snapshot["usual_seconds"] = client.usual_seconds(run_id)
    return snapshot


def run_json(
    client: Client,
    run_id: str,
    *,
    step: str | None = None,
    item: int | None = None,
    items: bool = False,
    why: bool = False,
) -> dict[str, Any]:
    """Return the JSON that `show` prints; raises as `read_run` does."""
    snapshot = read_run(client, run_id, step=step, item=item, items=items, arguments=not why)
    if why:
        return with_reasons(snapshot, client.why(run_id), step)
    return dict(only(snapshot, step))


def check_item(step: StepShape, item: int) -> None:
    """Raise WrongSetting for an item of a step that is no map, NotFound for one that cannot be."""
    slug, total = step["slug"], step["tasks"]["total"]
    if not is_wide(step):
        raise WrongSetting(f'step "{slug}" has no items')
    if item >= total and step["status"] != "created":
        last = f"the last one is {total - 1}" if total else "it has none"
        raise NotFound(f'step "{slug}" has no item {item}: {last}')


def check_steps(client: Client, run_id: str, steps: Iterable[str]) -> None:
    """Raise NotFound for the name of a step that a run does not have."""
    if names := list(steps):
        snapshot = lookup.snapshot(client, run_id, outputs=False)
        for name in names:
            lookup.step(snapshot, name)


def no_lines(client: Client, run_id: str, chosen: LogFilter) -> str:
    """Return the sentence about a log in which a filter finds no line."""
    if chosen != LogFilter() and client.run_logs(run_id, LogFilter(), limit=1):
        return "no line matches"
    return f"the handlers of run {run_id[:8]} have not printed or logged anything"


def _with_task(client: Client, snapshot: Snapshot, step: StepShape, item: int | None) -> Snapshot:
    """Return a snapshot whose `step` has its arguments, or one of its items."""
    slug = step["slug"]
    if item is None and (is_wide(step) or step["action"] == "wait"):
        return snapshot
    if item is not None:
        check_item(step, item)
    task = client.task_snapshot(snapshot["run"]["id"], slug, item or 0)
    shown: StepShape = {**step, "item": task} if item is not None else {**step}
    if item is None and task is not None and "arguments" in task:
        shown["arguments"] = task["arguments"]
    elif item is None and task is not None and "arguments_error" in task:
        shown["arguments_error"] = task["arguments_error"]
    every = [shown if state["slug"] == slug else state for state in snapshot["steps"]]
    return {**snapshot, "steps": every}
