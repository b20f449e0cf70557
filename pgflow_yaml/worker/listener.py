"""The thread that hears the wake-ups of clients; without it the worker polls as ever (R-8)."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING

from pgflow_yaml.database.store import Listener, Outage, WakeUpsUnsupported
from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LISTEN_SECONDS = 8.0  # of silence, until the connection is tested
_ALONE_SECONDS = 5.0  # by then the other connections have noticed an outage


class HeardThread(threading.Thread):
    """A thread that hears wake-ups."""

    hears = False
    """True while a wake-up would arrive."""

    def close(self) -> None:
        """End the thread; waits a moment, never for the database."""


def listener_of(
    wake_from: str | int | None,
    conninfo: str,
    wake: Callable[[], None],
    outage: Outage | None = None,
) -> HeardThread:
    """Return the thread for a worker: at the database, at another address of it, or at a pipe."""
    if isinstance(wake_from, int):
        return PipeThread(wake_from, wake)
    return ListenerThread(wake_from or conninfo, wake, outage or Outage())


HEARS, LOST = b"+", b"-"
"""Bytes of a pipe: from now on wake-ups arrive at its other end, or do not; others are wake-ups."""


class PipeThread(HeardThread):
    """Call `wake` for what comes through a pipe; at its end, tell this process to stop."""

    def __init__(self, descriptor: int, wake: Callable[[], None]) -> None:
        super().__init__(name="pgflow-listener", daemon=True)
        self._descriptor = descriptor
        self._wake = wake

    def close(self) -> None:
        """Leave the thread to its pipe: it ends with the process."""

    def run(self) -> None:
        """Read until the other end is closed: the process that has started this one has ended."""
        while data := os.read(self._descriptor, 4096):
            if (at := max(data.rfind(HEARS), data.rfind(LOST))) >= 0:
                self.hears = data[at : at + 1] == HEARS
            self._wake()
        os.kill(os.getpid(), signal.SIGTERM)


class ListenerThread(HeardThread):
    """Call `wake` when a client sends a wake-up, and after each gap in which one may be lost."""

    def __init__(self, conninfo: str, wake: Callable[[], None], outage: Outage) -> None:
        super().__init__(name="pgflow-listener", daemon=True)
        self._listener = Listener(conninfo, name=f"pgflow-yaml listener {os.getpid()}")
        self._wake = wake
        self._outage = outage
        self._closing = threading.Event()
        self._lost_at: float | None = None
        self._logged = False

    def close(self) -> None:
        """End the thread; waits a moment, never for the database."""
        self._closing.set()
        self._listener.interrupt()
        self.join(1)

    def run(self) -> None:
        """Listen until closed, or until the database proves to send no wake-ups."""
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            try:
                self._listener.open()
                pause = _FIRST_PAUSE
                self._log_back()
                self._listen()
            except WakeUpsUnsupported as error:
                log.warning(
                    "no wake-ups here: %s; only polling (--no-notify avoids this warning)",
                    error,
                    extra={"action": "listen"},
                )
                break
            except Unavailable as error:
                self._log_lost(error)
            self._listener.close()
            self._closing.wait(random.uniform(0, pause))  # noqa: S311 (jitter is no secret)
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._listener.close()

    def _listen(self) -> None:
        self._wake()  # a wake-up may have come before we listened
        self.hears = True
        try:
            while not self._closing.is_set():
                if self._listener.hears(_LISTEN_SECONDS):
                    self._wake()
                else:
                    self._listener.ping()
        finally:
            self.hears = False

    def _log_lost(self, error: Unavailable) -> None:
        """Log it once, unless the worker's other connections log that the database is away."""
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
        is_alone = now - self._lost_at > _ALONE_SECONDS and not self._outage.ongoing
        if is_alone and not self._logged and not self._closing.is_set():
            log.info("no wake-ups for now, only polling: %s", error, extra={"action": "listen"})
            self._logged = True

    def _log_back(self) -> None:
        if self._logged:
            log.info("wake-ups arrive again", extra={"action": "listen"})
        self._lost_at, self._logged = None, False
