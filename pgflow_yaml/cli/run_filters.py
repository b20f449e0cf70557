"""The filters of runs as options: the same words, with the same meaning, in every command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import label_option, optional_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.client import Client
    from pgflow_yaml.runs.filters import RunFilters

STATUSES = ("started", "waiting", "completed", "failed", "cancelled")


def run_filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose runs; `read_filters` reads them."""
    options: list[Callable[..., Any]] = [
        click.option("--flow", metavar="NAME", help="Only runs of this flow."),
        click.option(
            "--status",
            type=click.Choice(STATUSES),
            help="Only runs with this status; waiting: started, but only waits for events, times "
            "or child runs.",
        ),
        label_option("-l", "--label", text="Only runs with this label (repeated: all of them)."),
        click.option(
            "--since", metavar="TIME", help="Only runs created within this time: 30m, 2h or 7d."
        ),
        click.option("--older", metavar="TIME", help="Only runs created longer ago than this: 2d."),
        click.option(
            "--error", metavar="TEXT", help="Only runs with this in the type or text of the error."
        ),
        click.option("--parent", metavar="RUN", help="Only the child runs of this run."),
        click.option("--all", "children", is_flag=True, help="Child runs too."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def read_filters(client: Client, given: Mapping[str, Any]) -> RunFilters:
    """Return the filters that the options ask for; an unknown parent or a wrong time is refused."""
    from .lookup import run_id

    parent = given["parent"]
    return {
        "flow": given["flow"],
        "status": given["status"],
        "labels": given["labels"],
        "since": optional_seconds(given["since"], "--since"),
        "older": optional_seconds(given["older"], "--older"),
        "error": given["error"] or None,
        "parent": None if parent is None else run_id(client, parent),
        "children": given["children"],
    }
