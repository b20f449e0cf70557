"""Why a run stands still: what each unfinished step of a run waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.text import moment, one_line, plural, roughly

from .snapshot import ENDED
from .steps import is_wide, tasks_words
from .waits import ASKED, answer, call_words, child_words, wait_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .snapshot import Snapshot, StepShape


def reasons(snapshot: Snapshot, workers: Mapping[str, int]) -> dict[str, str]:
    """Give one sentence for each step of a run that goes on and has not ended.

    `workers` counts, for each queue, those that serve it.
    """
    if snapshot["run"]["status"] != "started":
        return {}
    return {
        step["slug"]: _reason(step, snapshot, workers)
        for step in snapshot["steps"]
        if step["status"] not in ENDED
    }


def _reason(step: StepShape, snapshot: Snapshot, workers: Mapping[str, int]) -> str:
    match step["status"]:
        case "created":
            return _to_come(step, snapshot)
        case "waiting":
            return _waiting(step, snapshot)
        case _:
            return _started(step, snapshot, workers)


def _to_come(step: StepShape, snapshot: Snapshot) -> str:
    steps = {each["slug"]: each for each in snapshot["steps"]}
    named = [
        f"{one_line(slug)} ({steps[slug]['status']}){ASKED[step['edges'].get(slug, 'success')]}"
        for slug in step["waiting_for"]
        if slug in steps
    ]
    if named:
        return f"waits for {', '.join(named)}"
    before = [
        each for each in snapshot["steps"] if not each["finally"] and each["status"] not in ENDED
    ]
    if step["finally"] and before:
        return f"runs last: waits for {plural(len(before), 'step')} to end"
    return "starts with the next turn of a worker"


def _waiting(step: StepShape, snapshot: Snapshot) -> str:
    waits, now = step["waits"], moment(snapshot["now"])
    if waits is None:
        return "waits"
    if waits["kind"] == "event":
        event = waits["event"] or ""
        return f"{wait_words(waits, now)}: {answer(snapshot['run']['id'], step['slug'], event)}"
    if waits["kind"] == "timer" or step["child"] is None:
        return wait_words(waits, now)
    words = [f"waits for {child_words(step['child'], of_many=is_wide(step))}"]
    if is_wide(step):
        words.append(tasks_words(step))
    words += [
        f'{one_line(each["step"])} waits for event "{one_line(each["event"])}": '
        + answer(each["run_id"], each["step"], each["event"])
        for each in step["awaited"]
    ]
    if not step["awaited"]:
        words.append(f"more: pgflow-yaml show --why {step['child']['id'][:8]}")
    return "; ".join(words)


def _started(step: StepShape, snapshot: Snapshot, workers: Mapping[str, int]) -> str:
    now = moment(snapshot["now"])
    since = roughly((now - moment(step["started_at"] or snapshot["now"])).total_seconds())
    tasks = step["tasks"]
    if tasks["started"]:
        told = "is told to stop, " if snapshot["run"]["outcome"] and not step["finally"] else ""
        words = tasks_words(step) if is_wide(step) else f"attempt {step['attempts']}"
        bound = step["max_parallel"]
        if bound and tasks["queued"] and tasks["started"] >= bound:
            words += f"; no more than {bound:,} run at once (max_parallel)"
        return f"{told}runs since {since}: {words}"
    if step["retry_at"] and moment(step["retry_at"]) > now:
        wait = roughly((moment(step["retry_at"]) - now).total_seconds())
        return f"waits {wait} for {_what_comes(step)}"
    return f"queued since {since}: {_nobody(step, snapshot, workers)}"


def _what_comes(step: StepShape) -> str:
    if step["iteration"]:
        return call_words(step)
    if step["attempts"]:
        return f"attempt {step['attempts'] + 1} of {step['max_attempts']}"
    return "its start delay"


def _nobody(step: StepShape, snapshot: Snapshot, workers: Mapping[str, int]) -> str:
    """Say why no worker has taken a step that could run."""
    queue, handler = step["queue"], one_line(step["handler"] or "")
    if queue is None:
        return "the next turn of any worker starts its run"
    serving = workers.get(queue, 0)
    if not serving:
        return f'no worker serves the queue "{queue}": pgflow-yaml worker --queue {queue}'
    if step["refused_at"]:
        ago = roughly((moment(snapshot["now"]) - moment(step["refused_at"])).total_seconds())
        return f"no worker has the handler {handler} (missed since {ago})"
    verb = "serves" if serving == 1 else "serve"
    return f"{plural(serving, 'worker')} {verb} its queue, none has had room (handler {handler})"
