"""`test --watch`: test, wait until a file changes, test again; the server is kept running."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.testing.databases import project_databases

from .again import again_and_again
from .database import project_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .options import Options


def test_again(paths: Sequence[str], app_dir: Path | None, options: Options) -> int:
    """Test whenever something beside the paths changes, until Ctrl-C."""
    chosen = [Path(path) for path in paths]
    folders = [path if path.is_dir() else path.parent for path in chosen]
    with project_databases(project_dir()):
        again_and_again([*folders, app_dir or Path()], options)
