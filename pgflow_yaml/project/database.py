"""The database of a project: a named one, else the embedded PostgreSQL in its folder."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LIBPQ = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Open database; an embedded one is migrated and, with `revive`, started again."""

    conninfo: str
    embedded: bool
    revive: Callable[[], None] | None = None


@contextmanager
def open_database(
    folder: Path,
    *,
    dsn: str | None = None,
    checked: bool = True,
    on_embedded: Callable[[], None] = lambda: None,
) -> Iterator[Database]:
    """Open the database of the project in a folder; start the embedded one if none is named.

    A named database is never migrated: `checked` only compares its tables (R-13). `on_embedded`
    is called once the embedded one answers.
    """
    from pgflow_yaml.database import migrate

    named = named_database(dsn)
    if named is not None:
        if checked:
            migrate.check(named)
        yield Database(conninfo=named, embedded=False)
        return
    from pgflow_yaml.database import embedded

    with embedded.open_server(project_dir(folder)) as server:
        conninfo = server.conninfo()
        on_embedded()
        if checked:
            migrate.apply(conninfo)
        yield Database(conninfo=conninfo, embedded=True, revive=server.ensure)


def named_database(dsn: str | None = None) -> str | None:
    """Return the connection string of a named database; "" leaves it to libpq's variables."""
    if dsn is not None:
        return dsn
    if url := os.environ.get("DATABASE_URL"):
        return url
    return "" if any(os.environ.get(name) for name in _LIBPQ) else None


def running_database(folder: Path, dsn: str | None = None) -> str | None:
    """Return the connection string of the project's database, unless it is an embedded one at rest.

    Nothing is started.
    """
    named = named_database(dsn)
    if named is not None:
        return named
    from pgflow_yaml.database import embedded

    return embedded.running(project_dir(folder))


def has_database(folder: Path) -> bool:
    """Return True if the project in a folder has an embedded PostgreSQL; nothing is started."""
    from pgflow_yaml.database.embedded import files

    return files.has_data(project_dir(folder))


def project_dir(folder: Path) -> Path:
    """Return the nearest folder upwards with a pyproject.toml, else the folder itself."""
    folder = folder.resolve()
    with_settings = (
        parent for parent in (folder, *folder.parents) if (parent / "pyproject.toml").is_file()
    )
    return next(with_settings, folder)
