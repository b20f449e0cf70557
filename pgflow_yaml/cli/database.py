"""Which database a command talks to: --dsn, DATABASE_URL, PG*, else the project's own."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgflow_yaml.database.store import Store

    from .options import Options

_LIBPQ = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
_PASSWORD = re.compile(r"^\w+://[^/?#@]*:[^/?#@]+@|(?:^|[\s?&])(?:ssl)?password\s*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where to connect; `embedded` is the project's own, which is ours to migrate."""

    conninfo: str
    embedded: bool
    revive: Callable[[], None] | None = None

    def store(self) -> Store:
        """Make a connection; a dead embedded server is started again by whoever notices."""
        from pgflow_yaml.database.store import Store

        return Store(self.conninfo, on_lost=self.revive)

    def patient_store(self) -> Store:
        """Make a connection for following a run: it waits for a database that went away (F4)."""
        from pgflow_yaml.database.store import Store

        return Store(self.conninfo, on_lost=self.revive, patience=None)


@contextmanager
def database(options: Options, *, checked: bool = True) -> Iterator[Database]:
    """Choose the database, start the embedded one if it is that, and see that its tables fit.

    A real database is never migrated by surprise: `checked` only looks (R-13).
    """
    from pgflow_yaml.database import migrate

    from .logs import set_up_logs

    set_up_logs(options)
    named = named_database(options)
    if named is not None:
        if checked:
            migrate.check(named)
        yield Database(conninfo=named, embedded=False)
        return
    from pgflow_yaml.database import embedded

    with embedded.open_server(project_dir()) as server:
        conninfo = server.conninfo()
        options.note("database: embedded PostgreSQL of this project")
        if checked:
            migrate.apply(conninfo)
        yield Database(conninfo=conninfo, embedded=True, revive=server.ensure)


@contextmanager
def connected(options: Options) -> Iterator[Store]:
    """Open a connection to the chosen database."""
    with database(options) as place, place.store() as store:
        yield store


def named_database(options: Options) -> str | None:
    """Return what names a database; "" leaves everything to libpq's own variables."""
    if options.dsn is not None:
        if _PASSWORD.search(options.dsn) and not options.insecure_dsn:
            # S-12: the command line of a process is public on its machine.
            raise click.UsageError(
                "--dsn holds a password, which every user of this machine can read in the process "
                "list; put it into DATABASE_URL, PGPASSWORD or ~/.pgpass, or add --insecure-dsn"
            )
        return options.dsn
    if url := os.environ.get("DATABASE_URL"):
        return url
    return "" if any(os.environ.get(name) for name in _LIBPQ) else None


def project_dir() -> Path:
    """Find the folder of the project: the next one with a pyproject.toml, else this one."""
    here = Path.cwd()
    found = (each for each in (here, *here.parents) if (each / "pyproject.toml").is_file())
    return next(found, here)
