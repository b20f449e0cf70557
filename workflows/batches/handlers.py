"""Checksums of files, of batches, and of everything."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypedDict


class Batch(TypedDict):
    """Result of a batch."""

    name: str
    files: int
    checksum: str


class Merged(TypedDict):
    """Result of all batches."""

    batches: int
    files: int
    checksum: str


def list_files(folder: str, pattern: str, limit: int) -> list[str]:
    """List the files, by name."""
    root = Path(folder) if folder else Path(os.__file__).parent
    return [str(path) for path in sorted(root.glob(pattern))[:limit]]


def checksum(file: str) -> str:
    """Return the checksum of one file."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def sum_up(name: str, checksums: list[str]) -> Batch:
    """Return the checksum of a batch: the one of its files' checksums, in order."""
    return {"name": name, "files": len(checksums), "checksum": _of(checksums)}


def merge(batches: list[Batch]) -> Merged:
    """Return the checksum of all batches, in order."""
    return {
        "batches": len(batches),
        "files": sum(batch["files"] for batch in batches),
        "checksum": _of([batch["checksum"] for batch in batches]),
    }


def _of(texts: list[str]) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()
