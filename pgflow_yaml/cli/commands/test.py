"""`test`: play the cases of `*.test.yaml` files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

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
        _watch(paths, app_dir or Path(), options)
    from pgflow_yaml.cli.testing import Request, test_here

    request = Request(paths=paths, expression=expression, junit=junit, app_dir=app_dir, allow=allow)
    return test_here(request, options)


def _watch(paths: Sequence[str], app_dir: Path, options: Options) -> NoReturn:
    """Test whenever something beside the paths changes; meanwhile the server is kept running."""
    from pgflow_yaml.cli.database import project_dir
    from pgflow_yaml.cli.rerunning import rerun_on_change
    from pgflow_yaml.testing.databases import project_databases

    folders = [path if path.is_dir() else path.parent for path in map(Path, paths)]
    with project_databases(project_dir()):
        rerun_on_change([*folders, app_dir], options)
