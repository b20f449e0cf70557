"""Names from the database for the completion of a shell: at once, or none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from .options import Options

if TYPE_CHECKING:
    import click

PATIENCE_SECONDS = 0.15


def complete(kind: str, begun: str, ctx: click.Context) -> list[CompletionItem]:
    """Return what the database has; nothing is written, whatever goes wrong.

    The time counts from the attempt to connect. An embedded server at rest is not started.
    """
    with suppress(Exception):
        from pgflow_yaml.project.database import running_database

        options = ctx.find_object(Options) or Options()
        conninfo = running_database(Path.cwd(), options.dsn)
        if conninfo is not None:
            from pgflow_yaml.database import names

            # Before the value of an option, click leaves the arguments as they are.
            run = ctx.params.get("run") or next(iter(ctx.args), None)
            found = names.complete(conninfo, kind, begun, of=run, seconds=PATIENCE_SECONDS)
            return [CompletionItem(each["value"], help=each["help"]) for each in found]
    return []
