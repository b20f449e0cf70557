"""Forms that were sent a moment ago: one that a double click sends twice acts once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.web.table import Done

_SECONDS = 60.0
_MOST = 1_000


class Sent:
    """The outcomes of forms by their ids; a refusal is not kept, so that it may be tried again."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, Future[Done | None]]] = OrderedDict()

    def once(self, key: str, act: Callable[[], Done | None]) -> Done | None:
        """Act, or wait for the end of the same act by another request, and return the same."""
        now = monotonic()
        mine: Future[Done | None] = Future()
        with self._lock:
            while self._known and self._is_old(now):
                self._known.popitem(last=False)
            _, known = self._known.setdefault(key, (now, mine))
        if known is not mine:
            return known.result()
        done = None
        try:
            done = act()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(done)
            return done
        finally:
            if done is None:
                with self._lock:
                    self._known.pop(key, None)

    def _is_old(self, now: float) -> bool:
        since, _ = next(iter(self._known.values()))
        return now - since > _SECONDS or len(self._known) >= _MOST
