"""The number of tasks a worker claims and the pauses between its polls."""

from __future__ import annotations

import pytest

from pgflow_yaml.worker.pace import MOST_HELD, Pace


def a_pace(*, slots: int = 8, lease: float = 30.0) -> Pace:
    return Pace(slots=slots, lease=lease, poll=0.05, longest_poll=1.0)


def test_nothing_is_known_at_first() -> None:
    """As many tasks as there are slots."""
    assert a_pace().room(0) == 8
    assert a_pace().room(5) == 3
    assert a_pace().room(9) == 0


def test_tiny_handlers_are_claimed_by_the_hundred() -> None:
    """Within a few turns, eight times as many each, up to a limit."""
    pace = a_pace()
    rooms = []
    for _ in range(6):
        rooms.append(pace.room(0, rate=8 / 0.00001))
        pace.saw_turn(0.005)

    assert rooms == [64, 512, MOST_HELD, MOST_HELD, MOST_HELD, MOST_HELD]


def test_a_pause_does_not_begin_the_growth_anew() -> None:
    """While nothing runs there is nothing to learn."""
    pace = a_pace()
    for _ in range(3):
        pace.room(0, rate=8 / 0.00001)
        pace.saw_turn(0.005)

    assert pace.room(0) == 8
    pace.saw_turn(0.005)
    assert pace.room(0, rate=8 / 0.00001) == MOST_HELD


def test_slow_handlers_are_claimed_as_slots_free() -> None:
    """A handler of a second needs no supply for a round trip of 5 ms."""
    pace = a_pace()

    assert pace.room(0, rate=8 / 1.0) == 8
    assert pace.room(8, rate=8 / 1.0) == 0


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.1, 1.0, 10.0])
def test_no_more_is_held_than_can_start_within_a_quarter_of_the_lease(seconds: float) -> None:
    """However slow turns are (R-15)."""
    pace = a_pace(lease=2.0)
    for _ in range(50):
        pace.saw_turn(30.0)
        room = pace.room(0, rate=8 / seconds)

    assert room <= 8 + 8 * 0.5 / seconds


def test_a_task_waits_for_about_as_long_as_the_supply_lasts() -> None:
    """For a moment where turns are quick, for seconds at most where they are slow."""
    pace = a_pace()
    assert pace.patience() == 0.25

    for _ in range(50):
        pace.saw_turn(0.1)
    assert pace.patience() == pytest.approx(0.4, abs=0.01)

    for _ in range(50):
        pace.saw_turn(30.0)
    assert pace.patience() == 2.0


def test_idle_polls_are_further_and_further_apart() -> None:
    """50 ms after work, up to 1 s, each up to half more or less (R-8)."""
    pace = a_pace()

    after_work = [pace.next_poll(worked=True) for _ in range(50)]
    idle = [pace.next_poll(worked=False) for _ in range(50)]

    assert all(0.025 <= pause <= 0.075 for pause in after_work)
    assert all(0.5 <= pause <= 1.5 for pause in idle[20:])
    assert len(set(idle)) == 50
