"""Debounced starts: of many with one key the last one counts, once there has been none for long."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_step
from tests.engine.timetables import at
from tests.fixtures.waiting import until_blocked

if TYPE_CHECKING:
    from collections.abc import Iterator

WORK = {"work": a_step()}


def deploy(engine: Engine, steps: dict[str, Any], **more: Any) -> None:
    """Deploy the flow, whose input is a number."""
    engine.deploy("report", steps, input={"n": {"type": "integer"}}, **more)


def wind(engine: Engine) -> None:
    """Run all timers that are due."""
    while "timers" in engine.call("wind", engine.worker):
        pass


def debounce(
    engine: Engine, n: int, key: str | None = "k", pause: str | None = "30 s", **more: Any
) -> dict[str, Any]:
    """Start a run with this input; return the reply."""
    given = {"version": None, "labels": None} | more
    reply: dict[str, Any] = engine.call(
        "start_debounced", "report", json.dumps({"n": n}), key, pause, *given.values()
    )
    return reply


def runs(engine: Engine) -> list[tuple[Any, ...]]:
    """The input, the status, the number of steps and the key of each run, oldest first."""
    query = """
        select (input -> 'n')::int, status, run_key,
          (select count(*) from pgflow.step_states s where s.run_id = r.run_id)
        from pgflow.runs r order by started_at, input"""
    return engine.db.execute(query).fetchall()


def test_the_last_start_counts(engine: Engine) -> None:
    """Its input, and the pause after it; the run is the same."""
    engine.now(at(0))
    deploy(engine, WORK)
    first = debounce(engine, 1)
    engine.now(at(0.4))
    second = debounce(engine, 2, labels='{"who": "ada"}')
    assert (first["created"], second["created"]) == (True, False)
    assert first["run_id"] == second["run_id"]

    engine.now(at(0.8))
    wind(engine)
    assert runs(engine) == [(2, "started", "k", 0)]
    engine.now(at(0.9))
    wind(engine)
    assert engine.work("report") == ["work"]
    assert runs(engine) == [(2, "completed", "k", 1)]
    assert engine.one("select labels from pgflow.runs") == {"who": "ada"}


def test_the_next_start_makes_another_run(engine: Engine) -> None:
    """When the first one has begun or was cancelled; the key is that of the newest."""
    engine.now(at(0))
    deploy(engine, WORK)
    debounce(engine, 1)
    engine.now(at(1))
    wind(engine)
    assert debounce(engine, 2)["created"]
    engine.call("cancel_run", engine.one("select run_id from pgflow.runs where run_key = 'k'"))
    engine.now(at(2))
    assert debounce(engine, 3)["created"]
    engine.now(at(3))
    wind(engine)

    assert engine.work("report") == ["work", "work"]
    assert runs(engine) == [
        (1, "completed", None, 1),
        (2, "cancelled", None, 0),
        (3, "completed", "k", 1),
    ]


def test_a_later_start_takes_the_version_of_its_time(engine: Engine) -> None:
    """The run that waits has no steps yet: it gets those of the version that is active now."""
    engine.now(at(0))
    deploy(engine, WORK)
    run = debounce(engine, 1)["run_id"]
    deploy(engine, {"a": a_step(), "b": a_step("a")})
    assert debounce(engine, 2)["run_id"] == run
    engine.now(at(1))
    wind(engine)

    assert engine.work("report") == ["a", "b"]
    assert engine.status(run) == "completed"


def test_a_gated_flow_is_asked_when_the_pause_is_over(engine: Engine) -> None:
    """A run that waits at the gate has begun, as far as later starts are concerned."""
    engine.now(at(0))
    deploy(engine, WORK, concurrency={"limit": 1})
    engine.start("report", {"n": 0})
    debounce(engine, 1)
    engine.now(at(1))
    wind(engine)
    assert debounce(engine, 2)["created"]
    engine.now(at(2))
    wind(engine)

    assert engine.work("report") == ["work"] * 3


@pytest.mark.parametrize(
    ("key", "pause", "state"),
    [
        (None, "30 s", "PF002"),
        ("", "30 s", "PF002"),
        ("k", None, "PF002"),
        ("k", "0.9 s", "PF002"),
        ("k", "-1 s", "PF002"),
        ("k", "20 years", "PF002"),
        ("taken", "30 s", "PF003"),
    ],
)
def test_a_start_without_sense_is_refused(
    engine: Engine, key: str | None, pause: str | None, state: str
) -> None:
    """No key, no pause, or the key of a run that begins by itself."""
    deploy(engine, WORK)
    engine.start("report", {"n": 0}, "taken")

    with pytest.raises(psycopg.Error) as error:
        debounce(engine, 1, key, pause)
    assert error.value.sqlstate == state


@pytest.fixture
def crowd(database: str) -> Iterator[list[psycopg.Connection]]:
    """Connections of many clients."""
    connections = [psycopg.connect(database, autocommit=True) for _ in range(6)]
    yield connections
    for connection in connections:
        connection.close()


def test_starts_at_once_make_one_run(engine: Engine, crowd: list[psycopg.Connection]) -> None:
    """Whoever inserts first; the others change its run, one after the other."""
    deploy(engine, WORK)
    together = threading.Barrier(len(crowd))
    replies: list[Any] = []

    def start(number: int, connection: psycopg.Connection) -> None:
        together.wait()
        query = "select pgflow.start_debounced('report', %s, 'k', '1 hour')"
        row = connection.execute(query, [json.dumps({"n": number})]).fetchone()
        replies.append(row and row[0])

    threads = [threading.Thread(target=start, args=each) for each in enumerate(crowd)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(reply["created"] for reply in replies) == 1
    assert len({reply["run_id"] for reply in replies}) == 1
    assert engine.one("select count(*) from pgflow.runs") == 1


def test_a_start_that_meets_the_begin_waits_for_it(
    engine: Engine, other: Engine, crowd: list[psycopg.Connection]
) -> None:
    """And makes another run: nobody's input is lost."""
    for each in engine, other:
        each.now(at(0))
    deploy(engine, WORK)
    first = debounce(engine, 1)["run_id"]
    engine.now(at(1))
    replies: list[Any] = []
    thread = threading.Thread(target=lambda: replies.append(debounce(other, 2)))
    with engine.db.transaction():
        wind(engine)
        thread.start()
        until_blocked(crowd[0], other.db.info.backend_pid)
        assert replies == []
    thread.join()

    assert replies[0]["created"]
    assert replies[0]["run_id"] != first
