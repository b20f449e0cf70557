"""The filters of runs as options: the same words, with the same meaning, in every command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import label_option, optional_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgflow_yaml.client import Client
    from pgflow_yaml.runs.filters import RunFilters

STATUSES = ("started", "waiting", "completed", "failed", "cancelled")
OF_RUNS = (
    *("flow", "version", "status", "labels", "since", "older", "error", "parent", "schedule"),
    "children",
)
OF_FAILURES = ("flow", "version", "labels", "since", "older", "error")
"""The filters of `failed`, whose times are those of failures."""


def run_filters(
    names: Sequence[str] = OF_RUNS, *, moment: str = "were created"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that choose runs, by the moment they were created, or another."""
    options: dict[str, Callable[..., Any]] = {
        "flow": click.option("--flow", metavar="NAME", help="Only runs of this flow."),
        "version": click.option(
            "--version",
            "version",
            metavar="VERSION",
            help="Only runs of this version, or of those that begin so.",
        ),
        "status": click.option(
            "--status",
            type=click.Choice(STATUSES),
            help="Only runs with this status; waiting: started, but only waits for events, times "
            "or child runs.",
        ),
        "labels": label_option(
            "-l", "--label", text="Only runs with this label (repeated: all of them)."
        ),
        "since": click.option(
            "--since",
            metavar="TIME",
            help=f"Only runs that {moment} within this time: 30m, 2h or 7d.",
        ),
        "older": click.option(
            "--older", metavar="TIME", help=f"Only runs that {moment} longer ago than this: 2d."
        ),
        "error": click.option(
            "--error",
            metavar="TEXT",
            help="Only runs with this in the type or text of the error.",
        ),
        "parent": click.option("--parent", metavar="RUN", help="Only the child runs of this run."),
        "schedule": click.option(
            "--schedule",
            metavar="NAME",
            help="Only runs of this schedule, or of those whose names begin so.",
        ),
        "children": click.option("--all", "children", is_flag=True, help="Child runs too."),
    }

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            function = options[name](function)
        return function

    return add


def read_filters(client: Client, given: Mapping[str, Any]) -> RunFilters:
    """Return the filters that the options ask for; raises UsageError or NotFound for a wrong one.

    An empty text is refused: a variable of a shell that is not set must not mean every run.
    """
    from .lookup import must_be_flow, run_id

    filters: RunFilters = {}
    for name in OF_RUNS:
        value = given.get(name)
        if value == "":
            raise click.UsageError(f"--{name} is empty: it would match every run")
        if name in ("since", "older"):
            value = optional_seconds(value, f"--{name}")
        if value is not None:
            filters[name] = value  # type: ignore[literal-required]
    if (flow := filters.get("flow")) is not None:
        must_be_flow(client.list_flows(counts=False), flow)
    if (parent := filters.get("parent")) is not None:
        filters["parent"] = run_id(client, parent)
    return filters
