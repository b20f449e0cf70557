"""Packing in a process of its own, and looking whether it is done."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TypedDict

# It writes beside the target and renames: what has the name is whole.
PACK = """
import os, sys, tarfile
folder, target = sys.argv[1:]
part = f"{target}.{os.getpid()}"
with tarfile.open(part, "w:gz") as archive:
    archive.add(folder, arcname=os.path.basename(os.path.abspath(folder)))
os.rename(part, target)
"""


class State(TypedDict):
    """Whether the archive is there, and how large it is."""

    ready: bool
    bytes: int


class Contents(TypedDict):
    """What an archive holds."""

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
    """Look whether the archive is there."""
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
    """Give the archive its name."""
    if Path(made).exists():
        Path(made).replace(target)
    return target
