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
    pace.saw_tasks([0.00001] * 8)

    rooms = [pace.room(0) for _ in range(6)]

    assert rooms == [64, 512, MOST_HELD, MOST_HELD, MOST_HELD, MOST_HELD]


def test_slow_handlers_are_claimed_as_slots_free() -> None:
    """A handler of a second needs no supply for a round trip of 5 ms."""
    pace = a_pace()
    pace.saw_tasks([1.0])

    assert pace.room(0) == 8
    assert pace.room(8) == 0


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.1, 1.0, 10.0])
def test_no_more_is_held_than_can_start_within_a_quarter_of_the_lease(seconds: float) -> None:
    """However slow turns are (R-15)."""
    pace = a_pace(lease=2.0)
    for _ in range(50):
        pace.saw_turn(30.0)
        pace.saw_tasks([seconds])
        room = pace.room(0)

    assert room <= 8 + 8 * 0.5 / seconds


def test_a_slower_handler_counts_at_once_a_quicker_one_slowly() -> None:
    """Too few tasks cost a round trip, too many cost others their work."""
    pace = a_pace()
    pace.saw_tasks([0.00001] * 100)
    for _ in range(5):
        pace.room(0)
    pace.saw_tasks([1.0])
    assert pace.room(0) == 8

    pace.saw_tasks([0.00001])
    assert pace.room(0) == 8


def test_released_tasks_are_not_measured() -> None:
    """They took no time because they did not run."""
    pace = a_pace()
    pace.saw_tasks([0.0] * 50)

    assert pace.room(0) == 8


def test_slots_that_stay_busy_say_that_handlers_are_slow() -> None:
    """Before any of them has returned."""
    pace = a_pace(lease=2.0)
    pace.saw_tasks([0.00001] * 100)

    assert pace.excess(500) == 0
    assert pace.excess(500, busy=0.5) == 500 - 8 - 1
    assert pace.room(8, busy=0.5) == 0


def test_idle_polls_are_further_and_further_apart() -> None:
    """50 ms after work, up to 1 s, each up to half more or less (R-8)."""
    pace = a_pace()

    after_work = [pace.next_poll(worked=True) for _ in range(50)]
    idle = [pace.next_poll(worked=False) for _ in range(50)]

    assert all(0.025 <= pause <= 0.075 for pause in after_work)
    assert all(0.5 <= pause <= 1.5 for pause in idle[20:])
    assert len(set(idle)) == 50
