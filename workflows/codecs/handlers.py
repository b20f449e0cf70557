"""Compress one file in many ways."""

from __future__ import annotations

import argparse
import bz2
import lzma
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CODECS: Mapping[str, tuple[Callable[[bytes, int], bytes], Callable[[bytes], bytes]]] = {
    "zlib": (zlib.compress, zlib.decompress),
    "bz2": (bz2.compress, bz2.decompress),
    "lzma": (lambda data, level: lzma.compress(data, preset=level), lzma.decompress),
}


class Cell(TypedDict):
    """Result of one codec at one level."""

    codec: str
    level: int
    percent: float
    ms: float


class Verdict(TypedDict):
    """The best results, and the cells that failed."""

    smallest: str
    fastest: str
    tried: int
    failed: list[str]


class CellError(TypedDict):
    """Reason that a cell has no result."""

    type: str
    message: str


def compress(file: str, codec: str, level: int) -> Cell:
    """Compress a file, and check that it can be restored."""
    data = Path(file or argparse.__file__).read_bytes()
    shrink, grow = CODECS[codec]
    began = time.perf_counter()
    packed = shrink(data, level)
    seconds = time.perf_counter() - began
    if grow(packed) != data:
        raise ValueError(f"{codec} at level {level} does not give the file back")
    return {
        "codec": codec,
        "level": level,
        "percent": round(100 * len(packed) / max(len(data), 1), 1),
        "ms": round(seconds * 1000, 2),
    }


def compare(cells: list[Cell], errors: list[CellError]) -> Verdict:
    """Return the smallest result, and the fastest one that is smaller than the file."""
    smaller = [cell for cell in cells if cell["percent"] < 100] or cells
    return {
        "smallest": _name(min(smaller, key=lambda cell: cell["percent"])),
        "fastest": _name(min(smaller, key=lambda cell: cell["ms"])),
        "tried": len(cells) + len(errors),
        "failed": sorted(error["message"] for error in errors),
    }


def _name(cell: Cell) -> str:
    return f"{cell['codec']} at level {cell['level']}: {cell['percent']} %"
