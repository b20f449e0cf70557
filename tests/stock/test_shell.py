"""The handler `shell`: what a program gets, what becomes of its output, and how it ends."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.errors import PermanentError, PgflowError
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.stock.conftest import Stock

PYTHON = sys.executable
# A grandchild that stays when its parent ends, ignores what asks politely, and holds the streams.
FAMILY = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
open("pids", "w").write(f"{os.getpid()} {child.pid} ")
print("ready", flush=True)
"""


def gone(pid: int) -> bool:
    """No such process, or one that nobody has collected."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def family(folder: Path) -> list[int]:
    """The numbers of the program and of its child, once both are written."""
    file = folder / "pids"
    eventually(lambda: file.exists() and file.read_text().endswith(" "))
    return [int(pid) for pid in file.read_text().split()]


def test_no_shell_reads_the_command(stock: Stock) -> None:
    """Each item arrives as it is."""
    words = ["$HOME; ls", "*", "`id`", "a b", "-x", "", 'q"', "é"]
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"

    assert stock.shell(PYTHON, "-c", code, *words, 7, output="json") == [*words, "7"]


@pytest.mark.parametrize("command", ["ls -l", [], None, {"ls": 1}, [["ls"]], [True], ["a\0b"]])
def test_a_command_is_a_list_of_texts(stock: Stock, command: Any) -> None:
    """A text is refused: it would want a shell."""
    with pytest.raises(PermanentError, match="command"):
        stock.call("shell", command=command)


def test_the_environment_is_clean(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own variables stay with it, but a few, and those that it passes by name."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:hunter22@db/app")
    monkeypatch.setenv("PGFLOW_YAML_SECRET_TOKEN", "token-of-ours")
    monkeypatch.setenv("REGION", "north")
    monkeypatch.setenv("PGFLOW_YAML_SHELL_ENV", "REGION, NOT_THERE")
    code = "import json, os; print(json.dumps(dict(os.environ)))"

    seen = stock.shell(PYTHON, "-c", code, env={"LEVEL": 3, "NAME": "ada"}, output="json")

    names = {name for name in seen if not name.startswith(("LC_", "PGFLOW_"))}
    assert names <= {"HOME", "LANG", "LOGNAME", "PATH", "PWD", "TMPDIR", "TZ", "USER"} | {
        *("REGION", "LEVEL", "NAME", "SHLVL", "_", "OLDPWD")
    }
    assert (seen["LEVEL"], seen["NAME"], seen["REGION"]) == ("3", "ada", "north")
    assert (seen["PWD"], seen["PGFLOW_STEP"]) == (str(stock.folder), "deploy")
    assert seen["PGFLOW_IDEMPOTENCY_KEY"] == f"{stock.attempt.run_id}/deploy/0/0"


@pytest.mark.parametrize("env", [{"A-B": "x"}, {"A": None}, {"A": ["x"]}, ["A=x"], {"A": "\0"}])
def test_variables_have_names_and_texts(stock: Stock, env: Any) -> None:
    """Anything else is refused before the program begins."""
    with pytest.raises(PermanentError, match="env"):
        stock.shell("touch", "began", env=env)

    assert not (stock.folder / "began").exists()


def test_a_program_works_in_the_project(
    stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is the app dir or one below; others only if the worker names them."""
    (stock.folder / "sub").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (stock.folder / "link").symlink_to(outside)

    assert stock.shell("pwd", output="text") == str(stock.folder)
    assert stock.shell("pwd", cwd="sub", output="text") == str(stock.folder / "sub")
    for cwd in ("..", "sub/../..", str(outside), "link", f"{stock.folder}x"):
        with pytest.raises(PermanentError, match="PGFLOW_YAML_SHELL_FOLDERS"):
            stock.shell("pwd", cwd=cwd)
    with pytest.raises(PermanentError, match="no folder"):
        stock.shell("pwd", cwd="nowhere")

    monkeypatch.setenv("PGFLOW_YAML_SHELL_FOLDERS", f"/nowhere:{outside}")
    assert stock.shell("pwd", cwd="link", output="text") == str(outside)


def test_a_program_is_found_as_usual(stock: Stock) -> None:
    """In the PATH, or as a path from its folder; what is missing is said, and tried once."""
    script = stock.folder / "hello.sh"
    script.write_text("#!/bin/sh\necho hello $1\n")

    with pytest.raises(PermanentError, match=r"hello\.sh cannot be executed"):
        stock.shell("./hello.sh", "ada")
    script.chmod(0o700)
    assert stock.shell("./hello.sh", "ada", output="text") == "hello ada"
    with pytest.raises(PermanentError, match='no program "frobnicate"'):
        stock.shell("frobnicate")
    with pytest.raises(PermanentError, match=r'no program "hello\.sh"'):
        stock.shell("hello.sh")


@pytest.mark.parametrize(
    ("printed", "form", "output"),
    [
        ("a\nb\n\n", "none", None),
        ("a\nb\n\n", "text", "a\nb"),
        ("a\nb\n\n", "lines", ["a", "b", ""]),
        ("", "lines", []),
        ('{"a": [1]}\n', "json", {"a": [1]}),
    ],
)
def test_the_output_has_the_wanted_form(stock: Stock, printed: str, form: str, output: Any) -> None:
    """Stdout is the output, stderr never is."""
    code = "import sys; sys.stdout.write(sys.argv[1]); sys.stderr.write('noise')"

    assert stock.shell(PYTHON, "-c", code, printed, output=form) == output


def test_output_that_is_no_json_is_refused(stock: Stock) -> None:
    """With the lines that it printed; another attempt would print them again."""
    with pytest.raises(PermanentError, match=r"(?s)did not print JSON.*last line:\nhello"):
        stock.shell("echo", "hello", output="json")
    with pytest.raises(PermanentError, match="UTF-8"):
        stock.shell("printf", r"\377", output="text")
    with pytest.raises(PermanentError, match="output is one of none, text"):
        stock.shell("echo", output="yaml")


def test_an_output_has_a_limit_and_a_log_has_none(stock: Stock) -> None:
    """More than a megabyte is too much to return, not to print."""
    code = "import sys; sys.stdout.write(('x' * 1023 + '\\n') * 1025)"

    with pytest.raises(PermanentError, match="more than 1 MB"):
        stock.shell(PYTHON, "-c", code, output="text")
    assert stock.shell(PYTHON, "-c", code) is None


def test_lines_are_logged_as_they_come(stock: Stock, caplog: pytest.LogCaptureFixture) -> None:
    """Of both streams, each whole, the last one also without an end."""
    caplog.set_level(logging.INFO, "pgflow_yaml.handler")
    code = (
        "import sys, time; w = sys.stdout.buffer.write; f = sys.stdout.buffer.flush\n"
        "w(b'one\\r\\ntw\\xc3'); f(); time.sleep(0.03); w(b'\\xa4\\n'); f()\n"
        "print('to stderr', file=sys.stderr, flush=True); w(b'no end')"
    )

    stock.shell(PYTHON, "-c", code)

    lines = [record.getMessage() for record in caplog.records]
    assert sorted(lines) == ["no end", "one", "to stderr", "twä"]
    assert {record.__dict__["step"] for record in caplog.records} == {"deploy"}


def test_another_exit_code_fails_with_the_last_lines(stock: Stock) -> None:
    """It may be retried; which codes are fine can be said."""
    with pytest.raises(PgflowError) as failed:
        stock.shell("sh", "-c", "seq 1 40; echo ouch >&2; exit 3")
    assert not isinstance(failed.value, PermanentError)
    assert failed.value.message.startswith('"sh" ended with exit code 3; its last 10 lines:\n')
    assert failed.value.message.count("\n") == 10

    assert stock.shell("sh", "-c", "exit 3", exit_codes=[0, 3]) is None
    with pytest.raises(PgflowError, match="exit code 0; it printed nothing"):
        stock.shell("true", exit_codes=3)
    with pytest.raises(PgflowError, match="was ended by SIGSEGV"):
        stock.shell("sh", "-c", "kill -SEGV $$")
    for wrong in (-1, 256, "0", [], [True], 0.5):
        with pytest.raises(PermanentError, match="exit_codes"):
            stock.shell("true", exit_codes=wrong)


def test_nothing_is_left_of_a_program_that_ended(stock: Stock) -> None:
    """What it started in the background ends with it, and does not hold up the step."""
    began = time.monotonic()

    stock.shell(PYTHON, "-c", FAMILY)

    assert time.monotonic() - began < 10
    for pid in family(stock.folder):
        eventually(lambda pid=pid: gone(pid), what=f"{pid} ends")  # type: ignore[misc]


def test_nothing_is_left_at_the_timeout(stock: Stock) -> None:
    """The error says so, with the last lines."""
    stock.seconds = 1.0
    began = time.monotonic()

    with pytest.raises(PgflowError, match=r"(?s)in the time of its step; its last line:\nready"):
        stock.shell(PYTHON, "-c", FAMILY + "signal.pause()")

    assert time.monotonic() - began < 1.0  # before the worker gives the attempt up
    for pid in family(stock.folder):
        eventually(lambda pid=pid: gone(pid), what=f"{pid} ends")  # type: ignore[misc]


def test_nothing_is_left_of_a_cancelled_task(stock: Stock) -> None:
    """A program that ends when it is asked has the time to."""
    code = (
        FAMILY
        + "signal.signal(signal.SIGTERM, lambda *_: (open('bye', 'w'), sys.exit()))\n"
        + "open('asked', 'w')\nsignal.pause()"
    )

    def cancel() -> None:
        eventually((stock.folder / "asked").exists)
        stock.attempt.cancelled = True

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(PermanentError, match="stopped"):
        stock.shell(PYTHON, "-c", code)
    thread.join()

    assert (stock.folder / "bye").exists()
    for pid in family(stock.folder):
        eventually(lambda pid=pid: gone(pid), what=f"{pid} ends")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("stdin", "read"), [(None, ""), ("ä\n", "ä\n"), ("", ""), ({"a": [1]}, '{"a": [1]}'), (7, "7")]
)
def test_a_program_reads_what_it_is_given(stock: Stock, stdin: Any, read: str) -> None:
    """A text as it is, anything else as JSON."""
    code = "import json, sys; print(json.dumps(sys.stdin.read()))"

    assert stock.shell(PYTHON, "-c", code, stdin=stdin, output="json") == read


def test_much_can_be_given(stock: Stock) -> None:
    """More than a pipe holds."""
    assert stock.shell("wc", "-c", stdin="x" * 1_000_000, output="json") == 1_000_000


def test_no_terminal_and_no_input(stock: Stock) -> None:
    """A program that asks for something gets an answer at once: there is none."""
    code = "import os, sys; print(sys.stdin.read() == '', os.getsid(0) == os.getpid())"

    assert stock.shell(PYTHON, "-c", code, output="text") == "True True"
    assert stock.shell("sh", "-c", "ls /proc/self/fd | wc -l", output="text") in {"3", "4"}


def test_signals_of_a_program_are_as_usual(stock: Stock) -> None:
    """Nothing that the guard ignores is ignored by the program."""
    code = "import signal; print([signal.getsignal(n) == signal.SIG_DFL for n in (1, 2, 15)])"

    shown = stock.shell("sh", "-c", f'exec "$0" -c "{code}"', PYTHON, output="text")

    assert shown == "[True, False, True]"  # Python has a handler of its own for SIGINT
