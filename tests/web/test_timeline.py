"""The timeline of a run as data: rows, bars in percent, waits, broken gaps."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgflow_yaml.web.pictures.axis import Axis
from pgflow_yaml.web.pictures.timeline import timeline
from tests.unit.snapshots import a_failure, a_run, a_snapshot, a_step, some_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgflow_yaml.runs.items import DensityShape
    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot, StepShape

SVG = "{http://www.w3.org/2000/svg}"
CANARY = '"><script>alert(1)</script>\x1b[31m&'
ZERO = datetime(2026, 11, 24, 12, tzinfo=UTC)


def at(seconds: float) -> str:
    """A time since the run began, as SQL writes it."""
    return (ZERO + timedelta(seconds=seconds)).isoformat()


def drawn(text: str) -> ET.Element:
    """The picture, parsed as a page would."""
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def rows(text: str) -> dict[str, ET.Element]:
    """The rows by step, in their order."""
    return {row.get("data-step", ""): row for row in drawn(text).iter(f"{SVG}a")}


def bars(row: ET.Element) -> list[tuple[str, float, float]]:
    """The bars of a row from left to right: class, begin and end in percent."""
    found = []
    for rect in row.iter(f"{SVG}rect"):
        if rect.get("class") != "pg-back":
            x, width = percent(rect.get("x")), percent(rect.get("width"))
            found.append((rect.get("class", ""), x, x + width))
    return sorted(found, key=lambda bar: bar[1])


def percent(text: str | None) -> float:
    """A length in percent, and in nothing else."""
    assert text is not None
    assert text.endswith("%"), text
    return float(text[:-1])


def texts(row: ET.Element, kind: str) -> list[str]:
    """The texts of a class."""
    found = (text for text in row.iter(f"{SVG}text") if kind in text.get("class", ""))
    return [text.text or "" for text in found]


def a_run_of(seconds: float, *steps: StepShape, **fields: Any) -> Snapshot:
    """A run that has ended after some seconds."""
    run = a_run("completed", ended_at=at(seconds))
    return a_snapshot(*steps, run=run, now=at(seconds + 60), **fields)


def test_attempts_and_the_waits_between_them_share_a_row() -> None:
    """The symbol of a failed attempt stands under its end; red in green could not be seen."""
    step = a_step("charge", started_at=at(0), ended_at=at(10), attempts=2)
    failure = a_failure("charge", at=at(2), retry_at=at(6))

    row = rows(timeline(a_run_of(10, step, errors=[failure])))["charge"]

    assert bars(row) == [
        ("pg-span pg-failed", 0, 20),
        ("pg-wait", 20, 60),
        ("pg-span pg-completed", 60, 100),
    ]
    (symbol,) = (text for text in row.iter(f"{SVG}text") if "pg-fault" in text.get("class", ""))
    assert (symbol.text, symbol.get("x")) == ("✗", "20.00%")
    bottom = max(int(rect.get("y", 0)) + int(rect.get("height", 0)) for rect in row[2])
    assert int(symbol.get("y", 0)) - 9 >= bottom - 14
    assert row.get("aria-label") == "charge 10.0 s: completed"
    words = [title.text for title in row.iter(f"{SVG}title")]
    assert "attempt 1 of 3: CardTimeout: acquirer b did not answer in 30 s, 2.0 s" in words


def test_an_attempt_begins_where_it_says() -> None:
    """The wait before it is one in a queue."""
    step = a_step("a", "failed", started_at=at(0), ended_at=at(10))
    row = rows(timeline(a_run_of(10, step, errors=[a_failure("a", at=at(10), began_at=at(4))])))

    assert bars(row["a"]) == [("pg-wait", 0, 40), ("pg-span pg-failed", 40, 100)]


def test_attempts_before_a_retry_of_the_step_are_shown() -> None:
    """They lie before the step's new beginning."""
    step = a_step("a", started_at=at(6), ended_at=at(10))
    past = a_failure("a", at=at(2), began_at=at(0), past=True)

    assert bars(rows(timeline(a_run_of(10, step, errors=[past])))["a"]) == [
        ("pg-span pg-failed", 0, 20),
        ("pg-wait", 20, 60),
        ("pg-span pg-completed", 60, 100),
    ]


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (a_step("a", action="wait", ended_at=at(10)), "pg-wait"),
        (a_step("a", "started", tasks=some_tasks(queued=1)), "pg-wait"),
        (a_step("a", "started"), "pg-span pg-started"),
        (
            a_step("a", "started", map=True, tasks=some_tasks(started=2, total=9)),
            "pg-span pg-started",
        ),
        (a_step("a", action="flow", ended_at=at(10)), "pg-span pg-completed"),
        (
            a_step("a", "cancelled", started_at=at(0), ended_at=at(10), attempts=1),
            "pg-span pg-cancelled",
        ),
    ],
)
def test_the_bar_of_a_step(step: StepShape, kind: str) -> None:
    """Waiting is hatched, work is not; what goes on reaches the present."""
    snapshot = a_snapshot(step)

    assert bars(rows(timeline(snapshot))["a"]) == [(kind, 0, 100)]


def test_rows_stand_in_order_of_beginning_and_unbegun_steps_have_none() -> None:
    """As one reads a run."""
    snapshot = a_run_of(
        10,
        a_step("late", started_at=at(5)),
        a_step("early", started_at=at(0)),
        a_step("never", "skipped"),
        a_step("not_yet", "created"),
    )

    assert list(rows(timeline(snapshot))) == ["early", "late"]


def test_of_too_many_rows_the_important_ones_stay() -> None:
    """Running and failed ones first; the others are counted."""
    steps = [a_step(f"s{n}", started_at=at(n / 100)) for n in range(310)]
    steps[305] = a_step("broken", "failed", started_at=at(3.05))
    steps[307] = a_step("running", "started", started_at=at(3.07))
    text = timeline(a_snapshot(*steps))

    found = rows(text)
    assert len(found) == 200
    assert list(found)[-2:] == ["broken", "running"]
    assert texts(drawn(text), "pg-note") == ["and 110 more steps"]


def test_a_long_gap_is_broken() -> None:
    """A retry two days later leaves the bars visible, and the axis says what is left out."""
    day = 86_400.0
    step = a_step("a", started_at=at(0), ended_at=at(2 * day + 10), attempts=2)
    text = timeline(
        a_run_of(2 * day + 10, step, errors=[a_failure("a", at=at(10), retry_at=at(2 * day))])
    )

    failed, waits, completed = bars(rows(text)["a"])
    assert failed[2] - failed[1] == pytest.approx(47.5)
    assert waits[2] - waits[1] == pytest.approx(5)
    assert completed[2] - completed[1] == pytest.approx(47.5)
    names = texts(drawn(text), "pg-time")
    assert "⟂ 1 d 23 h" in names
    assert names[1:4] == ["0", "5 s", "2 d"]


def test_waits_like_the_work_are_not_broken() -> None:
    """Growing pauses between attempts are seen as they were."""
    errors = [
        a_failure("a", id=n, attempt=n, at=at(begin + 1), retry_at=at(end))
        for n, (begin, end) in enumerate([(0, 3), (3, 8), (8, 17)], 1)
    ]
    step = a_step("a", started_at=at(0), ended_at=at(18), attempts=4)

    text = timeline(a_run_of(18, step, errors=errors))

    assert "⟂" not in text


def test_a_map_is_one_row_with_its_density() -> None:
    """The area rises with the number of items that ran; failures near each other share a symbol."""
    step = a_step(
        "fetch",
        map=True,
        started_at=at(0),
        ended_at=at(10),
        tasks=some_tasks(completed=7, failed=3),
    )
    errors = [a_failure("fetch", id=n, index=n, at=at(5 + n / 100)) for n in range(3)]
    density: DensityShape = {"begin": at(0), "end": at(10), "running": [2, 4, 0, 1]}

    row = rows(timeline(a_run_of(10, step, errors=errors), {"fetch": density}))["fetch"]

    assert bars(row) == [("pg-span pg-completed pg-pale", 0, 100)]
    (area,) = (path for path in row.iter(f"{SVG}path") if path.get("class") == "pg-area")
    assert area.get("d") == "M0.00 14V7.0H25.00V0.0H50.00V14.0H75.00V10.5H100.00V14z"
    assert texts(row, "pg-fault") == ["✗"]
    words = [title.text or "" for title in row.iter(f"{SVG}title")]
    assert any(
        text.startswith("3 failures, first [0] attempt 1 of 3: CardTimeout") for text in words
    )


def a_random_step(
    number: int, begin: float, length: float, pause: float
) -> tuple[StepShape, FailedAttempt]:
    """A step with a failed attempt."""
    slug = f"s{number}"
    end = begin + length + pause + length
    failure = a_failure(slug, at=at(begin + length), retry_at=at(begin + length + pause))
    return a_step(slug, started_at=at(begin), ended_at=at(end), attempts=2), failure


TIMES = st.floats(0, 1e6)


@given(st.lists(st.tuples(TIMES, TIMES, TIMES), max_size=12))
def test_any_run_fits_the_picture(times: Iterable[tuple[float, float, float]]) -> None:
    """Bars lie inside, rows do not overlap, ids are unique, and there is no style."""
    made = [a_random_step(number, *each) for number, each in enumerate(times)]
    snapshot = a_snapshot(
        *(step for step, _ in made),
        run=a_run("completed", ended_at=at(1)),
        errors=[failure for _, failure in made],
    )
    text = timeline(snapshot)
    root = drawn(text)

    assert "style" not in text
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids)) == 2
    below = 0
    for row in rows(text).values():
        back = row[0]
        assert int(back.get("y", 0)) >= below
        below = int(back.get("y", 0)) + int(back.get("height", 0))
        for _, begin, end in bars(row):
            assert 0 <= begin < end <= 100.011  # two decimals each
    assert below <= int(root.get("height", 0))


@example(524290.6343292111, [(1.83387486130232, 1.83387486130232)])
@example(1e7, [(0.0, 5e-324)])
@example(299678.0, [(0.0, 66605.0), (332986.0, 366280.0)])
@given(st.floats(0.001, 1e7), st.lists(st.tuples(TIMES, TIMES), max_size=6))
def test_the_axis_leads_from_left_to_right(length: float, spans: list[tuple[float, float]]) -> None:
    """A later time is never further left; ticks stand apart; gaps take at most two fifths."""
    axis = Axis(length, [(min(span), max(span)) for span in spans])

    places = [axis.at(length * share / 50) for share in range(51)]
    assert places[0] == 0
    assert places == sorted(places)
    assert places[-1] == pytest.approx(100)
    ticks = [tick.where for tick in axis.ticks()]
    assert all(other - one >= 11 for one, other in pairwise(ticks))
    assert sum(gap.right - gap.left for gap in axis.breaks()) <= 40.001


def test_names_cannot_break_out() -> None:
    """Neither a step nor an error."""
    step = a_step(CANARY, "failed", started_at=at(0), ended_at=at(4))
    text = timeline(a_run_of(10, step, errors=[a_failure(CANARY, type=CANARY, message=CANARY)]))

    drawn(text)
    assert "<script" not in text
    assert "\x1b" not in text


def test_a_run_that_has_done_nothing() -> None:
    """It has an axis and no rows."""
    assert rows(timeline(a_snapshot(a_step("a", "created")))) == {}
