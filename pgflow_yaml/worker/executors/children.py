"""The processes of handlers as their worker sees them: start, signals, and how each has ended."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml.worker.executors.frames import Frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json

_MODULE = "pgflow_yaml.worker.executors.child"
_NAMES = frozenset({"PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV"})
_PREFIXES = ("LC_", "PYTHON")
_TERM_SECONDS = 2.0
_END_SECONDS = 2.0
_LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettings:
    """Settings of the processes of handlers."""

    env: tuple[str, ...] = ()
    """The names of the variables that they get beside those of Python and the locale."""
    memory: int | None = None
    """The most bytes of memory that each may reserve."""
    tasks: int | None = None
    """The number of calls after which each is replaced by a new one."""


def environment(names: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that handlers may see: never those of the database by chance (S-21)."""
    return {
        name: value
        for name, value in environ.items()
        if name in _NAMES or name.startswith(_PREFIXES) or name in names
    }


class ChildProcess:
    """One process; the thread that has started it must outlive it, or Linux ends it."""

    def __init__(self, settings: ChildSettings, handlers: Mapping[str, Json]) -> None:
        """Raise OSError if the system has no more processes. `handlers` are those it may call."""
        self.calls = 0
        self.has_ended = False
        """True once its status is known."""
        self._lock = threading.Lock()
        self._kill_at: float | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(settings.env, os.environ),
            start_new_session=True,  # a group of its own: signals reach what a handler has started
            bufsize=0,
        )
        sending, receiving = self._process.stdin, self._process.stdout
        assert sending is not None
        assert receiving is not None
        # Copies, since these objects close theirs when they are collected.
        self.frames = Frames(os.dup(receiving.fileno()), os.dup(sending.fileno()))
        sending.close()
        receiving.close()
        self._setup: dict[str, Json] = {
            "parent": os.getpid(),
            "memory": settings.memory,
            "log_level": logging.getLogger().getEffectiveLevel(),
            **handlers,
        }

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""
        return self._process.pid

    def open(self) -> None:
        """Wait until it is ready; raise PipeClosed if it ends instead."""
        self.frames.send(**self._setup)
        while self.frames.receive()["kind"] != "ready":
            continue

    def is_alive(self) -> bool:
        """Return True if it has not ended yet."""
        with self._lock:
            return self._process.poll() is None

    def terminate(self) -> None:
        """Ask its group to end; `kill_if_late` ends it two seconds later."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + _TERM_SECONDS
            self._signal(signal.SIGTERM)

    def kill_if_late(self) -> None:
        """End it if it was told to and has not."""
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self.kill()

    def kill(self) -> None:
        """End it and what it has started, now."""
        self._signal(signal.SIGKILL)

    def bury(self) -> int:
        """End what is left of its group once its pipe is closed; return how it has ended."""
        # Before its status is taken: until then the number of its group is no other's.
        self.kill()
        self.frames.close()
        while self.is_alive():
            time.sleep(_LOOK_SECONDS)
        self.has_ended = True
        return self._process.returncode or 0

    def end(self) -> None:
        """Let an idle process end; kill it if that takes two seconds."""
        self.frames.close()
        until = time.monotonic() + _END_SECONDS
        while self.is_alive():
            if time.monotonic() > until:
                self.kill()
            time.sleep(_LOOK_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):  # it is just ending
                    os.killpg(self._process.pid, number)


def death(code: int) -> str:
    """Return a sentence for the status with which the process of a handler has ended."""
    subject = "the process of the handler ended"
    if code >= 0:
        return f"{subject} with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"{subject} by {name}{hint}"
