"""Which known word a mistyped one was probably meant to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, or None when none is near."""
    # Start-up: this module of the standard library is only needed once something is wrong.
    from difflib import get_close_matches  # noqa: PLC0415

    by_bare: dict[str, str] = {}
    for candidate in known:
        by_bare.setdefault(_bare(candidate), candidate)
    bare = _bare(word)[:100]
    if bare in by_bare:
        return by_bare[bare]
    found = get_close_matches(bare, by_bare, n=1, cutoff=0.67)
    return by_bare[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "…"?`, or nothing when no known word is near."""
    found = closest(word, known)
    return f'; did you mean "{found}"?' if found else ""


def _bare(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")
