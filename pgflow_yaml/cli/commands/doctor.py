"""Watch: check the database and suggest fixes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.client import Client
    from pgflow_yaml.database.health import Report


@command("doctor", example="pgflow-yaml doctor --security")
@click.option("--fix", is_flag=True, help="Mend what can be mended without harm, then look again.")
@click.option("--security", is_flag=True, help="Also check grants, owners and passwords.")
@pass_options
def doctor_command(options: Options, *, fix: bool, security: bool) -> int:
    """Look for what is wrong with the database, and how to mend it.

    Checks the versions, the texts of functions, the invariants, handlers and queues without a
    worker, late timers, old transactions, dead rows, size, settings and clocks. A check takes 5 s
    at most and hinders no other. Nothing is changed without --fix, which updates tables and
    functions, restores functions that were edited, and sends lost tasks again.

    Exit code 0: nothing is wrong, except for warnings; 1: a problem, or a check that could not be
    made; 3: no database, or none that this release can use.
    """
    from pgflow_yaml.cli.database import are_several, for_each, named_database
    from pgflow_yaml.cli.health import lines
    from pgflow_yaml.cli.output import write_json, write_lines

    def look(client: Client) -> tuple[Report, list[str]]:
        report = client.examine(secure=security)
        fixed = client.repair(report) if fix else []
        return (client.examine(secure=security) if fixed else report), fixed

    is_own = not are_several(options) and named_database(options) is None
    results = for_each(options, look, checked=is_own)
    if options.json:
        listed = [
            {"database": name, **report.as_json(fixed)} for name, (report, fixed) in results if name
        ]
        write_json(listed or results[0][1][0].as_json(results[0][1][1]) if results else [])
    else:
        for name, (report, fixed) in results:
            if name is not None:
                write_lines([[(name, "bold")]], sys.stdout, options)
            write_lines(lines(report, fixed, sys.stdout), sys.stdout, options)
    return max((_exit_code(report) for _, (report, _) in results), default=0)


def _exit_code(report: Report) -> int:
    from pgflow_yaml.cli.failures import BAD, ENVIRONMENT

    if not report.usable:
        return ENVIRONMENT
    return BAD if report.status == "problem" else 0
