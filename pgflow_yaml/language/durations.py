"""Durations: a number of seconds, or a text such as `250ms`, `1.5s`, `10m`, `2h`, `30d`."""

from __future__ import annotations

import re
from decimal import Decimal

MAX_MILLISECONDS = 365 * 24 * 3_600_000
MAX_RETENTION = 100 * MAX_MILLISECONDS
FOR_EVER = "off"
"""Text in place of a retention that keeps runs for ever."""

_TEXT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(ms|s|m|h|d)")
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_WORDS = {
    "ms": ("ms", "msec", "millis", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
}
_SPOKEN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)")
_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{2})")
_ISO = re.compile(
    r"P(?:([0-9]{1,5})D)?(?:T(?:([0-9]{1,5})H)?(?:([0-9]{1,5})M)?(?:([0-9]{1,5})S)?)?"
)


def milliseconds(value: str | float) -> int | None:
    """Return a duration in whole milliseconds, or None when the value is not a duration."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return round(Decimal(str(value)) * 1000) if value >= 0 else None
    match = _TEXT.fullmatch(value)
    if match is None:
        return None
    return round(Decimal(match.group(1)) * _UNITS[match.group(2)])


def seconds(text: str) -> float | None:
    """Return the seconds of a text, a duration or a bare number of seconds; None for another."""
    number = text.strip()
    duration = milliseconds(number if number[-1:].isalpha() else f"{number}s")
    return None if duration is None else duration / 1000


def as_text(duration: int) -> str:
    """Return milliseconds in the largest unit that gives a whole number: `90s`, `2h`."""
    unit = next((unit for unit in ("d", "h", "m", "s") if duration % _UNITS[unit] == 0), "ms")
    return f"{duration // _UNITS[unit]}{unit}" if duration else "0s"


def suggestion(text: str) -> str | None:
    """Return the duration that an invalid text probably means: `30 seconds` → `30s`."""
    text = text.strip()
    spoken = _SPOKEN.fullmatch(text)
    if spoken is not None:
        word = spoken.group(2).lower()
        for unit, words in _WORDS.items():
            if word in words:
                return spoken.group(1) + unit
        if word in ("w", "week", "weeks"):
            return f"{Decimal(spoken.group(1)) * 7:f}d"
        return None
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return f"{hours * 3600 + minutes * 60 + seconds}s"
    iso = _ISO.fullmatch(text)
    if iso is not None and any(iso.groups()):
        days, hours, minutes, seconds = (int(part or 0) for part in iso.groups())
        return f"{days * 86400 + hours * 3600 + minutes * 60 + seconds}s"
    parts = re.findall(r"([0-9]{1,9})(d|h|m|s)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return f"{sum(int(number) * _UNITS[unit] for number, unit in parts) // 1000}s"
    return f"{text}s" if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None
