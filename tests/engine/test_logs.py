"""The log of a run in SQL: what is stored, what is read, and what the snapshot has of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import a_step, done, failed, literal

if TYPE_CHECKING:
    from tests.engine.driver import Engine

    Task = dict[str, Any]


def part(task: Task, number: int, *lines: object, **fields: Any) -> Task:
    """Some lines of a call, as a worker sends them."""
    place = {key: task[key] for key in ("run", "step", "index")}
    said = [
        [1000 + number, "info", "stdout", line] if isinstance(line, str) else line for line in lines
    ]
    calls = {"attempt": task["attempt"], "fence": task["attempt"], "part": number}
    return {**place, **calls, **fields, "lines": said}


def progress(task: Task, share: float, words: str = "") -> Task:
    """A report of progress."""
    place = {key: task[key] for key in ("run", "step", "index")}
    return {**place, "fence": task["attempt"], "done": share, "words": words}


def write(engine: Engine, *parts: Task, progress: tuple[Task, ...] = ()) -> None:
    """Send what goes on."""
    logs = {"lines": list(parts), "progress": list(progress)}
    engine.call("write_logs", engine.worker, json.dumps(logs))


def read(engine: Engine, run: str, **filters: object) -> list[str]:
    """The texts of a run's log, in the order of the rows."""
    named = ", ".join(f"{name} => %s" for name in ("p_run_id", *filters))
    reply = engine.one(f"select pgflow.run_logs({named})", run, *filters.values())
    return [line[3] for row in reply["rows"] for line in row["lines"]]


def test_a_turn_stores_the_log_of_what_it_reports(engine: Engine) -> None:
    """With the result and before it, in one commit; a turn without a log stores nothing."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 1})})
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    logs = {"lines": [part(task, 0, "one", "two")], "progress": [progress(task, 0.5)]}

    engine.turn(failed(task), queue="flow", options={"logs": logs})

    snapshot = engine.call("run_snapshot", run, False, 0, True, True)
    assert [line[3] for line in snapshot["steps"][0]["log"]] == ["one", "two"]
    assert read(engine, run, p_failed=True) == ["one", "two"]
    assert engine.one("select count(*) from pgflow.task_progress") == 1


def test_a_line_tells_the_retry_that_it_belongs_to(engine: Engine) -> None:
    """The numbers of attempts begin anew with each retry of the run."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 1})})
    run = engine.start("flow")
    for number in range(3):
        (task,) = engine.claim("flow")
        write(engine, part(task, 0, str(number), attempt=1, fence=task["attempt"]))
        engine.report(failed(task))
        engine.call("retry_run", run)

    rows = engine.call("run_logs", run)["rows"]
    assert [(row["retry"], row["attempt"], row["lines"][0][3]) for row in rows] == [
        (2, 1, "2"), (1, 1, "1"), (0, 1, "0"),
    ]  # fmt: skip


def test_the_rows_of_a_log_are_found_by_what_was_asked(engine: Engine) -> None:
    """The newest rows up to a number of lines; after an id, the next ones but those seen."""
    engine.deploy("flow", {"a": a_step(), "each": a_step(map=literal([1, 2]))})
    run = engine.start("flow")
    tasks = {(task["step"], task["index"]): task for task in engine.claim("flow")}
    a, first, second = tasks["a", 0], tasks["each", 0], tasks["each", 1]
    warning = [2000, "warning", "shop", "w"]
    write(engine, part(a, 0, "a0", "a1"), part(first, 0, "e0"), part(second, 0, warning))
    write(engine, part(a, 1, "a2"), part(a, 0, "b", attempt=2, fence=2))
    ids = engine.one("select array_agg(id order by id) from pgflow.task_logs")

    assert read(engine, run) == ["b", "a2", "w", "e0", "a0", "a1"]
    assert read(engine, run, p_limit=2) == ["b", "a2"]
    assert read(engine, run, p_steps=["each"]) == ["w", "e0"]
    assert read(engine, run, p_index=1) == ["w"]
    assert read(engine, run, p_attempt=2) == ["b"]
    assert read(engine, run, p_levels=["warning", "error"]) == ["w"]
    assert read(engine, run, p_levels=["error"]) == []
    assert read(engine, run, p_after=0, p_seen=[ids[1]], p_limit=3) == ["a0", "a1", "w"]
    assert read(engine, run, p_after=ids[3]) == ["b"]
    assert engine.one("select pgflow.run_logs(%s, p_levels => '{error}')", run)["last"] == max(ids)
    assert engine.one("select pgflow.run_logs(gen_random_uuid())") is None
    with pytest.raises(psycopg.ProgrammingError, match="a limit is at least 0"):
        read(engine, run, p_limit=-1)
    for task in tasks.values():
        engine.report(done(task))


def test_old_lines_are_left_out_by_their_own_time(engine: Engine) -> None:
    """A row may have lines of before and after."""
    engine.now("2036-01-01 12:00:00Z")
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    noon = engine.one("select extract(epoch from pgflow.now())::float8 * 1000")
    write(engine, part(task, 0, *([noon + at, "info", "l", f"{at}"] for at in (-90_000, -30_000))))

    assert read(engine, run, p_since="1 minute") == ["-30000"]
    assert read(engine, run, p_since="2 minutes") == ["-90000", "-30000"]


def test_lines_of_nothing_are_dropped(engine: Engine) -> None:
    """Of a task that is not there, of a deleted run; what is no line is left out."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    odd = part(task, 1, ["soon", "info", "l", "text"], [1, "info", "l", None], [], 7, "fine")

    write(engine, part(task, 0, "x", index=7), part(task, 0, "x", run=str(run)[::-1][:8] + run[8:]))
    write(engine, odd)

    assert read(engine, run) == ["fine"]
    engine.db.execute("select pgflow.delete_flow_and_data(flow_slug) from pgflow.flows")
    write(engine, part(task, 2, "late"))
    assert engine.one("select count(*) from pgflow.task_logs") == 0


def test_progress_is_that_of_the_call_that_goes_on(engine: Engine) -> None:
    """An older call cannot overwrite it; a share outside of 0 to 1 is bounded."""
    engine.deploy("flow", {"a": a_step(retry={"max_attempts": 2, "base_delay": 0})})
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    write(engine, progress=(progress(task, 0.9, "old"),))
    engine.report(failed(task))
    (again,) = engine.claim("flow")

    before = engine.snapshot(run)["steps"][0]["progress"]
    write(engine, progress=(progress(again, 7, "new"),))
    write(engine, progress=(progress(task, 0.8, "zombie"),))

    assert before is None
    found = engine.snapshot(run)["steps"][0]["progress"]
    assert (found["done"], found["text"], found["index"]) == (1, "new", 0)
    assert engine.call("task_snapshot", run, "a", 0)["progress"]["text"] == "new"
    engine.report(done(again))
    assert engine.snapshot(run)["steps"][0]["progress"] is None


def test_the_last_lines_are_those_of_the_item_that_failed_last(engine: Engine) -> None:
    """Five lines, over several rows; a step without an error has none."""
    each = a_step(map=literal([1, 2]), retry={"max_attempts": 1})
    engine.deploy("flow", {"each": each, "fine": a_step()})
    run = engine.start("flow")
    tasks = {(task["step"], task["index"]): task for task in engine.claim("flow")}
    first, second, fine = tasks["each", 0], tasks["each", 1], tasks["fine", 0]
    write(engine, part(first, 0, "other"), part(fine, 0, "fine"))
    write(engine, part(second, 0, "1", "2", "3"), part(second, 1, "4", "5", "6"))
    write(engine, part(second, 1, "4", "5", "6"))  # repeated after a lost reply
    engine.report(failed(second, "fatal"))

    snapshot = engine.call("run_snapshot", run, False, 0, True, True)

    each, fine = snapshot["steps"]
    assert [line[3] for line in each["log"]] == ["2", "3", "4", "5", "6"]
    assert "log" not in fine
