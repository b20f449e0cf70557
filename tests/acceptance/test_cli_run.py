"""`run`, `worker` and the signals that end them, with the real command and real handlers."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell, resuming
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.pg import CrashableServer
    from tests.fixtures.worker_process import StartCli

HANDLERS = """
import os, pathlib, subprocess, time

def one(input): return 1
def noisy(input):
    print("printed by a handler")
    subprocess.run(["echo", "printed by a child"], check=True)
    return "quiet"
def items(input): return list(range(12))
def double(item): return item * 2
def fail(input): raise ValueError("no \\x1b[31mred\\nsecond line")
def flaky(input):
    seen = pathlib.Path("seen")
    if not seen.exists():
        seen.touch()
        raise TimeoutError("not yet")
    return "at last"
def wait(input):
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return "gone"
def closes(input):
    import sys
    for stream in (sys.stdout, sys.stderr):
        with stream: stream.write("written\\n")
        stream.buffer.close()
        stream.close()
"""


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder with handlers and a database of its own."""
    shell = Shell(tmp_path, database)
    shell.write("tasks.py", HANDLERS)
    return shell


def flow(shell: Shell, **steps: str) -> str:
    """Write a flow file whose steps are given as flow mappings."""
    body = "".join(f"  {slug}: {{{text}}}\n" for slug, text in steps.items())
    shell.write("f.yaml", f"flow: f\nsteps:\n{body}")
    return "f.yaml"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_handler_that_closes_the_streams_harms_nothing(shell: Shell, options: list[str]) -> None:
    """They belong to the command: its result and its lines still come."""
    file = flow(shell, a="handler: tasks.closes", b="handler: tasks.one, depends_on: [a]")

    result = shell("run", file, *options)

    assert json.loads(result.out.splitlines()[-1])
    assert "written" in result.err


def test_a_run_is_lines_on_stderr_and_its_output_on_stdout(shell: Shell) -> None:
    """Compiled the first time, unchanged the second; the output alone can be piped on."""
    file = flow(shell, a="handler: tasks.one", b="handler: tasks.items, depends_on: [a]")

    first, second = shell("run", file), shell("run", file)

    assert json.loads(first.out) == {"b": list(range(12))}
    assert first.err.startswith("compiled f ")
    assert second.err.startswith("unchanged f ")
    assert [line.split()[1:3] for line in first.err.splitlines()[1:]] == [
        ["run", "f"],
        ["a", "started"],
        ["a", "completed"],
        ["b", "started"],
        ["b", "completed"],
        ["run", "completed"],
    ]


def test_json_events_end_with_the_result(shell: Shell) -> None:
    """Every line parses; the last one is the whole run."""
    file = flow(
        shell,
        a="handler: tasks.items",
        m="handler: tasks.double, map: steps.a.output, depends_on: [a]",
    )

    events = shell("run", file, "--json").events

    assert {event["event"] for event in events} == {"run", "step", "result"}
    assert events[-1]["run"]["status"] == "completed"
    assert events[-1]["run"]["output"] == {"m": [number * 2 for number in range(12)]}


def test_what_handlers_print_stays_out_of_the_result(shell: Shell) -> None:
    """Also what their child processes print: stdout holds the result alone."""
    file = flow(shell, a="handler: tasks.noisy")

    result = shell("run", file, "--json")

    assert result.events[-1]["run"]["output"] == {"a": "quiet"}
    assert "printed by a handler" in result.err
    assert "printed by a child" in result.err


def test_a_failed_run_shows_what_to_look_at(shell: Shell) -> None:
    """Exit 1; step, attempts, error, line of code, input, place in the file; nothing to paint."""
    file = flow(shell, a="handler: tasks.fail, retry: {max_attempts: 2, base_delay: 10ms}")

    result = shell("run", file, expect=1)

    assert result.out == ""
    assert 'step "a" failed, 2 of 2 attempts' in result.err
    assert "tasks.fail: ValueError: no red second line" in result.err
    assert 'tasks.py:11 in fail     def fail(input): raise ValueError("no' in result.err
    assert "   f.yaml:3:3\n" in result.err
    assert "   input   {}\n" in result.err
    assert "--step a\n" in result.err
    assert "\x1b" not in result.err


def test_a_retry_is_told_as_it_happens(shell: Shell) -> None:
    """A line for the failed attempt; then it completes."""
    file = flow(shell, a="handler: tasks.flaky, retry: {max_attempts: 3, base_delay: 10ms}")

    result = shell("run", file)

    assert "attempt 1 of 3 failed  TimeoutError: not yet" in result.err
    assert json.loads(result.out) == {"a": "at last"}


def test_a_wrong_flow_or_handler_or_input_starts_nothing(shell: Shell) -> None:
    """All three are frames with exit 1, and the database stays empty."""
    broken = flow(shell, a="handler: tasks.one, nope: 1")
    assert "f.yaml:3:" in shell("run", broken, expect=1).err

    missing = flow(shell, a="handler: tasks.missing")
    assert "f.yaml:3:" in shell("run", missing, expect=1).err

    good = flow(shell, a="handler: tasks.one")
    assert "--input:1:1: error[" in shell("run", good, "--input", "a=1", expect=1).err
    assert shell("flows", "--json").json == []


def test_a_flow_is_run_by_its_name(shell: Shell) -> None:
    """The active version, without a file; its handlers are checked as well."""
    shell("compile", flow(shell, a="handler: tasks.one"))

    assert json.loads(shell("run", "f").out) == {"a": 1}
    shell.write("tasks.py", "")
    assert "f@" in shell("run", "f", expect=1).err


def test_a_file_is_run_as_it_is_but_not_made_active(shell: Shell) -> None:
    """On a real database, `run FILE` leaves the active version alone (engine.md §2)."""
    shell("compile", flow(shell, a="handler: tasks.one"))
    active = shell("flows", "--json").json[0]["version"]

    result = shell("run", flow(shell, a="handler: tasks.items"))

    assert json.loads(result.out) == {"a": list(range(12))}
    assert "(another version is active)" in result.err
    assert shell("flows", "--json").json[0]["version"] == active


def test_several_files_are_deployed_and_the_first_is_run(shell: Shell) -> None:
    """`run a.yaml b.yaml` leaves both in the database."""
    shell.write("g.yaml", "flow: g\nsteps: {a: {handler: tasks.one}}\n")

    shell("run", flow(shell, a="handler: tasks.one"), "g.yaml")

    assert [each["name"] for each in shell("flows", "--json").json] == ["f", "g"]
    assert [each["flow"] for each in shell("runs", "--json").json] == ["f"]


def test_detached_is_only_started(shell: Shell) -> None:
    """The id is all that is printed on stdout; a worker that stops when idle finishes it."""
    file = flow(shell, a="handler: tasks.one")

    run_id = shell("run", file, "--detach", "--key", "k").out.strip()
    ended = shell("worker", "--burst", "--json").json

    assert ended["exit_code"] == 0
    assert shell("show", run_id, "--json").json["run"]["status"] == "completed"
    again = shell("run", file, "--key", "k")
    assert f"this key was used before: run {run_id[:8]} has completed" in again.err
    assert json.loads(again.out) == {"a": 1}


def test_a_time_limit_is_exit_124(shell: Shell) -> None:
    """The run goes on, for whoever takes it."""
    file = flow(shell, a="handler: tasks.wait")

    result = shell("run", file, "--timeout", "1s", expect=124)

    assert "run is kept: pgflow-yaml run --resume " in result.err
    assert shell("runs", "--json").json[0]["status"] == "started"


def test_after_a_time_limit_the_last_json_line_is_the_run_as_it_is(shell: Shell) -> None:
    """`run` and `watch` give scripts the same last line however they end (124: it goes on)."""
    file = flow(shell, a="handler: tasks.items", b="handler: tasks.wait, depends_on: [a]")

    for words in (["run", file, "--timeout", "3s"], ["watch", "last", "--timeout", "200ms"]):
        last = shell(*words, "--json", expect=124).events[-1]

        assert (last["event"], last["run"]["status"]) == ("result", "started")
        assert [step["slug"] for step in last["steps"]] == ["a", "b"]
        assert last["steps"][0]["output"] == list(range(12))


def test_ctrl_c_stops_the_worker_and_keeps_the_run(shell: Shell, start_cli: StartCli) -> None:
    """What has begun is finished; the line names the command that goes on; exit 130."""
    file = flow(shell, a="handler: tasks.wait", b="handler: tasks.wait, depends_on: [a]")
    process = start_cli("run", file, dsn=shell.database, cwd=shell.folder)
    eventually((shell.folder / "begun").exists)

    process.send(signal.SIGINT)
    process.wait_for("stopping")
    (shell.folder / "go").touch()

    assert process.wait() == 130
    assert "run is kept: pgflow-yaml run --resume " in process.stderr
    assert "Traceback" not in process.stderr
    shell("worker", "--burst")
    assert shell("runs", "--json").json[0]["status"] == "completed"


def test_a_worker_that_gives_up_names_the_step_and_keeps_the_run(shell: Shell) -> None:
    """Handlers that ignore their timeout use up this process, not the run: exit 3, not 1."""
    file = flow(shell, a="handler: tasks.wait, timeout: 100ms, retry: {base_delay: 10ms}")

    result = shell("run", file, "-c", "1", expect=3)

    assert 'ignore their timeout, the last in step "a"' in result.err
    run = shell("runs", "--json").json[0]
    assert run["status"] == "started"
    assert f"run is kept: pgflow-yaml run --resume {run['id'][:8]}" in result.err


def test_a_run_survives_the_death_of_the_database(
    shell: Shell, start_cli: StartCli, crashable: CrashableServer
) -> None:
    """F4: kill -9 of the server in the middle; it comes back, and the run completes."""
    file = flow(shell, a="handler: tasks.wait", b="handler: tasks.one, depends_on: [a]")
    process = start_cli("run", file, dsn=crashable.conninfo(), cwd=shell.folder)
    eventually((shell.folder / "begun").exists)

    crashable.kill()
    (shell.folder / "go").touch()
    process.wait_for("trying again")
    crashable.start()

    assert process.wait() == 0
    assert json.loads(process.stdout) == {"b": 1}


def test_a_second_ctrl_c_gives_the_tasks_back(shell: Shell, start_cli: StartCli) -> None:
    """At once, without counting the attempt; the named command continues the run."""
    file = flow(shell, a="handler: tasks.wait")
    process = start_cli("run", file, dsn=shell.database, cwd=shell.folder)
    eventually((shell.folder / "begun").exists)

    process.send(signal.SIGINT)
    process.wait_for("stopping")
    process.send(signal.SIGINT)

    assert process.wait(seconds=5) == 130
    (step,) = shell("show", "last", "--json").json["steps"]
    assert (step["attempts"], step["tasks"]["queued"], step["crashes"]) == (0, 1, 0)
    (shell.folder / "go").touch()
    assert json.loads(shell(*resuming(process.stderr)).out) == {"a": "gone"}


def test_a_worker_for_an_unknown_queue_says_so(shell: Shell) -> None:
    """A flow may come, so the worker works on; a step may name the queue, or it is a mistake."""
    shell("compile", flow(shell, a="handler: tasks.one"))

    result = shell("worker", "--burst", "--queue", "F", "--queue", "f", "--log-format", "text")

    assert 'no flow in this database uses the queue "F" yet; did you mean "f"?' in result.err
    assert 'the queue "f"' not in result.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_stops_cleanly(shell: Shell, start_cli: StartCli, number: signal.Signals) -> None:
    """R-14: exit 0; its log lines are key=value where there is no terminal."""
    shell("compile", flow(shell, a="handler: tasks.one"))
    process = start_cli("worker", dsn=shell.database, cwd=shell.folder)
    process.wait_for("level=info")
    run_id = shell("start", "f").out.strip()
    eventually(lambda: shell("show", run_id, "--json").json["run"]["status"] == "completed")

    process.send(number)

    assert process.wait(seconds=5) == 0
    assert all(line.startswith("time=20") for line in process.stderr.splitlines())


def test_the_second_signal_ends_a_busy_worker(shell: Shell, start_cli: StartCli) -> None:
    """R-14: the first waits for the handler, the second does not: exit 1."""
    shell("run", "--detach", flow(shell, a="handler: tasks.wait"))
    process = start_cli("worker", "--log-format", "json", dsn=shell.database, cwd=shell.folder)
    eventually((shell.folder / "begun").exists)

    process.send(signal.SIGTERM)
    process.wait_for("stopping")
    process.send(signal.SIGTERM)

    assert process.wait(seconds=5) == 1
    assert all(json.loads(line)["level"] for line in process.stderr.splitlines())


def test_the_projects_own_database_is_used_and_named(tmp_path: Path) -> None:
    """Without any name of a database: started, migrated, said so in one line on stderr."""
    shell = Shell(tmp_path)
    shell("init")

    result = shell("run", "hello.flow.yaml", "--input", "name=Ada")

    assert json.loads(result.out) == {"shout": "HELLO, ADA!"}
    assert result.err.splitlines()[0].startswith("database: embedded PostgreSQL of this project")
    assert shell("flows", "--json").json[0]["version"]
