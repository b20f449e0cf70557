"""Suggest a known word for a mistyped one."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MANY_WORDS = 100


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, or None when none is near."""
    # Start-up: this module of the standard library is only needed once something is wrong.
    from difflib import get_close_matches  # noqa: PLC0415

    by_bare = _by_bare(tuple(known))
    meant = bare(word)[:100]
    if meant in by_bare:
        return by_bare[meant]
    # To compare thousands of mistyped words with thousands of known ones takes too long. Among many
    # known words, only those with the same beginning or end are compared.
    candidates = by_bare if len(by_bare) <= _MANY_WORDS else _alike(meant, tuple(by_bare))
    matches = get_close_matches(meant, candidates, n=3, cutoff=0.67)
    # Letters in another order are the likelier slip: "wiat" is "wait" rather than "with".
    matches.sort(key=lambda candidate: sorted(candidate) != sorted(meant))
    return by_bare[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "…"?`, or nothing when no known word is near."""
    suggestion = closest(word, known)
    return f'; did you mean "{suggestion}"?' if suggestion else ""


@lru_cache(maxsize=8)
def _by_bare(known: tuple[str, ...]) -> dict[str, str]:
    by_bare: dict[str, str] = {}
    for candidate in known:
        by_bare.setdefault(bare(candidate), candidate)
    return by_bare


def _alike(word: str, known: tuple[str, ...]) -> list[str]:
    by_end = _by_end(known)
    words = {*by_end.get(word[:3], ()), *by_end.get("…" + word[-3:], ())}
    return sorted(words)[:_MANY_WORDS]


@lru_cache(maxsize=8)
def _by_end(known: tuple[str, ...]) -> dict[str, list[str]]:
    by_end: dict[str, list[str]] = {}
    for word in known:
        by_end.setdefault(word[:3], []).append(word)
        by_end.setdefault("…" + word[-3:], []).append(word)
    return by_end


def slug(text: str) -> str:
    """Return a text as a name: letters and digits, joined by single underscores."""
    text = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    text = "".join(character for character in text if not unicodedata.combining(character))
    name = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]+", "_", text)).strip("_")
    return f"_{name}" if name[:1].isdigit() else name


def bare(word: str) -> str:
    """Return a word in lower case without `_` and `-`, so that `maxParallel` is `max_parallel`."""
    return word.lower().replace("_", "").replace("-", "")
