"""Handlers of the diamond: read a text, count its words, summarise it, save a report.

Ordinary functions: nothing here knows that a workflow calls them. Each may run more than once
(an attempt can be lost after its work is done), so each gives the same result every time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TypedDict

MAX_BYTES = 1_000_000
"""A step's output is stored in the database; a larger text belongs in a file."""

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


class Text(TypedDict):
    """Text with its source."""

    name: str
    path: str
    text: str


class Statistics(TypedDict):
    """Counts of `analyze`."""

    lines: int
    words: int
    different: int
    mean_length: float
    longest: str
    most_common: list[tuple[str, int]]


class Saved(TypedDict):
    """The files that `save` wrote."""

    report: str
    data: str
    title: str


def fetch(source: str) -> Text:
    """Read a text file, or the source of the Python module that has this name."""
    path = _locate(source)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} can be read")
    text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    return {"name": path.stem, "path": str(path), "text": text}


def analyze(outputs: dict[str, Text]) -> Statistics:
    """Count lines and words; the most common words are those of four letters or more."""
    text = outputs["fetch"]["text"]
    words = [word.lower() for word in WORD.findall(text)]
    counts = Counter(words)
    telling = Counter({word: n for word, n in counts.items() if len(word) >= 4})
    letters = sum(len(word) for word in words)
    return {
        "lines": len(text.splitlines()),
        "words": len(words),
        "different": len(counts),
        "mean_length": round(letters / len(words), 2) if words else 0.0,
        "longest": max(counts, key=lambda word: (len(word), word), default=""),
        "most_common": sorted(telling.items(), key=lambda pair: (-pair[1], pair[0]))[:10],
    }


def summarize(text: str, sentences: int) -> list[str]:
    """Return the sentences with the most common words of the text, in the order of the text."""
    weights = Counter(word.lower() for word in WORD.findall(text) if len(word) >= 4)
    candidates = [" ".join(part.split()) for part in SENTENCE_END.split(text)]
    ranked = sorted(
        (
            (-_score(candidate, weights), position, candidate)
            for position, candidate in enumerate(candidates)
            if _is_prose(candidate)
        ),
    )
    best = sorted(ranked[:sentences], key=lambda entry: entry[1])
    return [candidate for _, _, candidate in best]


def save(
    *, title: str, name: str, statistics: Statistics, summary: list[str], folder: str
) -> Saved:
    """Write the report as Markdown and as JSON; the same input writes the same two files."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    stem = "diamond-" + re.sub(r"[^A-Za-z0-9_-]+", "_", name)
    report, data = target / f"{stem}.md", target / f"{stem}.json"
    _write(report, _markdown(title, statistics, summary))
    report_data = {"title": title, "statistics": statistics, "summary": summary}
    _write(data, json.dumps(report_data, indent=2, ensure_ascii=False) + "\n")
    return {"report": str(report), "data": str(data), "title": title}


def _locate(source: str) -> Path:
    """Return the file that `source` names; a module is found without running its code."""
    path = Path(source)
    if path.is_file():
        return path
    if source.isidentifier():
        spec = importlib.util.find_spec(source)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            return Path(spec.origin)
    raise FileNotFoundError(f'"{source}" is neither a text file nor a Python module with a source')


def _is_prose(sentence: str) -> bool:
    """Return True for six to forty words of mostly letters: program text is not a sentence."""
    letters = sum(char.isalpha() or char in " ,.'" for char in sentence)
    return 6 <= len(sentence.split()) <= 40 and letters >= 0.95 * len(sentence)


def _score(sentence: str, weights: Counter[str]) -> float:
    words = [word.lower() for word in WORD.findall(sentence)]
    return sum(weights[word] for word in words) / len(words)


def _markdown(title: str, statistics: Statistics, summary: list[str]) -> str:
    lines = [f"# {title}", "", "## Summary", ""]
    lines += [f"- {sentence}" for sentence in summary] or ["- (no sentences found)"]
    lines += ["", "## Words", "", "| word | times |", "|---|---|"]
    lines += [f"| {word} | {times} |" for word, times in statistics["most_common"]]
    lines += ["", f"{statistics['lines']:,} lines, {statistics['different']:,} different words."]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """Replace a file atomically: a reader sees the old text or the new one."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
