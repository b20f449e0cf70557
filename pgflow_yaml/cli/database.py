"""The client of a command, for --dsn, DATABASE_URL, PG*, or else the project's own database.

A project may name further databases: then the flow or the run that a command names picks one, and
--database chooses one for commands that name neither. Lists are merged from all.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pgflow_yaml.errors import NotFound, PgflowError, SchemaMismatch, Unavailable
from pgflow_yaml.project import database as project_database
from pgflow_yaml.project.databases import DEFAULT, has_password, read_databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgflow_yaml.client import Client, Router
    from pgflow_yaml.project.flow_set import FlowSet

    from .options import Options

SECONDS_OF_A_DAY = 86_400
Result = TypeVar("Result")


@contextmanager
def database(
    options: Options,
    *,
    checked: bool = True,
    notify: bool = False,
    reads: bool = False,
    flow: str | None = None,
    run: str | None = None,
) -> Iterator[Client]:
    """Connect to the chosen database; the embedded one is started and migrated.

    `checked` compares the tables of a named one (R-13); with `notify`, a start wakes idle workers.
    `reads`: nothing is written, so a database for that is chosen, if there is one. Of several
    databases, `flow` picks the one of its route, and `run` the one that has it.
    """
    from pgflow_yaml.client import Client

    from .logs import set_up_logs

    set_up_logs(options)
    _refuse_public_password(options)
    if are_several(options, reads=reads):
        with routed(options, checked=checked, notify=notify) as router:
            name = _picked(router, flow, run)
            with naming(name):
                yield router.client(name)
        return
    client = Client.for_project(
        dsn=_chosen_dsn(options),
        notify=notify,
        checked=checked,
        on_embedded=partial(_name_embedded, options),
        read_dsn=reading_database(options) if reads else None,
    )
    with client:
        yield client


def are_several(options: Options, *, reads: bool = False) -> bool:
    """Return True if the project names databases, and the command line chooses none of them."""
    if options.dsn is not None or options.database is not None or (reads and options.read_dsn):
        return False
    return bool(read_databases(Path.cwd()).values)


@contextmanager
def routed(options: Options, *, checked: bool = True, notify: bool = False) -> Iterator[Router]:
    """Open the router of the project; a database that is away is noted when a list lacks it."""
    from pgflow_yaml.client import Router

    with Router.for_project(
        notify=notify,
        checked=checked,
        on_embedded=partial(_name_embedded, options),
        on_away=partial(_leave_out, options),
    ) as router:
        yield router


def _leave_out(options: Options, name: str, error: PgflowError) -> None:
    options.is_partial = True
    click.echo(f'database "{name}" is left out: {error.message}', err=True)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let errors of one of several databases begin with its name."""
    try:
        yield
    except (Unavailable, SchemaMismatch) as error:
        error.message = f'database "{name}": {error.message}'
        raise


def rows(
    options: Options,
    read: Callable[[Client], list[dict[str, Any]]],
    *,
    key: Callable[[dict[str, Any]], Any],
    reverse: bool = False,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return the rows that `read` finds, of several databases merged, in the order of `key`.

    These then have the name of their `database`. The rows of one keep their order.
    """
    if not are_several(options, reads=True):
        with database(options, reads=True) as client:
            return read(client)
    from .logs import set_up_logs

    set_up_logs(options)
    with routed(options) as router:
        merged = [{"database": name, **row} for name, part in router.each(read) for row in part]
    return sorted(merged, key=key, reverse=reverse)[:limit]


@contextmanager
def deployments(
    options: Options, flows: FlowSet, *, notify: bool = False
) -> Iterator[list[tuple[str | None, Client, FlowSet]]]:
    """Yield (name, client, flows) of the databases of valid flows; name is None for just one.

    Raises WrongSetting for a child whose route leads elsewhere.
    """
    if not are_several(options):
        with database(options, notify=notify) as client:
            yield [(None, client, flows)]
        return
    from .logs import set_up_logs

    set_up_logs(options)
    with routed(options, notify=notify) as router:
        parts = []
        for name, part in router.parts(flows).items():
            with naming(name):
                parts.append((name, router.client(name), part))
        yield list(parts)


def check_routes(options: Options, flows: FlowSet) -> None:
    """Refuse flows that go to several databases, where they have to be in one."""
    if not are_several(options):
        return
    with routed(options) as router:
        names = list(router.parts(flows))
    if len(names) > 1:
        raise click.UsageError(
            f"these files go to the databases {' and '.join(names)}: run one of them, and "
            "`compile` the others"
        )


@contextmanager
def with_runs(options: Options, runs: Sequence[str]) -> Iterator[list[tuple[Client, str]]]:
    """Yield (client, id) of runs, each in its database; all are looked up before."""
    from .logs import set_up_logs
    from .lookup import run_id

    if not are_several(options):
        with database(options) as client:
            yield [(client, run_id(client, text)) for text in runs]
        return
    set_up_logs(options)
    with routed(options) as router:
        clients = [(router.client(_picked(router, None, text)), text) for text in runs]
        yield [(client, run_id(client, text)) for client, text in clients]


def for_each(
    options: Options, act: Callable[[Client], Result], *, checked: bool = True
) -> list[tuple[str | None, Result]]:
    """Return (name, result) of an act on each database in turn; name is None if there is just one.

    Of several databases, one with an error is noted and left out.
    """
    if not are_several(options):
        with database(options, checked=checked) as client:
            return [(None, act(client))]
    from .logs import set_up_logs

    set_up_logs(options)
    results: list[tuple[str | None, Result]] = []
    with routed(options, checked=checked) as router:
        for name in router.names:
            try:
                results.append((name, act(router.client(name))))
            except PgflowError as error:
                _leave_out(options, name, error)
    return results


def has_database(options: Options, flow: str) -> bool:
    """Return False if the database of a flow would have to be made first."""
    if are_several(options):
        with routed(options) as router:
            return router.name_of(flow) in router.names
    return named_database(options) is not None or project_database.has_database(Path.cwd())


def _picked(router: Router, flow: str | None, run: str | None) -> str:
    """Return the name of the database of a flow or a run; raises UsageError without either."""
    if flow is not None:
        return router.name_of(flow)
    names = router.names
    if run is not None:
        try:
            return router.name_with(run)
        except NotFound:
            return names[0]  # where the look-up says what to write instead
    if len(names) == 1:
        return names[0]
    raise click.UsageError(
        f"this project has several databases: choose one by --database {' or '.join(names)}"
    )


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
    return project_database.named_database(_chosen_dsn(options))


def _chosen_dsn(options: Options) -> str | None:
    """Return the connection string that the command line chooses, None if it leaves it open."""
    if options.dsn is not None and options.database is not None:
        raise click.UsageError("write either --dsn or --database")
    name = options.database
    if name is None and are_several(options):
        with routed(options) as router:
            name = _picked(router, None, None)
    if name is None:
        return options.dsn
    databases = read_databases(Path.cwd())
    name = databases.named(name)
    return databases.conninfo(name, os.environ) if name in databases.values else None


def reading_database(options: Options) -> str | None:
    """Return the connection string of the database for what only reads, if there is one.

    The one of the environment belongs to the default database.
    """
    if options.read_dsn or options.database not in (None, DEFAULT):
        return options.read_dsn
    return os.environ.get("PGFLOW_YAML_READ_DSN") or None


def _refuse_public_password(options: Options) -> None:
    """Refuse a password on the command line: other users of the machine can read it (S-12)."""
    named = {"--dsn": options.dsn, "--read-dsn": options.read_dsn}
    public = [name for name, dsn in named.items() if dsn is not None and has_password(dsn)]
    if public and not options.insecure_dsn:
        raise click.UsageError(
            f"{public[0]} holds a password, which every user of this machine can read in the "
            "process list; put it into DATABASE_URL, PGPASSWORD or ~/.pgpass, or add --insecure-dsn"
        )
