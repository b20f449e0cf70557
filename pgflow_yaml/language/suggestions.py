"""Which known word a mistyped one was probably meant to be."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CROWD = 100


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, or None when none is near."""
    # Start-up: this module of the standard library is only needed once something is wrong.
    from difflib import get_close_matches  # noqa: PLC0415

    by_bare = _by_bare(tuple(known))
    meant = bare(word)[:100]
    if meant in by_bare:
        return by_bare[meant]
    # In a crowd, a thousand mistyped words would each be held against thousands: only those that
    # begin or end alike are.
    candidates = by_bare if len(by_bare) <= _CROWD else _alike(meant, tuple(by_bare))
    found = get_close_matches(meant, candidates, n=3, cutoff=0.67)
    # Letters in another order are the likelier slip: "wiat" is "wait" rather than "with".
    found.sort(key=lambda candidate: sorted(candidate) != sorted(meant))
    return by_bare[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "…"?`, or nothing when no known word is near."""
    found = closest(word, known)
    return f'; did you mean "{found}"?' if found else ""


@lru_cache(maxsize=8)
def _by_bare(known: tuple[str, ...]) -> dict[str, str]:
    by_bare: dict[str, str] = {}
    for candidate in known:
        by_bare.setdefault(bare(candidate), candidate)
    return by_bare


def _alike(word: str, known: tuple[str, ...]) -> list[str]:
    by_end = _by_end(known)
    found = {*by_end.get(word[:3], ()), *by_end.get("…" + word[-3:], ())}
    return sorted(found)[:_CROWD]


@lru_cache(maxsize=8)
def _by_end(known: tuple[str, ...]) -> dict[str, list[str]]:
    by_end: dict[str, list[str]] = {}
    for word in known:
        by_end.setdefault(word[:3], []).append(word)
        by_end.setdefault("…" + word[-3:], []).append(word)
    return by_end


def bare(word: str) -> str:
    """Return what is left of a word when its way of writing does not count: `maxParallel`."""
    return word.lower().replace("_", "").replace("-", "")
