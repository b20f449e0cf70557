"""`--watch`: do it, wait until a file changes, do it again, until Ctrl-C.

Each time in a process of its own, so that changed handlers are imported anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .options import Options

_LOOK_SECONDS = 0.2
_SUFFIXES = frozenset({".yaml", ".yml", ".py", ".toml"})
_CLEAR = "\x1b[2J\x1b[H"


def rerun_on_change(paths: Sequence[Path], options: Options, *, clear: bool = False) -> NoReturn:
    """Repeat this process's command whenever something in files or folders changes."""
    words = [word for word in sys.argv[1:] if word != "--watch"]
    while True:
        before = _state(paths)
        if clear and sys.stdout.isatty() and not options.json:
            sys.stdout.write(_CLEAR)
            sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "pgflow_yaml", *words], check=False)
        options.note("waiting for a change; Ctrl-C ends")
        while _state(paths) == before:
            time.sleep(_LOOK_SECONDS)


def _state(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return when each file that matters was changed, and its size."""
    state = {}
    for path in {file for each in paths for file in _files(each)}:
        try:
            found = path.stat()
        except OSError:  # gone since it was listed, or while an editor writes it anew
            continue
        state[path] = (found.st_mtime_ns, found.st_size)
    return state


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        yield from (Path(folder, name) for name in names if Path(name).suffix in _SUFFIXES)
