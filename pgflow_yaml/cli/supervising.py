"""Several workers of one machine: `worker --processes N` starts them, and starts them again.

Each is the same command without that option. One listener hears wake-ups for all, and passes each
on by a byte in a pipe; a child whose pipe ends stops, for then its supervisor has gone.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.listener import HEARS, LOST, listener_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.worker.listener import HeardThread

    from .options import Options

log = logging.getLogger(__name__)

WAKE_VARIABLE = "PGFLOW_YAML_WAKE_DESCRIPTOR"
LISTEN_VARIABLE = "PGFLOW_YAML_LISTEN_DSN"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_SOUND_SECONDS = 60.0  # a worker that has lived so long had no trouble to start
_LOOK_SECONDS = 0.1
_USAGE, _UNAVAILABLE = 2, 3  # at its first start: another try would end alike


def wake_from(listen_dsn: str | None) -> str | int | None:
    """Return where this worker hears wake-ups: a pipe of its supervisor, or another address."""
    descriptor = os.environ.pop(WAKE_VARIABLE, None)  # programs of handlers are no children
    if descriptor is not None:
        return int(descriptor)
    return listen_dsn or os.environ.get(LISTEN_VARIABLE) or None


def supervise(options: Options, count: int, listen_dsn: str | None) -> int:
    """Keep `count` workers running until told to stop; return the worst of their exit codes."""
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.logs import set_up_logs

    words = _without_processes(sys.argv[1:])
    with database(options, checked=False) as client:
        set_up_logs(options, level=logging.INFO)
        children = [Child(words, number) for number in range(1, count + 1)]
        supervisor = Supervisor(children)
        is_burst = "--burst" in words or "--no-notify" in words
        address = wake_from(listen_dsn)
        listener = None if is_burst else listener_of(address, client.conninfo, supervisor.wake)
        with supervisor.signals():
            if listener is not None:
                supervisor.listener = listener
                listener.start()
            code = supervisor.run(burst="--burst" in words)
        if listener is not None:
            listener.close()
    return code


def _without_processes(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without `--processes N`."""
    left: list[str] = []
    skip = False
    for word in words:
        if not skip and word != "--processes" and not word.startswith("--processes="):
            left.append(word)
        skip = word == "--processes"
    return left


class Child:
    """One worker process and its successors."""

    def __init__(self, words: Sequence[str], number: int) -> None:
        self.number = number
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None
        self._wake: int | None = None
        self._started = 0.0
        self._pause = _FIRST_PAUSE
        self._start_at = 0.0
        self.is_done = False
        self.starts = 0
        self.hears: bool | None = None
        """True or False: it was told that wake-ups arrive, or do not; None: nothing."""

    def start(self) -> None:
        """Start it, unless it is too soon after its last end."""
        if self.is_done or self._process is not None or time.monotonic() < self._start_at:
            return
        receiving, self._wake = os.pipe()
        os.set_blocking(self._wake, False)  # one that is frozen must not hold up the others
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pgflow_yaml", *self._words],
                env={**os.environ, WAKE_VARIABLE: str(receiving)},
                pass_fds=[receiving],
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which passes it on
            )
        finally:
            os.close(receiving)
        self._started = time.monotonic()
        self.starts += 1
        self.hears = None

    def tell(self, byte: bytes) -> None:
        """Pass a wake-up on, or whether any arrive."""
        if self._wake is not None:
            with suppress(OSError):
                os.write(self._wake, byte)

    def stop(self) -> None:
        """Ask it to stop; the second time, at once."""
        if self._process is not None:
            self._process.terminate()

    def ended(self) -> int | None:
        """Return its exit code if it has ended just now, minus a signal that has ended it."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._process = None
        if self._wake is not None:
            os.close(self._wake)
            self._wake = None
        return code

    def put_off(self) -> float:
        """Return the pause before its next start; it doubles while it ends soon after each."""
        if time.monotonic() - self._started > _SOUND_SECONDS:
            self._pause = _FIRST_PAUSE
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        self._start_at = time.monotonic() + pause
        return pause

    @property
    def is_running(self) -> bool:
        """True while its process runs."""
        return self._process is not None


class Supervisor:
    """Start children, wait for them, and start again those that die."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self.listener: HeardThread | None = None
        self._bell = threading.Event()
        self._is_stopping = False
        self._worst = 0

    def wake(self) -> None:
        """Wake all children; another thread calls this."""
        for child in self._children:
            child.tell(b".")

    def _tell_whether_heard(self, child: Child) -> None:
        hears = self.listener is not None and self.listener.hears
        if child.is_running and child.hears is not hears:
            child.hears = hears
            child.tell(HEARS if hears else LOST)

    def signals(self) -> _Signals:
        """Return a context in which signals are passed on."""
        return _Signals(self)

    def stop(self) -> None:
        """Start none again, and tell all to stop."""
        self._is_stopping = True
        for child in self._children:
            child.stop()
        self._bell.set()

    def run(self, *, burst: bool) -> int:
        """Return once all have ended."""
        while True:
            for child in self._children:
                if not self._is_stopping:
                    child.start()
                self._tell_whether_heard(child)
                if (code := child.ended()) is not None:
                    self._bury(child, code, burst=burst)
            done = all(child.is_done or self._is_stopping for child in self._children)
            if done and not any(child.is_running for child in self._children):
                return self._worst
            self._bell.wait(_LOOK_SECONDS)
            self._bell.clear()

    def _bury(self, child: Child, code: int, *, burst: bool) -> None:
        if self._is_stopping or (burst and code == 0):
            # One that was not yet ready for the signal has claimed nothing.
            code = 0 if code == -signal.SIGTERM else code
            self._worst = max(self._worst, code if code >= 0 else 1)
            child.is_done = True
        elif code in (_USAGE, _UNAVAILABLE) and child.starts == 1:  # it has said why
            self._worst = code
            child.is_done = True
            self.stop()
        else:
            how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
            pause = child.put_off()
            log.warning(
                "worker process %d ended %s; it starts again in %g s",
                child.number,
                how,
                pause,
                extra={"action": "restart"},
            )


class _Signals:
    """Handle SIGTERM and SIGINT by passing them on."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = self._pass_on
            self._before[number] = signal.signal(number, handler)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _pass_on(self, _number: int, _frame: Any) -> None:
        self._supervisor.stop()
