"""The buffer of a worker for the lines of its handlers: turns and the upkeep thread empty it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgflow_yaml.worker.calls import clean, masks
from pgflow_yaml.worker.logs.attempt_log import left_out_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.logs.attempt_log import AttemptLog, Part
    from pgflow_yaml.worker.task import Task

LINE_CHARACTERS = 8192
WORDS_CHARACTERS = 200
MOST_BUFFERED = 16_000_000
TURN_SIZE, WRITE_SIZE = 4_000_000, 1_000_000


@dataclass(slots=True)
class Batch:
    """Parts and reports of progress that one statement carries."""

    parts: list[Part] = field(default_factory=list)
    progress: list[dict[str, Json]] = field(default_factory=list)
    size: int = 0

    def __bool__(self) -> bool:
        """Return True if there is anything to send."""
        return bool(self.parts or self.progress)

    def add(self, part: Part) -> None:
        """Add a part."""
        self.parts.append(part)
        self.size += part.size

    def as_json(self) -> dict[str, Json]:
        """Return the batch as `write_logs` takes it."""
        return {"lines": [part.as_json() for part in self.parts], "progress": list(self.progress)}


class Logs:
    """Lines that the calls of a worker have said and the database lacks; any thread adds."""

    def __init__(self, *, stores: bool = True, shows: bool = True, lead: str = "step") -> None:
        """`stores` the lines in the database, `shows` them on the streams of the worker.

        `lead` is what a shown line begins with: the step, the run and the step, or nothing.
        """
        self.stores = stores
        self.shows = shows
        self.lead = lead
        self.lost = 0
        """The number of lines that were dropped because the database did not take them in time."""
        self.on_first: Callable[[], None] = lambda: None
        """Called with the first line after all have been sent."""
        self._lock = threading.RLock()  # what is collected meanwhile may print
        self._process = os.getpid()
        self._changed: dict[AttemptLog, None] = {}
        self._unsent: deque[Part] = deque()
        self._size = 0
        self._is_rung = False

    def add(self, log: AttemptLog, level: str, logger: str, text: str) -> None:
        """Take a text of one or more lines; nobody would send those of a forked process."""
        if os.getpid() != self._process:
            return
        if "\n" in text:
            text = masks.text(text)  # whole, for a secret may have several short lines
        moment = int(time.time() * 1000)
        lines = [
            (
                moment,
                level,
                clean(logger, limit=WORDS_CHARACTERS),
                clean(line, limit=LINE_CHARACTERS),
            )
            for line in text.splitlines() or [""]
        ]
        with self._lock:
            before = log.size
            for line in lines:
                log.add(line)
            self._size += log.size - before
            is_first = self._note(log)
            if self._size > MOST_BUFFERED:
                self._make_room()
        if is_first:
            self.on_first()

    def report(self, log: AttemptLog, done: float, words: str) -> None:
        """Take a report of progress: the last one counts."""
        if os.getpid() != self._process:
            return
        words = clean(words, limit=WORDS_CHARACTERS)
        with self._lock:
            log.progress = (done, words)
            is_first = self._note(log)
        if is_first:
            self.on_first()

    def close(self, log: AttemptLog) -> None:
        """The call has ended."""
        if os.getpid() != self._process:
            return
        with self._lock:
            before = log.size
            log.close()
            self._size += log.size - before
            is_first = bool(log.lines) and self._note(log)
        if is_first:
            self.on_first()

    def take_of(self, tasks: Iterable[Task]) -> Batch:
        """Return what the ended calls of these tasks have said, as much as a turn should carry."""
        batch = Batch()
        if not self._changed:
            return batch
        with self._lock:
            ended = {id(task) for task in tasks}
            for log in [log for log in self._changed if id(log.task) in ended]:
                if batch.size >= TURN_SIZE:
                    break
                outcome = log.task.outcome
                # How far a call has come is of interest only if it came no further.
                is_done = outcome is not None and outcome.kind == "completed"
                self._take(log, batch, progress=not is_done)
        return batch

    def take(self) -> Batch:
        """Return what has waited longest, as much as a statement should carry."""
        batch = Batch()
        with self._lock:
            while self._unsent and batch.size < WRITE_SIZE:
                part = self._unsent.popleft()
                self._size -= part.size
                batch.add(part)
            while self._changed and batch.size < WRITE_SIZE:
                self._take(next(iter(self._changed)), batch, progress=True)
        return batch

    def put_back(self, batch: Batch) -> None:
        """Keep a batch that the database has not taken; its lines are sent first."""
        with self._lock:
            self._unsent.extendleft(reversed(batch.parts))
            self._size += batch.size
            if self._size > MOST_BUFFERED:
                self._make_room()
            is_first = bool(batch.parts) and self._ring()
        if is_first:
            self.on_first()

    def lose(self, part: Part) -> None:
        """Give up a part that the database refuses, and say so in its place."""
        with self._lock:
            self._give_up(part)
            self._unsent.append(part)
            self._size += part.size

    def rest(self) -> float | None:
        """Return the seconds until the next batch, None if there is nothing to send."""
        with self._lock:
            if self._unsent:
                return 0.0
            if self._changed:
                return 1.0
            self._is_rung = False
            return None

    def _note(self, log: AttemptLog) -> bool:
        self._changed[log] = None
        return self._ring()

    def _ring(self) -> bool:
        was_rung, self._is_rung = self._is_rung, True
        return not was_rung

    def _take(self, log: AttemptLog, batch: Batch, *, progress: bool) -> None:
        del self._changed[log]
        before = log.size
        for part in log.take():
            batch.add(part)
        self._size -= before - log.size
        if log.progress is not None and progress:
            done, words = log.progress
            batch.progress.append({**_reference(log), "done": done, "words": words})
        log.progress = None

    def _make_room(self) -> None:
        """Give up the lines that have waited longest, until a tenth of the buffer is free."""
        enough = MOST_BUFFERED * 9 // 10
        for part in self._unsent:
            if self._size <= enough:
                return
            self._size -= part.size
            self._give_up(part)
            self._size += part.size
        for log in self._changed:
            if self._size <= enough:
                return
            before = log.size
            self.lost += log.drop()
            self._size -= before - log.size

    def _give_up(self, part: Part) -> None:
        """Replace the lines of a part by one that says how many they were."""
        if not part.is_given_up:
            part.is_given_up = True
            self.lost += len(part.lines)
            part.lines = [left_out_line(len(part.lines))]
            part.size = len(part.lines[0][3])


def _reference(log: AttemptLog) -> dict[str, Json]:
    task = log.task
    return {
        "run": task.run_id,
        "step": task.step,
        "index": task.index,
        "fence": task.fence,
    }
