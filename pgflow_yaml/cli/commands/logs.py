"""Watch: show what the handlers of a run printed and logged."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgflow_yaml.cli.live.symbols import Line
    from pgflow_yaml.runs.logs import LogLine

LEVELS = ("debug", "info", "warning", "error", "critical")
LINES_SHOWN = 1000
_COLORS = ("cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green")
_LEVEL_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
_LEAST, _MOST = 8, 24  # columns for the name of a step


@command("logs", example="pgflow-yaml logs last --failed")
@click.argument("run", default="last")
@click.option(
    "--step", "steps", metavar="STEP", multiple=True, help="Only this step (may be repeated)."
)
@click.option("--index", type=click.IntRange(0), metavar="N", help="Only this item of a map.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Only this attempt.")
@click.option("--failed", is_flag=True, help="Only the last attempt of each task that failed.")
@click.option("--level", type=click.Choice(LEVELS), help="Only lines of this level and above.")
@click.option("--since", metavar="TIME", help="Only lines of the last 30s, 10m, 2h, 7d.")
@click.option("-f", "--follow", is_flag=True, help="Also show new lines, until the run ends.")
@click.option(
    "-n",
    "limit",
    metavar="N",
    type=click.IntRange(0),
    default=LINES_SHOWN,
    show_default=True,
    help="The last N lines at most.",
)
@pass_options
def logs_command(  # noqa: PLR0913 (its options)
    options: Options,
    *,
    run: str,
    steps: Sequence[str],
    index: int | None,
    attempt: int | None,
    failed: bool,
    level: str | None,
    since: str | None,
    follow: bool,
    limit: int,
) -> None:
    """Show what the handlers of a run printed and logged: time, step, attempt, level, text.

    RUN is an id, the beginning of one, a key, or "last". With --json, each line is an object.
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.options import optional_seconds
    from pgflow_yaml.client.reading import check_steps, no_lines
    from pgflow_yaml.runs.logs import LogFilter

    chosen = LogFilter(
        steps=tuple(steps) or None,
        index=index,
        attempt=attempt,
        failed=failed,
        level=level,
        since=optional_seconds(since, "--since"),
    )
    with database(options, reads=True, run=run) as client:
        run_id = lookup.run_id(client, run)
        check_steps(client, run_id, steps)
        if follow:
            with client.patient() as patient:
                shown = _write(patient.follow_logs(run_id, chosen, limit=limit), options)
        else:
            shown = _write(client.run_logs(run_id, chosen, limit=limit), options)
        if not shown:
            options.note(no_lines(client, run_id, chosen))


def _write(lines: Iterable[LogLine], options: Options) -> int:
    """Write lines as they come; return their number."""
    from pgflow_yaml.cli.output import write_lines
    from pgflow_yaml.cli.streams import result_stream

    count = 0
    format_line = _formatter()
    for line in lines:
        count += 1
        if options.json:
            result_stream().write(json.dumps(line.as_json()) + "\n")
            result_stream().flush()
        else:
            write_lines([format_line(line)], sys.stdout, options)
    return count


def _formatter() -> Callable[[LogLine], Line]:
    """Return a function that lays out a line; the column of steps grows with their names."""
    from zlib import crc32

    from pgflow_yaml.text import cells, clean, one_line, utc

    is_screen = sys.stdout.isatty()
    column = _LEAST

    def format_line(line: LogLine) -> Line:
        nonlocal column
        at = line.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
        stamp = at if is_screen else utc(line.at.isoformat())
        label = one_line(line.label)
        column = max(column, min(cells(label), _MOST))
        space = " " * (column - cells(label))
        color = _COLORS[crc32(line.step.encode()) % len(_COLORS)]
        level = one_line(line.level)
        return [
            (f"{stamp}  ", "dim"),
            (f"{label}{space}", color),
            (f"  #{line.attempt}{f' retry {line.retry}' if line.retry else ''}  ", "dim"),
            (f"{level:<8}", _LEVEL_STYLES.get(level, "dim")),
            (f"  {clean(line.text)}", ""),
        ]

    return format_line
