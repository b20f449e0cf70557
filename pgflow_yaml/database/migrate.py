"""Install and update the schema: numbered files once, function files whenever their text changed.

The files are in `migrations/`: numbered ones at the top, functions and grants in folders, read in
the order of `_FOLDERS`. Roles are made on demand; a database that has their grants keeps them up to
date.

All of it happens in one transaction under one advisory lock: eight processes may migrate at once,
and a killed one leaves nothing behind. There is no downgrade: restore a backup.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from shlex import quote
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege

from pgflow_yaml.database.embedded.settings import EMBEDDED_NAME
from pgflow_yaml.database.store.attempts import Attempts
from pgflow_yaml.database.store.dial import open_patiently
from pgflow_yaml.database.store.errors import message_of
from pgflow_yaml.errors import PgflowError, SchemaMismatch, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LIMITS = """set local statement_timeout = '10min'; set local lock_timeout = '2min';
set local search_path = pg_catalog, pg_temp;
select set_config('role', pg_get_userbyid(nspowner), true) from pg_namespace
where nspname = 'pgflow' and pg_has_role(nspowner, 'member')"""
_LOCK = "select pg_catalog.pg_advisory_xact_lock(8098995513046034281)"
_BOOTSTRAP = """create schema if not exists pgflow;
create table if not exists pgflow.migrations (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default pg_catalog.now(),
  release text not null
);"""
_RECORD = """insert into pgflow.migrations (name, sha256, release) values ('{}', '{}', '{}')
on conflict (name) do update set sha256 = excluded.sha256, release = excluded.release,
  applied_at = pg_catalog.now();
"""
_FACTS = """select current_user, current_database(), current_setting('server_version'),
  current_setting('server_version_num')::int,
  pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool,
  has_database_privilege(current_database(), 'create'),
  array(select nspname || '.' || relname from pg_class join pg_namespace n on n.oid = relnamespace
    where nspname in ('pgflow', 'pgmq') and relname in ('flows', 'migrations', 'meta')),
  (select extversion from pg_extension where extname = 'pgmq'),
  (select array_agg(version) from pg_available_extension_versions where name = 'pgmq')"""
_ADDRESS = """select current_database(), case current_setting('cluster_name')
  when %s then current_setting('data_directory') end"""
_PARAMETERS = ("host", "hostaddr", "port", "user", "dbname", "sslmode")
_AS_WHOM = (
    "; run `pgflow-yaml migrate` as the role that owns the schema pgflow",
    "; run `pgflow-yaml migrate --roles` as a role that may create roles and owns the database",
)
# The tables of this version may still change in place: a database that it made is recreated.
_UNRELEASED = "0.1.0"
_OLDEST_PGMQ = (1, 4, 4)
_FOLDERS = (
    "",
    "functions/expressions/",
    "functions/engine/",
    "functions/pgflow/",
    "functions/",
    "roles/",
)
_MAKE_ROLES = "roles/10_make.sql"
_GRANTS = "roles/90_grants.sql"
_EXTENSION = "extension pgmq"
# Applied after any other file: `create or replace` grants a new function to public and forgets
# planner settings.
_ALWAYS = ("functions/98_planner.sql", "functions/99_grants.sql", _GRANTS)


class _Broken(Unavailable):
    """The connection broke in the middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A file of SQL and its state in a database: applied, pending or changed."""

    name: str
    sql: str
    state: str = "pending"

    @property
    def digest(self) -> str:
        """The hash that detects an edited file."""
        return sha256(self.sql.encode()).hexdigest()


def apply(conninfo: str, *, roles: bool = False, again: bool = False) -> list[str]:
    """Bring the database up to date; return the names of the applied files.

    With `roles`, make the roles and grant them what they need. With `again`, apply the files of
    functions and grants also where nothing of them changed: it restores functions that were edited.
    """
    with _connected(conninfo) as connection:
        connection.execute(_LOCK)
        scripts = _scripts(connection, roles=roles, again=again)
        for script in scripts:
            try:
                connection.execute(script.sql.encode())
            except psycopg.Error as error:
                reason = error.diag.message_primary or str(error)
                if isinstance(error, InsufficientPrivilege):
                    reason += _AS_WHOM[script.name == _MAKE_ROLES]
                raise SchemaMismatch(
                    f"{script.name} could not be applied: {reason} (nothing was changed)"
                ) from error
    return [script.name for script in scripts if script.name.endswith(".sql")]


def status(conninfo: str, attempts: Attempts | None = None) -> list[Migration]:
    """Return every file with its state in this database; write nothing.

    A connection that breaks over it is one more failed attempt.
    """
    attempts = attempts or Attempts()
    while True:
        try:
            with _connected(conninfo, attempts) as connection:
                return _inspect(connection)[1]
        except _Broken as error:
            if attempts.spent():
                raise
            attempts.rest(str(error))


def status_on(connection: psycopg.Connection) -> tuple[bool, list[Migration]]:
    """Return whether the database has our tables, and every file with its state; write nothing."""
    first, migrations = _inspect(connection)
    return not first, migrations


def release_texts() -> list[str]:
    """Return the texts of all files of this release."""
    return [migration.sql for migration in _read()]


def pending(conninfo: str, attempts: Attempts | None = None) -> list[str]:
    """Return the names of the files that `apply` would run."""
    migrations = status(conninfo, attempts)
    return [migration.name for migration in migrations if migration.state != "applied"]


def check(conninfo: str, attempts: Attempts | None = None) -> None:
    """Raise SchemaMismatch unless all files of this release are applied, and no others.

    `attempts` are those to connect, by default for five seconds.
    """
    if names := pending(conninfo, attempts):
        missing = f"{len(names)} files" if names[1:] else names[0]
        raise SchemaMismatch(
            f"the database is not up to date with this release ({missing} to apply): "
            "run `pgflow-yaml migrate`"
        )


def dry_run_sql(conninfo: str | None = None, *, roles: bool = False, again: bool = False) -> str:
    """Return a script for psql of what `apply` would run; without a database, for an empty one."""
    if conninfo is None:
        first = [Migration(name="schema", sql=_BOOTSTRAP), _packaged_pgmq()]
        files = [_recorded(file) for file in _read() if roles or file.name != _GRANTS]
        scripts = _make_roles(roles=roles) + first + files
    else:
        with _connected(conninfo) as connection:
            scripts = _scripts(connection, roles=roles, again=again)
    if not scripts:
        return "-- nothing to do\n"
    body = "\n".join(f"-- {script.name}\n{script.sql.rstrip()}\n" for script in scripts)
    return f"begin;\n{_LIMITS};\n{_LOCK};\n\n{body}\ncommit;\n"


def _scripts(
    connection: psycopg.Connection, *, roles: bool, again: bool = False
) -> list[Migration]:
    """Return everything to run, in order."""
    first, migrations = _inspect(connection, roles=roles, creates=True)
    if again:
        migrations = [
            replace(migration, state="changed") if "/" in migration.name else migration
            for migration in migrations
        ]
    if not roles and all(migration.state == "applied" for migration in migrations):
        return first
    extension = [script for script in first if script.name == _EXTENSION]
    others = [script for script in first if script.name != _EXTENSION]
    return (
        extension
        + _make_roles(roles=roles)
        + others
        + [
            _recorded(migration)
            for migration in migrations
            if migration.state != "applied" or migration.name in _ALWAYS
        ]
    )


def _recorded(migration: Migration) -> Migration:
    # Recorded first: a session that runs the file without our lock waits here for the record.
    # Literals, because dry runs print them; all three are our own.
    record = _RECORD.format(migration.name, migration.digest, version("pgflow-yaml"))
    return Migration(name=migration.name, sql=record + migration.sql)


def _inspect(
    connection: psycopg.Connection, *, roles: bool = False, creates: bool = False
) -> tuple[list[Migration], list[Migration]]:
    """Return the SQL that must run before any file, and all files with their state.

    With `creates`, the caller goes on to run them: a role that may not is refused.
    """
    row = connection.execute(_FACTS).fetchone()
    assert row is not None
    role, database, server, number, read_only, may_create, tables, installed, available = row
    if number < 140000:
        raise Unavailable(f"PostgreSQL {server} is too old: pgflow-yaml needs version 14 or newer")
    if read_only and creates:
        raise Unavailable(
            "this server only reads (a standby or read-only session): use the primary"
        )
    is_installed = "pgflow.migrations" in tables
    if "pgflow.flows" in tables and not is_installed:
        raise SchemaMismatch(
            f'database "{database}" holds a schema pgflow that this program did not make: '
            "use another database (nothing was changed)"
        )
    first = [] if is_installed else [Migration(name="schema", sql=_BOOTSTRAP)]
    first += _pgmq(installed, available, present="pgmq.meta" in tables)
    if creates and first and not may_create:
        raise SchemaMismatch(
            f'role "{role}" may not create schemas in database "{database}": its owner runs '
            f'`grant create on database "{database}" to "{role}"` (nothing was changed)'
        )
    return first, _compare(connection if is_installed else None, roles=roles)


def _compare(connection: psycopg.Connection | None, *, roles: bool) -> list[Migration]:
    query = "select name, sha256, release from pgflow.migrations"
    rows = connection.execute(query).fetchall() if connection else []
    known = {migration.name: migration for migration in _read()}
    for name, digest, made_by in rows:
        if connection and (name not in known or known[name].digest != digest):
            _refuse_other_files(connection, name, made_by, known)
    applied = {name: digest for name, digest, _ in rows}
    return [
        Migration(name=name, sql=file.sql, state=_state(applied.get(name), file.digest))
        for name, file in known.items()
        if roles or name != _GRANTS or name in applied
    ]


def _refuse_other_files(
    connection: psycopg.Connection, name: str, made_by: str, known: Mapping[str, Migration]
) -> None:
    """Raise SchemaMismatch for a recorded file that this release cannot apply again."""
    release = version("pgflow-yaml")
    is_numbered = "/" not in name
    newest = max(file for file in known if "/" not in file)
    if _numbers(made_by) > _numbers(release) or (is_numbered and name > newest):
        raise SchemaMismatch(
            f"the database is newer than this release ({name} came with {made_by}, this is "
            f"{release}): install a newer pgflow-yaml"
        )
    if is_numbered and made_by == _UNRELEASED:
        raise SchemaMismatch(_how_to_recreate(connection))
    if is_numbered:
        raise SchemaMismatch(
            f"{name} was edited after it had been applied: restore the file and put the "
            "change into a new numbered one"
        )


def _how_to_recreate(connection: psycopg.Connection) -> str:
    """Return the sentence for a database whose tables an unreleased version made."""
    row = connection.execute(_ADDRESS, [EMBEDDED_NAME]).fetchone()
    assert row is not None
    database, data = row
    reason = f'database "{database}" was made by an unreleased version of pgflow-yaml'
    if data is not None:
        return f"{reason}: delete it with its runs by `rm -rf {quote(data)}`, then try again"
    parameters = connection.info.get_parameters()
    parameters = {key: parameters[key] for key in _PARAMETERS if key in parameters}
    return (
        f"{reason}: delete its tables with their runs by "
        f"`psql {quote(make_conninfo(**parameters))} -c 'drop schema pgflow cascade'`, "
        "then run `pgflow-yaml migrate`"
    )


def _state(applied: str | None, wanted: str) -> str:
    if applied is None:
        return "pending"
    return "applied" if applied == wanted else "changed"


def _pgmq(installed: str | None, available: list[str] | None, *, present: bool) -> list[Migration]:
    """Prefer the extension where the server has it, else run the SQL of the package."""
    if installed and _numbers(installed) < _OLDEST_PGMQ:
        raise SchemaMismatch(
            f"pgmq {installed} is too old, 1.4.4 or newer is needed: `alter extension pgmq update`"
        )
    if present:
        return []
    newest = max(available or [], key=_numbers, default="0")
    if _numbers(newest) >= _OLDEST_PGMQ:
        return [Migration(name=_EXTENSION, sql=f"create extension pgmq version '{newest}';")]
    return [_packaged_pgmq()]


def _packaged_pgmq() -> Migration:
    from pgmq.install import get_embedded_install_sql

    return Migration(name="pgmq", sql=get_embedded_install_sql())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _make_roles(*, roles: bool) -> list[Migration]:
    """Return the file that makes roles, if it is to run: first, for the others run as the owner."""
    return [_file(_MAKE_ROLES)] if roles else []


def _read() -> list[Migration]:
    """Return the numbered files in order, then the function files, then the grants."""
    top = files("pgflow_yaml") / "migrations"
    names = (
        folder + name
        for folder in _FOLDERS
        for name in sorted(file.name for file in (top / folder).iterdir())
        if name.endswith(".sql")
    )
    return [_file(name) for name in names if name != _MAKE_ROLES]


def _file(name: str) -> Migration:
    path = files("pgflow_yaml") / "migrations" / name
    return Migration(name=name, sql=path.read_text(encoding="utf-8"))


@contextmanager
def _connected(conninfo: str, attempts: Attempts | None = None) -> Iterator[psycopg.Connection]:
    """Connect, in one transaction."""
    connection = open_patiently(conninfo, "pgflow-yaml migrate", attempts or Attempts())
    connection.autocommit = False
    try:
        with connection:
            connection.execute(_LIMITS)
            yield connection
    except psycopg.Error as error:
        reason = message_of(error)
        is_broken = connection.broken or (error.sqlstate or "").startswith(("08", "57P"))
        kind: type[PgflowError] = _Broken if is_broken else Unavailable
        if isinstance(error, InsufficientPrivilege):
            kind = SchemaMismatch
        raise kind(
            f"the database could not be inspected: {reason} (nothing was changed)"
        ) from error
