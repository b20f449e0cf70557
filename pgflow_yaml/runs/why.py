"""The reasons why a run has not ended: a sentence for each step that it waits for.

The database finds the reason of a step, of one kind (`Client.why`); the sentence is made here, for
every screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.language.durations import as_text
from pgflow_yaml.language.handler_paths import GUARDED, never
from pgflow_yaml.language.resources import phrase
from pgflow_yaml.text import duration, elapsed, moment, one_line, plural, roughly, utc

from .steps import asked
from .waits import SECONDS_IN_UNITS, answer_command, event_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from .snapshot import AwaitedShape, Snapshot

    Reason = Mapping[str, Any]
    """The `kind` and its facts, as `pgflow.run_why` returns them."""

# What a step that another one waits for does, by the kind of its own reason.
_DOES = {
    "dependency": "waits",
    "finally": "waits",
    "stopping": "stops",
    "timer": "waits",
    "event": "waits",
    "child": "runs",
    "child_told": "runs",
    "start_delay": "waits",
    "back_off": "retries",
    "repeat": "repeats",
    "step_limit": "waits",
    "rate": "waits",
    "max_parallel": "runs",
    "making": "runs",
    "running": "runs",
    "lost_worker": "runs",
    "restarted": "runs",
}
_QUEUED = "queued"
_ENDS_WITH_A_COMMAND = ("child", "event", "paused", "no_worker", "clock")


RUN = "run"
"""The name under which the reason of a run stands that has not begun; no step has it."""


def sentences(reasons: Mapping[str, Reason], now: datetime) -> dict[str, str]:
    """Return a sentence for each step, with the way out where there is one."""
    return {slug: _sentence(reason, reasons, now) for slug, reason in reasons.items()}


def own_reason(snapshot: Snapshot) -> str:
    """Return the sentence of a run that has not begun; empty for others."""
    why = snapshot["run"].get("why")
    return _sentence(why, {}, moment(snapshot["now"])) if why else ""


def _sentence(reason: Reason, others: Mapping[str, Reason], now: datetime) -> str:
    if reason["kind"] == "dependency":
        return _dependency(reason, others)
    if reason["kind"] == "child":
        return _child(reason, now)
    return _SENTENCES[reason["kind"]](reason, now)


def _dependency(reason: Reason, others: Mapping[str, Reason]) -> str:
    names = []
    for slug, edge in reason["waiting_for"].items():
        kind = others[slug]["kind"] if slug in others else None
        does = f" ({_DOES.get(kind, _QUEUED)})" if kind else ""
        names.append(one_line(slug) + does + asked(edge))
    return f"waits for {', '.join(names)}"


def _child(reason: Reason, now: datetime) -> str:
    """Return the sentence of a child run and of the step below it that waits for something."""
    index = f"[{reason['index']}] " if reason["index"] else ""
    stops = " to stop" if reason.get("stops") else ""
    name = f"{one_line(reason['flow'])} {reason['run'][:8]}"
    inner = reason.get("why")
    step = f", step {one_line(reason['step'])}" if inner and reason["step"] != RUN else ""
    rest = f"{step}: {_sentence(inner, {}, now)}" if inner else ""
    ends = inner is not None and inner["kind"] in _ENDS_WITH_A_COMMAND
    more = "" if ends else f"; more: pgflow-yaml show --why {reason['run'][:8]}"
    return f"waits for {index}{name}{stops}{rest}{more}"


def _finally(reason: Reason, _: datetime) -> str:
    if not reason["steps"]:
        return "runs last: waits for child runs to end"
    return f"runs last: waits for {plural(reason['steps'], 'step')} to end"


def _stopping(reason: Reason, now: datetime) -> str:
    worker, tasks = reason["worker"], reason["tasks"]
    who = f"worker {one_line(worker)}" if worker else "its worker"
    what = plural(tasks, "task") if tasks > 1 else "its task"
    until = f"; the lease ends in {_ahead(reason, now)} at the latest" if reason["until"] else ""
    return f"stopping: {who} has not confirmed the end of {what}{until}"


def _timer(reason: Reason, now: datetime) -> str:
    return f"waits until {utc(reason['until'])}, {_ahead(reason, now)}"


def _event(reason: Reason, now: datetime) -> str:
    left = f", {_ahead(reason, now)} left" if reason["until"] else ""
    awaited = {**reason, "run_id": reason["run"]}
    command = answer_command(cast("AwaitedShape", awaited))
    return f"{event_words(reason)}{left}: {command}"


def _back_off(reason: Reason, now: datetime) -> str:
    after = f", after {one_line(reason['error'])}" if reason["error"] else ""
    return f"attempt {reason['attempt']} of {reason['attempts']} in {_ahead(reason, now)}{after}"


def _repeat(reason: Reason, now: datetime) -> str:
    most = f" of {reason['calls']:,}" if reason["calls"] else ""
    return (
        f"called again in {_ahead(reason, now)}, call {reason['call']:,}{most}: "
        "`until` did not hold"
    )


def _making(reason: Reason, _: datetime) -> str:
    return f"{reason['made']:,} of {reason['tasks']:,} items made"


def _running(reason: Reason, now: datetime) -> str:
    since = f"for {_past(reason, now)}"
    if reason["running"] > 1 or reason["queued"]:
        queued = f", {reason['queued']:,} queued" if reason["queued"] else ""
        words = f"{plural(reason['running'], 'task')} running{queued}, the oldest {since}"
    else:
        words = f"running {since}, attempt {reason['attempt']}"
    where = f", on {one_line(reason['worker'])}" if reason["worker"] else ""
    if reason["usual"] is None:
        return words + where
    usual, p95 = duration(reason["usual"]), duration(reason["p95"])
    return f"{words}{where}; usually {usual}" + (f" (95 % within {p95})" if p95 != usual else "")


def _lost_worker(reason: Reason, now: datetime) -> str:
    worker = f" {one_line(reason['worker'])}" if reason["worker"] else ""
    left = moment(reason["until"]) > now
    then = f"another takes over in {_ahead(reason, now)}" if left else "the next one takes over"
    return f"its worker{worker} was last heard from {_past(reason, now)} ago; {then}"


def _restarted(reason: Reason, now: datetime) -> str:
    return (
        f"the database restarted {_past(reason, now)} ago: old leases are left alone for "
        f"{_ahead(reason, now)} more"
    )


def _start_time(reason: Reason, now: datetime) -> str:
    return f"begins at {utc(reason['until'])}, in {_ahead(reason, now)} (`start --at`)"


def _overlap(reason: Reason, _: datetime) -> str:
    before = f'run {reason["run"][:8]} of its schedule "{one_line(reason["schedule"])}"'
    return f"waits for {before} to end"


def _backfill(reason: Reason, _: datetime) -> str:
    before = reason["before"]
    what = (
        f"{plural(before, 'earlier run')} of its backfill" if before else "its turn in its backfill"
    )
    return f"waits for {what} ({reason['at_once']} at a time)"


def _paused(reason: Reason, _: datetime) -> str:
    queue = one_line(reason["queue"])
    return (
        f'queue "{queue}" is paused by {one_line(reason["by"])} since {utc(reason["since"])}: '
        f"pgflow-yaml resume --queue {queue}"
    )


def _no_worker(reason: Reason, _: datetime) -> str:
    queue = one_line(reason["queue"])
    return f'no worker serves queue "{queue}": pgflow-yaml worker --queue {queue}'


def _no_handler(reason: Reason, now: datetime) -> str:
    if problem := never(reason["handler"]):
        return f"no worker ever calls {one_line(reason['handler'])}: {problem}"
    handler = one_line(reason["handler"])
    if needs := reason.get("resources"):
        handler = f"{phrase(needs)} and {handler}"
    fix = f"; start one with --allow {handler}" if handler in GUARDED else ""
    return (
        f"no worker has had {handler} for {_past(reason, now)}; "
        f"the step fails in {_ahead(reason, now)}{fix}"
    )


def _no_room(reason: Reason, now: datetime) -> str:
    workers, slots = reason["workers"], reason["slots"]
    verb = "serves" if workers == 1 else "serve"
    if reason["busy_with"] is None:
        has = "has" if workers == 1 else "have"
        return f"queued: {plural(workers, 'worker')} {verb} its queue and {has} a free slot"
    all_slots = f"all {plural(slots, 'slot')} are" if slots else "all slots are"
    since = roughly(elapsed(reason["busy_since"], now))
    busy = f"{all_slots} busy, longest with {one_line(reason['busy_with'])} ({since})"
    before = f"; {plural(reason['before'], 'task')} before it" if reason["before"] else ""
    return f"{plural(workers, 'worker')} {verb} its queue, {busy}{before}"


def _run_limit(reason: Reason, now: datetime) -> str:
    holders = [
        f"{holder['run'][:8]} ({roughly(elapsed(holder['since'], now))})"
        for holder in reason["held_by"] or ()
    ]
    more = max(0, reason["limit"] - len(holders)) if len(holders) > 2 else 0
    held = f": held by {', '.join(holders)}" if holders else ""
    others = f" and {more:,} more" if more else ""
    return (
        f"place {reason['place']:,} of {reason['of']:,} for a slot of flow "
        f"{one_line(reason['flow'])}{_of_key(reason)} ({reason['limit']:,} at once){held}{others}"
    )


def _step_limit(reason: Reason, _: datetime) -> str:
    return (
        f"place {reason['place']:,} of {reason['of']:,} for a slot of step "
        f"{one_line(reason['step'])}{_of_key(reason)} ({reason['limit']:,} at once)"
    )


def _rate(reason: Reason, now: datetime) -> str:
    start = f"next start in {_ahead(reason, now)}" if reason["until"] else "the next start is near"
    before = f"; {reason['place'] - 1:,} before it" if reason["place"] > 1 else ""
    return f"{start}: {reason['limit']:,} in {as_text(reason['per_ms'])}{_of_key(reason)}{before}"


def _of_key(reason: Reason) -> str:
    return f", key {one_line(reason['key'])}" if reason["key"] else ""


def _ahead(reason: Reason, now: datetime) -> str:
    seconds = max(0.0, (moment(reason["until"]) - now).total_seconds())
    return roughly(seconds) if seconds < SECONDS_IN_UNITS else duration(seconds)


def _past(reason: Reason, now: datetime) -> str:
    return roughly(max(0.0, elapsed(reason["since"], now)))


_SENTENCES: Mapping[str, Callable[[Reason, datetime], str]] = {
    "finally": _finally,
    "stopping": _stopping,
    "timer": _timer,
    "event": _event,
    "child_told": lambda *_: "its child run has ended; the next turn of any worker goes on",
    "start_delay": lambda reason, now: f"starts in {_ahead(reason, now)} (its start delay)",
    "back_off": _back_off,
    "repeat": _repeat,
    "max_parallel": lambda reason, _: f"{reason['running']:,} items running, the maximum",
    "making": _making,
    "running": _running,
    "lost_worker": _lost_worker,
    "restarted": _restarted,
    "start_time": _start_time,
    "overlap": _overlap,
    "backfill": _backfill,
    "paused": _paused,
    "no_worker": _no_worker,
    "no_handler": _no_handler,
    "no_room": _no_room,
    "run_limit": _run_limit,
    "step_limit": _step_limit,
    "rate": _rate,
    "missing_slot": lambda *_: "its slot is gone; the next sweep writes it again, within 30 s",
    "missing": lambda *_: "its message is gone; the next sweep sends it again, within 30 s",
    "clock": lambda reason, now: (
        f"overdue by {_past(reason, now)}, and no worker is alive: pgflow-yaml worker"
    ),
    "ready": lambda *_: "is ready; the next turn of any worker goes on",
}

KINDS = frozenset({"dependency", "child", *_SENTENCES})
"""The kinds of reasons."""
