"""Frames of JSON between a worker and the processes of its handlers: a length, then the text."""

from __future__ import annotations

import json
import os
import select
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

Frame: TypeAlias = dict[str, Any]

_LENGTH = struct.Struct(">Q")
_PART = 1 << 20


class PipeClosed(Exception):
    """The process at the other end has closed the pipe, or has died."""


class Frames:
    """A pair of pipes; one thread receives, any thread sends."""

    def __init__(self, receiving: int, sending: int) -> None:
        self._receiving = receiving
        self._sending = sending
        self._poll = select.poll()
        self._poll.register(sending, select.POLLOUT)
        self._lock = threading.Lock()
        self._is_closed = False

    def send(self, **frame: Json) -> None:
        """Send a frame; wait until it is in the pipe. Raise PipeClosed if nobody reads it."""
        data = _encoded(frame)
        with self._lock:
            self._write(data)

    def send_now(self, **frame: Json) -> bool:
        """Send a small frame unless that would block; return True if nothing is left to do."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if not self._is_closed and not self._poll.poll(0):
                return False
            with suppress(PipeClosed):
                self._write(_encoded(frame))
        finally:
            self._lock.release()
        return True

    def receive(self) -> Frame:
        """Return the next frame; raise PipeClosed at the end."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        frame: Frame = json.loads(self._read(length))
        return frame

    def close(self) -> None:
        """Close both ends; not while another thread receives."""
        with self._lock:
            self._close()

    def close_in_fork(self) -> None:
        """Close the copies of a forked process; the lock may be held by a thread it lacks."""
        self._lock = threading.Lock()
        self._close()

    def _close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            os.close(self._receiving)
            os.close(self._sending)

    def _write(self, data: bytes) -> None:
        if self._is_closed:
            raise PipeClosed
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._sending, left) :]
            except OSError as error:
                raise PipeClosed from error

    def _read(self, length: int) -> bytes:
        if self._is_closed:
            raise PipeClosed
        parts = bytearray()
        while len(parts) < length:
            try:
                part = os.read(self._receiving, min(length - len(parts), _PART))
            except OSError as error:
                raise PipeClosed from error
            if not part:
                raise PipeClosed
            parts += part
        return bytes(parts)


def _encoded(frame: Frame) -> bytes:
    data = json.dumps(frame, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(data)) + data
