"""The reasons why a run has not ended: the wait of each unfinished step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.handler_paths import never
from pgflow_yaml.text import elapsed, moment, one_line, plural, roughly

from . import steps
from .snapshot import ENDED
from .waits import answer_command, awaited_events, child_run, wait

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .snapshot import Snapshot, StepShape


def reasons(snapshot: Snapshot, workers: Mapping[str, int]) -> dict[str, str]:
    """Return a sentence for each step that a run waits for; empty if the run has ended.

    That is each unfinished step, and each ended one with a child run that has not ended.
    `workers` has the number of workers that serve each queue.
    """
    if snapshot["run"]["status"] != "started":
        return {}
    return {
        step["slug"]: _reason(step, snapshot, workers)
        for step in snapshot["steps"]
        if step["status"] not in ENDED or steps.left_child(step)
    }


def _reason(step: StepShape, snapshot: Snapshot, workers: Mapping[str, int]) -> str:
    if child := steps.left_child(step):
        words = " · ".join(child_run(child, of_many=steps.is_wide(step)))
        more = f"more: pgflow-yaml show --why {child['id'][:8]}"
        return f"is {step['status']}; the run waits for {words}; {more}"
    match step["status"]:
        case "created":
            return _created(step, snapshot)
        case "waiting":
            return _waiting(step, snapshot)
        case _:
            return _started(step, snapshot, workers)


def _created(step: StepShape, snapshot: Snapshot) -> str:
    statuses = {other["slug"]: other["status"] for other in snapshot["steps"]}
    if dependencies := steps.waiting_for(step, statuses):
        return dependencies
    others = [other for other in snapshot["steps"] if not other["finally"]]
    if step["finally"] and (before := [s for s in others if s["status"] not in ENDED]):
        return f"runs last: waits for {plural(len(before), 'step')} to end"
    if step["finally"] and any(map(steps.left_child, others)):
        return "runs last: waits for child runs to end"
    return "starts with the next turn of a worker"


def _waiting(step: StepShape, snapshot: Snapshot) -> str:
    waits, child = step["waits"], step["child"]
    if waits is None:
        return "waits"
    events = awaited_events(step, snapshot["run"])
    if waits["kind"] != "child" or child is None:
        words = " · ".join(wait(waits, moment(snapshot["now"])))
        return ": ".join([words, *map(answer_command, events)])
    sentences = [f"waits for {' · '.join(child_run(child, of_many=steps.is_wide(step)))}"]
    if steps.is_wide(step):
        sentences.append(steps.task_counts(step))
    sentences += [
        f'{one_line(event["step"])} waits for event "{one_line(event["event"])}": '
        + answer_command(event)
        for event in events
    ]
    if not events:
        sentences.append(f"more: pgflow-yaml show --why {child['id'][:8]}")
    return "; ".join(sentences)


def _started(step: StepShape, snapshot: Snapshot, workers: Mapping[str, int]) -> str:
    now = moment(snapshot["now"])
    since = roughly(steps.seconds(step, now) or 0)
    match steps.phase(step, now):
        case "running":
            stopping = snapshot["run"]["outcome"] and not step["finally"]
            return f"{'is told to stop, ' if stopping else ''}runs since {since}: {_running(step)}"
        case "delayed":
            return f"waits {roughly(steps.delay(step, now))} for {steps.next_try(step)}"
        case "queued":
            return f"queued since {since}: {_queued(step, now, workers)}"


def _running(step: StepShape) -> str:
    if not steps.is_wide(step):
        return steps.attempt(step, step["attempts"])
    tasks, bound = step["tasks"], step["max_parallel"]
    counts = steps.task_counts(step)
    if bound and tasks["queued"] and tasks["started"] >= bound:
        return f"{counts}; no more than {bound:,} run at once (max_parallel)"
    return counts


def _queued(step: StepShape, now: datetime, workers: Mapping[str, int]) -> str:
    """Return the reason why no worker has taken a step that could run."""
    queue, handler = step["queue"], one_line(step["handler"] or "")
    if queue is None:
        return "the next turn of any worker starts its run"
    serving = workers.get(queue, 0)
    if not serving:
        return f'no worker serves the queue "{queue}": pgflow-yaml worker --queue {queue}'
    if reason := never(step["handler"] or ""):
        return f"no worker ever calls the handler {handler}: {reason}"
    if step["refused_at"]:
        missed = roughly(elapsed(step["refused_at"], now))
        return f"no worker has the handler {handler} (missed since {missed})"
    verb = "serves" if serving == 1 else "serve"
    return f"{plural(serving, 'worker')} {verb} its queue, none has had room (handler {handler})"
