"""An engine of threads whose deaths a test decides: no call is simulated, only how it is lost."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgflow_yaml.worker.engines import node
from pgflow_yaml.worker.engines.engine import Capacity, EngineAway, Loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Died(Exception):
    """The node of a call has died."""


class Drained(Exception):
    """The node of a call was shut down in order."""


class Gone(Exception):
    """The engine itself has gone."""


@dataclass(eq=False)
class Submitted:
    """One call, as the engine has it."""

    text: str
    key: str
    resources: Mapping[str, float]
    future: Future[str] = field(default_factory=Future)
    has_begun: bool = False
    forced: bool = False


class FakeEngine:
    """Threads behind the protocol of an engine."""

    name = "fake:engine"
    grows = True

    def __init__(self, *, slots: int = 2, isolates: bool = True, stops: bool = True) -> None:
        self.slots = slots
        self.isolates = isolates
        self.resources: dict[str, float] | None = None
        self.stops = stops
        """True if a call that runs can be ended by force, as Ray does."""
        self.calls: list[Submitted] = []
        self.opened = 0
        self.is_away = False
        self.holds = False
        """True while calls are submitted and do not begin."""
        self.wanted: list[int] = []
        self.deaths: Callable[[Submitted], BaseException | None] = lambda _: None
        """What a call ends with instead of being run; None: it is run."""
        self._lock = threading.Lock()

    # The protocol

    def open(self) -> None:
        """Connect; refuse while it is away."""
        self._must_be_here()
        self.opened += 1

    def capacity(self) -> Capacity:
        """Return the slots that the test wants."""
        self._must_be_here()
        return Capacity(slots=self.slots, resources=self.resources)

    def submit(self, text: str, key: str, resources: Mapping[str, float]) -> Future[str]:
        """Run a call in a thread, unless calls are held."""
        self._must_be_here()
        call = Submitted(text, key, resources)
        if '"calls"' not in text:  # a question
            call.future.set_result(node.call(text))
            return call.future
        with self._lock:
            self.calls.append(call)
        if not self.holds:
            self.begin(call)
        return call.future

    def begun(self, futures: Iterable[Future[str]]) -> set[Future[str]]:
        """Return those that run or ran."""
        running = {call.future for call in self.calls if call.has_begun}
        return running.intersection(futures)

    def cancel(self, future: Future[str], *, force: bool) -> bool:
        """End a call that waits; one that runs only where that is possible."""
        call = next(call for call in self.calls if call.future is future)
        call.forced |= force
        if call.has_begun and not (force and self.stops):
            return False
        self._end(call, CancelledError())
        return True

    def explain(self, error: BaseException) -> Loss:
        """Translate the exceptions above."""
        if isinstance(error, Drained):
            return Loss(kind="released", message="node 7 was shut down")
        if isinstance(error, Gone):
            return Loss(kind="away", message="the scheduler has gone")
        return Loss(kind="crashed", message=f"node 7 died: {type(error).__name__}")

    def want(self, slots: int) -> None:
        """Remember the hint."""
        self.wanted.append(slots)

    def close(self) -> None:
        """Take no more calls."""
        self.is_away = True

    # What a test does

    def begin(self, call: Submitted) -> None:
        """Let a call begin: it dies, or is run."""
        call.has_begun = True
        threading.Thread(target=self._run, args=(call,), daemon=True).start()

    def go_away(self) -> None:
        """Refuse everything, and lose all calls."""
        self.is_away = True
        for call in self.calls:
            self._end(call, Gone())

    def come_back(self) -> None:
        """Take calls again."""
        self.is_away = False

    def lose(self, call: Submitted, error: BaseException | None = None) -> None:
        """End a call without a reply."""
        self._end(call, error or Died())

    def _must_be_here(self) -> None:
        if self.is_away:
            raise EngineAway("nobody listens")

    def _run(self, call: Submitted) -> None:
        error = self.deaths(call)
        if error is not None:
            self._end(call, error)
            return
        text = node.call(call.text)
        with self._lock:
            if not call.future.done():
                call.future.set_result(text)

    def _end(self, call: Submitted, error: BaseException) -> None:
        with self._lock:
            if not call.future.done():
                call.future.set_exception(error)
