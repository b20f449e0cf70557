"""The group of commands: loaded one by one, listed in four sections, ended by one exit code."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.language.suggestions import did_you_mean

from .failures import BROKEN_PIPE, INTERRUPTED, report
from .options import Options, global_options, version_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Section -> command -> its short help: with the texts here, `--help` imports no command.
SECTIONS: dict[str, dict[str, str]] = {
    "Write": {
        "init": "Write an example flow with handlers and tests; overwrites nothing.",
        "validate": "Check flow files and show every mistake with its place.",
        "graph": "Draw a flow, or a run with the status of each step.",
        "plan": "Say what a run would do, and what deploying would change.",
        "schema": "Print the JSON Schema of flow files, for editors.",
        "explain": "Say what the code of a finding means, with an example.",
        "test": "Play the cases of test files in virtual time.",
    },
    "Deploy": {
        "migrate": "Install or update the tables and functions in the database.",
        "compile": "Check flow files and make their versions the active ones.",
        "diff": "Say what a flow file changes in the active version.",
        "flows": "List the flows in the database.",
        "versions": "List the versions of a flow.",
        "activate": "Make a stored version of a flow the active one.",
    },
    "Run": {
        "run": "Run a flow here and follow it to its end.",
        "start": "Start a run for workers elsewhere and print its id.",
        "worker": "Process tasks until told to stop.",
    },
    "Watch and repair": {
        "runs": "List runs, the newest first.",
        "show": "Show one run: steps, outputs, attempts, errors.",
        "watch": "Follow a run to its end.",
        "cancel": "Cancel runs.",
        "send": "Send an event to a run that waits for it.",
        "approve": "Approve a step that waits for an event.",
        "reject": "Reject a step that waits for an event: it fails.",
    },
}

_COMMANDS = [name for section in SECTIONS.values() for name in section]


class _NobodyReads(Exception):
    """What read stdout has gone."""


@contextmanager
def _own_broken_pipe() -> Iterator[None]:
    """Keep a broken pipe from click, which ends it with 1: something would not be fine."""
    try:
        yield
    except BrokenPipeError as error:
        raise _NobodyReads from error


class Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's)
        """Name the commands in the order of the help."""
        return _COMMANDS

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's)
        cmd_name: str,
    ) -> click.Command | None:
        """Import one command."""
        if cmd_name not in _COMMANDS:
            return None
        from importlib import import_module

        module = import_module(f"{__package__}.commands.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Answer an unknown command with the nearest known one."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], _COMMANDS)
            raise click.UsageError(f'there is no command "{args[0]}"{hint}', ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the command line; `--help` and `--version` write already."""
        with _own_broken_pipe():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _own_broken_pipe():
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands first: they are what one looks for."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's)
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands in their sections."""
        width = max(map(len, _COMMANDS))
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


@click.pass_context
def _without_command(ctx: click.Context) -> None:
    """Show the help where no command is named."""
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
    """Run one command and return the exit code; nothing but an exit code leaves this function."""
    options = Options(json="--json" in (sys.argv[1:] if args is None else args))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app.main(
            args=None if args is None else list(args),
            prog_name="pgflow-yaml",
            standalone_mode=False,
            obj=options,
        )
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (_NobodyReads, BrokenPipeError):
        return _quiet_pipe()
    except Exception as error:  # noqa: BLE001 (outermost frame: an error ends as a sentence)
        return report(error, options)
    return code if isinstance(code, int) else 0


def _quiet_pipe() -> int:
    """Give the interpreter somewhere to flush to when it exits: nobody reads stdout any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
