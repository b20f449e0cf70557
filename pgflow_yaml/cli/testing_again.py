"""`test --watch`: test, wait until a file changes, test again.

Each time in a process of its own, so that changed handlers are imported anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.testing.databases import project_databases

from .database import project_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .options import Options

_LOOK_SECONDS = 0.2
_SUFFIXES = frozenset({".yaml", ".yml", ".py", ".toml"})


def again_and_again(paths: Sequence[str], app_dir: Path | None, options: Options) -> int:
    """Test whenever something changes, until Ctrl-C; the server is kept running meanwhile."""
    words = [word for word in sys.argv[1:] if word != "--watch"]
    folders = [Path(path) for path in paths] + [app_dir or Path()]
    with project_databases(project_dir()):
        while True:
            before = _state(folders)
            subprocess.run([sys.executable, "-m", "pgflow_yaml", *words], check=False)
            options.note("waiting for a change; Ctrl-C ends")
            while _state(folders) == before:
                time.sleep(_LOOK_SECONDS)


def _state(folders: Sequence[Path]) -> dict[Path, int]:
    """Return when each file that matters was changed."""
    state = {}
    for path in {file for folder in folders for file in _files(folder)}:
        try:
            state[path] = path.stat().st_mtime_ns
        except OSError:  # gone since it was listed
            continue
    return state


def _files(path: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(path if path.is_dir() else path.parent):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        yield from (Path(folder, name) for name in names if Path(name).suffix in _SUFFIXES)
