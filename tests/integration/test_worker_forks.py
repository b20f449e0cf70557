"""Handlers that fork, and whose child process falls out of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works

# The parent returns the exit code of its child, or "alive" after some seconds.
FORK = """
import os, signal, time, warnings

def fork():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()

def code_of(child):
    until = time.monotonic() + 3
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "alive"
"""
LEAVING = {
    "return 'from the child'": 0,
    "raise ValueError('in the child')": 1,
    "raise SystemExit": 0,
    "raise SystemExit(7)": 7,
    "raise SystemExit('a message')": 1,
}


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(("leave", "code"), LEAVING.items())
def test_a_forked_child_ends_with_its_call(works: Works, kind: str, leave: str, code: int) -> None:
    """It does not go on as a second worker; the parent's call is the task's."""
    works.app.write(
        "shop.py",
        f"{FORK}\n{kind} go():\n    child = fork()\n"
        f"    if child: return code_of(child)\n    {leave}\n",
    )
    works.deploy("flow: forks\nsteps:\n  go: {handler: shop.go, retry: 1}\n")
    run = works.client.start("forks")

    works.start()

    assert works.ended(run.id).output == {"go": code}


@pytest.mark.parametrize("leave", ["pass", "raise ValueError"])
def test_a_child_forked_by_a_module_ends_with_the_import(works: Works, leave: str) -> None:
    """It would call the handler, and report for the task."""
    works.app.write(
        "shop.py",
        f"{FORK}\nchild = fork()\nif not child: {leave}\n"
        "code = code_of(child) if child else None\ndef go(): return code\n",
    )
    works.deploy("flow: forks\nsteps:\n  go: {handler: shop.go, retry: 1}\n")
    run = works.client.start("forks")

    works.start()

    assert works.ended(run.id).output == {"go": int(leave != "pass")}


@pytest.mark.parametrize("command", ["worker", "run"])
def test_a_forked_child_does_not_inherit_the_handling_of_signals(
    works: Works, database: str, start_cli: StartCli, command: str
) -> None:
    """SIGTERM ends it, as the pools of `multiprocessing` expect; the worker stays."""
    works.app.write(
        "shop.py",
        f"{FORK}\ndef go():\n    ready, tell = os.pipe()\n    child = fork()\n    if not child:\n"
        "        os.write(tell, b'.')\n        signal.pause()\n    os.read(ready, 1)\n"
        "    os.kill(child, signal.SIGTERM)\n    return code_of(child)\n",
    )
    works.deploy("flow: forks\nsteps:\n  go: {handler: shop.go, retry: 1}\n")
    run = works.client.start("forks", key="one")

    arguments = ["worker", "--burst"] if command == "worker" else ["run", "--resume", "one"]
    process = start_cli(*arguments, dsn=database, cwd=works.app.folder)

    assert process.wait() == 0
    assert works.client.get(run.id).output == {"go": -15}
