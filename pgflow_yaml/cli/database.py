"""The client of a command, for --dsn, DATABASE_URL, PG*, or else the project's own database."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgflow_yaml.project import database as project_database
from pgflow_yaml.project.databases import has_password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.client import Client

    from .options import Options

SECONDS_OF_A_DAY = 86_400


@contextmanager
def database(
    options: Options, *, checked: bool = True, notify: bool = False, reads: bool = False
) -> Iterator[Client]:
    """Connect to the chosen database; the embedded one is started and migrated.

    `checked` compares the tables of a named one (R-13); with `notify`, a start wakes idle workers.
    `reads`: nothing is written, so a database for that is chosen, if there is one.
    """
    from pgflow_yaml.client import Client

    from .logs import set_up_logs

    set_up_logs(options)
    _refuse_public_password(options)
    client = Client.for_project(
        dsn=options.dsn,
        notify=notify,
        checked=checked,
        on_embedded=partial(_name_embedded, options),
        read_dsn=reading_database(options) if reads else None,
    )
    with client:
        yield client


def _name_embedded(options: Options) -> None:
    """Note once a day that the database is the embedded one."""
    marker = project_database.project_dir(Path.cwd()) / ".pgflow" / "named"
    with suppress(OSError):
        if options.quiet or time.time() - marker.stat().st_mtime < SECONDS_OF_A_DAY:
            return
    options.note("database: embedded PostgreSQL of this project")
    with suppress(OSError):
        marker.touch()


def named_database(options: Options) -> str | None:
    """Return the connection string of a named database; None means the project's own."""
    _refuse_public_password(options)
    return project_database.named_database(options.dsn)


def reading_database(options: Options) -> str | None:
    """Return the connection string of the database for what only reads, if there is one."""
    return options.read_dsn or os.environ.get("PGFLOW_YAML_READ_DSN") or None


def _refuse_public_password(options: Options) -> None:
    """Refuse a password on the command line: other users of the machine can read it (S-12)."""
    named = {"--dsn": options.dsn, "--read-dsn": options.read_dsn}
    public = [name for name, dsn in named.items() if dsn is not None and has_password(dsn)]
    if public and not options.insecure_dsn:
        raise click.UsageError(
            f"{public[0]} holds a password, which every user of this machine can read in the "
            "process list; put it into DATABASE_URL, PGPASSWORD or ~/.pgpass, or add --insecure-dsn"
        )
