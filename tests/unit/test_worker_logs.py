"""The limits of what a call and a worker may say; nothing is left out without a line about it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.runs.logs import LogRow, in_order
from pgflow_yaml.worker.logs import AttemptLog, Logs, logs
from pgflow_yaml.worker.task import Outcome

if TYPE_CHECKING:
    import pytest

    from pgflow_yaml.worker.logs.attempt_log import Line
    from pgflow_yaml.worker.task import Task


def a_task(step: str = "talk", kind: str = "") -> Task:
    """A task that has ended in this way, if any."""
    outcome = Outcome(kind) if kind else None
    fields = {"run_id": "r", "step": step, "index": 0, "attempt": 1, "fence": 1}
    return cast("Task", SimpleNamespace(**fields, outcome=outcome))


def line(text: str, second: int = 0) -> Line:
    """A line that is said in some second."""
    return (second * 1000, "info", "stdout", text)


def texts(log: AttemptLog) -> list[str]:
    """The texts that would be sent now."""
    return [line[3] for part in log.take() for line in part.lines]


def test_a_call_may_say_a_thousand_lines_a_second() -> None:
    """The rest is counted, and said before what comes next, or when the lines are sent."""
    log = AttemptLog(a_task())
    for number in range(1500):
        log.add(line(str(number)))
    log.add(line("next", second=1))
    for number in range(1001):
        log.add(line(str(number), second=2))

    said = texts(log)

    assert said[:1000] == [str(number) for number in range(1000)]
    assert said[1000:1002] == ["… 500 lines left out", "next"]
    assert said[-1] == "… 1 line left out"
    assert texts(log) == []


def test_of_a_long_log_the_head_and_the_last_lines_are_kept() -> None:
    """Its head goes out as it comes, 800 kB; at the end the last 100 lines follow."""
    log = AttemptLog(a_task())
    long = "x" * 8000
    for number in range(1000):
        log.add(line(f"{number} {long}", second=number // 100))
    head = texts(log)
    for number in range(300):
        log.add(line(f"last {number}", second=11))
    before_the_end = texts(log)
    log.close()
    end = texts(log)
    log.add(line("too late", second=12))

    assert 790_000 < sum(map(len, head)) <= 800_000
    assert before_the_end == []
    assert end[0] == f"… {1000 - len(head) + 200:,} lines left out"
    assert end[1:] == [f"last {number}" for number in range(200, 300)]
    assert texts(log) == ["… 1 line left out"]
    assert log.size == 0


def test_the_last_lines_of_a_long_log_may_be_long() -> None:
    """They are at most 200 kB, so that an attempt has at most 1 MB."""
    log = AttemptLog(a_task())
    for number in range(300):
        log.add(line("x" * 8000, second=number))
    head = texts(log)
    log.close()

    assert sum(map(len, head + texts(log))) <= 1_000_000


def test_a_line_is_cut_and_cleaned() -> None:
    """What PostgreSQL cannot store is replaced; a text of several lines is split."""
    buffer, log = Logs(), AttemptLog(a_task())
    buffer.add(log, "info", "stdout", "x" * 9000)
    buffer.add(log, "info", "stdout", "a\0b\ud800c")
    buffer.add(log, "error", "shop", "first\nsecond")

    lines = [line for part in buffer.take().parts for line in part.lines]

    assert [line[3] for line in lines] == ["x" * 8191 + "…", "a�b�c", "first", "second"]
    assert [line[1:3] for line in lines[2:]] == [("error", "shop")] * 2


def test_a_full_buffer_gives_up_the_oldest_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the database has not taken first; a line in their place says how many."""
    monkeypatch.setattr(logs, "MOST_BUFFERED", 10_000)
    buffer = Logs()
    first, second = AttemptLog(a_task("first")), AttemptLog(a_task("second"))
    for number in range(4):
        buffer.add(first, "info", "stdout", f"{number} {'x' * 2000}")
    buffer.put_back(buffer.take())
    for number in range(9):
        buffer.add(second, "info", "stdout", f"{number} {'x' * 1000}")

    said = [
        (part.log.task.step, line[3][:22]) for part in buffer.take().parts for line in part.lines
    ]

    assert said[0] == ("first", "… 4 lines left out")
    assert [words[0] for _, words in said[1:]] == list("012345678")
    assert buffer.lost == 4
    assert buffer.rest() is None


def test_a_buffer_that_is_full_of_new_lines_counts_what_it_drops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call that began first loses its lines, and its log says so."""
    monkeypatch.setattr(logs, "MOST_BUFFERED", 10_000)
    buffer, log = Logs(), AttemptLog(a_task())
    for number in range(12):
        buffer.add(log, "info", "stdout", f"{number} {'x' * 1000}")

    said = [line[3].split(" x")[0] for part in buffer.take().parts for line in part.lines]

    assert said == ["… 10 lines left out", "10", "11"]
    assert buffer.lost == 10


def test_a_turn_carries_the_lines_of_what_it_reports() -> None:
    """Lines of other calls stay; progress of a call that completed is of no interest."""
    buffer = Logs()
    done, failed, other = (AttemptLog(a_task(kind=kind)) for kind in ("completed", "failed", ""))
    for log in (done, failed, other):
        buffer.add(log, "info", "stdout", "line")
        buffer.report(log, 0.5, "half")

    batch = buffer.take_of([done.task, failed.task])

    assert [part.log for part in batch.parts] == [done, failed]
    assert [report["done"] for report in batch.progress] == [0.5]
    assert [part.log for part in buffer.take().parts] == [other]


def test_what_is_not_used_rings_no_bell() -> None:
    """The bell rings with the first line only, and again once all has been sent."""
    rings: list[int] = []
    buffer, log = Logs(), AttemptLog(a_task(kind="completed"))
    buffer.on_first = lambda: rings.append(1)

    nothing = buffer.take_of([log.task])
    buffer.add(log, "info", "stdout", "a")
    buffer.add(log, "info", "stdout", "b")
    before = (len(rings), bool(nothing), buffer.rest())
    buffer.take()
    after = buffer.rest()
    buffer.report(log, 1, "")

    assert before == (1, False, 1.0)
    assert after is None
    assert len(rings) == 2


def test_only_the_last_report_of_progress_is_sent() -> None:
    """However often a handler reports."""
    buffer, log = Logs(), AttemptLog(a_task())
    for number in range(1000):
        buffer.report(log, number / 1000, str(number))

    assert [report["words"] for report in buffer.take().progress] == ["999"]
    assert buffer.take().progress == []


def a_row(fence: int, part: int, *lines: tuple[int, str], **fields: Any) -> LogRow:
    """A row of the database."""
    row = {"id": fence * 10 + part, "step": "s", "index": 0, "map": False, "retry": 0, "attempt": 1}
    said = [[at, "info", "stdout", text] for at, text in lines]
    return cast("LogRow", {**row, "fence": fence, "part": part, "lines": said, **fields})


def test_lines_are_in_the_order_of_time_and_of_their_call() -> None:
    """Calls interleave; lines of the same moment stay in the order in which one call said them."""
    rows = [
        a_row(2, 0, (5, "e"), (7, "g"), step="t", map=True, index=3),
        a_row(1, 1, (6, "f"), (6, "f2")),
        a_row(1, 0, (1, "a"), (6, "e2")),
        a_row(1, 0, (1, "a"), (6, "e2"), id=99),  # its transaction was repeated
    ]

    lines = in_order(rows)

    assert [line.text for line in lines] == ["a", "e", "e2", "f", "f2", "g"]
    assert [line.label for line in lines if line.text in "ag"] == ["s", "t[3]"]


def test_a_record_that_cannot_be_formatted_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """The handler goes on; logging itself reports what is wrong with the arguments."""
    from pgflow_yaml.worker.logs.catching import _text

    record = logging.LogRecord("shop", logging.INFO, "f", 1, "%s and %s", ("one",), None)

    assert _text(record) == "%s and %s: it cannot be shown: TypeError"
    assert not caplog.records


def test_a_forked_process_waits_for_no_lock() -> None:
    """A thread of the parent may have held it; what the child prints is not stored."""
    buffer, log = Logs(), AttemptLog(a_task())
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with buffer._lock:
            held.set()
            done.wait(20)

    threading.Thread(target=hold, daemon=True).start()
    assert held.wait(20)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        buffer.add(log, "info", "stdout", "line")
        buffer.report(log, 0.5, "")
        buffer.close(log)
        os._exit(7)
    done.set()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
