"""The executor of processes: each call in a child, which may die without harm to the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.worker.calls import Handlers
from pgflow_yaml.worker.executors import Pool, in_processes
from pgflow_yaml.worker.logs import Logs, catch_logging
from pgflow_yaml.worker.streams import handler_streams, take_record
from pgflow_yaml.worker.task import RunContext, StepCall, Task
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.apps import App

HANDLERS = """
import ctypes, logging, os, signal, subprocess, sys, time
from pathlib import Path

from pgflow_yaml.errors import RetryLater

def double(input): return input * 2
async def adouble(input): return input * 2
def boom(input): raise ValueError("no")
def later(input): raise RetryLater(7)
def segfault(input): ctypes.string_at(0)
def leave(input): os._exit(3)
def killed(input): os.kill(os.getpid(), signal.SIGKILL)
def spin(input):
    while True: pass
def c_loop(input): sum(range(10**13))
def deaf(input):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(input).touch()
    while True: pass
def wait(input, ctx):
    Path(input).touch()
    while not ctx.cancelled: time.sleep(0.01)
    Path(input).unlink()
async def await_(input, ctx):
    import asyncio
    Path(input).touch()
    try: await asyncio.sleep(60)  # until it is cancelled
    finally: Path(input).unlink()
def say(input, ctx):
    print("printed", input)
    print("to stderr", file=sys.stderr)
    logging.getLogger("shop").warning("logged %s", input)
    ctx.log.info("by ctx")
    ctx.progress(0.5, "half")
    os.write(1, b"below Python\\n")
def environ(input): return dict(os.environ)
def about(input, ctx):
    return [ctx.run_id, ctx.step, ctx.index, ctx.attempt, ctx.run_input, ctx.heartbeat()]
def hungry(input): return len(bytearray(input))
def pid(input): return os.getpid()
def named(a, b): return a + b
def with_tx(input, *, tx): return 1
def start(input):
    return subprocess.Popen(["sleep", "60"]).pid
def big(input): return input
def fork(input):
    if os.fork() == 0: os._exit(0)
    os.wait()
    return input
def unused(): return 1
"""


class Bench:
    """A pool of processes, and tasks for it."""

    def __init__(self, app: App, *, size: int = 2, **settings: Any) -> None:
        self.logs = Logs()
        self.beats = 0
        self.pool = Pool(
            size,
            Handlers(app.folder),
            [in_processes(**settings)],
            beat=self._beat,
            logs=self.logs,
        )

    def _beat(self) -> None:
        self.beats += 1

    def task(self, name: str, value: Any = 1, *, timeout: float = 40, **call: Any) -> Task:
        """Return a task that calls one of the handlers above."""
        step = StepCall({"handler": f"jobs.{name}", "timeout_ms": timeout * 1000, **call})
        context = RunContext({}, run_input=lambda: value, secret=lambda _: "hunter2hunter2")
        return Task({"run": "r", "step": name, "index": 0, "attempt": 1}, step, context)

    def result(self, name: str, value: Any = 1, **options: Any) -> Task:
        """Return the task of a call once it has ended."""
        self.pool.submit([self.task(name, value, **options)])
        return self.results(1)[0]

    def results(self, count: int) -> list[Task]:
        """Return the next tasks to finish, in the order in which they do."""
        tasks: list[Task] = []

        def take() -> bool:
            self.pool.watch(30)
            self.pool.check()
            tasks.extend(self.pool.results.take())
            return len(tasks) >= count

        eventually(take, what=f"{count} tasks finish")
        return tasks

    def lines(self) -> list[tuple[str, str, str]]:
        """Return what calls have said: level, logger and text."""
        return [line[1:] for part in self.logs.take().parts for line in part.lines]


@pytest.fixture
def bench(app: App) -> Iterator[Bench]:
    """A pool of two processes."""
    app.write("jobs.py", HANDLERS)
    bench = Bench(app)
    yield bench
    bench.pool.close()


def outcome(task: Task) -> tuple[str, Any]:
    """Return the kind of an outcome, and its output or its error without the trace."""
    assert task.outcome is not None
    error = task.outcome.error
    if error is None:
        return task.outcome.kind, task.outcome.output
    return task.outcome.kind, (error["type"], error["message"])


def is_alive(pid: int) -> bool:
    """A process with this id runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_outcomes_are_those_of_threads(bench: Bench) -> None:
    """Outputs of both kinds of handlers, exceptions with their trace, and delays."""
    assert outcome(bench.result("double", 4)) == ("completed", "8")
    assert outcome(bench.result("adouble", 4)) == ("completed", "8")
    failed = bench.result("boom")
    assert outcome(failed) == ("failed", ("ValueError", "no"))
    assert failed.outcome
    assert "jobs.py" in str((failed.outcome.error or {})["trace"])
    late = bench.result("later").outcome
    assert late
    assert (late.kind, late.delay_ms) == ("retry_later", 7000)
    given = ["dict", "a", ["lit", "x"], "b", ["lit", "é"]]
    assert outcome(bench.result("named", **{"with": given})) == ("completed", '"xé"')
    assert outcome(bench.result("fork", 3)) == ("completed", "3")


def test_a_context_is_as_in_a_thread(bench: Bench) -> None:
    """The input of the run is fetched when a handler asks for it."""
    assert outcome(bench.result("about", {"n": 1})) == (
        "completed",
        '["r","about",0,1,{"n":1},true]',
    )
    assert bench.beats == 1


def test_large_values_pass(bench: Bench) -> None:
    """More than a pipe holds, both ways."""
    text = "é" * 500_000

    kind, output = outcome(bench.result("big", text))

    assert (kind, len(output)) == ("completed", 500_002)


def test_a_handler_that_is_not_there_is_refused(bench: Bench) -> None:
    """Its task is given back, as by threads (R-6)."""
    task = bench.result("missing")

    assert outcome(task)[0] == "released"
    assert 'there is no "missing"' in str(task.refused)


def test_there_is_no_transaction(bench: Bench) -> None:
    """With the sentence that any executor outside of the worker's process has."""
    kind, (_, message) = outcome(bench.result("with_tx"))

    assert kind == "fatal"
    assert "runs handlers outside of the worker's process" in message


def test_the_worker_imports_no_handler(bench: Bench) -> None:
    """A module that breaks a process breaks a child."""
    bench.result("double")

    assert "jobs" not in sys.modules


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("segfault", "by SIGSEGV"),
        ("leave", "with exit code 3"),
        ("killed", "by SIGKILL (out of memory?)"),
    ],
)
def test_a_death_concerns_its_task_alone(bench: Bench, name: str, end: str) -> None:
    """The others complete, and the next call has a new child."""
    bench.pool.submit([bench.task("double", 1), bench.task(name), *map_of(bench, 4)])

    ended = {task.step: outcome(task) for task in bench.results(6)}

    assert ended.pop(name) == ("crashed", ("Crashed", f"the process of the handler ended {end}"))
    assert ended == {"double": ("completed", "2")}


def map_of(bench: Bench, count: int) -> list[Task]:
    """Return some more tasks that double a 1."""
    return [bench.task("double", 1) for _ in range(count)]


def test_a_child_that_dies_while_it_is_idle_costs_no_call(bench: Bench) -> None:
    """Another one takes its place; at worst the call is given back, which counts as nothing."""
    pid = int(outcome(bench.result("pid"))[1])
    os.kill(pid, signal.SIGKILL)

    first, second = (outcome(bench.result("pid")) for _ in range(2))

    assert first[0] in ("completed", "released")
    assert second[0] == "completed"
    assert int(second[1]) != pid


@pytest.mark.parametrize("name", ["spin", "c_loop"])
def test_a_timeout_ends_any_loop(bench: Bench, name: str) -> None:
    """Also one in C; its slot is free again, and no handler counts as abandoned."""
    bench.result("double")  # the start of a child does not count
    began = time.monotonic()
    bench.pool.submit([bench.task(name, timeout=0.3), bench.task("pid")])

    ended = {task.step: outcome(task) for task in bench.results(2)}

    assert ended[name] == ("failed", ("Timeout", "the handler did not return within 0.3 s"))
    assert time.monotonic() - began < 2.8
    assert bench.pool.abandoned == 0
    assert outcome(bench.result("double", 2)) == ("completed", "4")


def test_a_handler_that_ignores_sigterm_is_killed(bench: Bench, tmp_path: Path) -> None:
    """Two seconds after its deadline."""
    begun = tmp_path / "begun"
    bench.result("deaf", str(begun), timeout=1)
    children = executor(bench)._children.copy()

    def killed() -> bool:
        bench.pool.check()
        return not any(child._kill_at for child in executor(bench)._children)

    eventually(killed, seconds=4, what="the child is killed")
    assert children
    assert begun.exists()


def executor(bench: Bench) -> Any:
    """Return the executor of a pool."""
    return bench.pool._default


@pytest.mark.parametrize("name", ["wait", "await_"])
def test_a_cancelled_handler_is_told(bench: Bench, tmp_path: Path, name: str) -> None:
    """`ctx.cancelled` is true, a coroutine is cancelled; both may clean up."""
    begun = tmp_path / "begun"
    task = bench.task(name, str(begun))
    bench.pool.submit([task])
    eventually(begun.exists, what="the handler begins")

    bench.pool.cancel(task)

    assert bench.results(1) == [task]
    assert not begun.exists()
    assert outcome(bench.result("double", 1)) == ("completed", "2")


def test_a_cancelled_handler_that_goes_on_is_ended(bench: Bench, tmp_path: Path) -> None:
    """After a moment, as at a timeout; its task is given back."""
    begun = tmp_path / "begun"
    task = bench.task("deaf", str(begun))
    bench.pool.submit([task])
    eventually(begun.exists, what="the handler begins")

    bench.pool.cancel(task)

    assert outcome(bench.results(1)[0]) == ("released", "null")


def test_lines_reach_the_log_and_the_screen(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    """Prints, records and progress, with secrets masked; not what is printed below Python."""
    catch_logging(take_record)
    value = ["path", "secrets.KEY"]
    with handler_streams():
        task = bench.result("say", **{"with": value})

    assert outcome(task) == ("completed", "null")
    assert bench.lines() == [
        ("info", "stdout", "printed ***"),
        ("info", "stderr", "to stderr"),
        ("warning", "shop", "logged ***"),
        ("info", "pgflow_yaml.handler", "by ctx"),
    ]
    shown = capfd.readouterr()
    assert "say | printed ***\n" in shown.out
    assert "hunter2" not in shown.out + shown.err
    assert "below Python" in shown.err


def test_handlers_see_no_variables_of_the_database(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those of Python and the locale, and those that are named (S-21)."""
    app.write("jobs.py", HANDLERS)
    for name in ("DATABASE_URL", "PGPASSWORD", "PGFLOW_YAML_SECRET_KEY", "SHOP", "LC_TIME"):
        monkeypatch.setenv(name, "C")
    bench = Bench(app, env=["SHOP"])

    task = bench.result("environ")

    bench.pool.close()
    assert task.outcome
    for name in ("DATABASE_URL", "PGPASSWORD", "PGFLOW_YAML_SECRET_KEY"):
        assert name not in task.outcome.output
    for name in ("PATH", "SHOP", "LC_TIME"):
        assert f'"{name}":' in task.outcome.output


def test_memory_is_limited(app: App) -> None:
    """A handler that wants more gets a MemoryError."""
    app.write("jobs.py", HANDLERS)
    bench = Bench(app, memory=1_000_000_000)

    assert outcome(bench.result("hungry", 1_000_000)) == ("completed", "1000000")
    assert outcome(bench.result("hungry", 2_000_000_000))[1][0] == "MemoryError"

    bench.pool.close()


def test_children_are_replaced_after_their_tasks(app: App) -> None:
    """Two tasks each; none of them is killed."""
    app.write("jobs.py", HANDLERS)
    bench = Bench(app, size=1, tasks=2)

    pids = [outcome(bench.result("pid"))[1] for _ in range(4)]

    bench.pool.close()
    assert pids[0] == pids[1]
    assert pids[2] == pids[3]
    assert pids[0] != pids[2]


def test_children_end_with_the_pool(bench: Bench) -> None:
    """Whether they are idle or not, and what they have started."""
    idle = int(outcome(bench.result("pid"))[1])
    bench.pool.submit([bench.task("spin"), bench.task("spin")])
    eventually(lambda: len(bench.pool.running) == 2, what="both slots are taken")
    pids = [child.pid for child in executor(bench)._children]

    bench.pool.close()

    assert idle in pids
    eventually(lambda: not any(map(is_alive, pids)), seconds=4, what="the children end")


PARENT = """
import sys, time
from pathlib import Path
from pgflow_yaml.worker.calls import Handlers
from pgflow_yaml.worker.executors import Pool, in_processes
from pgflow_yaml.worker.task import RunContext, StepCall, Task

pool = Pool(2, Handlers(Path(sys.argv[1])), [in_processes()], beat=print)
for name in ("c_loop", "pid"):
    call = StepCall({"handler": f"jobs.{name}", "timeout_ms": 60000})
    context = RunContext({}, run_input=lambda: 1, secret=str)
    pool.submit([Task({"run": "r", "step": name, "index": 0, "attempt": 1}, call, context)])
while not (pool.results and pool.running): time.sleep(0.01)
print(*[child.pid for child in pool._default._children], flush=True)
time.sleep(60)  # until it is killed
"""


def test_no_child_outlives_its_parent(app: App) -> None:
    """Neither an idle one nor one in a loop in C, which sees no end of its pipe."""
    app.write("jobs.py", HANDLERS)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(app.folder)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(is_alive, pids))

    parent.kill()
    parent.communicate()

    eventually(lambda: not any(map(is_alive, pids)), seconds=5, what="the children end")


def test_children_that_cannot_start_are_tried_again(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a pause; their tasks wait, and the worker says why."""
    app.write("jobs.py", HANDLERS)
    bench = Bench(app, size=1)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    bench.pool.submit([bench.task("double", 2)])
    eventually(lambda: "no process for handlers" in caplog.text, what="it says so")
    monkeypatch.undo()

    assert outcome(bench.results(1)[0]) == ("completed", "4")
    bench.pool.close()
