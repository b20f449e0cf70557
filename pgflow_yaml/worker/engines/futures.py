"""Any `concurrent.futures.Executor` as an engine: `--executor python:MODULE.FUNCTION`."""

from __future__ import annotations

import time
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.worker.calls import summary
from pgflow_yaml.worker.engines.engine import Capacity, EngineAway, Loss
from pgflow_yaml.worker.engines.node import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

_SILENT_SECONDS = 2.0
_SIZES = ("_max_workers", "max_workers")


class FuturesEngine:
    """An executor that a function of the user makes: of processes, of Parsl, of MPI."""

    isolates = False
    """False: the death of one process ends all calls of a `ProcessPoolExecutor`."""

    grows = False

    def __init__(self, name: str, make: Callable[[], object]) -> None:
        """`make` is called when the worker connects, and again when its executor is broken."""
        self.name = name
        self._make = make
        self._executor: Executor | None = None
        self._submitted: WeakKeyDictionary[Future[str], float] = WeakKeyDictionary()

    def open(self) -> None:
        """Make a new executor; raise WrongSetting if the function makes something else."""
        self.close()
        try:
            made = self._make()
        except Exception as error:
            raise EngineAway(f"its function raised {summary(error)}") from error
        if not isinstance(made, Executor):
            raise WrongSetting(
                f"--executor {self.name} returned {type(made).__name__}: it must return a "
                "concurrent.futures.Executor"
            )
        self._executor = made

    def capacity(self) -> Capacity:
        """Return the number of workers that the executor was made with, if it has one."""
        sizes = (getattr(self._executor, name, None) for name in _SIZES)
        return Capacity(slots=next((size for size in sizes if isinstance(size, int)), None))

    def submit(self, text: str, key: str, resources: Mapping[str, float]) -> Future[str]:  # noqa: ARG002
        """Submit a call; make a new executor if this one is broken."""
        try:
            return self._submit(text)
        except BrokenExecutor:
            self.open()
        try:
            return self._submit(text)
        except BrokenExecutor as error:
            raise EngineAway(summary(error)) from error

    def _submit(self, text: str) -> Future[str]:
        executor = self._executor
        if executor is None:
            raise EngineAway("it is closed")
        try:
            future = executor.submit(call, text)
        except BrokenExecutor:
            raise
        except Exception as error:  # one that was shut down raises RuntimeError
            raise EngineAway(summary(error)) from error
        self._submitted[future] = time.monotonic()
        return future

    def begun(self, futures: Iterable[Future[str]]) -> set[Future[str]]:
        """Return those that run; some executors do not say so: nobody else uses their slots."""
        late = time.monotonic() - _SILENT_SECONDS
        return {future for future in futures if future.running() or self._submitted[future] < late}

    def cancel(self, future: Future[str], *, force: bool) -> bool:  # noqa: ARG002 (none can be)
        """Cancel a call that waits; nothing ends one that runs."""
        return future.cancel()

    def explain(self, error: BaseException) -> Loss:
        """Take each error for a death: what a handler raises comes in a reply."""
        if isinstance(error, CancelledError):
            return Loss(kind="crashed", message="somebody else cancelled the call")
        return Loss(kind="crashed", message=f"the executor lost the call: {summary(error)}")

    def want(self, slots: int) -> None:
        """Ignore the hint: an executor has no way to grow."""

    def close(self) -> None:
        """Shut the executor down without waiting for what it runs."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
