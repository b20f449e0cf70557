"""Pack a folder in a process of its own, and poll until it is done."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TypedDict

# It writes beside the target and then renames: a file with the final name is complete.
PACK = """
import os, sys, tarfile
folder, target = sys.argv[1:]
part = f"{target}.{os.getpid()}"
with tarfile.open(part, "w:gz") as archive:
    archive.add(folder, arcname=os.path.basename(os.path.abspath(folder)))
os.rename(part, target)
"""


class State(TypedDict):
    """State of the archive and its size in bytes."""

    ready: bool
    bytes: int


class Contents(TypedDict):
    """Content of an archive."""

    files: int


def begin(folder: str, target: str, run: str) -> str:
    """Start the packing and return at once; a second start makes the same file."""
    if not Path(folder).is_dir():
        raise NotADirectoryError(f"{folder} is no folder")
    made = Path(target).with_name(f"{run}.tar.gz")
    made.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", PACK, folder, str(made)]
    subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
    return str(made)


def watch(target: str) -> State:
    """Return the state of the archive."""
    path = Path(target)
    return {"ready": path.is_file(), "bytes": path.stat().st_size if path.is_file() else 0}


def check(target: str, folder: str) -> Contents:
    """Read the archive and compare it with the folder."""
    with tarfile.open(target) as archive:
        packed = sum(member.isfile() for member in archive)
    there = sum(path.is_file() for path in Path(folder).rglob("*"))
    if packed != there:
        raise ValueError(f"{target} has {packed} files, {folder} has {there}")
    return {"files": packed}


def publish(made: str, target: str) -> str:
    """Return the path of the archive."""
    if Path(made).exists():
        Path(made).replace(target)
    return target
