"""Times on the command line: a date, a date and time, or a duration from now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from pgflow_yaml.language.durations import milliseconds


def read_moment(text: str, option: str, *, past: bool) -> datetime:
    """Read a time; without an offset it is that of this machine's clock.

    A duration is so long ago (`past`), or from now.
    """
    duration = milliseconds(text.strip())
    try:
        if duration is not None:
            length = timedelta(milliseconds=duration)
            now = datetime.now(UTC)
            return now - length if past else now + length
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        example = "7d for a week ago" if past else "2h from now"
        raise click.UsageError(
            f'{option} "{text}" is no time; write 2026-12-24, 2026-12-24T18:00, '
            f"2026-12-24T18:00+01:00, or {example}"
        ) from None
