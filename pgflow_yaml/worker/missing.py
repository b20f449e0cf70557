"""The handlers that a worker does not have: it leaves their tasks to other workers (R-6).

A handler of a step with `resources` is named by its key, which tells of them: `app.fit gpus=1`.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from pgflow_yaml.language.resources import lacking, of_key, phrase
from pgflow_yaml.worker.calls import HandlerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pgflow_yaml.worker.calls import Handlers
    from pgflow_yaml.worker.task import Task

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 10.0


class MissingHandlers:
    """The handlers not found so far; looked for again now and then, without a task."""

    def __init__(
        self, handlers: Handlers, offer: Callable[[], Mapping[str, float]] | None = None
    ) -> None:
        """`offer` returns the resources that one task can have here, by name."""
        self._handlers = handlers
        self._offer = offer or dict
        self._paths: dict[str, None] = {}
        self._due = 0.0
        self._search: threading.Thread | None = None

    def foresee(self, paths: Iterable[str]) -> None:
        """Refuse handlers that no module may hold, or that need too much, before a claim."""
        unknown = [path for path in paths if path not in self._paths]
        for key in unknown:
            if reason := self._lacks(key):
                self._add(key, reason)
        keys: dict[str, list[str]] = {}
        for key in unknown:
            if key not in self._paths:
                keys.setdefault(of_key(key)[0], []).append(key)
        for path, error in self._handlers.unlocated(keys) if keys else ():
            for key in keys[path]:
                self._add(key, str(error))

    def _lacks(self, key: str) -> str:
        """Return a sentence about the resources that this worker lacks; empty: it has all."""
        _, needs = of_key(key)
        missing = lacking(needs, self._offer()) if needs else {}
        return f"this worker does not offer {phrase(missing)}" if missing else ""

    def add(self, task: Task) -> None:
        """Refuse the handler of a task that was given back for the lack of it."""
        path = task.call.key
        if path not in self._paths:
            self._add(path, task.refused)

    def _add(self, path: str, reason: str | None) -> None:
        log.warning(
            "handler %s is not available here: %s; its tasks are left to other workers",
            path,
            reason,
            extra={"action": "refused"},
        )
        if not self._paths:
            self._due = time.monotonic() + LOOK_AGAIN_SECONDS
        self._paths[path] = None

    def paths(self) -> list[str]:
        """Return the handlers to refuse now."""
        if self._paths and time.monotonic() >= self._due:
            self._look_again()
        return list(self._paths)

    def _look_again(self) -> None:
        self._due = time.monotonic() + LOOK_AGAIN_SECONDS
        if self._search is None or not self._search.is_alive():
            # A thread of its own, for a module may hang when it is imported.
            self._search = threading.Thread(target=self._look, name="pgflow-missing", daemon=True)
            self._search.start()

    def _look(self) -> None:
        for path in list(self._paths):
            if self._lacks(path):
                continue
            try:
                self._handlers.check(of_key(path)[0])
            except HandlerUnavailable:
                continue
            del self._paths[path]
            log.info("handler %s is available now", path, extra={"action": "refused"})
