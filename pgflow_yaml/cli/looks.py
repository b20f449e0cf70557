"""Commands that look at one run: `show`, `watch`."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from .options import Options, command, pass_options

if TYPE_CHECKING:
    from .shapes import Snapshot

PIPE_WIDTH = 160
LINES_OF_A_VALUE = 40
# More rows than any run has: nothing folds.
ENDLESS = 10_000


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
    from . import finding, report
    from .database import connected
    from .output import write_json, write_lines

    with connected(options) as store:
        snapshot = finding.snapshot(store, finding.run_id(store, run), items=items)
    if step is not None:
        finding.step(snapshot, step)
    if options.json:
        write_json(_only(snapshot, step))
        return
    if why:
        write_lines(report.why(_only(snapshot, step)), sys.stdout, options)
        return
    chosen = _only(snapshot, step)["steps"]
    most = LINES_OF_A_VALUE if sys.stdout.isatty() else None
    if step is None:
        _write_picture(snapshot, options)
        write_lines([[], *report.about_run(snapshot, most=most)], sys.stdout, options)
        chosen = [
            each for each in chosen if each["status"] == "failed" or (items and "items" in each)
        ]
    for each in chosen:
        errors = [error for error in snapshot["errors"] if error["step"] == each["slug"]]
        about = report.about_step(each, errors, now=snapshot["now"], items=items, most=most)
        write_lines([[], *about] if step is None else about, sys.stdout, options)


def _only(snapshot: Snapshot, step: str | None) -> Snapshot:
    """Leave one step of a snapshot."""
    if step is None:
        return snapshot
    return {
        **snapshot,
        "steps": [each for each in snapshot["steps"] if each["slug"] == step],
        "errors": [each for each in snapshot["errors"] if each["step"] == step],
    }


def _write_picture(snapshot: Snapshot, options: Options) -> None:
    from rich.console import Console

    from .look import Frame, look_for
    from .render import render_run
    from .words import moment

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else PIPE_WIDTH
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
    from . import finding, live
    from .arguments import optional_seconds
    from .database import database
    from .ending import Followed, to_its_end

    limit = optional_seconds(timeout, "--timeout")
    hint = "Ctrl-C stops following; the run goes on"
    with database(options) as place, place.store() as store, place.patient_store() as patient:
        chosen = finding.run_id(store, run)
        lines = plain and not options.json
        view = live.plain_lines() if lines else live.view_for(options, sys.stdout, hint=hint)
        followed = Followed(run_id=chosen, view=view, out=sys.stdout, timeout=limit)
        try:
            return to_its_end(patient, followed, options)
        except KeyboardInterrupt:
            options.note(f"run goes on: pgflow-yaml watch {chosen[:8]}")
            raise
