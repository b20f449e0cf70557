"""Read files of several kinds."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path
from typing import TypedDict


class Content(TypedDict):
    """Size of a file's content, and its beginning."""

    entries: int
    names: list[str]


def classify(file: str) -> str:
    """Return the kind of a file by its suffix; a file without one is text."""
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{file} is no file")
    return path.suffix.lstrip(".").lower() or "text"


def read_csv(file: str) -> Content:
    """Count the rows of a table, and name its columns."""
    with Path(file).open(newline="", encoding="utf-8") as opened:
        rows = list(csv.reader(opened))
    return {"entries": max(len(rows) - 1, 0), "names": rows[0] if rows else []}


def read_json(file: str) -> Content:
    """Count the entries of a JSON file, and name its first keys."""
    value = json.loads(Path(file).read_text("utf-8"))
    names = list(value) if isinstance(value, dict) else []
    return {"entries": len(value) if isinstance(value, dict | list) else 1, "names": names[:5]}


def read_toml(file: str) -> Content:
    """Count the tables of a TOML file, and name them."""
    value = tomllib.loads(Path(file).read_text("utf-8"))
    return {"entries": len(value), "names": list(value)[:5]}


def read_text(file: str) -> Content:
    """Count the lines of a text, and show the first one."""
    lines = Path(file).read_text("utf-8", errors="replace").splitlines()
    return {"entries": len(lines), "names": lines[:1]}


def describe(taken: dict[str, Content]) -> str:
    """Return a sentence about the result of the branch that ran."""
    ((kind, content),) = taken.items()
    return f"{kind}: {content['entries']} entries, {', '.join(content['names']) or 'no names'}"
