"""Ticks of a schedule: the times that cron or an interval names, as whole seconds in UTC.

At the change of clocks cron does as Debian's: a job for certain hours runs once a day, at the first
time there is; one for every hour or minute goes by the time that passes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any
    from zoneinfo import ZoneInfo

MOST_AT_ONCE = 1_000
"""Number of ticks that are caught up."""
MOST_COUNTED = 10_000
"""Number of missed ticks that are counted."""
LATE_SECONDS = 60
"""A tick that is older starts nothing, unless it is to be caught up."""
SHORTHANDS: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class NoTicks(ValueError):
    """A schedule that cannot be reckoned; its text is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Result of a look at a schedule: ticks to fire, number of those given up, the next one."""

    ticks: tuple[datetime, ...]
    missed: int
    next: datetime


def due(spec: Mapping[str, Any], *, seen: datetime | None, now: datetime, catchup: str) -> Due:
    """Return what is to be done about the ticks from `seen`, which was the next one, until now.

    A schedule that has not been seen begins with the first tick after now.
    """
    if seen is None or seen > now:
        return Due(ticks=(), missed=0, next=seen or first(spec, now))
    since = seen - _SECOND
    most = MOST_AT_ONCE if catchup == "all" else 1
    ticks = _last(spec, since, now, most)
    if catchup == "none" and ticks and now - ticks[-1] > timedelta(seconds=LATE_SECONDS):
        ticks = ()
    count = sum(1 for _ in islice(between(spec, since, now), MOST_COUNTED))
    return Due(ticks=ticks, missed=max(0, count - len(ticks)), next=first(spec, now))


def after(spec: Mapping[str, Any], moment: datetime) -> Iterator[datetime]:
    """Yield the ticks after a moment; raise NoTicks for a schedule that has none."""
    if "every" in spec:
        every = timedelta(milliseconds=spec["every"])
        tick = _EPOCH + (moment - _EPOCH) // every * every
        while True:
            tick += every
            yield tick
    from cronsim import CronSim, CronSimError

    try:
        ticks = CronSim(spec["cron"], moment.astimezone(zone(spec["timezone"])))
    except CronSimError as error:
        raise NoTicks(f'"{spec["cron"]}" is no time that ever comes: {error}') from None
    last = moment
    for local in ticks:
        tick = local.astimezone(UTC)
        if tick > last:  # in an hour that comes twice, cronsim also names times that have passed
            yield tick
            last = tick


def first(spec: Mapping[str, Any], moment: datetime) -> datetime:
    """Return the first tick after a moment; raise NoTicks for a schedule that has none."""
    tick = next(after(spec, moment), None)
    if tick is None:
        raise NoTicks(f'"{spec["cron"]}" is no time that ever comes')
    return tick


def between(spec: Mapping[str, Any], since: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the ticks after a moment until another."""
    return takewhile(lambda tick: tick <= until, after(spec, since))


def zone(name: str) -> ZoneInfo:
    """Return a time zone; raise NoTicks for an unknown one."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo("" if name == "localtime" else name)  # a file of some machines, no zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise NoTicks(f'there is no time zone "{name}"') from None


def zones() -> set[str]:
    """Return the names of all time zones."""
    from zoneinfo import available_timezones

    return available_timezones()


def _last(
    spec: Mapping[str, Any], since: datetime, until: datetime, most: int
) -> tuple[datetime, ...]:
    """Return the last ticks of a span, which may be years long: looks at its end first."""
    span = timedelta(minutes=1)
    while True:
        start = max(since, until - span)
        ticks = deque(between(spec, start, until), maxlen=most)
        if len(ticks) == most or start == since:
            return tuple(ticks)
        span *= 4
