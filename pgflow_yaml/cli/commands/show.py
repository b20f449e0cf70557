"""Watch: show one run: steps, outputs, attempts, errors."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.cli.live.end_screen import Picture
    from pgflow_yaml.client import Client
    from pgflow_yaml.runs.snapshot import Snapshot
    from pgflow_yaml.runs.why import Reason

LINES_OF_A_VALUE = 40
# More rows than any run has, so that nothing is folded.
ENDLESS = 10_000


@command("show", example="pgflow-yaml show last --step greet")
@click.argument("run")
@click.option("--step", metavar="STEP", help="Show one step with all details and arguments.")
@click.option("--item", type=click.IntRange(min=0), metavar="N", help="With --step: one item.")
@click.option("--why", is_flag=True, help="Reason why each unfinished step waits.")
@click.option("--items", is_flag=True, help="Also list the items of maps by status.")
@pass_options
def show_command(
    options: Options, *, run: str, step: str | None, item: int | None, why: bool, items: bool
) -> None:
    """Show one run: steps, input, output, attempts, errors.

    RUN is an id, the beginning of one, a key, or "last".
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.live import page
    from pgflow_yaml.cli.live.end_screen import expression
    from pgflow_yaml.cli.output import write_json, write_lines
    from pgflow_yaml.cli.resuming import resume_command
    from pgflow_yaml.client.reading import read_run
    from pgflow_yaml.runs.shown import only
    from pgflow_yaml.runs.steps import by_slug

    if item is not None and (step is None or why):
        raise click.UsageError("--item needs --step, without --why")
    with database(options, reads=True, run=run) as client:
        run_id = lookup.run_id(client, run)
        with lookup.usage_errors():
            snapshot = read_run(
                client, run_id, step=step, item=item, items=items, arguments=not why
            )
        reasons = client.why(run_id) if why else {}
        picture = _picture_of_errors(client, snapshot)
        resume = resume_command(client, options, run_id)
    if why:
        _write_why(snapshot, step, reasons, options=options)
        return
    if options.json:
        write_json(only(snapshot, step))
        return
    chosen, every = only(snapshot, step)["steps"], by_slug(snapshot["steps"])
    most = LINES_OF_A_VALUE if sys.stdout.isatty() else None
    if step is None:
        if sys.stdout.isatty():
            _write_picture(snapshot, resume, options)
            write_lines([[], *page.about_run(snapshot, most=most)], sys.stdout, options)
        else:
            _write_plain(snapshot, resume, options)
        chosen = [
            state for state in chosen if state["status"] == "failed" or (items and "items" in state)
        ]
    if item is not None:
        write_lines(page.about_item(chosen[0], item, most=most), sys.stdout, options)
        return
    for state in chosen:
        errors = [error for error in snapshot["errors"] if error["step"] == state["slug"]]
        about = page.about_step(
            state, errors, every, items=items, called=step is not None, most=most
        )
        about += expression(state["slug"], state["error"], picture)
        write_lines([[], *about] if step is None else about, sys.stdout, options)


def _picture_of_errors(client: Client, snapshot: Snapshot) -> Picture:
    """Return a function that shows failed expressions; the flow is read only if there are any."""
    from functools import partial

    from pgflow_yaml.cli.diagnostics import error_frame
    from pgflow_yaml.cli.live.end_screen import no_picture

    run = snapshot["run"]
    errors = [step["error"] for step in snapshot["steps"]]
    if not any(error and error["type"] == "ExpressionError" for error in errors):
        return no_picture
    stored = client.get_definition(run["flow"], run["version"])
    return (
        partial(
            error_frame, f"{run['flow']}@{run['version']}", stored.source or "", flow=run["flow"]
        )
        if stored
        else no_picture
    )


def _write_why(
    snapshot: Snapshot, step: str | None, reasons: Mapping[str, Reason], *, options: Options
) -> None:
    from pgflow_yaml.cli.live.page import why_lines
    from pgflow_yaml.cli.output import write_json, write_lines
    from pgflow_yaml.runs.shown import reason_sentences, with_reasons

    if options.json:
        write_json(with_reasons(snapshot, reasons, step))
        return
    texts = reason_sentences(snapshot, reasons)
    if step is not None:
        texts = {slug: text for slug, text in texts.items() if slug == step}
    write_lines(why_lines(snapshot, texts), sys.stdout, options)


def _write_plain(snapshot: Snapshot, resume: str, options: Options) -> None:
    """Write a run for a pipe: no bars, no clock, nothing cut."""
    from pgflow_yaml.cli.live import page
    from pgflow_yaml.cli.output import Column, write_lines, write_table

    titles = ("STEP", "STATUS", "ATTEMPTS", "STARTED", "ENDED", "REMARK")
    columns = [Column(title) for title in titles]
    about = [*page.head(snapshot, resume), *page.about_run(snapshot), []]
    write_lines(about, sys.stdout, options)
    write_table(columns, page.step_rows(snapshot), options)


def _write_picture(snapshot: Snapshot, resume: str, options: Options) -> None:
    from rich.console import Console

    from pgflow_yaml.cli.live.frame import render_run
    from pgflow_yaml.cli.live.symbols import Frame, symbols_for
    from pgflow_yaml.runs.events import current
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
    symbols = symbols_for(sys.stdout.encoding)
    frame = Frame(width=width, height=ENDLESS, now=moment(snapshot["now"]), symbols=symbols)
    errors = {error["step"]: error for error in current(snapshot["errors"])}
    drawn = render_run(snapshot, frame, errors=errors, resume=resume)
    console.print(drawn, end="\n", soft_wrap=True)
