"""Find and move files."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict


class Found(TypedDict):
    """Large file."""

    path: str
    bytes: int


def find(folder: str, at_least: int) -> list[Found]:
    """List the files of at least this size, the largest first."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    large_files: list[Found] = [
        {"path": str(path), "bytes": size}
        for path in sorted(files)
        if (size := path.stat().st_size) >= at_least
    ]
    return sorted(large_files, key=lambda file: -file["bytes"])


def move(files: list[str], trash: str) -> list[str]:
    """Move files into a folder; an earlier attempt may have moved some already."""
    target = Path(trash)
    target.mkdir(parents=True, exist_ok=True)
    moved = []
    for number, name in enumerate(files):
        path = Path(name)
        moved_path = target / f"{number:04}-{path.name}"
        if path.exists():
            path.rename(moved_path)
        moved.append(str(moved_path))
    return moved


def keep(reason: str) -> str:
    """Return the reason that nothing was moved."""
    return f"nothing was moved: {reason}"
