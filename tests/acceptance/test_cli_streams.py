"""Standard streams that are closed, full or without a reader, and stdout that always parses."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.cli.app import entries
from tests.acceptance.shell import COMMAND, Shell

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM = Path(__file__).with_name("warm.py")
RUN = "00000000-0000-0000-0000-000000000000"
# A line for each command, and the exit code of its work.
COMMANDS = {
    "activate": ("activate hello {version}", 0),
    "approve": (f"approve {RUN} greet", 2),
    "backfill": ("backfill hello --from 1d", 2),
    "cancel": ("cancel {run}", 0),
    "compile": ("compile hello.flow.yaml", 0),
    "completion": ("completion bash", 0),
    "diff": ("diff hello.flow.yaml", 0),
    "doctor": ("doctor", 1),  # the server of the tests is not durable
    "explain": ("explain PF203", 0),
    "failed": ("failed list", 0),
    "flows": ("flows", 0),
    "graph": ("graph hello.flow.yaml", 0),
    "init": ("init", 0),
    "logs": ("logs {run}", 0),
    "lsp": ("lsp", 0),
    "mcp": ("mcp", 0),
    "migrate": ("migrate --status", 0),
    "pause": ("pause hello", 2),
    "plan": ("plan hello.flow.yaml", 0),
    "prune": ("prune --dry-run", 0),
    "queues": ("queues", 0),
    "reject": (f"reject {RUN} greet", 2),
    "resume": ("resume hello", 2),
    "retry": ("retry {run}", 1),
    "run": ("run hello.flow.yaml --timeout 20s", 0),
    "runs": ("runs", 0),
    "schedules": ("schedules", 0),
    "schema": ("schema", 0),
    "send": ("send {run} paid", 1),
    "show": ("show {run}", 0),
    "start": ("start hello", 0),
    "test": ("test hello.test.yaml", 0),
    "ui": ("ui --hash", 2),  # no password
    "validate": ("validate bad.yaml", 1),
    "versions": ("versions hello", 0),
    "waiting": ("waiting", 0),
    "watch": ("watch {run}", 0),
    "worker": ("worker --burst", 0),
    "workers": ("workers", 0),
}
SILENT = {"lsp", "mcp", "logs {run}"}  # nothing before somebody asks; nothing that was printed
CLOSED = {"0": "closed", "1": "closed", "2": "closed"}


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A project with a deployed flow and a run of it that has completed."""
    shell = Shell(tmp_path, database)
    shell("init")
    shell.write("bad.yaml", "flow: bad\nsteps: {a: {}}\n")
    shell("run", "hello.flow.yaml")
    return shell


def play(
    shell: Shell, lines: Sequence[tuple[str | list[str], dict[str, str]]]
) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each of these lines, one after the other."""
    plays = [[shlex.split(line) if isinstance(line, str) else line, kinds] for line, kinds in lines]
    done = subprocess.run(
        [sys.executable, "-P", str(WARM)],
        cwd=shell.folder,
        env=shell.environment(),
        input=json.dumps(plays),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: list[tuple[int, str, str]] = [tuple(result) for result in json.loads(done.stdout)]
    return results


def test_every_command_takes_closed_and_full_streams(shell: Shell) -> None:
    """Closed is as good as /dev/null; what cannot be written is exit 3 and one sentence."""
    assert COMMANDS.keys() == entries().keys()
    (run,) = shell("runs", "--json").json
    plays: list[tuple[str, dict[str, str], int]] = []
    for template, code in COMMANDS.values():
        line = template.format(version=run["version"], run=run["id"])
        plays.append((line, CLOSED, code))
        if template not in SILENT:
            plays.append((f"{line} --json", {"1": "full"}, 3))
        plays.append((line, {"2": "full"}, code))

    results = play(shell, [(line, kinds) for line, kinds, _ in plays])

    wrong = []
    for (line, kinds, expected), (code, out, err) in zip(plays, results, strict=True):
        unwritten = "stdout cannot be written: No space left on device" in err
        if code != expected or unwritten != (expected == 3) or "Traceback" in out + err:
            wrong.append((line, kinds, code, err[-300:]))
    assert not wrong


def test_the_process_itself_begins_without_streams(shell: Shell) -> None:
    """Nothing is said to have failed that was done: a start is stored, and exits with 0."""
    before = len(shell("runs", "--json").json)

    codes = [
        subprocess.run(
            f"{COMMAND} start hello -q {closing}",
            shell=True,
            cwd=shell.folder,
            env=shell.environment(),
            check=False,
        ).returncode
        for closing in (">&-", "2>&-", "<&- >&- 2>&-")
    ]
    ((code, _, err),) = play(shell, [("start hello --input @-", {"0": "closed"})])

    assert (codes, len(shell("runs", "--json").json)) == ([0, 0, 0], before + 3)
    assert code == 1
    assert "the input is not JSON" in err


def test_a_reader_that_is_gone_ends_a_command_in_silence(shell: Shell) -> None:
    """On stdout it is exit 141, as for a process that SIGPIPE ends; on stderr it is nothing."""
    lines = ["runs --json", "validate nofile.yaml --json", "run hello.flow.yaml", "schema"]

    results = play(shell, [(line, {"1": "gone"}) for line in lines])
    silent = play(shell, [("validate bad.yaml", {"2": "gone"}), ("worker --burst", {"2": "gone"})])

    assert [code for code, _, _ in results] == [141] * len(lines)
    assert not [err for _, _, err in results if "Error" in err]
    assert [code for code, _, _ in silent] == [1, 0]


NOISY = """
import atexit, ctypes, os, subprocess, sys, threading
def say(where):
    print("printed", where)
    os.write(1, b"written\\n")
    subprocess.run(["echo", "child"])
    libc = ctypes.CDLL(None)
    libc.puts(b"from C")
    libc.fflush(None)
    print("to stderr", file=sys.stderr)
say("at import")
atexit.register(say, "at exit")
def go():
    say("in a call")
    threading.Thread(target=say, args=("in a thread",)).start()
    return 1
"""
TEST = "flow: noisy.yaml\ncases:\n  works:\n    expect: {status: completed}\n"


def test_json_parses_whatever_handlers_print(shell: Shell) -> None:
    """At import, in a call, at exit, past Python's streams: stdout is the result alone."""
    shell.write("noisy.py", NOISY)
    shell.write("noisy.yaml", "flow: noisy\nsteps:\n  a: {handler: noisy.go}\n")
    shell.write("noisy.test.yaml", TEST)

    assert [event["event"] for event in shell("run", "noisy.yaml", "--json").events][-1] == "result"
    assert shell("validate", "--import", "noisy.yaml", "--json").json["files"]
    assert shell("validate", "--import", "noisy.yaml", "--format", "json").json["files"]
    assert shell("test", "noisy.test.yaml", "--json").json["files"][0]["cases"]
    shell("start", "noisy", "-q")
    worked = shell("worker", "--burst", "--json")
    assert worked.json["exit_code"] == 0
    result = shell("run", "noisy", "-q")

    assert json.loads(result.out) == {"a": 1}
    for where in ("at import", "in a call", "in a thread"):
        assert f"printed {where}" in result.err
        assert f"printed {where}" in worked.err
    for said in ("written", "child", "from C"):
        assert result.err.count(said) >= 3


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_result_is_the_same_value_in_every_encoding(shell: Shell, encoding: str) -> None:
    """JSON has escapes of its own for what the encoding of stdout lacks."""
    old = Shell(shell.folder, shell.database, {"PYTHONIOENCODING": encoding})
    name = "É→\N{CJK UNIFIED IDEOGRAPH-65E5}🙂"

    out = old("run", "hello", "--input", f"name={name}", "-q").out

    assert out.isascii()
    assert name in str(json.loads(out))
    assert old("schema").out == Shell(shell.folder)("schema").out
