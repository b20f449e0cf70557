"""The command on a terminal of its own, as wide as a test wants it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from typing import TYPE_CHECKING, Self

from tests.acceptance.terminal import Terminal
from tests.fixtures.forks import start

if TYPE_CHECKING:
    from tests.acceptance.shell import Shell

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A command on a terminal of its own."""

    def __init__(self, shell: Shell, *args: str, width: int, term: str = "xterm-256color") -> None:
        self._main, side = pty.openpty()
        self.terminal = Terminal(width)
        self.resize(width)
        self.process = start(
            args,
            [side, side, side],
            cwd=shell.folder,
            env={**shell.environment(*args[:1]), "TERM": term},
            new_session=True,
        )
        os.close(side)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self) -> bool:
        """Take what has been written; false at the end."""
        try:
            text = self._decoder.decode(os.read(self._main, 65_536))
        except OSError:
            return False
        self.raw += text
        self.terminal.write(text)
        return True

    def resize(self, width: int) -> None:
        """Make the terminal as wide as that, once it has drawn all that was written."""
        while select.select([self._main], [], [], 0)[0]:
            self.read()
        self.terminal.resize(width)
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))

    def ctrl_c(self) -> None:
        """Interrupt it and all that it started, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._main, text.encode())

    def to_the_end(self) -> int:
        """Read all and return the exit code."""
        while self.read():
            continue
        return self.process.wait(10)

    def __enter__(self) -> Self:
        """Use it for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the command if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self._main)

    @property
    def lines(self) -> list[str]:
        """Every line that was ever drawn, without colour and cursor movements."""
        return ESCAPES.sub("", self.raw).replace("\r", "\n").split("\n")
