"""A shell on a terminal, and the lines of its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
TOKENS = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")
VARYING = (  # different in each run
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b"), "ID"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?:[0-9a-f]{12}|[0-9a-f]{8})\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "MOMENT"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min)(?!\w)"), "TIME"),
    (re.compile(r"[━─╸╺]{9,}"), "BAR"),
    (re.compile(r" +"), " "),
)


@dataclass(frozen=True, slots=True)
class Typed:
    """The screen after some commands, the exit code of the shell, and its last folder."""

    screen: list[str]
    code: int
    folder: Path


def type_into_shell(script: str, folder: Path, *, home: Path, width: int = 100) -> Typed:
    """Type lines into a shell on a terminal; it stops at the first line that fails."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PG", "DATABASE_URL", "NO_", "COLUMNS", "LINES"))
    }
    path = f"{BIN}:{os.environ['PATH']}"
    where = home / "where"
    process = subprocess.Popen(
        ["bash", "-eu", "-c", f"trap 'pwd > {where}' EXIT\n{script}"],
        cwd=folder,
        env=environment | {"PATH": path, "HOME": str(home), "TERM": "xterm-256color"},
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    written = b""
    try:
        while chunk := os.read(main, 65_536):
            written += chunk
    except OSError:  # how Linux tells that the last process has closed the terminal
        written += b""
    finally:
        os.close(main)
    code = process.wait(10)
    return Typed(screen(written.decode()), code, Path(where.read_text().strip()))


def screen(written: str) -> list[str]:
    """Return the final lines of a terminal, after all cursor movements and erasures."""
    lines, row, column = [""], 0, 0
    for number, command, home, newline, text in TOKENS.findall(written):
        if newline:
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif home:
            column = 0
        elif text:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + len(text) :]
            column += len(text)
        elif command == "A":
            row = max(0, row - int(number or 1))
        elif command == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
    return [line.rstrip() for line in lines]


def settled(line: str) -> str:
    """Replace the varying parts of a line: ids, times, durations, bars."""
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return line.strip()


def missing(expected: str, shown: list[str]) -> list[str]:
    """Return the first missing group of expected lines; `…` separates groups."""
    lines = [settled(line) for line in shown]
    begin = 0
    for part in re.split(r"^…\n", expected, flags=re.MULTILINE):
        group = [settled(line) for line in part.rstrip("\n").split("\n")]
        starts = range(begin, len(lines) - len(group) + 1)
        start = next((n for n in starts if lines[n : n + len(group)] == group), None)
        if start is None:
            return group
        begin = start + len(group)
    return []
