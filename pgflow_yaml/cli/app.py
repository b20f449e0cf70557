"""The group of commands: imported on demand, listed in sections, ended by an exit code."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.language.suggestions import did_you_mean

from . import streams
from .failures import BROKEN_PIPE, ENVIRONMENT, INTERRUPTED, report, report_unwritten
from .options import Options, global_options, version_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECTIONS = ("Write", "Deploy", "Run", "Watch", "Act")


@dataclass(frozen=True, slots=True)
class Entry:
    """A command as `--help` lists it."""

    name: str
    section: str
    text: str


@cache
def entries() -> dict[str, Entry]:
    """Return the commands by name, read from the first line of each module's docstring.

    The line is `Section: short help.` It is read as text, so that `--help` imports no command.
    """
    commands = {}
    for file in sorted((Path(__file__).parent / "commands").glob("[!_]*.py")):
        with file.open(encoding="utf-8") as lines:
            section, _, text = next(lines).strip('"\n').partition(": ")
        commands[file.stem] = Entry(file.stem, section, text[:1].upper() + text[1:])
    return commands


class _NobodyReads(Exception):
    """The reader of stdout has closed it."""


@contextmanager
def _own_broken_pipe() -> Iterator[None]:
    """Hide a broken pipe from click, which would exit with 1, as for an error."""
    try:
        yield
    except BrokenPipeError as error:
        raise _NobodyReads from error


class Commands(click.Group):
    """A group that imports the module of a command only when the command is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's)
        """Return the names of the commands."""
        return list(entries())

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's)
        cmd_name: str,
    ) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in entries():
            return None
        from importlib import import_module

        module = import_module(f"{__package__}.commands.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; an unknown one is refused with a suggestion."""
        if args and args[0] not in entries() and not args[0].startswith("-"):
            hint = did_you_mean(args[0], list(entries()))
            if args[0] == "why":
                hint = '; did you mean "show RUN --why"?'
            raise click.UsageError(f'there is no command "{args[0]}"{hint}', ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the command line; `--help` and `--version` write their texts here."""
        with _own_broken_pipe():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _own_broken_pipe():
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands before the options: readers look for them first."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's)
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands by section."""
        width = max(map(len, entries()))
        for heading in SECTIONS:
            commands = [entry for entry in entries().values() if entry.section == heading]
            with formatter.section(heading):
                formatter.write_dl([(entry.name.ljust(width), entry.text) for entry in commands])


@click.pass_context
def _without_command(ctx: click.Context) -> None:
    """Show the help if the command line names no command."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


app = Commands(
    name="pgflow-yaml",
    callback=_without_command,
    help="Durable workflows from YAML files and Python functions, on PostgreSQL.",
    params=[*global_options(), version_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="COMMAND ...",
    invoke_without_command=True,
)


def run(args: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code, whatever is raised."""
    options = Options(json="--json" in (sys.argv[1:] if args is None else args))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pgflow-yaml")
    try:
        code = _code_of(args, options)
        streams.result_stream().flush()
    except (_NobodyReads, BrokenPipeError):
        streams.abandon_results()
        return BROKEN_PIPE
    fault = streams.fault()
    return code if fault is None else report_unwritten(fault, done=code == 0)


def _code_of(args: Sequence[str] | None, options: Options) -> int:
    """Run one command and return the exit code; raise only for a reader of stdout that is gone."""
    try:
        code = app.main(
            args=None if args is None else list(args),
            prog_name="pgflow-yaml",
            standalone_mode=False,
            obj=options,
        )
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (_NobodyReads, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 (outermost frame: an error ends as a sentence)
        return report(error, options)
    if options.is_partial and not code:
        return ENVIRONMENT
    return code if isinstance(code, int) else 0
