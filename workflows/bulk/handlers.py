"""Handlers of the bulk flows: list files, measure each one, add the measures up."""

from __future__ import annotations

import hashlib
import lzma
import os
from collections import defaultdict
from pathlib import Path
from typing import TypedDict


class Listing(TypedDict):
    """The files to measure."""

    folder: str
    files: list[str]


class Measure(TypedDict):
    """Measures of one file."""

    file: str
    size: int
    lines: int
    packed: int
    sha256: str


class Total(TypedDict):
    """Measures of all files together."""

    files: int
    size: int
    lines: int
    packed: int
    ratio: float
    largest: list[str]
    same: list[list[str]]


def fetch(folder: str, pattern: str, limit: int) -> Listing:
    """Return the first `limit` files by name in a folder; by default, the standard library's."""
    root = Path(folder) if folder else Path(os.__file__).parent
    if not root.is_dir():
        raise NotADirectoryError(f'"{folder}" is not a folder')
    files = sorted(str(path) for path in root.glob(pattern) if path.is_file())
    return {"folder": str(root), "files": files[:limit]}


def measure(file: str) -> Measure:
    """Return size, lines, packed size and fingerprint of one file."""
    content = Path(file).read_bytes()
    return {
        "file": file,
        "size": len(content),
        "lines": len(content.splitlines()),
        "packed": len(lzma.compress(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def measure_all(files: list[str]) -> list[Measure]:
    """Return the measures of a share of the files."""
    return [measure(file) for file in files]


def aggregate(measures: list[Measure], largest: int) -> Total:
    """Return sums over all files, the largest files, and groups of equal files."""
    size = sum(entry["size"] for entry in measures)
    packed = sum(entry["packed"] for entry in measures)
    by_content: dict[str, list[str]] = defaultdict(list)
    for entry in measures:
        by_content[entry["sha256"]].append(entry["file"])
    by_size = sorted(measures, key=lambda entry: (-entry["size"], entry["file"]))
    return {
        "files": len(measures),
        "size": size,
        "lines": sum(entry["lines"] for entry in measures),
        "packed": packed,
        "ratio": round(packed / size, 3) if size else 0.0,
        "largest": [entry["file"] for entry in by_size[:largest]],
        "same": sorted(sorted(group) for group in by_content.values() if len(group) > 1),
    }
