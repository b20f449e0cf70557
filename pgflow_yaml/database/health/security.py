"""Checks of `doctor --security`: grants, the owner of functions, passwords that others can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.database.health import release
from pgflow_yaml.database.health.findings import Finding, Seen
from pgflow_yaml.text import mask_passwords, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.database.health.inspector import Inspector

ROLES = ("pgflow_deployer", "pgflow_worker", "pgflow_client", "pgflow_reader")
_MIGRATE_ROLES = "pgflow-yaml migrate --roles"
_SHOWN = 5
# Who may do what beside the owner. Null rights are the defaults, by which everybody may call a
# function.
_GRANTS = """
select k.kind, k.schema::regnamespace::text as schema, k.name, k.thing, lower(k.verb) as verb,
  coalesce(pg_get_userbyid(nullif(k.grantee, 0)), 'public') as role
from (
  select 'function' as kind, p.pronamespace as schema, p.proname::text as name,
    p.oid::regprocedure::text as thing,
    a.privilege_type as verb, a.grantee, p.proowner as owner
  from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
  where p.pronamespace in (to_regnamespace('pgflow'), to_regnamespace('pgmq'))
  union all
  select case c.relkind when 'S' then 'sequence' else 'table' end, c.relnamespace, c.relname,
    c.oid::regclass::text, a.privilege_type, a.grantee, c.relowner
  from pg_class c, aclexplode(c.relacl) a
  where c.relnamespace in (to_regnamespace('pgflow'), to_regnamespace('pgmq'))
    and c.relkind in ('r', 'p', 'v', 'm', 'S')
  union all
  select 'schema', n.oid, n.nspname, n.nspname, a.privilege_type, a.grantee, n.nspowner
  from pg_namespace n, aclexplode(n.nspacl) a where n.nspname in ('pgflow', 'pgmq')) k
where k.grantee <> k.owner order by 5, 1, 3"""
_OWNERS = """
select n.nspname as schema, pg_get_userbyid(n.nspowner) as owner, r.rolsuper as is_super,
  r.rolcanlogin as logs_in, array(
    select p.oid::regprocedure::text from pg_proc p
    where p.pronamespace = n.oid and p.prosecdef and (p.proowner <> n.nspowner
      or not 'search_path=pg_catalog, pg_temp' = any(coalesce(p.proconfig, '{}')))
    order by 1) as loose
from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'pgflow'"""
_HAS_ROLES = "select count(*) = 4 as made from pg_roles where rolname = any(%s)"
_WORKERS = """
select distinct w ->> 'login' as login from jsonb_array_elements(pgflow.list_workers()) w
join pg_roles r on r.rolname = w ->> 'login'
join pg_namespace n on n.nspname = 'pgflow'
where r.rolsuper or pg_has_role(r.oid, n.nspowner, 'member') order by 1"""


def grants(ask: Inspector) -> Seen:
    """Compare who may do what with the grants of this release (S-6)."""
    expected = release.grants()
    made = ask.row(_HAS_ROLES, [list(ROLES)])["made"]
    rows = ask.rows(_GRANTS)
    granted = {(row["role"], row["name"]) for row in rows if row["kind"] == "function"}
    too_much: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        role, name = row["role"], row["name"]
        as_released = row["schema"] == "pgmq" and role == "pg_monitor"  # by pgmq itself
        as_released |= role in ROLES and (
            (row["kind"] == "function" and role in expected.get(name, ()))
            or (row["thing"], row["verb"]) in {("pgflow", "usage"), ("pgflow.migrations", "select")}
        )
        if not as_released:
            what = "routine" if row["kind"] == "function" else row["kind"]
            too_much.setdefault(role, []).append((f"{row['verb']} {row['thing']}", what))
    findings = [
        Finding(
            severity="problem" if role == "public" or role in ROLES else "warning",
            message=f"{_who(role)} may {_some([right for right, _ in rights])}; this release does "
            "not grant it",
            fix="; ".join(
                f"revoke {right.split()[0]} on {what} {right.partition(' ')[2]} from {role}"
                for right, what in rights[:_SHOWN]
            ),
        )
        for role, rights in too_much.items()
    ]
    if not made:
        message = "the roles were never made: every program logs in as the owner of all tables"
        findings.append(Finding(severity="warning", message=message, fix=_MIGRATE_ROLES))
        return Seen(summary="nothing is granted to anybody", findings=tuple(findings))
    wanted = {(role, name) for name, roles in expected.items() for role in roles}
    if lacking := sorted(wanted - granted):
        listed = _some([f"{role} on {name}()" for role, name in lacking])
        findings.append(Finding(message=f"grants are missing: {listed}", fix=_MIGRATE_ROLES))
    findings += [
        Finding(
            severity="warning",
            message=f'workers log in as "{row["login"]}", which may do everything',
            fix="create role NAME login in role pgflow_worker, and start the workers with it",
        )
        for row in ask.rows(_WORKERS)
    ]
    return Seen(summary="each role may do what this release says", findings=tuple(findings))


def _who(role: str) -> str:
    return "everybody" if role == "public" else f'"{role}"'


def owners(ask: Inspector) -> Seen:
    """Look at whose rights the functions run with, and whether somebody may divert them (S-14)."""
    row = ask.row(_OWNERS)
    findings = []
    if row["loose"]:
        findings.append(
            Finding(
                message="functions run as their owner without a fixed search_path, or do not "
                f"belong to the owner of the schema: {_some(row['loose'])}",
                fix="pgflow-yaml migrate --again",
                repair="restore",
            )
        )
    if row["is_super"] or row["logs_in"]:
        what = "a superuser" if row["is_super"] else "a login"
        findings.append(
            Finding(
                severity="warning",
                message=f'the functions run with the rights of "{row["owner"]}", {what}',
                fix=f"install new databases by {_MIGRATE_ROLES}: their owner is nobody who logs in",
            )
        )
    return Seen(summary=f'all functions run as "{row["owner"]}"', findings=tuple(findings))


def passwords(ask: Inspector) -> Seen:
    """Look for processes of this machine that show a password in the process list (S-12)."""
    del ask
    if not Path("/proc/self/cmdline").exists():
        return Seen(summary="the process list of this system is not read")
    findings = tuple(
        Finding(
            message=f"process {pid} shows a password in the process list",
            fix="start it with DATABASE_URL, PGPASSWORD or ~/.pgpass instead of --dsn",
        )
        for pid in _talkative()
    )
    return Seen(summary="no command line of this machine shows one", findings=findings)


def _talkative() -> Iterator[int]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended, or belongs to somebody who hides it
        ours = any(Path(word).name in {"pgflow-yaml", "pgflow_yaml"} for word in words[:4])
        if ours and any(mask_passwords(word) != word for word in words):
            yield int(file.parent.name)


def _some(names: list[str]) -> str:
    more = f" and {plural(len(names) - _SHOWN, 'other')}" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
