"""Checks of the server that the engine relies on: transactions, vacuum, size, settings, clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.health.findings import Finding, Seen
from pgflow_yaml.database.store.transaction_statements import NAME
from pgflow_yaml.text import plural, roughly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.database.health.inspector import Inspector

# What keeps vacuum from removing dead rows of this database, oldest first.
_HOLDERS = """
select 'session' as kind, a.pid::text as id, a.usename as who, a.application_name as app,
  a.state, extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds
from pg_stat_activity a
where a.datname = current_database() and a.pid <> pg_backend_pid() and a.xact_start is not null
  and (a.backend_xmin is not null or a.backend_xid is not null) and a.backend_type <> 'walsender'
union all
select 'prepared', p.gid, p.owner, '', '',
  extract(epoch from clock_timestamp() - p.prepared)::float8
from pg_prepared_xacts p where p.database = current_database()
union all
select 'slot', s.slot_name, '', coalesce(s.plugin, s.slot_type), age(s.xmin)::text, null
from pg_replication_slots s where s.xmin is not null and not s.active
order by seconds desc nulls first limit 10"""
_HANDLERS = """
select count(*) as open from pg_stat_activity a
where a.datname = current_database() and a.xact_start is not null
  and starts_with(a.application_name, %s)"""
_SEES_ALL = """select pg_has_role(current_user, 'pg_read_all_stats', 'usage')
  or rolsuper as sees_all, current_user as login from pg_roles where rolname = current_user"""
_TABLES = """
select c.oid::regclass::text as name, pg_stat_get_live_tuples(c.oid) as live,
  pg_stat_get_dead_tuples(c.oid) as dead, age(c.relfrozenxid) as age,
  greatest(pg_stat_get_last_vacuum_time(c.oid),
    pg_stat_get_last_autovacuum_time(c.oid)) as vacuumed,
  clock_timestamp() as now, c.reloptions::text ~* 'autovacuum_enabled=(false|off|0)' as is_off,
  current_setting('autovacuum_freeze_max_age')::int as freeze_age
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('pgflow', 'pgmq') and c.relkind = 'r' order by 3 desc, 1"""
_SIZES = """
select c.oid::regclass::text as name, pg_total_relation_size(c.oid) as bytes
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('pgflow', 'pgmq') and c.relkind = 'r' order by 2 desc, 1"""
_SETTINGS = """select name, setting from pg_settings where name in ('fsync', 'full_page_writes',
  'synchronous_commit', 'autovacuum', 'track_counts', 'max_connections',
  'superuser_reserved_connections')"""
_CONNECTIONS_A_WORKER = 5
_MOST_TRANSACTIONS = 2_000_000_000  # before the server stops accepting writes
_OFF: Mapping[str, tuple[str, bool]] = {
    "fsync": ("a crash of the machine may destroy the database", True),
    "full_page_writes": ("a crash of the machine may destroy the database", True),
    "autovacuum": ("dead rows stay, and queues become slower and slower", False),
    "track_counts": ("autovacuum does not know what to do", False),
}


def transactions(ask: Inspector) -> Seen:
    """Look for what holds back vacuum: old transactions, prepared ones, idle replication slots."""
    rows = ask.rows(_HOLDERS)
    rights = ask.row(_SEES_ALL)
    findings = []
    for row in rows:
        if row["kind"] == "slot":
            message = (
                f'replication slot "{row["id"]}" is not in use and holds back vacuum '
                f"({int(row['state']):,} transactions)"
            )
            fix = f"select pg_drop_replication_slot('{row['id']}')"
            findings.append(Finding(severity="warning", message=message, fix=fix))
        elif row["seconds"] > ask.limits.transaction:
            is_long = row["seconds"] > ask.limits.long_transaction
            findings.append(_transaction(row, is_long=is_long))
    oldest = max((row["seconds"] for row in rows if row["seconds"]), default=None)
    summary = "no open transaction" if oldest is None else f"the oldest is {roughly(oldest)} old"
    if of_handlers := ask.row(_HANDLERS, [NAME])["open"]:
        summary += f", {plural(of_handlers, 'transaction')} of handlers (tx)"
    if not rights["sees_all"]:
        summary += f' (of "{rights["login"]}" only: grant pg_read_all_stats to see all)'
    return Seen(summary=summary, findings=tuple(findings))


def _transaction(row: Mapping[str, Any], *, is_long: bool) -> Finding:
    whose = f'of "{row["who"]}"' + (f" ({row['app']})" if row["app"] else "")
    if row["kind"] == "prepared":
        what, fix = f'the prepared transaction "{row["id"]}"', f"rollback prepared '{row['id']}'"
    else:
        state = f", {row['state']}" if row["state"] not in {"active", None, ""} else ""
        what = f"the transaction of process {row['id']}{state}"
        fix = f"select pg_terminate_backend({row['id']})"
    return Finding(
        severity="problem" if is_long else "warning",
        message=f"{what} {whose} is {roughly(row['seconds'])} old and holds back vacuum",
        fix=fix,
    )


def vacuum(ask: Inspector) -> Seen:
    """Look for tables full of dead rows, and for those that are long overdue for vacuum."""
    findings = []
    rows = ask.rows(_TABLES)
    for row in rows:
        share = row["dead"] / max(row["dead"] + row["live"], 1)
        if row["dead"] > ask.limits.dead_rows and share > ask.limits.dead_share:
            last = (
                "never vacuumed"
                if row["vacuumed"] is None
                else f"vacuumed {roughly((row['now'] - row['vacuumed']).total_seconds())} ago"
            )
            message = f"{row['name']} has {row['dead']:,} dead rows ({share:.0%}), {last}"
            fix = f"vacuum {row['name']}"
            findings.append(Finding(severity="warning", message=message, fix=fix))
        if row["is_off"]:
            message = f"autovacuum is turned off for {row['name']}"
            fix = f"alter table {row['name']} reset (autovacuum_enabled)"
            findings.append(Finding(severity="warning", message=message, fix=fix))
    findings += _frozen(max(rows, key=lambda row: row["age"], default=None))
    dead = sum(row["dead"] for row in rows)
    return Seen(summary=f"{plural(dead, 'dead row')} in all tables", findings=tuple(findings))


def _frozen(row: Mapping[str, Any] | None) -> list[Finding]:
    """Return a finding if the oldest table is far beyond the age at which it should be frozen."""
    if row is None or row["age"] < 1.5 * row["freeze_age"]:
        return []
    return [
        Finding(
            severity="problem" if row["age"] > _MOST_TRANSACTIONS / 2 else "warning",
            message=f"{row['name']} was not frozen for {row['age']:,} transactions; at "
            f"{_MOST_TRANSACTIONS:,} the server accepts no more writes",
            fix=f"vacuum freeze {row['name']}",
        )
    ]


def size(ask: Inspector) -> Seen:
    """Measure the tables, and the age of what they keep."""
    rows = ask.rows(_SIZES)
    facts = ask.row("select pgflow.history() as facts, clock_timestamp() as now")
    history = facts["facts"]
    total = sum(row["bytes"] for row in rows)
    largest = f", most of it {rows[0]['name']}" if rows and rows[0]["bytes"] > total / 2 else ""
    growth = total / max(history["runs"], 1) * history["runs_a_day"]
    summary = f"{_bytes(total)}{largest}"
    if history["runs"] >= 100:
        summary += f", about {_bytes(growth)} more a day"
    if history["oldest_ended_at"] is None:
        return Seen(summary=f"{summary}, no run has ended")
    from datetime import datetime

    age = (facts["now"] - datetime.fromisoformat(history["oldest_ended_at"])).total_seconds()
    kept = f"the oldest run ended {roughly(age)} ago"
    if total <= ask.limits.size or age <= ask.limits.history:
        return Seen(summary=f"{summary}; {kept}")
    finding = Finding(
        severity="warning",
        message=f"the tables take {_bytes(total)}{largest}; {kept}",
        fix="pgflow-yaml prune --older-than 30d",
    )
    return Seen(summary=summary, findings=(finding,))


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5 or unit == "GB":
            return (
                f"{number:,.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
            )
        number /= 1000
    raise AssertionError(number)


def settings(ask: Inspector) -> Seen:
    """Look at settings that the promises of the engine rest on."""
    found = {row["name"]: row["setting"] for row in ask.rows(_SETTINGS)}
    findings = [
        Finding(
            severity="problem" if is_problem else "warning",
            message=f"{name} is off: {harm}",
            fix=f"alter system set {name} = on; select pg_reload_conf()",
        )
        for name, (harm, is_problem) in _OFF.items()
        if found[name] == "off"
    ]
    if found["synchronous_commit"] == "off":
        findings.append(
            Finding(
                severity="warning",
                message="synchronous_commit is off: a crash of the server may forget runs that "
                "were accepted in the second before",
                fix="alter system set synchronous_commit = on; select pg_reload_conf()",
            )
        )
    workers = ask.row(
        "select count(*) as alive from jsonb_array_elements(pgflow.list_workers()) w"
        " where w ->> 'status' = 'alive'"
    )["alive"]
    most = int(found["max_connections"]) - int(found["superuser_reserved_connections"])
    needed = workers * _CONNECTIONS_A_WORKER
    if needed > most:
        findings.append(
            Finding(
                severity="warning",
                message=f"{plural(workers, 'worker')} may need {needed} connections, the server "
                f"allows {most}",
                fix=f"max_connections = {needed + needed // 2} in postgresql.conf, or pgbouncer",
            )
        )
    summary = f"durable, {most} connections for {plural(workers, 'worker')}"
    return Seen(summary=summary, findings=tuple(findings))


def clocks(ask: Inspector) -> Seen:
    """Compare the clock of the server with that of this machine."""
    before = ask.now()
    server = ask.row("select extract(epoch from clock_timestamp())::float8 as now")["now"]
    after = ask.now()
    apart = max(before - server, server - after, 0.0)
    if apart <= ask.limits.clock:
        return Seen(summary="the server and this machine agree")
    which = "ahead of" if server > after else "behind"
    message = f"the clock of the server is {roughly(apart)} {which} that of this machine"
    fix = "synchronize both (chrony, systemd-timesyncd)"
    finding = Finding(severity="warning", message=message, fix=fix)
    return Seen(summary=message, findings=(finding,))
