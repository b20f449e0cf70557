"""Commands of the section Watch and repair: `runs`, `show`, `watch`, `cancel`."""

from __future__ import annotations

import shutil
import sys
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import Options, command, label_option, pass_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.cli.live.end_screen import Picture
    from pgflow_yaml.cli.output import CellsOf
    from pgflow_yaml.database.store import Store
    from pgflow_yaml.runs.snapshot import Snapshot

STATUSES = ("started", "completed", "failed", "cancelled")
RUNS_SHOWN = 20
LINES_OF_A_VALUE = 40
# More rows than any run has: nothing folds.
ENDLESS = 10_000


@command("runs", example="pgflow-yaml runs --status completed --since 2h")
@click.option("--flow", metavar="NAME", help="Only runs of this flow.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs with this status.")
@label_option("-l", "--label", text="Only runs with this label (repeated: all of them).")
@click.option("--since", metavar="TIME", help="Only runs created in the last 30m, 2h, 7d.")
@click.option(
    "-n",
    "limit",
    type=click.IntRange(1, 10_000),
    default=RUNS_SHOWN,
    show_default=True,
    help="At most so many.",
)
@pass_options
def runs_command(
    options: Options,
    *,
    flow: str | None,
    status: str | None,
    labels: Mapping[str, str],
    since: str | None,
    limit: int,
) -> None:
    """List runs, the newest first."""
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.lookup import must_be_flow
    from pgflow_yaml.cli.options import optional_seconds
    from pgflow_yaml.cli.output import write_list

    age = optional_seconds(since, "--since")
    with connected(options) as store:
        found = store.list_runs(flow=flow, status=status, since=age, limit=limit, labels=labels)
        if flow is not None and not found:
            must_be_flow(store.list_flows(), flow)
    write_list(found, _run_columns(), options)


def _run_columns() -> list[CellsOf]:
    from pgflow_yaml.cli.output import Column, when
    from pgflow_yaml.text import labels_text

    return [
        (Column("RUN"), lambda run: run["id"][:8]),
        (Column("FLOW", flexible=True), itemgetter("flow")),
        (Column("STATUS"), _status_of_run),
        (Column("STEPS", right=True), lambda run: "{completed}/{total}".format(**run["steps"])),
        (Column("CREATED"), lambda run: when(run["created_at"])),
        (Column("TOOK", right=True), _took),
        (Column("KEY", flexible=True), lambda run: run["key"] or ""),
        (Column("PARENT"), lambda run: run["parent"]["id"][:8] if run["parent"] else ""),
        (Column("LABELS", flexible=True), lambda run: labels_text(run["labels"])),
        (Column("ERROR", flexible=True), _error),
    ]


def _status_of_run(run: Mapping[str, Any]) -> str:
    """Say how a run is; one whose outcome is known before its end is being stopped."""
    return "stopping" if run["status"] == "started" and run["outcome"] else str(run["status"])


def _error(run: Mapping[str, Any]) -> str:
    from pgflow_yaml.runs.events import run_error

    return run_error({"status": run["outcome"] or run["status"], "error": run["error"]})


def _took(run: Mapping[str, Any]) -> str:
    from pgflow_yaml.text import duration, moment

    if not run["ended_at"]:
        return ""
    return duration((moment(run["ended_at"]) - moment(run["created_at"])).total_seconds())


@command("show", example="pgflow-yaml show last --step greet")
@click.argument("run")
@click.option("--step", metavar="STEP", help="Everything about one step.")
@click.option("--why", is_flag=True, help="What each unfinished step waits for.")
@click.option("--items", is_flag=True, help="The items of maps by status, too.")
@pass_options
def show_command(options: Options, *, run: str, step: str | None, why: bool, items: bool) -> None:
    """Show one run: steps, input, output, attempts, errors.

    RUN is an id, the beginning of one, a key, or "last".
    """
    from pgflow_yaml.cli import lookup, show_page
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.live.end_screen import expression
    from pgflow_yaml.cli.output import write_json, write_lines

    with connected(options) as store:
        snapshot = lookup.snapshot(store, lookup.run_id(store, run), items=items)
        workers = store.run_workers(snapshot["run"]["id"]) if why else {}
        picture = _picture_of_errors(store, snapshot)
    if step is not None:
        lookup.step(snapshot, step)
    if why:
        _write_why(snapshot, step, workers, options=options)
        return
    if options.json:
        write_json(_only(snapshot, step))
        return
    chosen = _only(snapshot, step)["steps"]
    most = LINES_OF_A_VALUE if sys.stdout.isatty() else None
    if step is None:
        if sys.stdout.isatty():
            _write_picture(snapshot, options)
            write_lines([[], *show_page.about_run(snapshot, most=most)], sys.stdout, options)
        else:
            _write_plain(snapshot, options)
        chosen = [
            each for each in chosen if each["status"] == "failed" or (items and "items" in each)
        ]
    for each in chosen:
        errors = [error for error in snapshot["errors"] if error["step"] == each["slug"]]
        about = show_page.about_step(each, errors, items=items, most=most)
        about += expression(each["slug"], each["error"], picture)
        write_lines([[], *about] if step is None else about, sys.stdout, options)


def _picture_of_errors(store: Store, snapshot: Snapshot) -> Picture:
    """Show expressions without a value in the stored text; it is read only if there are any."""
    from functools import partial

    from pgflow_yaml.cli.flow_files.diagnostics import error_frame
    from pgflow_yaml.cli.live.end_screen import no_picture

    run = snapshot["run"]
    errors = [step["error"] for step in snapshot["steps"]]
    if not any(error and error["type"] == "ExpressionError" for error in errors):
        return no_picture
    found = store.get_definition(run["flow"], run["version"])
    return (
        partial(error_frame, f"{run['flow']}@{run['version']}", found["source"])
        if found
        else no_picture
    )


def _write_why(
    snapshot: Snapshot, step: str | None, workers: Mapping[str, int], *, options: Options
) -> None:
    from pgflow_yaml.cli import why_page
    from pgflow_yaml.cli.output import write_json, write_lines
    from pgflow_yaml.runs.why import reasons

    found = reasons(snapshot, workers)
    if options.json:
        shown = _only(snapshot, step)
        told = [{**each, "why": found.get(each["slug"])} for each in shown["steps"]]
        write_json({**shown, "steps": told})
        return
    if step is not None:
        found = {slug: text for slug, text in found.items() if slug == step}
    write_lines(why_page.lines(snapshot, found), sys.stdout, options)


def _only(snapshot: Snapshot, step: str | None) -> Snapshot:
    """Leave one step of a snapshot."""
    if step is None:
        return snapshot
    return {
        **snapshot,
        "steps": [each for each in snapshot["steps"] if each["slug"] == step],
        "errors": [each for each in snapshot["errors"] if each["step"] == step],
    }


def _write_plain(snapshot: Snapshot, options: Options) -> None:
    """Write a run for a pipe: no bars, no clock, nothing cut."""
    from pgflow_yaml.cli import show_page
    from pgflow_yaml.cli.output import Column, write_lines, write_table

    titles = ("STEP", "STATUS", "ATTEMPTS", "STARTED", "ENDED", "REMARK")
    columns = [Column(title) for title in titles]
    about = [*show_page.head(snapshot), *show_page.about_run(snapshot), []]
    write_lines(about, sys.stdout, options)
    write_table(columns, show_page.step_rows(snapshot), options)


def _write_picture(snapshot: Snapshot, options: Options) -> None:
    from rich.console import Console

    from pgflow_yaml.cli.live.frame import render_run
    from pgflow_yaml.cli.live.symbols import Frame, look_for
    from pgflow_yaml.text import moment

    width = shutil.get_terminal_size().columns
    console = Console(
        file=sys.stdout,
        width=width,
        height=ENDLESS,
        highlight=False,
        markup=False,
        emoji=False,
        color_system="standard" if options.colored(sys.stdout) else None,
        force_terminal=options.colored(sys.stdout),
    )
    frame = Frame(
        width=width, height=ENDLESS, now=moment(snapshot["now"]), look=look_for(sys.stdout.encoding)
    )
    errors = {error["step"]: error for error in snapshot["errors"]}
    console.print(render_run(snapshot, frame, errors=errors), end="\n", soft_wrap=True)


@command("watch", example="pgflow-yaml watch last")
@click.argument("run", default="last")
@click.option("--timeout", metavar="TIME", help="Stop following after 30s, 5m: exit 124.")
@click.option("--plain", is_flag=True, help="A line for each change, also on a terminal.")
@pass_options
def watch_command(options: Options, *, run: str, timeout: str | None, plain: bool) -> int:
    """Follow a run to its end; the exit code says how it ended.

    RUN is an id, the beginning of one, a key, or "last". Ctrl-C stops following, not the run.
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.live import views
    from pgflow_yaml.cli.live.follow import Followed, to_its_end
    from pgflow_yaml.cli.options import optional_seconds

    limit = optional_seconds(timeout, "--timeout")
    hint = "Ctrl-C stops following; the run goes on"
    with database(options) as place:
        with place.store() as store:
            chosen = lookup.run_id(store, run)
        lines = plain and not options.json
        view = views.plain_lines() if lines else views.view_for(options, sys.stdout, hint=hint)
        followed = Followed(run_id=chosen, view=view, out=sys.stdout, timeout=limit)
        try:
            with place.patient_store() as patient:
                return to_its_end(patient, followed, options)
        except KeyboardInterrupt:
            options.note(f"run goes on: pgflow-yaml watch {chosen[:8]}")
            raise


@command("cancel", example='pgflow-yaml cancel last --reason "wrong order"')
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--reason", help="Kept with the run.")
@pass_options
def cancel_command(options: Options, *, runs: Sequence[str], reason: str | None) -> None:
    """Cancel runs; one that has ended stays as it is.

    A run with `finally` steps is stopped, and ends when these have run; cancelled again, it ends
    at once.

    RUN is an id, the beginning of one, a key, or "last".
    """
    from pgflow_yaml.cli.database import connected
    from pgflow_yaml.cli.lookup import run_id
    from pgflow_yaml.cli.output import write_json

    with connected(options) as store:
        # All are found before any is cancelled: a typing mistake cancels nothing.
        chosen = list(dict.fromkeys(run_id(store, each) for each in runs))
        results = [store.cancel_run(each, reason) for each in chosen]
    if options.json:
        write_json(results)
        return
    for result in results:
        sys.stdout.write(f"{result['run_id']}  {_said_of_cancel(result)}\n")


def _said_of_cancel(result: Mapping[str, Any]) -> str:
    if not result["cancelled"]:
        return f"had ended already: {result['status']}"
    if result["status"] == "started":
        return "stopping: its finally steps run now; cancel it again to end it at once"
    return "cancelled" if result["status"] == "cancelled" else f"ended: {result['status']}"
