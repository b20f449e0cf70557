"""Words about the rows of lists: of runs, flows, versions, queues and schedules, as JSON.

`when` formats a time; by default it is written out, in UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.text import duration, moment, plural, roughly, utc

from .run import run_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_COUNTED = 10_000
"""The largest count of a queue."""


def run_status(run: Mapping[str, Any]) -> str:
    """Return the status of a run, `stopping` if it goes on although its outcome is known."""
    if run["pruned_at"]:
        return f"{run['status']}, being pruned"
    if run["gate"]:
        return "waiting"
    return "stopping" if run["status"] == "started" and run["outcome"] else str(run["status"])


def run_trouble(run: Mapping[str, Any]) -> str:
    """Return the error of a run, or how many failures its steps have handled."""
    if run["status"] == "completed" and (handled := run["steps"]["failed"]):
        return f"{plural(handled, 'failure')} handled"
    return run_error(run["outcome"] or run["status"], run["error"])


def run_took(run: Mapping[str, Any]) -> str:
    """Return the duration of a run that has ended."""
    if not run["ended_at"]:
        return ""
    return duration((moment(run["ended_at"]) - moment(run["started_at"])).total_seconds())


def run_counts(runs: Mapping[str, int]) -> str:
    """Format the number of runs by status, without zeros: `2 running, 1 failed`.

    Ended runs are counted among the last 10,000, so that there may be more: `9,998+ completed`.
    """
    ended = ("completed", "failed", "cancelled")
    parts = [f"{runs['started']:,} running"] if runs["started"] else []
    parts += [f"{runs[status]:,}{'+' * runs['more']} {status}" for status in ended if runs[status]]
    return ", ".join(parts) or "none"


def commit(git: Mapping[str, Any] | None) -> str:
    """Format the commit of a version and its branch: `1f0c2a9b+ main`."""
    if not git:
        return ""
    # Outside of any branch, git returns HEAD as the branch.
    branch = git.get("branch") or ""
    words = f"{git['commit'][:8]}{'+' * bool(git.get('dirty'))} {branch}"
    return words.removesuffix(" HEAD").rstrip()


def queue_note(queue: Mapping[str, Any]) -> str:
    """Return what is unusual about a queue."""
    if not queue["exists"]:
        return "was dropped"
    return f"paused by {queue['paused_by']}" if queue["paused_at"] else ""


def queue_count(queue: Mapping[str, Any], name: str) -> str:
    """Format a number of a queue; one at which counting ended has a plus sign."""
    is_limited = queue["limited"] and queue[name] == MOST_COUNTED
    return f"{queue[name]:,}{'+' * is_limited}"


def worker_busy(worker: Mapping[str, Any]) -> str:
    """Format the number of tasks that a worker holds, of its slots if they are known: `3/8`."""
    slots = worker["slots"]
    return str(worker["busy"]) if slots is None else f"{worker['busy']}/{slots}"


def worker_status(worker: Mapping[str, Any]) -> str:
    """Format the status of a worker; one whose engine is away waits for that."""
    if worker["status"] == "alive" and worker["engine_away"]:
        return f"waits for {worker['engine']}"
    return str(worker["status"])


def worker_queues(worker: Mapping[str, Any]) -> str:
    """Format the queues that a worker serves."""
    return "all" if worker["queues"] is None else ", ".join(worker["queues"])


def next_tick(schedule: Mapping[str, Any], when: Callable[[str], str] = utc) -> str:
    """Return the next tick of a schedule, or why it has none."""
    if schedule["paused_at"]:
        return "paused"
    if schedule["next_at"] is None:
        return "not computed yet"
    return when(schedule["next_at"])


def schedule_note(schedule: Mapping[str, Any], when: Callable[[str], str] = utc) -> str:
    """Return what somebody should know about a schedule, the most important first."""
    notes = []
    if schedule["paused_at"]:
        notes.append(f"paused by {schedule['paused_by']} {when(schedule['paused_at'])}")
    elif schedule["late_seconds"] is not None or (
        schedule["next_at"] is None and not schedule["served"]
    ):
        late = schedule["late_seconds"]
        words = f"late by {roughly(late)}" if late is not None else "waits for a worker"
        dead = f"{words}, no worker is alive: pgflow-yaml worker"
        notes.append(words if schedule["served"] else dead)
    if schedule["problem"]:
        notes.append(f"the last tick failed: {schedule['problem']['message']}")
    return "; ".join(notes)
