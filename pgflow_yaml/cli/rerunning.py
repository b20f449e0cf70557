"""`--watch`: repeat a command whenever a file changes, until Ctrl-C.

Each time it runs in a new process, so that changed handlers are imported again.
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
    """Repeat the command of this process whenever a file of these files and folders changes."""
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
    """Return the modification time and the size of each relevant file."""
    state = {}
    for file in {file for path in paths for file in _files(path)}:
        try:
            status = file.stat()
        except OSError:  # deleted since the listing, perhaps by an editor that replaces it
            continue
        state[file] = (status.st_mtime_ns, status.st_size)
    return state


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        yield from (Path(folder, name) for name in names if Path(name).suffix in _SUFFIXES)
