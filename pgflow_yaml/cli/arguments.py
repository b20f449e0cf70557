"""Arguments that are more than words: durations, inputs."""

from __future__ import annotations

import re

import click

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, None: 1.0}


def seconds(text: str, option: str) -> float:
    """Read a duration as in flow files: a number of seconds, or `500ms`, `30m`, `2h`, `7d`."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise click.UsageError(f'{option} "{text}" is no duration; write 30s, 5m, 2h or 7d')
    return float(found["number"]) * _UNITS[found["unit"]]


def optional_seconds(text: str | None, option: str) -> float | None:
    """Read a duration that may not have been given."""
    return None if text is None else seconds(text, option)
