"""Times of schedules, against lists written by hand from the rules of each zone."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.language import ticks
from pgflow_yaml.language.ticks import NoTicks, due

if TYPE_CHECKING:
    from collections.abc import Iterator

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
# The two changes of 2026 in UTC, and the offsets from UTC in minutes before, between and after.
CHANGES: dict[str, tuple[tuple[datetime, datetime], tuple[int, int, int]]] = {
    BERLIN: (
        (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
        (60, 120, 60),
    ),
    NEW_YORK: (
        (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)),
        (-300, -240, -300),
    ),
    LORD_HOWE: (
        (datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        (660, 630, 660),
    ),
}
# 02:30 on the days on which there is none, or there are two: when the job runs, in UTC.
ODD_DAYS = {
    BERLIN: {date(2026, 3, 29): "01:00", date(2026, 10, 25): "00:30"},  # 03:00 and the first 02:30
    NEW_YORK: {date(2026, 3, 8): "07:00"},  # 03:00; in autumn 01:00 comes twice, not 02:30
    LORD_HOWE: {},  # half an hour: 01:30 comes twice, 02:00 is left out
}


def cron(text: str, zone: str = "UTC") -> dict[str, str]:
    """A schedule as it is stored."""
    return {"cron": text, "timezone": zone}


def year(spec: dict[str, Any]) -> list[datetime]:
    """The ticks of 2026, by the clock of UTC."""
    return list(
        ticks.between(
            spec, NEW_YEAR - timedelta(seconds=1), datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
        )
    )


def offset(zone: str, moment: datetime) -> timedelta:
    """The offset of a zone at a moment, from the table above."""
    (first, second), (before, between, after) = CHANGES[zone]
    minutes = before if moment < first else between if moment < second else after
    return timedelta(minutes=minutes)


def daily(zone: str, hour: int, minute: int) -> Iterator[datetime]:
    """A time of each day of 2026 in a zone, by the offsets of the table, as UTC."""
    for number in range(-1, 366):
        day = date(2026, 1, 1) + timedelta(days=number)
        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
        if day in ODD_DAYS[zone]:
            text = ODD_DAYS[zone][day]
            yield datetime.fromisoformat(f"{day}T{text}:00+00:00")
            continue
        (found,) = {
            local - shift
            for shift in (timedelta(minutes=minutes) for minutes in CHANGES[zone][1])
            if offset(zone, local - shift) == shift
        }
        yield found


@pytest.mark.parametrize("zone", CHANGES)
def test_a_nightly_job_runs_once_a_day(zone: str) -> None:
    """At 02:30 of the zone, and once on the days on which the clocks change."""
    expected = [tick for tick in daily(zone, 2, 30) if tick.year == 2026]
    assert year(cron("30 2 * * *", zone)) == expected
    assert len(expected) in (365, 366)


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
@pytest.mark.parametrize(("text", "minutes"), [("0 * * * *", 60), ("*/30 * * * *", 30)])
def test_a_job_for_every_hour_goes_by_the_time_that_passes(
    zone: str, text: str, minutes: int
) -> None:
    """An hour that comes twice has two ticks, one that is left out none."""
    step = timedelta(minutes=minutes)
    count = 365 * 24 * 60 // minutes
    assert year(cron(text, zone)) == [NEW_YEAR + step * number for number in range(count)]


def test_an_hourly_job_where_the_clocks_change_by_half_an_hour() -> None:
    """Every full hour of Lord Howe: in summer time at :00 of UTC, else at :30."""
    found = year(cron("0 * * * *", LORD_HOWE))
    (first, second), _ = CHANGES[LORD_HOWE]
    minutes = {tick.minute for tick in found if tick <= first or tick > second}
    assert minutes == {0}
    assert {tick.minute for tick in found if first < tick <= second} == {30}
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("spec", "since", "expected"),
    [
        ({"every": 600_000}, "2026-01-01T00:03:07", ["00:10:00", "00:20:00", "00:30:00"]),
        ({"every": 7_000}, "1970-01-01T00:00:00", ["00:00:07", "00:00:14", "00:00:21"]),
        (cron("0 0 29 2 *"), "2026-01-01T00:00:00", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        (cron("0 9 * * 1-5"), "2026-01-02T10:00:00", ["2026-01-05", "2026-01-06", "2026-01-07"]),
        (cron("0 0 L * *"), "2026-01-31T12:00:00", ["2026-02-28", "2026-03-31", "2026-04-30"]),
    ],
)
def test_the_ticks_after_a_moment(spec: dict[str, Any], since: str, expected: list[str]) -> None:
    """An interval counts from 1970, whenever it was deployed."""
    found = islice(ticks.after(spec, datetime.fromisoformat(f"{since}+00:00")), 3)
    assert all(text in tick.isoformat() for tick, text in zip(found, expected, strict=True))


def test_no_tick_comes_again_in_an_hour_that_comes_twice() -> None:
    """A worker that reckons in the second 02:20 of Berlin does not find the first 02:45."""
    second = datetime(2026, 10, 25, 1, 20, tzinfo=UTC)
    assert ticks.first(cron("45 2 * * *", BERLIN), second) == datetime(
        2026, 10, 26, 1, 45, tzinfo=UTC
    )


HOURLY = {"every": 3_600_000}
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("late", "catchup", "hours", "missed"),
    [
        (timedelta(seconds=2), "none", [12], 0),
        (timedelta(seconds=60), "none", [12], 0),
        (timedelta(seconds=61), "none", [], 1),
        (timedelta(hours=3, minutes=5), "none", [], 4),
        (timedelta(hours=3, seconds=5), "none", [15], 3),
        (timedelta(hours=3, minutes=5), "last", [15], 3),
        (timedelta(hours=3, minutes=5), "all", [12, 13, 14, 15], 0),
    ],
)
def test_what_becomes_of_ticks_that_nobody_fired(
    late: timedelta, catchup: str, hours: list[int], missed: int
) -> None:
    """By `catchup`; what is given up is counted."""
    found = due(HOURLY, seen=NOON, now=NOON + late, catchup=catchup)
    assert [tick.hour for tick in found.ticks] == hours
    assert found.missed == missed
    assert found.next == (NOON + late).replace(minute=0, second=0) + timedelta(hours=1)


def test_a_long_outage_is_bounded() -> None:
    """The newest 1,000 ticks are caught up, and 10,000 counted, in a moment."""
    now = NOON + timedelta(days=365, seconds=1)
    found = due({"every": 1000}, seen=NOON, now=now, catchup="all")
    assert (len(found.ticks), found.missed) == (1_000, 9_000)
    assert found.ticks[-1] == now
    assert found.ticks[0] == now - timedelta(seconds=999)
    nightly = due(cron("30 2 * * *", BERLIN), seen=NOON, now=now, catchup="all")
    assert (len(nightly.ticks), nightly.missed) == (365, 0)


def test_a_schedule_begins_with_the_first_tick_after_now() -> None:
    """Also one whose clock was set back: what it has seen stays the next one."""
    assert due(HOURLY, seen=None, now=NOON, catchup="all") == ticks.Due(
        ticks=(), missed=0, next=NOON + timedelta(hours=1)
    )
    back = due(HOURLY, seen=NOON, now=NOON - timedelta(hours=5), catchup="all")
    assert back == ticks.Due(ticks=(), missed=0, next=NOON)


@pytest.mark.parametrize("text", ["30 2 31 2 *", "0 0 31 4,6 *", "61 * * * *", "* * * * MON#6"])
def test_a_time_that_never_comes_is_refused(text: str) -> None:
    """Not looked for in all centuries."""
    with pytest.raises(NoTicks, match="no time that ever comes"):
        ticks.first(cron(text), NOON)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe", "localtime", "\0"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    """Nor is a file of this machine one."""
    with pytest.raises(NoTicks, match="there is no time zone"):
        ticks.zone(name)


def test_cronsim_is_not_imported_without_a_schedule() -> None:
    """A process that meets none does not pay for it."""
    import subprocess

    code = "import sys, pgflow_yaml, pgflow_yaml.worker, pgflow_yaml.language.validation\n"
    code += "pgflow_yaml.Client, pgflow_yaml.Worker\nprint('cronsim' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
