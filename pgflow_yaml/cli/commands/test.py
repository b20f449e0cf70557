"""`test`: play the cases of `*.test.yaml` files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, import_options, pass_options

if TYPE_CHECKING:
    from collections.abc import Sequence


@command("test", example="pgflow-yaml test")
@click.argument("paths", metavar="[FILE or DIR]...", nargs=-1)
@click.option("-k", "expression", metavar="EXPR", help="Only cases that fit: `card and not slow`.")
@click.option(
    "--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write JUnit XML, too."
)
@click.option("--watch", is_flag=True, help="Test again whenever a file changes.")
@import_options
@pass_options
def test_command(
    options: Options,
    *,
    paths: Sequence[str],
    expression: str | None,
    junit: Path | None,
    watch: bool,
    app_dir: Path | None,
    allow: Sequence[str],
) -> int:
    """Play the cases of test files in virtual time, on a database of their own.

    Without paths: every *.test.yaml below this folder. Mocks stand in for handlers.
    """
    paths = paths or (".",)
    if watch:
        from pgflow_yaml.cli.testing_again import test_again

        return test_again(paths, app_dir, options)
    from pgflow_yaml.cli.testing import Request, test_here

    request = Request(paths=paths, expression=expression, junit=junit, app_dir=app_dir, allow=allow)
    return test_here(request, options)
