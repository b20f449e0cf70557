"""The decorator for commands, the options that several or all of them take, and durations."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

COLORS = ("auto", "always", "never")
LOG_FORMATS = ("auto", "text", "json")
# The rule of the schema (definitions.labelName).


@dataclass(slots=True)
class Options:
    """Options of all commands; a value after the name of the command takes precedence."""

    dsn: str | None = None
    database: str | None = None
    read_dsn: str | None = None
    insecure_dsn: bool = False
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    color: str = "auto"
    log_format: str = "auto"
    debug: bool = False
    is_partial: bool = False
    """True once a list lacks the rows of a database that is away."""

    def note(self, text: str) -> None:
        """Write a line to stderr, unless `-q` is set."""
        if not self.quiet:
            click.echo(text, err=True)

    def colored(self, stream: IO[str]) -> bool:
        """Return true to colour a stream, by `--color`, NO_COLOR, FORCE_COLOR or its terminal."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return is_screen(stream)


def is_screen(stream: IO[str]) -> bool:
    """Return true if a stream is a terminal that understands escape sequences."""
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


# What the shell completes from the database, by the name of the parameter.
NAMES = {
    "flow": "flow",
    "run": "run",
    "runs": "run",
    "parent": "run",
    "step": "step",
    "steps": "step",
    "queue": "queue",
    "queues": "queue",
}


class Name(click.types.StringParamType):
    """A text that the shell completes from the database."""

    def __init__(self, kind: str) -> None:
        """Complete a flow, run, step or queue."""
        self.kind = kind

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 (click's)
        incomplete: str,
    ) -> list[Any]:
        """Return the names that begin with a text; none if the database does not answer at once."""
        from .completing import complete

        return complete(self.kind, incomplete, ctx)


class Command(click.Command):
    """A command with one example in its help, and the options that all commands take."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        """Add the common options; `example` is a line for a shell, which a test runs."""
        super().__init__(*args, **kwargs)
        self.example = example
        for param in self.params:
            if param.name in NAMES and param.type is click.STRING:
                param.type = Name(NAMES[param.name])
        self.params += global_options(hidden=True)

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's)
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the example, and a pointer to the options of all commands."""
        with formatter.section("Example"):
            formatter.write_text(self.example)
        formatter.write_paragraph()
        formatter.write_text(
            "Also: --dsn, --json, -q, -v, --color, --log-format, --debug (pgflow-yaml -h)."
        )


def command(name: str, *, example: str) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a command of a function, with its docstring as the help."""
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    return click.command(name, cls=Command, example=example, context_settings=settings)


def import_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose the modules with handlers."""
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    app_dir = click.option(
        "--app-dir", type=folder, help="Folder with the modules of handlers. [default: this folder]"
    )
    allow = click.option(
        "--allow",
        metavar="PREFIX",
        multiple=True,
        help="Also allow handlers from modules under this package prefix.",
    )
    return app_dir(allow(function))


def worker_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that run handlers."""
    concurrency = click.option(
        "-c",
        "--concurrency",
        metavar="N",
        type=click.IntRange(1, 5000),
        help="Maximum number of handlers running at once. [default: 8, or as an engine has]",
    )
    lease = click.option(
        "--lease",
        metavar="TIME",
        help="Lease duration, 1s to 1d: another worker takes over after this long without a "
        "heartbeat. [default: 30s]",
    )
    notify = click.option(
        "--no-notify",
        "notify",
        flag_value=False,
        type=bool,
        default=None,
        help="Poll only; do not LISTEN for wake-ups.",
    )
    secrets = click.option(
        "--secrets",
        metavar="DIR or FILE",
        type=click.Path(exists=True, path_type=Path),
        help="Secrets: a folder with a file for each, or a file of NAME=value lines. "
        "[default: the variables PGFLOW_YAML_SECRET_NAME]",
    )
    prefix = click.option(
        "--no-prefix",
        "prefix",
        flag_value=False,
        type=bool,
        default=None,
        help="Print lines of handlers as they are, without the name of their step.",
    )
    return concurrency(lease(notify(secrets(prefix(import_options(function))))))


def input_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option for a run's input."""
    return click.option(
        "--input",
        "inputs",
        metavar="INPUT",
        multiple=True,
        help="Input as JSON, @file, or name=value (may be repeated).",
    )(function)


def label_option(*names: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option for labels, `name=value`, which may be repeated."""
    return click.option(
        *names, "labels", metavar="NAME=VALUE", multiple=True, callback=_labels, help=text
    )


def _labels(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    from pgflow_yaml.project.files import schema

    rule = schema() if texts else {}
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            missing = "name" if equals else "value"
            raise click.UsageError(f'label "{text}" has no {missing}; write name=value')
        names = rule["definitions"]["labelName"]
        if len(name) > names["maxLength"] or not re.fullmatch(names["pattern"], name):
            raise click.UsageError(
                f'label "{name}" is not a name; write a letter, then up to '
                f"{names['maxLength'] - 1} letters, digits and _ . - /"
            )
        longest = rule["properties"]["labels"]["additionalProperties"]["maxLength"]
        if len(value) > longest:
            raise click.UsageError(
                f'label "{name}" has {len(value):,} characters; write up to {longest}'
            )
        if labels.setdefault(name, value) != value:
            raise click.UsageError(f'label "{name}" is given twice, with two values')
    return labels


def key_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option for the key of a start."""
    return click.option(
        "--key",
        callback=_key,
        help="Idempotency key: a second start with it returns the first run.",
    )(function)


def _key(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    if text == "":
        raise click.UsageError("--key is empty: every start with it would be the same run")
    if text == "last":
        raise click.UsageError('--key "last" would hide the run that `last` means; choose another')
    if text is not None and text.startswith("after:"):
        raise click.UsageError(
            "--key begins with after:, as the keys of runs that `after` starts do"
        )
    return text


pass_options = click.make_pass_decorator(Options, ensure=True)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # An absent option is None, false or 0; then the value before the name of the command stays.
    if value and param.name:
        setattr(ctx.ensure_object(Options), param.name, value)


def global_options(*, hidden: bool = False) -> list[click.Parameter]:
    """Return the options that every command takes."""

    def option(*names: str, **settings: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_keep, hidden=hidden, **settings)

    return [
        option(
            "--dsn",
            metavar="CONNINFO",
            help="Database (else DATABASE_URL, PG*, the project's own).",
        ),
        option(
            "--database",
            metavar="NAME",
            help="One of the databases that pyproject.toml names, or default.",
        ),
        option(
            "--read-dsn",
            metavar="CONNINFO",
            help="Database for what only reads, such as a standby (else PGFLOW_YAML_READ_DSN).",
        ),
        option(
            "--insecure-dsn", is_flag=True, help="Accept a password in --dsn, where `ps` shows it."
        ),
        option("--json", is_flag=True, help="Result as JSON on stdout."),
        option("-q", "--quiet", is_flag=True, help="Print only the result and errors."),
        option("-v", "--verbose", count=True, help="Log more; twice: everything."),
        option("--color", type=click.Choice(COLORS), help="Use colour (auto: on terminals)."),
        option("--log-format", type=click.Choice(LOG_FORMATS), help="Log lines as text or JSON."),
        option("--debug", is_flag=True, help="Show the traceback of an error."),
    ]


def version_option() -> click.Option:
    """Return the option `--version`, which reads the installed version only when it is used."""

    def show(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if not value or ctx.resilient_parsing:
            return
        from importlib.metadata import version

        name, release = "pgflow-yaml", version("pgflow-yaml")
        if ctx.ensure_object(Options).json:
            sys.stdout.write(f'{{"version": "{release}"}}\n')
        else:
            sys.stdout.write(f"{name} {release}\n")
        ctx.exit()

    return click.Option(
        ("--version",),
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version and exit.",
    )


def seconds(text: str, option: str) -> float:
    """Read a duration as in flow files: a number of seconds, or `500ms`, `30m`, `2h`, `7d`."""
    from pgflow_yaml.language import durations

    length = durations.seconds(text)
    if length is None:
        raise click.UsageError(f'{option} "{text}" is not a duration; write 30s, 5m, 2h or 7d')
    return length


def optional_seconds(text: str | None, option: str) -> float | None:
    """Read the duration of an option; None if the option is absent."""
    return None if text is None else seconds(text, option)
