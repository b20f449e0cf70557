"""What handlers print and log is stored with its attempt, whatever else happens."""

from __future__ import annotations

import logging
import sys
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.runs.logs import LogFilter
from pgflow_yaml.worker.streams import handler_streams
from tests.fixtures.waiting import eventually
from tests.integration.test_secrets import whole_database

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works

HOW = ("out", "err", "log", "parts")
SHOP = """
import asyncio, logging, sys, threading, time
log = logging.getLogger("shop")
log.setLevel(logging.INFO)
log.propagate = False
together, gate, began = threading.Barrier(8), threading.Event(), threading.Event()

def talk(item):
    together.wait(20)
    for number in range(250):
        print(f"{item} {number} out")
        print(f"{item} {number} err", file=sys.stderr)
        log.info("%s %s log", item, number)
        sys.stdout.write(f"{item} ")
        sys.stdout.write(f"{number} parts\\n")

async def whisper(item, ctx):
    print("loop", item)
    await asyncio.to_thread(print, "thread", item)
    await asyncio.create_task(later(item))
    ctx.log.info("ctx %s", item)

async def later(item):
    await asyncio.sleep(0.01)
    log.warning("task %s", item)

def stay(ctx):
    print("stays")
    ctx.progress(0.25, "a quarter")
    began.set()
    while not gate.wait(0.02) and not ctx.cancelled:
        pass
    print("goes")

def fail(ctx):
    print("attempt", ctx.attempt)
    log.debug("not stored")
    try:
        raise KeyError("inner")
    except KeyError:
        log.exception("caught")
    raise ValueError("outer")

def leak(token, ctx):
    print(token, flush=True)
    print(token[:4], end="")
    print(token[4:] + " in parts")
    log.info("%s", token)
    ctx.log.warning(token.upper())
    ctx.progress(0.5, token)
    try:
        raise ValueError(token)
    except ValueError:
        log.exception("with traceback")
    print("short\\nlines\\nof it")
    raise RuntimeError(token)

def flood():
    sys.stdout.buffer.write(bytes(range(256)) * 64 + b"\\n")
    for number in range(20_000):
        print(number, "x" * 100)
"""


def deploy(works: Works, step: str) -> None:
    works.app.write("shop.py", SHOP)
    works.deploy(f"flow: f\nsteps:\n  s: {{{step}}}\n")


def said(works: Works, run_id: str, **chosen: Any) -> list[str]:
    """The texts of the lines that are stored."""
    lines = works.client.run_logs(run_id, LogFilter(**chosen), limit=10_000)
    return [line.text for line in lines]


def test_each_line_of_many_threads_has_its_attempt(works: Works) -> None:
    """8 threads x 1,000 lines at the same time: none is lost, moved, cut or doubled."""
    deploy(works, 'handler: shop.talk, map: "${{ [0, 1, 2, 3, 4, 5, 6, 7] }}"')
    run = works.client.start("f")

    works.drain(concurrency=8, capture=True)

    found = defaultdict(list)
    for line in works.client.run_logs(run.id, limit=10_000):
        found[line.index].append(line.text)
    for item in range(8):
        assert found[item] == [f"{item} {n} {how}" for n in range(250) for how in HOW], item


def test_what_asyncio_runs_for_a_handler_is_its_own(works: Works) -> None:
    """`async def`, `to_thread`, `create_task`: on one loop, each line with its item."""
    deploy(works, 'handler: shop.whisper, map: "${{ [0, 1, 2] }}"')
    run = works.client.start("f")

    works.drain(capture=True)

    lines = works.client.run_logs(run.id)
    for item in range(3):
        assert [line.text for line in lines if line.index == item] == [
            f"{word} {item}" for word in ("loop", "thread", "task", "ctx")
        ]
    assert {line.logger: line.level for line in lines} == {
        "stdout": "info",
        "shop": "warning",
        "pgflow_yaml.handler": "info",
    }


def test_lines_of_a_running_call_come_within_two_seconds(works: Works) -> None:
    """Its progress as well; both are there before it ends, and what it says at its end after."""
    deploy(works, "handler: shop.stay")
    run = works.client.start("f")
    works.start(capture=True)
    import shop  # type: ignore[import-not-found]

    eventually(lambda: said(works, run.id) == ["stays"], seconds=10)
    snapshot = works.client.run_snapshot(run.id)
    shop.gate.set()
    works.ended(run.id)

    progress = snapshot["steps"][0]["progress"]
    assert progress is not None
    assert (progress["done"], progress["text"]) == (0.25, "a quarter")
    assert said(works, run.id) == ["stays", "goes"]
    assert works.client.run_snapshot(run.id)["steps"][0]["progress"] is None


def test_the_lines_of_a_failure_are_there_with_it(works: Works) -> None:
    """Each attempt has its own; tracebacks are stored, DEBUG is not; the snapshot has the last."""
    deploy(works, "handler: shop.fail, retry: {max_attempts: 2, base_delay: 0s}")
    run = works.client.start("f")

    works.drain(capture=True)

    lines = works.client.run_logs(run.id)
    first = [line.text for line in lines if line.attempt == 1]
    assert first[:2] == ["attempt 1", "caught"]
    assert first[2:3] + first[-1:] == ["Traceback (most recent call last):", "KeyError: 'inner'"]
    assert [line.level for line in lines if line.text == first[-1]] == ["error"] * 2
    assert said(works, run.id, failed=True)[0] == "attempt 2"
    assert said(works, run.id, attempt=1, level="error") == first[1:]
    (step,) = works.client.run_snapshot(run.id, logs=True)["steps"]
    assert [line[3] for line in step["log"]] == first[-5:]
    assert "log" not in works.client.run_snapshot(run.id)["steps"][0]


def test_no_line_shows_a_secret(works: Works, db: psycopg.Connection) -> None:
    """Printed, in parts, logged, in a traceback, as progress, over several short lines."""
    deploy(works, 'handler: shop.leak, with: {token: "${{ secrets.T }}"}, retry: 1')
    works.deploy('flow: g\nsteps: {s: {handler: shop.leak, with: {token: "${{ secrets.L }}"}}}\n')
    values = {"T": "c4nary-31337", "L": "short\nlines\nof it"}
    run, short = works.client.start("f"), works.client.start("g")

    works.drain(capture=True, secrets=values.get)

    stored = whole_database(db).lower()
    assert "c4nary" not in stored
    assert "31337" not in stored
    assert said(works, run.id)[:4] == ["***", "*** in parts", "***", "***"]
    assert not {"short", "lines", "of it"} & set(said(works, short.id))


def test_a_flood_is_counted_and_does_no_harm(works: Works) -> None:
    """2 MB within a moment and binary output: the task completes, and the loss is said."""
    deploy(works, "handler: shop.flood")
    run = works.client.start("f")

    works.drain(capture=True)

    lines = said(works, run.id)
    assert works.client.get(run.id).status == "completed"
    assert "\0" not in lines[0]
    left_out = [int(text.split()[1].replace(",", "")) for text in lines if text.startswith("… ")]
    numbers = [text for text in lines if text.endswith("xxx")]
    assert left_out
    assert len(numbers) + sum(left_out) == 20_000


FAULT = """
create function public.fault() returns trigger language plpgsql as $$
begin
  raise exception using errcode = '{code}', message = 'injected';
end $$;
create trigger fault before insert on pgflow.task_logs
for each row execute function public.fault()"""


def test_a_log_that_the_database_refuses_costs_no_result(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The turn is sent again without it; the loss is counted, and said in the worker's log."""
    deploy(works, "handler: shop.flood")
    db.execute(FAULT.format(code="23514").encode())
    run = works.client.start("f")
    worker = works.start(capture=True)

    assert works.ended(run.id).status == "completed"
    eventually(lambda: "the database refused them: injected" in caplog.text)
    db.execute("drop trigger fault on pgflow.task_logs")
    assert worker._logs.lost > 0
    assert "the database refused a turn" not in caplog.text


def test_a_full_disk_keeps_lines_until_there_is_room(
    works: Works,
    db: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run completes meanwhile; the lines are stored once the disk has room."""
    monkeypatch.setattr("pgflow_yaml.worker.upkeep._REFUSED_SECONDS", 0.2)
    deploy(works, 'handler: shop.whisper, with: "${{ 7 }}"')
    db.execute(FAULT.format(code="53100").encode())
    run = works.client.start("f")
    works.start(capture=True)

    assert works.ended(run.id).status == "completed"
    eventually(lambda: "refused the log lines of handlers" in caplog.text)
    before = said(works, run.id)
    db.execute("drop trigger fault on pgflow.task_logs")
    eventually(lambda: said(works, run.id))

    assert before == []
    assert said(works, run.id) == ["loop 7", "thread 7", "task 7", "ctx 7"]


@pytest.mark.parametrize(
    ("logs", "stored", "shown"),
    [("both", True, True), ("database", True, False), ("worker", False, True)],
)
def test_lines_go_where_the_setting_says(
    works: Works, capsys: pytest.CaptureFixture[str], logs: str, *, stored: bool, shown: bool
) -> None:
    """To the database, to the streams, to both; progress is not a line."""
    deploy(works, 'handler: shop.whisper, with: "${{ 7 }}"')
    run = works.client.start("f")

    works.drain(capture=True, logs=logs)

    assert bool(said(works, run.id)) is stored
    assert ("s | loop 7" in capsys.readouterr().out) is shown


@pytest.mark.parametrize(
    ("lead", "shown"), [("none", "loop 7"), ("step", "s | loop 7"), ("run", "{run} s | loop 7")]
)
def test_a_printed_line_begins_with_what_was_chosen(
    works: Works, capsys: pytest.CaptureFixture[str], lead: str, shown: str
) -> None:
    """With the run and the step, the step, or nothing."""
    deploy(works, 'handler: shop.whisper, with: "${{ 7 }}"')
    run = works.client.start("f")

    works.drain(capture=True, lead=lead)

    assert capsys.readouterr().out.splitlines()[0] == shown.format(run=run.id[:8])


def test_a_worker_in_a_program_leaves_its_streams_alone(works: Works) -> None:
    """It stores what is logged; prints are the program's, and so are its root logger's handlers."""
    deploy(works, 'handler: shop.whisper, with: "${{ 7 }}"')
    run = works.client.start("f")
    streams, handlers = (sys.stdout, sys.stderr), list(logging.getLogger().handlers)

    works.drain()

    assert said(works, run.id) == ["task 7", "ctx 7"]
    assert (sys.stdout, sys.stderr) == streams
    assert logging.getLogger().handlers == handlers


def test_a_handler_of_logging_that_writes_to_stderr_doubles_no_line(works: Works) -> None:
    """A record is stored as a record, not once more as the line that its handler prints."""
    deploy(works, 'handler: shop.whisper, with: "${{ 7 }}"')
    run = works.client.start("f")
    with handler_streams():
        handler = logging.StreamHandler()  # on the stream for handlers
        logging.getLogger("shop").addHandler(handler)
        works.drain()

    assert said(works, run.id) == ["loop 7", "thread 7", "task 7", "ctx 7"]


def test_lines_outlast_a_call_that_is_given_up(works: Works) -> None:
    """Until it returns, whatever it says is of its attempt."""
    deploy(works, "handler: shop.stay, timeout: 100ms, retry: 1")
    run = works.client.start("f")
    works.start(capture=True)

    assert works.ended(run.id).status == "failed"

    eventually(lambda: said(works, run.id) == ["stays", "goes"])


def test_following_ends_with_the_run(works: Works) -> None:
    """Old lines, then new ones while it runs, each once, and no more when it has ended."""
    deploy(works, "handler: shop.stay")
    run = works.client.start("f")
    works.start(capture=True)
    found: list[str] = []
    ready = threading.Event()

    def follow() -> None:
        for line in works.client.follow_logs(run.id):
            found.append(line.text)
            ready.set()

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    assert ready.wait(10)
    import shop

    shop.gate.set()
    works.ended(run.id)
    reader.join(10)

    assert not reader.is_alive()
    assert found == ["stays", "goes"]
