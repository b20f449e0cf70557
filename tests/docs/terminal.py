"""A shell on a terminal, and what then stands on its screen."""

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
VARYING = (  # what is another one in each run
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b"), "ID"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?:[0-9a-f]{12}|[0-9a-f]{8})\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "MOMENT"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min)(?!\w)"), "TIME"),
    (re.compile(r"[━─╸╺]{9,}"), "BAR"),
    (re.compile(r" +"), " "),
)


@dataclass(frozen=True, slots=True)
class Typed:
    """What stood on the screen after some lines, the shell's exit code, and its last folder."""

    screen: list[str]
    code: int
    folder: Path


def type_into_shell(script: str, folder: Path, *, home: Path, width: int = 100) -> Typed:
    """Type lines into a shell on a terminal; it stops at the first line that fails."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PG", "DATABASE_URL", "NO_", "COLUMNS", "LINES"))
    }
    path = f"{BIN}:{os.environ['PATH']}"
    where = home / "where"
    process = subprocess.Popen(
        ["bash", "-eu", "-c", f"trap 'pwd > {where}' EXIT\n{script}"],
        cwd=folder,
        env=kept | {"PATH": path, "HOME": str(home), "TERM": "xterm-256color"},
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
    """The lines that a terminal shows in the end: cursor movements and erasing are followed."""
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
    """A line without what is another one in each run: ids, moments, durations, bars."""
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return line.strip()


def missing(expected: str, shown: list[str]) -> list[str]:
    """The first group of expected lines that the screen does not show; `…` stands for any lines."""
    seen = [settled(line) for line in shown]
    begin = 0
    for part in re.split(r"^…\n", expected, flags=re.MULTILINE):
        wanted = [settled(line) for line in part.rstrip("\n").split("\n")]
        places = range(begin, len(seen) - len(wanted) + 1)
        found = next((n for n in places if seen[n : n + len(wanted)] == wanted), None)
        if found is None:
            return wanted
        begin = found + len(wanted)
    return []
