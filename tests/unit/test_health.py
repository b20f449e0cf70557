"""A worker is alive while its threads move, and ready while the database answers."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pgflow_yaml.database.store import Outage
from pgflow_yaml.worker import health
from pgflow_yaml.worker.health import Health
from pgflow_yaml.worker.stop import Stop

LEASE = 30.0


class Clock:
    """Monotonic seconds that a test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the module."""
    clock = Clock()
    monkeypatch.setattr(health, "time", clock)
    return clock


def a_health(**more: Any) -> Health:
    """The health of a worker whose threads wait for nothing, or for the database."""
    stores: Any = [SimpleNamespace(waiting_since=more.get(n)) for n in ("loop", "heartbeat")]
    return Health(LEASE, more.get("stop", Stop(0, bool)), more.get("outage", Outage()), stores)


@pytest.mark.parametrize("silent", ["loop", "heartbeat"])
def test_a_thread_that_has_not_moved_for_a_lease_and_ten_seconds_is_dead(
    clock: Clock, silent: str
) -> None:
    """Not before; and the sentence names it."""
    other = "loop" if silent == "heartbeat" else "heartbeat"
    found = a_health()
    clock.now += LEASE + 9
    getattr(found, other).beat()
    assert found.why_not_alive() is None

    clock.now += 2

    assert found.why_not_alive() == f"the {silent} of this worker has not moved for 41 s"


def test_a_thread_that_rests_is_not_dead(clock: Clock) -> None:
    """An idle loop with a long --max-poll-seconds says how long it will rest."""
    found = a_health()
    found.loop.beat(300)
    found.heartbeat.beat(300)
    clock.now += 310

    assert found.why_not_alive() is None


def test_a_thread_that_waits_for_the_database_is_not_dead(clock: Clock) -> None:
    """A restart would not help."""
    found = a_health(loop=clock.now, heartbeat=clock.now)
    clock.now += 600

    assert found.why_not_alive() is None


def test_a_worker_is_ready_while_the_database_answers(clock: Clock) -> None:
    """Ten seconds after its last answer it is not."""
    outage = Outage()
    found = a_health(outage=outage)
    before = found.why_not_ready()
    outage.answered_at = clock.now
    clock.now += 10
    assert found.why_not_ready() is None

    clock.now += 0.1

    assert before == found.why_not_ready() == "the database has not answered for 10 s"


def test_a_worker_that_stops_or_does_not_fit_is_not_ready() -> None:
    """Each with its own sentence."""
    stop, outage = Stop(10, bool), Outage()
    outage.answered_at = time.monotonic()
    found = a_health(stop=stop, outage=outage)
    found.mismatch = "the database is newer than this release"
    misfit = found.why_not_ready()
    stop.ask()

    assert misfit == "the database is newer than this release"
    assert found.why_not_ready() == "this worker is stopping"
