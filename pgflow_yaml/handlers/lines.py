"""The bytes of a stream as lines of text."""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_BEGUN = 64 * 1024


class Lines:
    """Give each whole line to `take`; a line that goes on for long comes in parts."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._begun = ""

    def add(self, chunk: bytes) -> None:
        """Take the next bytes; none are the end of the stream."""
        if not chunk:
            self.end()
            return
        *lines, self._begun = (self._begun + self._decoder.decode(chunk)).split("\n")
        for line in lines:
            self._take(line.removesuffix("\r"))
        if len(self._begun) > _MOST_BEGUN:
            begun, self._begun = self._begun, ""
            self._take(begun)

    def end(self) -> None:
        """Give the last line, which has no end."""
        begun, self._begun = self._begun + self._decoder.decode(b"", final=True), ""
        if begun:
            self._take(begun)
