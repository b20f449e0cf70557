"""Install and update the schema: numbered files once, function files whenever their text changed.

One transaction behind one advisory lock: eight processes may try at once, and one that is killed
in the middle leaves nothing behind. There is no way down: restore a backup.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgflow_yaml.errors import SchemaMismatch, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK = "select pg_catalog.pg_advisory_xact_lock(8098995513046034281)"
_LIMITS = "set local statement_timeout = '10min'; set local lock_timeout = '2min'"
_BOOTSTRAP = """create schema if not exists pgflow;
create table if not exists pgflow.migrations (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default pg_catalog.now(),
  release text not null
);"""
_LOOK = """select current_user, current_database(), current_setting('server_version'),
  current_setting('server_version_num')::int, pg_is_in_recovery(),
  current_setting('transaction_read_only')::bool,
  has_database_privilege(current_database(), 'create'),
  to_regclass('pgflow.flows') is not null, to_regclass('pgflow.migrations') is not null,
  to_regclass('pgmq.meta') is not null,
  (select extversion from pg_extension where extname = 'pgmq'),
  (select array_agg(version) from pg_available_extension_versions where name = 'pgmq')"""
_OLDEST_PGMQ = (1, 4, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A file of `migrations/` and where a database stands with it: applied, pending or changed."""

    name: str
    sql: str
    state: str

    @property
    def digest(self) -> str:
        """The hash by which an edited file is noticed."""
        return sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """SQL to run, under the name by which a failure is told."""

    name: str
    sql: str


def apply(conninfo: str) -> list[str]:
    """Bring the database up to date; the names of the files that were applied."""
    with _connected(conninfo) as connection:
        connection.execute(_LOCK)
        pieces = _pieces(connection)
        for piece in pieces:
            try:
                connection.execute(piece.sql.encode())
            except psycopg.errors.InsufficientPrivilege as error:
                raise SchemaMismatch(
                    f"{piece.name} may not be applied by this role: {error.diag.message_primary}; "
                    "run `pgflow-yaml migrate` as the owner of the schema (nothing was changed)"
                ) from error
            except psycopg.Error as error:
                reason = error.diag.message_primary or str(error)
                raise SchemaMismatch(
                    f"{piece.name} could not be applied: {reason} (nothing was changed)"
                ) from error
        return [piece.name for piece in pieces if piece.name.endswith(".sql")]


def status(conninfo: str) -> list[Migration]:
    """Every file and its state in this database; nothing is written."""
    with _connected(conninfo) as connection:
        return _look(connection)[0]


def pending(conninfo: str) -> list[str]:
    """The names of the files that `apply` would run."""
    return [migration.name for migration in status(conninfo) if migration.state != "applied"]


def check(conninfo: str) -> None:
    """Raise SchemaMismatch unless the database is exactly as this release wants it."""
    if waiting := pending(conninfo):
        what = f"{len(waiting)} files to apply" if waiting[1:] else f"{waiting[0]} to apply"
        raise SchemaMismatch(
            f"the database is not up to date with this release ({what}): run `pgflow-yaml migrate`"
        )


def dry_run_sql(conninfo: str | None = None) -> str:
    """What `apply` would run, as a script for psql; without a database, for an empty one."""
    if conninfo is None:
        pieces = [_Piece(name="schema", sql=_BOOTSTRAP), _packaged_pgmq(), *map(_piece, _read())]
    else:
        with _connected(conninfo) as connection:
            pieces = _pieces(connection)
    if not pieces:
        return "-- nothing to do\n"
    body = "\n".join(f"-- {piece.name}\n{piece.sql.rstrip()}\n" for piece in pieces)
    return f"begin;\n{_LOCK};\n\n{body}\ncommit;\n"


def _pieces(connection: psycopg.Connection) -> list[_Piece]:
    migrations, first = _look(connection)
    return first + [_piece(migration) for migration in migrations if migration.state != "applied"]


def _piece(migration: Migration) -> _Piece:
    # Recorded first: whoever runs the same file without our lock waits here, and then fails.
    record = (  # literals, because dry runs print it; all three are ours
        "insert into pgflow.migrations (name, sha256, release) values "  # noqa: S608
        f"('{migration.name}', '{migration.digest}', '{version('pgflow-yaml')}')\n"
        "on conflict (name) do update set sha256 = excluded.sha256, release = excluded.release, "
        "applied_at = pg_catalog.now();"
    )
    return _Piece(name=migration.name, sql=f"{record}\n{migration.sql}")


def _look(connection: psycopg.Connection) -> tuple[list[Migration], list[_Piece]]:
    """Where the database stands, and what must come before any file."""
    row = connection.execute(_LOOK).fetchone()
    assert row is not None
    role, database, server, number, standby, read_only, may_create, flows, ours, *pgmq = row
    if number < 140000:
        raise Unavailable(f"PostgreSQL {server} is too old: pgflow-yaml needs version 14 or newer")
    if standby or read_only:
        raise Unavailable(
            "this server only reads (a standby or read-only session): use the primary"
        )
    if flows and not ours:
        raise SchemaMismatch(
            f'database "{database}" holds a schema pgflow that this program did not make: '
            "use another database (nothing was changed)"
        )
    first = [] if ours else [_Piece(name="schema", sql=_BOOTSTRAP)]
    first += _pgmq(present=pgmq[0], installed=pgmq[1], available=pgmq[2])
    if first and not may_create:
        raise SchemaMismatch(
            f'role "{role}" may not create schemas in database "{database}": its owner runs '
            f'`grant create on database "{database}" to "{role}"`'
        )
    return _compare(connection if ours else None), first


def _compare(connection: psycopg.Connection | None) -> list[Migration]:
    query = "select name, sha256, release from pgflow.migrations"
    rows = connection.execute(query).fetchall() if connection else []
    migrations, release = _read(), version("pgflow-yaml")
    known = {migration.name: migration.digest for migration in migrations}
    for name, digest, of_release in rows:
        if known.get(name) == digest:
            continue
        if _numbers(of_release) > _numbers(release) or ("/" not in name and name not in known):
            raise SchemaMismatch(
                f"the database is newer than this release ({name} came with {of_release}, this is "
                f"{release}): install pgflow-yaml {of_release} or newer"
            )
        if "/" not in name:
            raise SchemaMismatch(
                f"{name} was edited after it had been applied: restore the file and put the "
                "change into a new numbered one"
            )
    applied = {name: digest for name, digest, _ in rows}
    return [
        Migration(name=each.name, sql=each.sql, state=_state(applied.get(each.name), each.digest))
        for each in migrations
    ]


def _state(applied: str | None, digest: str) -> str:
    if applied is None:
        return "pending"
    return "applied" if applied == digest else "changed"


def _pgmq(*, present: bool, installed: str | None, available: list[str] | None) -> list[_Piece]:
    """Prefer the extension where the server has it, else run the SQL of the package."""
    wanted = "pgflow-yaml needs pgmq 1.4.4 or newer"
    if installed and _numbers(installed) < _OLDEST_PGMQ:
        raise SchemaMismatch(
            f"pgmq {installed} is too old: {wanted} (`alter extension pgmq update`)"
        )
    if present:
        return []
    newest = max(available or [], key=_numbers, default="0")
    if _numbers(newest) >= _OLDEST_PGMQ:
        return [_Piece(name="pgmq", sql=f"create extension pgmq version '{newest}';")]
    return [_packaged_pgmq()]


def _packaged_pgmq() -> _Piece:
    from pgmq.install import get_embedded_install_sql

    return _Piece(name="pgmq", sql=get_embedded_install_sql())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _read() -> list[Migration]:
    """The numbered files in order, then the function files in order."""
    top = files("pgflow_yaml") / "migrations"
    return [
        Migration(name=prefix + file.name, sql=file.read_text(encoding="utf-8"), state="pending")
        for folder, prefix in ((top, ""), (top / "functions", "functions/"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".sql")
    ]


@contextmanager
def _connected(conninfo: str) -> Iterator[psycopg.Connection]:
    """A connection inside one transaction."""
    options = {"connect_timeout": "10", "application_name": "pgflow-yaml migrate"}
    try:
        connection = psycopg.connect(make_conninfo("", **(options | conninfo_to_dict(conninfo))))
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[-1]
        raise Unavailable(f"cannot connect to the database: {reason}") from error
    try:
        with connection:
            connection.execute(_LIMITS)
            yield connection
    except psycopg.OperationalError as error:
        reason = error.diag.message_primary or str(error).strip()
        raise Unavailable(f"the database did not answer: {reason} (nothing was changed)") from error
