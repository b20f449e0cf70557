"""`pgflow-yaml logs`, and what the screens of a run show of its log."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from pgflow_yaml.cli.app import run
from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.worker_process import StartCli

HANDLERS = """
import logging, sys, time
log = logging.getLogger(__name__)

def pay(ctx):
    print("asking the bank")
    log.info("attempt %s", ctx.attempt)
    print("\\x1b[31mred\\x1b[0m")
    if ctx.attempt == 2:
        print("declined", file=sys.stderr)
    raise ValueError("declined")

def notify(item):
    log.warning("to %s", item)

def tick(ctx):
    ctx.progress(0.4, "page 12 of 30")
    number = 0
    while not ctx.cancelled:
        print(time.time(), flush=True)
        time.sleep(0.01)
"""
FLOW = """
flow: order
steps:
  notify: {handler: tasks.notify, map: "${{ ['ada', 'bob'] }}"}
  pay: {handler: tasks.pay, depends_on: [notify], retry: {max_attempts: 2, base_delay: 0s}}
"""
TICK = "flow: tick\nsteps: {tick: {handler: tasks.tick}}\n"


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder with handlers that print and log."""
    found = Shell(tmp_path, database)
    found.write("tasks.py", HANDLERS)
    found.write("order.yaml", FLOW)
    found.write("tick.yaml", TICK)
    return found


class Logs(Protocol):
    """Run `logs` in this process, with an expected exit code; return stdout and stderr."""

    def __call__(self, *args: str, expect: int = 0) -> tuple[str, str]:
        """Return what it wrote."""


@pytest.fixture
def logs(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Logs:
    """The command `logs`, in this process: it takes a tenth of the time."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.setenv("DATABASE_URL", shell.environment("logs")["DATABASE_URL"])

    def call(*args: str, expect: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert run(["logs", *args]) == expect
        said = capsys.readouterr()
        return said.out, said.err

    return call


def test_the_log_of_a_failed_run(shell: Shell, logs: Logs) -> None:
    """On its end screen, by the command that this names, and by every option that chooses lines."""

    def texts(*options: str) -> list[str]:
        return [json.loads(line)["text"] for line in logs("--json", *options)[0].splitlines()]

    failed = shell("run", "order.yaml", expect=1)
    screen, hint = failed.err.partition("   look            ")[::2]
    command, *words = hint.splitlines()[0].split()[1:]
    assert command == "logs"

    said = logs(*words)[0].splitlines()

    second = ["asking the bank", "attempt 2", "\x1b[31mred\x1b[0m", "declined"]
    assert screen.splitlines()[-9:-4] == [
        *("     ┆ red", "     ┆ asking the bank", "     ┆ attempt 2", "     ┆ red"),
        "     ┆ declined",
    ]
    assert [line[26:] for line in said[-2:]] == [
        "pay       #2  info      red",
        "pay       #2  info      declined",
    ]
    assert texts("--failed") == second
    assert texts("--attempt", "2") == second
    assert sorted(texts("--step", "notify")) == ["to ada", "to bob"]  # they run in parallel
    assert texts("--step", "notify", "--index", "1") == ["to bob"]
    assert sorted(texts("--level", "warning")) == ["to ada", "to bob"]
    assert texts("-n", "2") == second[-2:]
    assert texts("-n", "0") == texts("-n", "0", "-f") == []
    assert texts("--since", "1h", "-f", "-n", "1") == second[-1:]
    line = json.loads(logs("--index", "1", "--json")[0])
    assert line == {
        "at": line["at"],
        "step": "notify",
        "index": 1,
        "retry": 0,
        "attempt": 1,
        "level": "warning",
        "logger": "tasks",
        "text": "to bob",
    }
    assert "   log           red\n                 asking the bank\n" in shell("show", "last").out
    shell("retry", "last", "--detach")
    shell("worker", "--burst")
    assert [line[26:] for line in logs("-n", "5")[0].splitlines()[::4]] == [
        "pay       #1 retry 1  info      red",
        "pay       #2 retry 1  info      declined",
    ]


def test_wrong_uses_are_sentences(shell: Shell, logs: Logs) -> None:
    """An unknown run, step or level; a log without lines, and one of which none matches."""
    shell("run", "order.yaml", "--key", "order-7", expect=1)
    begun = shell("start", "order").out.strip()

    assert 'there is no run "nope"' in logs("nope", expect=2)[1]
    near = logs(begun, "--step", "notfy", expect=2)[1]
    assert 'has no step "notfy"; did you mean "notify"?' in near
    assert "'loud' is not one of" in logs(begun, "--level", "loud", expect=2)[1]
    assert "--since" in logs(begun, "--since", "soon", expect=2)[1]
    out, err = logs(begun)
    assert out == ""
    assert "have not printed or logged anything" in err
    assert "no line matches" in logs("order-7", "--index", "7")[1]


def test_a_killed_worker_loses_at_most_the_last_second(
    shell: Shell, logs: Logs, start_cli: StartCli
) -> None:
    """Its lines carry the time: the last one stored is at most a second older than the kill."""
    shell("compile", "tick.yaml")
    begun = shell("start", "tick").out.strip()
    worker = start_cli("worker", dsn=shell.database, cwd=shell.folder)
    eventually(lambda: logs(begun)[0].count("\n") > 20, what="lines are stored")
    shown = shell("show", begun, "--step", "tick").out
    ready_at = time.time() + 1.5
    eventually(lambda: time.time() > ready_at)

    killed_at = time.time()
    worker.kill()

    last = json.loads(logs("--json")[0].splitlines()[-1])["text"]
    assert killed_at - float(last) < 1.5  # a second, and the statement itself
    assert "progress      40 %, page 12 of 30" in shown
    assert f"{begun[:8]} tick | " in worker.stdout


def test_switches_of_the_project(shell: Shell) -> None:
    """`--no-prefix` prints lines as they are; `logs = "worker"` stores none."""
    shell.write("pyproject.toml", '[tool.pgflow-yaml]\nlogs = "worker"\n')

    failed = shell("run", "order.yaml", "--no-prefix", expect=1)

    assert "\nasking the bank\n" in failed.err
    assert "┆" not in failed.err
    assert "pgflow-yaml logs" not in failed.err


def test_json_of_a_run_has_the_last_lines(shell: Shell) -> None:
    """In the result: of the step that failed, and of no other."""
    result = shell("run", "order.yaml", "--json", expect=1).events[-1]

    notify, pay = result["steps"]
    assert "log" not in notify
    assert [line[3] for line in pay["log"]][-1] == "declined"
    assert pay["progress"] is None
