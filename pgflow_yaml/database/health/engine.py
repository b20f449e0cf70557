"""Checks of what the engine stores: its release, its invariants, what nobody works on."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database import migrate
from pgflow_yaml.database.health import release
from pgflow_yaml.database.health.findings import Finding, Seen
from pgflow_yaml.errors import SchemaMismatch, Unavailable
from pgflow_yaml.language.handler_paths import GUARDED
from pgflow_yaml.language.resources import key_of, of_key, phrase
from pgflow_yaml.text import one_line, plural, roughly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.database.health.inspector import Inspector

TIMERS = "pgflow__timers"
_AWAY = """select jsonb_agg(w) as rows from jsonb_array_elements(pgflow.list_workers()) w
where w ->> 'status' = 'alive' and w -> 'engine_away' = 'true'"""
_MIGRATE = "pgflow-yaml migrate"
_SHOWN = 5
_SERVER = """select current_setting('server_version') as server,
  (select extversion from pg_extension where extname = 'pgmq') as pgmq"""
_FUNCTIONS = """select p.proname as name, p.prosrc as body, p.oid::regprocedure::text as signature
from pg_proc p where p.pronamespace = to_regnamespace('pgflow') order by 1, 3"""
_MAY_READ_PATTERN = """select coalesce(has_function_privilege(
  to_regprocedure('pgflow._queue_functions(text)'), 'execute'), false) as yes"""
_OF_QUEUES = ("_q_take_", "_q_send_", "_q_drop_")
_QUEUE_FUNCTIONS = """select f.name, f.body
from pg_proc p, pgflow._queue_functions(substr(p.proname, length('_q_take_') + 1)) f
where p.pronamespace = to_regnamespace('pgflow') and starts_with(p.proname, '_q_take_')"""
"""The functions that each queue has of its own: the release has their text as a pattern."""


def versions(ask: Inspector) -> Seen:
    """Compare the server, pgmq and the tables with this release."""
    facts = ask.row(_SERVER)
    pgmq = f"pgmq {facts['pgmq']}" if facts["pgmq"] else "pgmq (installed by SQL)"
    server = f"PostgreSQL {facts['server'].split()[0]}, {pgmq}"
    try:
        installed, files = migrate.status_on(ask.connection)
    except (SchemaMismatch, Unavailable) as error:
        return Seen(summary=server, findings=(Finding(message=error.message),), usable=False)
    waiting = [file.name for file in files if file.state != "applied"]
    if not installed:
        message = "the database does not have the tables of pgflow-yaml"
    elif waiting:
        count = plural(len(waiting), "file") if waiting[1:] else waiting[0]
        message = f"the tables and functions are not those of this release: {count} to apply"
    else:
        return Seen(summary=f"{server}, schema current")
    finding = Finding(message=message, fix=_MIGRATE, repair="migrate")
    return Seen(summary=server, findings=(finding,), usable=installed)


def functions(ask: Inspector) -> Seen:
    """Compare the text of each function with the release (S-23)."""
    expected = dict(release.functions())
    rows = ask.rows(_FUNCTIONS)
    if ask.row(_MAY_READ_PATTERN)["yes"]:
        for row in ask.rows(_QUEUE_FUNCTIONS):
            expected[row["name"]] = frozenset({release.digest(row["body"])})
    else:
        rows = [row for row in rows if not row["name"].startswith(_OF_QUEUES)]
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["name"], set()).add(release.digest(row["body"]))
    edited = {
        row["signature"]: row["name"]
        for row in rows
        if release.digest(row["body"]) not in expected.get(row["name"], found[row["name"]])
    }
    missing = [
        f"pgflow.{name}"
        for name in sorted(expected.keys() - set(edited.values()))
        if expected[name] - found.get(name, set())
    ]
    unknown = [row["signature"] for row in rows if row["name"] not in expected]
    findings = [
        Finding(
            message=f"{_some(names, 'function')} {what} release {version('pgflow-yaml')}",
            fix=f"{_MIGRATE} --again",
            repair="restore",
        )
        for names, what in (
            (list(edited), "edited: the text is not that of"),
            (missing, "missing of"),
        )
        if names
    ]
    if unknown:
        findings.append(
            Finding(
                severity="warning",
                message=f"{_some(unknown, 'function')} of schema pgflow unknown to this release",
                fix="; ".join(f"drop function {signature}" for signature in unknown[:_SHOWN]),
            )
        )
    return Seen(summary=f"{plural(len(rows), 'function')} as released", findings=tuple(findings))


def invariants(ask: Inspector) -> Seen:
    """Look for rows that do not fit together, in live runs and the newest that have ended."""
    seconds = max(ask.limits.check - 2, 0.1)
    seen = ask.row("select pgflow.check_invariants(%s) as facts", [seconds])["facts"]
    count: int = seen["count"]
    runs = plural(seen["runs"], "run")
    part = "" if seen["whole"] else ", not all live ones: the time was up"
    if not count:
        return Seen(summary=f"no violations in {runs}{part}")
    listed = [
        Finding(message=_violation(row), fix="pgflow-yaml doctor --fix", repair="sweep")
        for row in seen["violations"][:_SHOWN]
    ]
    if count > _SHOWN:
        rest = f"{plural(count - _SHOWN, 'more violation')} in {runs}{part}"
        listed.append(Finding(message=rest, fix="read them: select * from pgflow.violations()"))
    return Seen(summary=f"{plural(count, 'violation')} in {runs}{part}", findings=tuple(listed))


def _violation(row: Mapping[str, Any]) -> str:
    where = f"run {row['run_id'][:8]}" if row.get("run_id") else ""
    where += f" step {row['step_slug']}" if row.get("step_slug") else ""
    where = where or f'queue "{row.get("queue_name")}" message {row.get("message_id")}'
    return one_line(f"{row['invariant']}: {where}: {row['details']}")


def handlers(ask: Inspector) -> Seen:
    """Look for tasks whose handler no worker has."""
    facts = ask.row("select pgflow.list_missing_handlers() as rows, clock_timestamp() as now")
    findings = []
    for row in facts["rows"]:
        if not row["tasks"]:
            continue
        tasks = plural(row["tasks"], "task") if row["tasks"] < 1000 else "1,000 tasks or more"
        have = "has" if row["tasks"] == 1 else "have"
        flows = ", ".join(row["flows"][:3]) + " and others" * (len(row["flows"]) > 3)
        runs = " ".join(run[:8] for run in row["runs"])
        findings.append(
            Finding(
                message=f"no worker has {_with_needs(row['handler'])}, for which {tasks} of "
                f"{flows} {have} waited for {_age(row['since'], facts['now'])}",
                fix=f"{_starting_one_with(row['handler'])}, or pgflow-yaml cancel {runs}",
            )
        )
    return Seen(summary="every waiting task has a handler", findings=tuple(findings))


def _with_needs(key: str) -> str:
    handler, needs = of_key(key)
    return f'{phrase(needs)} and "{handler}"' if needs else f'"{handler}"'


def _starting_one_with(key: str) -> str:
    handler, needs = of_key(key)
    if needs:
        return f"start a worker that offers it: pgflow-yaml worker --resources {_as_option(needs)}"
    if handler in GUARDED:
        return f"allow it: pgflow-yaml worker --allow {handler}"
    return "start a worker with its module (pgflow-yaml worker --app-dir DIR)"


def _as_option(needs: Mapping[str, float]) -> str:
    return ",".join(key_of("", needs).split())


def queues(ask: Inspector) -> Seen:
    """Look for queues that nobody serves, for old tasks, and for tasks of silent workers."""
    facts = ask.row("select pgflow.list_queues() as rows, clock_timestamp() as now")
    rows, now = facts["rows"], facts["now"]
    findings: list[Finding] = []
    unserved = []
    for row in rows:
        if not row["exists"]:
            message = f'queue "{row["queue"]}" was dropped; what it held is sent again'
            fix = "pgflow-yaml doctor --fix"
            findings.append(Finding(message=message, fix=fix, repair="sweep", severity="warning"))
        if row["queue"] == TIMERS:
            continue
        if row["paused_at"] is not None:
            findings.append(_paused(row))
            continue
        waited = _seconds(row["oldest_at"], now) if row["oldest_at"] else 0.0
        if not row["workers"]:
            unserved += [row] if waited > ask.limits.unserved else []
        elif waited > ask.limits.oldest_task:
            findings.append(_old(row, now))
        if row["holder"] and not row["holder"]["alive"]:
            findings.append(_silent(row, now))
    findings = _nobody(unserved, rows, now) + findings + _engines_away(ask)
    tasks = [row for row in rows if row["queue"] != TIMERS]
    visible, leased = (sum(row[name] for row in tasks) for name in ("visible", "leased"))
    held = max(
        (row["holder"] for row in rows if row["holder"]),
        key=lambda held: _seconds(held["since"], now),
        default=None,
    )
    longest = (
        "" if held is None else f", the longest for {_age(held['since'], now)} ({_task(held)})"
    )
    summary = f"{plural(visible, 'task')} visible, {leased:,} leased{longest}"
    return Seen(summary=summary, findings=tuple(findings))


def _engines_away(ask: Inspector) -> list[Finding]:
    rows = ask.row(_AWAY)["rows"] or []
    return [
        Finding(
            severity="warning",
            message=f"the worker {row['pid']} on {row['host']} waits for {row['engine']} and "
            "claims nothing",
            fix="start the engine again; the worker connects to it by itself",
        )
        for row in rows
    ]


def _paused(row: Mapping[str, Any]) -> Finding:
    return Finding(
        severity="warning",
        message=f'queue "{row["queue"]}" is paused by {one_line(row["paused_by"])}',
        fix=f"pgflow-yaml resume --queue {row['queue']}",
    )


def _nobody(
    unserved: list[dict[str, Any]], rows: list[dict[str, Any]], now: datetime
) -> list[Finding]:
    """Return a finding for each queue that nobody serves; one for all if no worker is alive."""
    if unserved and not any(row["workers"] for row in rows):
        message = f"no worker is alive; {_waiting(unserved, now)}"
        return [Finding(message=message, fix="pgflow-yaml worker")]
    return [
        Finding(
            message=f'no worker serves queue "{row["queue"]}"; ' + _waiting([row], now),
            fix=f"pgflow-yaml worker --queue {row['queue']}",
        )
        for row in unserved
    ]


def _waiting(rows: list[dict[str, Any]], now: datetime) -> str:
    count = sum(row["visible"] for row in rows)
    age = _age(min(row["oldest_at"] for row in rows), now)
    if count == 1:
        return f"1 task has waited for {age}"
    more = " or more" if any(row["limited"] for row in rows) else ""
    return f"{count:,} tasks{more} wait, the oldest for {age}"


def _old(row: Mapping[str, Any], now: datetime) -> Finding:
    served = f"{plural(row['workers'], 'worker')} serve{'s' * (row['workers'] == 1)}"
    return Finding(
        severity="warning",
        message=f'the oldest task of queue "{row["queue"]}" has waited for '
        f"{_age(row['oldest_at'], now)}, although {served} it",
        fix="more slots or workers (pgflow-yaml workers shows which are busy)",
    )


def _silent(row: Mapping[str, Any], now: datetime) -> Finding:
    held = row["holder"]
    heard = (
        "" if held["heard_at"] is None else f", last heard from {_age(held['heard_at'], now)} ago"
    )
    left = max(-_seconds(held["lease"], now), 0)
    worker = f"{held['host']}/{held['pid']}" if held["host"] else "of a worker that is not known"
    return Finding(
        severity="warning",
        message=f"{_task(held)} is held by worker {worker}{heard}; its lease ends in "
        f"{roughly(left)}, then another takes over",
        fix="look after that worker, or wait",
    )


def _task(held: Mapping[str, Any]) -> str:
    index = f"[{held['index']}]" if held["index"] else ""
    return f"{held['step']}{index} of run {held['run_id'][:8]}"


def timers(ask: Inspector) -> Seen:
    """Look for a timer that is due and that nobody has ended."""
    facts = ask.row("select pgflow.list_queues() as rows, clock_timestamp() as now")
    (row,) = (row for row in facts["rows"] if row["queue"] == TIMERS)
    late = _seconds(row["oldest_at"], facts["now"]) if row["oldest_at"] else 0.0
    if late <= ask.limits.timer:
        return Seen(summary=f"{plural(row['parked'], 'timer')} to come, none is late")
    count = plural(row["visible"], "timer")
    alive = row["workers"]
    who = "although a worker is alive" if alive else "for no worker is alive"
    message = f"{count} late, the first by {roughly(late)}, {who}"
    fix = "the logs of the workers say why a timer failed" if alive else "pgflow-yaml worker"
    return Seen(summary=message, findings=(Finding(message=message, fix=fix),))


def _some(names: list[str], noun: str) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{plural(len(names), noun)} ({', '.join(names[:_SHOWN])}{more})"


def _seconds(stamp: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(stamp)).total_seconds()


def _age(stamp: str, now: datetime) -> str:
    return roughly(_seconds(stamp, now))
