"""Changes of many runs: somebody is asked first, and one that is refused hinders none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

import click

from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .options import Options

MOST_RUNS = 1000
Result = TypeVar("Result")


def agreed(action: str, runs: Sequence[str], options: Options, *, yes: bool) -> bool:
    """Return true if somebody agrees; raises UsageError where nobody can be asked."""
    if yes:
        return True
    many = plural(len(runs), "run")
    if options.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"this would {action} {many}; --yes agrees")
    if click.confirm(f"{action} {many}?", err=True):
        return True
    options.note("nothing changed")
    return False


def each_run(
    runs: Sequence[str], change: Callable[[str], Result], options: Options
) -> list[tuple[str, Result | None, str | None]]:
    """Change runs, each in a transaction of its own; return (run, result, error) of each.

    Where the database is gone, the rest is left, for a second call finds it.
    """
    results: list[tuple[str, Result | None, str | None]] = []
    for run in runs:
        try:
            results.append((run, change(run), None))
        except Unavailable as error:
            raise Unavailable(f"after {len(results)} of {len(runs)} runs: {error}") from error
        except PgflowError as error:
            results.append((run, None, error.message))
            options.note(error.message)
    return results
