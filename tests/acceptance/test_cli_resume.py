"""A run without a worker: who says so, and the commands that continue it."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database import embedded
from tests.acceptance.screen import ESCAPES, Screen
from tests.acceptance.shell import Shell, resuming
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fixtures.worker_process import StartCli

HANDLERS = """
import pathlib, time

def one(): return 1
def wait():
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return "gone"
"""
FLOW = "flow: f\nsteps: {a: {handler: tasks.wait}}\n"


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder with handlers, a flow and a database of its own."""
    shell = Shell(tmp_path, database)
    shell.write("tasks.py", HANDLERS)
    shell.write("f.yaml", FLOW)
    return shell


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Shell]:
    """A project with its embedded database, and handlers in a folder of their own."""
    shell = Shell(tmp_path)
    shell.write("pyproject.toml", "")
    shell.write("my code/tasks.py", HANDLERS)
    shell.write("f.yaml", FLOW)
    yield shell
    embedded.discard(tmp_path)


def test_ctrl_c_twice_gives_back_what_the_named_command_continues(own: Shell) -> None:
    """As typed on a terminal, with the embedded database, which stops in between."""
    with Screen(own, "run", "f.yaml", "--app-dir", "my code", width=100) as screen:
        eventually(lambda: screen.read() and (own.folder / "begun").exists())
        screen.ctrl_c()
        eventually(lambda: screen.read() and "stopping" in screen.raw)
        screen.ctrl_c()

        assert screen.to_the_end() == 130
        said = ESCAPES.sub("", screen.raw)

    (step,) = own("show", "last", "--json").json["steps"]
    assert (step["attempts"], step["tasks"]["queued"]) == (0, 1)
    (own.folder / "go").touch()
    assert json.loads(own(*resuming(said)).out) == {"a": "gone"}
    assert json.loads(own(*resuming(said)).out) == {"a": "gone"}, "of a run that has ended"


def test_a_killed_run_is_resumed_after_its_lease(own: Shell, start_cli: StartCli) -> None:
    """After kill -9 nothing is given back; each command starts the embedded server anew."""
    words = ("--app-dir", "my code", "--lease", "1s")
    killed = start_cli("run", "f.yaml", *words, cwd=own.folder)
    eventually((own.folder / "begun").exists)
    killed.kill()
    (own.folder / "go").touch()

    shown = own("show", "last").out
    assert re.search(r"workers +none is alive: pgflow-yaml run --resume [0-9a-f]{8}\n", shown)
    assert json.loads(own("run", "--resume", "last", *words).out) == {"a": "gone"}


def test_resume_runs_the_child_flows_too_and_ends_as_the_run_does(shell: Shell) -> None:
    """The exit code is that of the run; a second way on a named database is a worker."""
    shell.write("bad.yaml", "flow: bad\nsteps: {a: {handler: tasks.gone, retry: 1}}\n")
    shell.write("child.yaml", "flow: child\nsteps: {a: {handler: tasks.one}}\n")
    shell.write("parent.yaml", "flow: parent\nsteps: {a: {flow: child}}\n")
    parent = shell("run", "parent.yaml", "child.yaml", "--detach").out.strip()

    waiting = shell("show", parent).out
    result = shell("run", "--resume", parent)
    shell("cancel", shell("run", "f.yaml", "--detach").out.strip())
    cancelled = shell("run", "--resume", "last", expect=1)

    assert f"--resume {parent[:8]}, or pgflow-yaml worker --burst\n" in waiting
    assert json.loads(result.out) == {"a": {"a": 1}}
    assert "cancelled" in cancelled.err


def test_a_watched_run_says_while_no_worker_is_alive(shell: Shell, start_cli: StartCli) -> None:
    """One line, which names the next command; and when a worker comes."""
    (shell.folder / "go").touch()
    shell("run", "f.yaml", "--detach")
    process = start_cli("watch", dsn=shell.database, cwd=shell.folder)
    process.wait_for("no worker is alive: pgflow-yaml run --resume ")

    shell("worker", "--burst")

    assert process.wait() == 0
    assert process.stderr.count("no worker is alive") == 1


def test_whoever_leaves_a_run_is_told_whether_it_goes_on(shell: Shell, start_cli: StartCli) -> None:
    """With a worker alive `watch` is enough; without one the run is only kept."""
    shell("run", "f.yaml", "--detach")
    alone = shell("watch", "--timeout", "0.1s", expect=124).err
    worker = start_cli("worker", dsn=shell.database, cwd=shell.folder)
    eventually((shell.folder / "begun").exists)
    served = shell("watch", "--timeout", "0.1s", expect=124).err
    worker.send(signal.SIGKILL)

    assert "run is kept: pgflow-yaml run --resume" in alone
    assert "run goes on: pgflow-yaml watch" in served
    assert "no worker" not in served


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "name the FILEs or the FLOW to run, or --resume RUN"),
        (["--resume", "last", "f.yaml"], 'without "f.yaml"'),
        (["--resume", "last", "--input", "a=1"], "without --input"),
        (["--resume", "last", "--detach"], "without --detach"),
        (["--resume", "nothing"], 'there is no run "nothing"'),
    ],
)
def test_resume_is_not_mixed_with_a_new_run(shell: Shell, words: list[str], problem: str) -> None:
    """A usage error names the argument that does not fit."""
    assert problem in shell("run", *words, expect=2).err
