"""Commands of the section Deploy: `migrate`, `compile`, `flows`, `versions`, `activate`."""

from __future__ import annotations

import sys
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.cli.output import CellsOf


@command("migrate", example="pgflow-yaml migrate --status")
@click.option("--dry-run", is_flag=True, help="Print the SQL, run nothing.")
@click.option("--status", is_flag=True, help="List the files and whether they are applied.")
@pass_options
def migrate_command(options: Options, *, dry_run: bool, status: bool) -> None:
    """Install or update the tables and functions in the database.

    Everything happens in one transaction, or nothing does. Without a named database, --dry-run
    prints the SQL for an empty one.
    """
    from pgflow_yaml.cli.database import database, named_database
    from pgflow_yaml.cli.output import Column, write_json, write_list
    from pgflow_yaml.database import migrate
    from pgflow_yaml.text import plural

    if dry_run:
        sql = migrate.dry_run_sql(named_database(options))
        write_json({"sql": sql}) if options.json else sys.stdout.write(sql)
        return
    with database(options, checked=False) as place:
        if status:
            files = [
                {"name": each.name, "state": each.state} for each in migrate.status(place.conninfo)
            ]
            columns = [
                (Column("FILE"), itemgetter("name")),
                (Column("STATE"), itemgetter("state")),
            ]
            write_list(files, columns, options)
        else:
            applied = migrate.apply(place.conninfo)
            if options.json:
                write_json({"applied": applied})
            else:
                said = f"applied {plural(len(applied), 'file')}" if applied else "up to date"
                sys.stdout.write(f"{said}\n")


@command("compile", example="pgflow-yaml compile hello.flow.yaml")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--dry-run", is_flag=True, help="Say what would change, change nothing.")
@click.option("--no-activate", is_flag=True, help="Store the version, leave the active one.")
@pass_options
def compile_command(
    options: Options, *, files: Sequence[str], dry_run: bool, no_activate: bool
) -> None:
    """Check flow files and make their versions the active ones.

    A file that did not change is left alone. Nothing is stored unless all files are valid.
    """
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.flow_files.deploying import (
        children_first,
        deploy,
        foresee,
        require_children,
        require_valid,
        said,
    )
    from pgflow_yaml.cli.flow_files.loading import load
    from pgflow_yaml.cli.output import write_json

    loaded = load(files)
    require_valid(loaded, options)
    with connected(options) as store:
        require_children(loaded, store)
        found = {
            file: foresee(store, definition, activate=not no_activate)
            if dry_run
            else deploy(store, definition, file=file, activate=not no_activate)
            for file, definition in children_first(loaded)
        }
    results = [found[file] for file in files]
    if options.json:
        write_json(results)
        return
    for result in results:
        sys.stdout.write(f"{'would be ' * dry_run}{said(result)}\n")


@command("flows", example="pgflow-yaml flows")
@pass_options
def flows_command(options: Options) -> None:
    """List the flows in the database."""
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.output import Column, when, write_list

    with connected(options) as store:
        found = store.list_flows()
    columns: list[CellsOf] = [
        (Column("FLOW"), itemgetter("name")),
        (Column("ACTIVE"), lambda flow: flow["version"] or "none"),
        (Column("VERSIONS", right=True), lambda flow: str(flow["versions"])),
        (Column("RUNS", flexible=True), lambda flow: _counts(flow["runs"])),
        (Column("DEPLOYED"), lambda flow: when(flow["deployed_at"])),
        (Column("DESCRIPTION", flexible=True), lambda flow: flow["description"] or ""),
    ]
    write_list(found, columns, options)


@command("versions", example="pgflow-yaml versions hello")
@click.argument("flow")
@pass_options
def versions_command(options: Options, *, flow: str) -> None:
    """List the versions of a flow, the newest first.

    COMMIT is the one that git had out when the version was compiled, with a + if the files were
    changed since; AUTHOR wrote that commit.
    """
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.lookup import must_be_flow
    from pgflow_yaml.cli.output import Column, when, write_list

    with connected(options) as store:
        must_be_flow(store.list_flows(), flow)
        found = store.list_versions(flow)
    columns: list[CellsOf] = [
        (Column("VERSION"), itemgetter("version")),
        (Column("ACTIVE"), lambda version: "active" if version["active"] else ""),
        (Column("RUNS", flexible=True), lambda version: _counts(version["runs"])),
        (Column("CREATED"), lambda version: when(version["created_at"])),
        (Column("COMMIT", flexible=True), lambda version: _commit(version["git"])),
        (Column("AUTHOR", flexible=True), lambda version: (version["git"] or {}).get("author", "")),
        (Column("BY", flexible=True), lambda version: version["created_by"] or ""),
    ]
    write_list(found, columns, options)


@command("activate", example="pgflow-yaml activate hello fdc2")
@click.argument("flow")
@click.argument("version")
@pass_options
def activate_command(options: Options, *, flow: str, version: str) -> None:
    """Make a stored version of a flow the active one.

    VERSION is a version of the flow, or the beginning of one. New runs take it; runs that have
    begun stay on theirs.
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.flow_files.deploying import said
    from pgflow_yaml.cli.output import write_json

    with connected(options) as store:
        result = store.activate(flow, lookup.version(store, flow, version))
    if options.json:
        write_json(result)
    else:
        sys.stdout.write(f"{said(result)}\n")


def _commit(git: Mapping[str, Any] | None) -> str:
    """Say the commit and its branch: `1f0c2a9b+ main`."""
    if not git:
        return ""
    # Compiled in no branch, git calls that HEAD.
    branch = git.get("branch") or ""
    words = f"{git['commit'][:8]}{'+' * bool(git.get('dirty'))} {branch}"
    return words.removesuffix(" HEAD").rstrip()


def _counts(runs: Mapping[str, int]) -> str:
    """Say how many runs stand where, without those that are none."""
    parts = [
        f"{runs[status]:,} {'running' if status == 'started' else status}"
        for status in ("started", "completed", "failed", "cancelled")
        if runs[status]
    ]
    return ", ".join(parts) or "none"
