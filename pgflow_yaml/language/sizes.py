"""Sizes of memory: a number with its unit, such as `512MB`, `8GB`, `1.5GiB`."""

from __future__ import annotations

import re
from decimal import Decimal

_TEXT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([kMGT]i?B)")
_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"kiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SPOKEN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([kmgt])(i?)b?", re.IGNORECASE)


def byte_count(text: str) -> int | None:
    """Return the bytes of a size, at least one; None for a text that is none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    return int(Decimal(match[1]) * _UNITS[match[2]]) or None


def as_text(count: float) -> str:
    """Return bytes in the largest unit that gives a whole number: `8GB`, `512MiB`, `1000 bytes`."""
    for unit in sorted(_UNITS, key=lambda unit: -_UNITS[unit]):
        if count >= _UNITS[unit] and count % _UNITS[unit] == 0:
            return f"{int(count // _UNITS[unit])}{unit}"
    return f"{count:g} bytes"


def suggestion(text: str) -> str | None:
    """Return the size that an invalid text probably means: `8 gb` → `8GB`."""
    match = _SPOKEN.fullmatch(text.strip())
    if match is None:
        return None
    letter = "k" if match[2] in "kK" else match[2].upper()
    return f"{match[1]}{letter}{match[3].lower()}B"
