"""Commands that serve the installation: `migrate`, `activate`, `worker`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from .options import Options, command, pass_options, worker_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.worker import Worker

    from .database import Database


@command("migrate", example="pgflow-yaml migrate --status")
@click.option("--dry-run", is_flag=True, help="Print the SQL, run nothing.")
@click.option("--status", is_flag=True, help="List the files and whether they are applied.")
@pass_options
def migrate_command(options: Options, *, dry_run: bool, status: bool) -> None:
    """Install or update the tables and functions in the database.

    Everything happens in one transaction, or nothing does. Without a named database, --dry-run
    prints the SQL for an empty one.
    """
    from pgflow_yaml import migrate

    from .database import database, named_database
    from .output import Column, write_json, write_table
    from .words import plural

    if dry_run:
        sql = migrate.dry_run_sql(named_database(options))
        write_json({"sql": sql}) if options.json else sys.stdout.write(sql)
        return
    with database(options, checked=False) as place:
        if status:
            files = [
                {"name": each.name, "state": each.state} for each in migrate.status(place.conninfo)
            ]
            if options.json:
                write_json(files)
            else:
                rows = [[each["name"], each["state"]] for each in files]
                write_table([Column("FILE"), Column("STATE")], rows, options)
        else:
            applied = migrate.apply(place.conninfo)
            if options.json:
                write_json({"applied": applied})
            else:
                said = f"applied {plural(len(applied), 'file')}" if applied else "up to date"
                sys.stdout.write(f"{said}\n")


@command("activate", example="pgflow-yaml activate hello fdc2")
@click.argument("flow")
@click.argument("version")
@pass_options
def activate_command(options: Options, *, flow: str, version: str) -> None:
    """Make a stored version of a flow the active one.

    VERSION is a version of the flow, or the beginning of one. New runs take it; runs that have
    begun stay on theirs.
    """
    from .database import connected
    from .deploying import said
    from .finding import must_be_flow
    from .output import write_json

    with connected(options) as store:
        must_be_flow(store.list_flows(), flow)
        result = store.activate(flow, version)
    if options.json:
        write_json(result)
    else:
        sys.stdout.write(f"{said(result)}\n")


@command("worker", example="pgflow-yaml worker --burst")
@click.option("--queue", "queues", metavar="FLOW", multiple=True, help="Only tasks of this flow.")
@click.option("--burst", is_flag=True, help="Stop when nothing is left to do.")
@click.option(
    "--poll-interval-ms",
    metavar="N",
    type=click.FloatRange(1),
    default=50,
    show_default=True,
    help="Pause after work.",
)
@click.option(
    "--max-poll-seconds",
    metavar="N",
    type=click.FloatRange(0.001),
    default=1.0,
    show_default=True,
    help="Pause when idle.",
)
@worker_options
@pass_options
def worker_command(options: Options, /, *, queues: Sequence[str], **given: Any) -> int:
    """Process tasks until told to stop.

    SIGTERM or Ctrl-C: what has begun may finish, exit 0. A second one: at once, exit 1.
    """
    import logging

    from .database import database
    from .logs import set_up_logs
    from .output import write_json
    from .working import serve

    log = logging.getLogger("pgflow_yaml.cli")
    said = "stopping: what has begun may finish; a second signal gives it back at once"
    with database(options) as place:
        set_up_logs(options, level=logging.INFO)
        for name, near in _unknown(queues, place):
            log.warning('flow "%s" is not in this database yet%s', name, near)
        worker = _worker(place, queues, **given)
        code = serve(worker, lambda: log.info(said, extra={"action": "stop"}))
    if options.json:
        write_json({"worker": worker.id, "exit_code": code})
    return code


def _worker(
    place: Database,
    queues: Sequence[str],
    *,
    burst: bool,
    poll_interval_ms: float,
    max_poll_seconds: float,
    lease: str | None,
    **given: Any,
) -> Worker:
    from pgflow_yaml.worker import Worker
    from pgflow_yaml.worker.loop import CONCURRENCY

    from .arguments import optional_seconds
    from .loading import worker_settings
    from .running import LEASE

    settings = worker_settings(lease=optional_seconds(lease, "--lease"), **given)
    return Worker(
        place.conninfo,
        queues=list(queues) or None,
        concurrency=settings.concurrency or CONCURRENCY,
        lease_seconds=settings.lease or LEASE,
        app_dir=settings.app_dir,
        allow=settings.allow,
        poll_interval_ms=poll_interval_ms,
        max_poll_seconds=max_poll_seconds,
        burst=burst,
        on_lost=place.revive,
    )


def _unknown(queues: Sequence[str], place: Database) -> list[tuple[str, str]]:
    """Find names of flows that are not there: they may come, or are typing mistakes."""
    from pgflow_yaml.suggestions import did_you_mean

    if not queues:
        return []
    with place.store() as store:
        known = store.served_queues()
    return [(queue, did_you_mean(queue, known)) for queue in queues if queue not in known]
