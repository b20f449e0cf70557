"""Deploy: install or update the tables and functions in the database."""

from __future__ import annotations

import sys
from operator import itemgetter
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.client import Client
    from pgflow_yaml.database.migrate import Migration

_PRUNES = "functions/engine/98_prune.sql"


@command("migrate", example="pgflow-yaml migrate --status")
@click.option("--dry-run", is_flag=True, help="Print the SQL, run nothing.")
@click.option("--status", is_flag=True, help="List the files and whether they are applied.")
@click.option(
    "--roles", is_flag=True, help="Also make the roles pgflow_owner, pgflow_worker and the others."
)
@click.option(
    "--again", is_flag=True, help="Also restore functions and grants that were edited by hand."
)
@pass_options
def migrate_command(
    options: Options, *, dry_run: bool, status: bool, roles: bool, again: bool
) -> None:
    """Install or update the tables and functions in the database.

    Everything happens in one transaction, or nothing does. Without a named database, --dry-run
    prints the SQL for an empty one. --roles grants each role what it needs; a database that has
    the roles keeps these grants up to date without it.
    """
    from pgflow_yaml.cli.database import for_each, named_database
    from pgflow_yaml.cli.output import Column, write_json, write_list
    from pgflow_yaml.database import migrate
    from pgflow_yaml.text import plural

    if dry_run:
        sql = migrate.dry_run_sql(named_database(options), roles=roles, again=again)
        write_json({"sql": sql}) if options.json else sys.stdout.write(sql)
        return
    if status:
        files = [
            {**({} if name is None else {"database": name}), "name": file.name, "state": file.state}
            for name, found in for_each(options, _status, checked=False)
            for file in found
        ]
        columns = [(Column("FILE"), itemgetter("name")), (Column("STATE"), itemgetter("state"))]
        write_list(files, columns, options)
        return
    results = for_each(
        options, lambda client: client.migrate(roles=roles, again=again), checked=False
    )
    if options.json:
        listed = [{"database": name, "applied": applied} for name, applied in results if name]
        write_json(listed or {"applied": results[0][1]} if results else [])
    for name, applied in results:
        if not options.json:
            result = f"applied {plural(len(applied), 'file')}" if applied else "up to date"
            sys.stdout.write(f"{result if name is None else f'{name}: {result}'}\n")
    if any(_PRUNES in applied for _, applied in results):
        options.note(
            "workers delete ended runs after 30 days, or after the `retention` of their "
            "flow; `retention: off` keeps them"
        )


def _status(client: Client) -> list[Migration]:
    from pgflow_yaml.database import migrate

    return migrate.status(client.conninfo)
