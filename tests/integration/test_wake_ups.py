"""Idle workers are woken by clients, and do without it: NOTIFY is a hint (R-8, F19)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgflow_yaml.client import Client
from pgflow_yaml.database.store import wake
from tests.fixtures.pooler import direct
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import at_rest, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fixtures.proxy import Proxy
    from tests.fixtures.working import Works

IDLE = "flow: idle\nsteps:\n  go: {handler: shop.go}\n"
LISTENERS = (
    "select pid from pg_stat_activity where application_name like 'pgflow-yaml listener%' {}"
)
HALF_A_MINUTE: dict[str, Any] = {"poll_interval_ms": 30_000, "max_poll_seconds": 30}
"""Settings of a worker that does not poll as long as a test lasts."""


@pytest.fixture
def ear(db: psycopg.Connection) -> psycopg.Connection:
    """A connection that hears what workers would hear."""
    db.execute("listen pgflow_wake")
    return db


def heard(ear: psycopg.Connection, *, seconds: float = 0.3) -> list[str]:
    """Return the payloads that arrived."""
    return [notification.payload for notification in ear.notifies(timeout=seconds)]


def listener(db: psycopg.Connection, *, but: int = 0) -> int:
    """The backend of the worker's listener, once it has one (another than `but`)."""

    def look() -> int:
        rows = db.execute(LISTENERS.format("and datname = current_database()").encode()).fetchall()
        return next((int(pid) for (pid,) in rows if pid != but), 0)

    return eventually(look, what="the worker listens")


def idle(works: Works, **settings: Any) -> None:
    """A worker with nothing to do."""
    works.app.write("shop.py", "def go(input): return 1\n")
    works.deploy(IDLE)
    works.start(**settings)


def start_run(client: Client) -> str:
    return client.start_run("idle").run_id


def start_many(client: Client) -> str:
    return client.start_many("idle", [{}, {}])[-1]


@pytest.mark.parametrize("start", [start_run, start_many, lambda client: client.start("idle").id])
def test_an_idle_worker_begins_soon_after_a_start(
    works: Works, db: psycopg.Connection, start: Callable[[Client], str]
) -> None:
    """It would poll after half a minute; the second start sends no wake-up, but is found."""
    idle(works, **HALF_A_MINUTE)
    listener(db)
    at_rest(db)

    first, second = start(works.client), start(works.client)

    assert works.ended(first, seconds=10).status == "completed"
    assert works.ended(second, seconds=10).status == "completed"


def test_a_new_flow_is_served_at_its_first_start(works: Works, db: psycopg.Connection) -> None:
    """A wake-up also makes the worker list the queues again."""
    idle(works, **HALF_A_MINUTE)
    listener(db)
    at_rest(db)

    works.deploy(IDLE.replace("idle", "newer"))

    assert works.ended(works.client.start("newer").id, seconds=10).status == "completed"


@direct
def test_a_lost_listener_comes_back(works: Works, db: psycopg.Connection) -> None:
    """The run that is started in the gap is found when it is back; later ones wake it (F19)."""
    idle(works, **HALF_A_MINUTE)
    pid = listener(db)
    at_rest(db)

    db.execute("select pg_terminate_backend(%s)", [pid])
    in_the_gap = start_run(works.client)

    assert works.ended(in_the_gap, seconds=10).status == "completed"
    listener(db, but=pid)
    at_rest(db)
    assert works.ended(start_run(works.client), seconds=10).status == "completed"


@pytest.mark.parametrize(
    ("instead", "reason"),
    [(b"lizten pgflow_wake", "LISTEN is refused"), (b"select 1 as nobody", "does not arrive")],
)
def test_without_notifications_the_worker_polls(
    works: Works,
    proxy: Proxy,
    instead: bytes,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As behind a pooler: one warning, no listener, and all runs complete (F18, F19)."""
    monkeypatch.setattr(wake, "_PROBE_SECONDS", 0.2)
    proxy.instead[b"listen pgflow_wake"] = instead
    idle(works, conninfo=proxy.conninfo)
    eventually(lambda: "no wake-ups here" in caplog.text)

    for _ in range(3):
        assert works.ended(works.client.start("idle").id).status == "completed"

    (warning,) = [message for message in caplog.messages if "wake-ups" in message]
    assert reason in warning


def test_a_worker_may_be_told_not_to_listen(works: Works, db: psycopg.Connection) -> None:
    """All is correct without: polls find everything."""
    idle(works, notify=False)

    assert works.ended(works.client.start("idle").id).status == "completed"
    assert (
        db.execute(LISTENERS.format("and datname = current_database()").encode()).fetchall() == []
    )


def test_a_burst_of_starts_notifies_a_few_times(works: Works, ear: psycopg.Connection) -> None:
    """At most once in 100 ms a process, without payload, however many clients it has."""
    works.deploy(IDLE)
    with Client(as_author(works.database)) as second:
        for _ in range(10):
            start_run(works.client)
            start_run(second)

    payloads = heard(ear)

    assert 1 <= len(payloads) < 10
    assert set(payloads) == {""}


def test_a_joined_start_notifies_when_its_caller_asks_for_it(
    works: Works, ear: psycopg.Connection
) -> None:
    """NOTIFY inside the caller's transaction would make its commit wait for all others' (R-8)."""
    works.deploy(IDLE)

    with psycopg.connect(works.database) as mine:
        works.client.start_run("idle", conn=mine)
        works.client.start_many("idle", [{}], conn=mine)
        mine.commit()
    assert heard(ear) == []
    works.client.wake()

    assert heard(ear) == [""]


def test_completions_notify_nobody(works: Works, ear: psycopg.Connection) -> None:
    """Nor does a start with a key that was used before, nor a client that was told not to."""
    works.app.write("shop.py", "def go(input): return 1\n")
    works.deploy(IDLE)
    with Client(as_author(works.database), notify=False) as quiet:
        quiet.start("idle", key="one")
    works.client.start("idle", key="one")

    works.drain()

    assert heard(ear) == []


def test_one_call_in_a_while_passes() -> None:
    """For each database by itself; the clock starts with a call that passed."""
    now = 100.0
    debounce = wake.Debounce(0.1, clock=lambda: now)

    assert [debounce.passes("a"), debounce.passes("a"), debounce.passes("b")] == [True, False, True]
    now += 0.09
    assert not debounce.passes("a")
    now += 0.02
    assert debounce.passes("a")
