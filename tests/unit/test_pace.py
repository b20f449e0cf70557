"""The number of tasks a worker claims and the pauses between its polls."""

from __future__ import annotations

import pytest

from pgflow_yaml.worker.pace import MOST_HELD, Alarm, Pace


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


def test_an_idle_worker_comes_when_a_message_is_due() -> None:
    """And up to 10 ms later, so that not all workers come at once; never later than its poll."""
    pace = a_pace()
    for _ in range(20):
        pace.next_poll(worked=False)

    in_time = [pace.next_poll(worked=True, due_ms=20) for _ in range(50)]
    later = [pace.next_poll(worked=True, due_ms=5000) for _ in range(50)]

    assert all(0.02 <= pause <= 0.03 for pause in in_time)
    assert len(set(in_time)) == 50
    assert all(pause <= 0.075 for pause in later)


def test_whoever_comes_in_vain_comes_later_the_next_time() -> None:
    """What is due cannot be taken, or others are faster: the pauses grow to a bound, then end."""
    alarm = Alarm(least=0.005, longest=0.25)

    vain = [alarm.pause(1.0, 0, found=False) for _ in range(20)]
    far = alarm.pause(1.0, 600, found=False)
    found = alarm.pause(1.0, 0, found=True)

    assert all(0.005 * 2**n <= pause <= 0.35 for n, pause in enumerate(vain[:6]))
    assert all(0.25 <= pause <= 0.35 for pause in vain[6:])
    assert 0.6 <= far <= 0.7
    assert 0.005 <= found <= 0.015


def test_a_pause_that_ended_by_itself_is_not_in_vain() -> None:
    """Only polls that were made for a message count."""
    alarm = Alarm(least=0.005, longest=0.25)

    pauses = [alarm.pause(0.5, None, found=False) for _ in range(5)]

    assert pauses == [0.5] * 5
    assert alarm.pause(0.5, 0, found=False) <= 0.015


def test_wake_ups_that_have_proved_to_come_make_polls_rare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After ten minutes without work; work that none has announced ends that at once."""
    now = [1000.0]
    monkeypatch.setattr("pgflow_yaml.worker.pace.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "pgflow_yaml.worker.pace.random.uniform", lambda low, high: (low + high) / 2
    )

    def longest(pace: Pace) -> float:
        now[0] += 700
        pace.saw_claim(0, hears=True)
        return max(pace.next_poll(worked=False) for _ in range(30))

    pace = a_pace()
    assert longest(pace) == 1.0  # nothing is proved
    pace.woken()
    pace.saw_claim(3, hears=True)
    pace.next_poll(worked=True)
    assert longest(pace) == 5.0
    pace.saw_claim(1, hears=True)  # nobody has announced it
    pace.next_poll(worked=True)
    assert longest(pace) == 1.0
    pace.woken()
    pace.saw_claim(1, hears=True)
    pace.saw_claim(0, hears=False)  # the listener is away
    assert longest(pace) == 1.0
