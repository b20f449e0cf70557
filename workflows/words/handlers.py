"""Count words, by parts of the files and quarters of the alphabet."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TypedDict

WORD = re.compile(r"[a-z]+")
QUARTERS = ("a-f", "g-m", "n-s", "t-z")

Counts = dict[str, int]


class Top(TypedDict):
    """The most frequent words."""

    words: int
    different: int
    top: list[str]


def split(folder: str, pattern: str, limit: int) -> list[str]:
    """List the files, by name."""
    root = Path(folder) if folder else Path(os.__file__).parent
    return [str(path) for path in sorted(root.glob(pattern))[:limit]]


def count(files: list[str]) -> dict[str, Counts]:
    """Return the word counts of some files, by quarter of the alphabet."""
    counter: Counter[str] = Counter()
    for name in files:
        counter.update(WORD.findall(Path(name).read_text("utf-8", errors="replace").lower()))
    return {
        quarter: {
            word: times
            for word, times in sorted(counter.items())
            if quarter[0] <= word[0] <= quarter[-1]
        }
        for quarter in QUARTERS
    }


def reduce(counts: list[Counts]) -> Counts:
    """Add up the counts of all parts."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)


def top(quarters: list[Counts], n: int) -> Top:
    """Return the most frequent words."""
    total: Counter[str] = Counter()
    for quarter in quarters:
        total.update(quarter)
    ranked = sorted(total.items(), key=lambda entry: (-entry[1], entry[0]))
    return {
        "words": sum(total.values()),
        "different": len(total),
        "top": [f"{word} {times}" for word, times in ranked[:n]],
    }
