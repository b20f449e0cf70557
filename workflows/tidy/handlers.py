"""Finding and moving files."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict


class Found(TypedDict):
    """A file that takes much room."""

    path: str
    bytes: int


def find(folder: str, at_least: int) -> list[Found]:
    """List the files of at least so many bytes, the largest first."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    found: list[Found] = [
        {"path": str(path), "bytes": size}
        for path in sorted(files)
        if (size := path.stat().st_size) >= at_least
    ]
    return sorted(found, key=lambda each: -each["bytes"])


def move(files: list[str], trash: str) -> list[str]:
    """Move files into a folder; those that an earlier attempt moved are there already."""
    target = Path(trash)
    target.mkdir(parents=True, exist_ok=True)
    moved = []
    for number, name in enumerate(files):
        path = Path(name)
        place = target / f"{number:04}-{path.name}"
        if path.exists():
            path.rename(place)
        moved.append(str(place))
    return moved


def keep(reason: str) -> str:
    """Say why nothing was moved."""
    return f"nothing was moved: {reason}"
