"""Dask distributed as an engine: `--executor dask://HOST:PORT` or `tls://HOST:PORT`."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import CancelledError
from concurrent.futures import Future as Call
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.calls import summary
from pgflow_yaml.worker.engines.engine import Capacity, EngineAway, Loss
from pgflow_yaml.worker.engines.network import warn_of_open_network
from pgflow_yaml.worker.engines.node import call
from pgflow_yaml.worker.engines.schemes import need

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10
_ASK_SECONDS = 5
_RESULT_SECONDS = 60
_NAMES = {"gpus": "GPU", "memory": "MEMORY"}
_GONE = {"scheduler-connection-lost", "scheduler-restart"}


class DaskEngine:
    """The workers of a scheduler; each call is a task that Dask must not try again."""

    grows = False
    """False: a client cannot tell a scheduler what waits elsewhere."""

    def __init__(self, address: str) -> None:
        """Take `dask://` or `tls://` and a host; raise Unavailable without the extra `dask`."""
        need("distributed", "dask")
        self.name = address
        scheme, _, host = address.partition("://")
        self._address = f"{'tls' if scheme == 'tls' else 'tcp'}://{host}"
        self._client: Any = None
        self._calls: dict[Call[str], Any] = {}
        self._nodes: list[Mapping[str, Any]] = []
        warn_of_open_network(host, is_closed=scheme == "tls")

    @property
    def isolates(self) -> bool:
        """True if each worker of Dask has one thread: its death loses one call."""
        return all(node["nthreads"] == 1 for node in self._nodes)

    def open(self) -> None:
        """Connect to the scheduler, with Dask's own settings of TLS; forget the calls of before."""
        from distributed import Client

        self._forget()
        # When a scheduler goes away, it logs traces of its own; ours is one line.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        try:
            self._client = Client(
                self._address, timeout=_CONNECT_SECONDS, set_as_default=False, name="pgflow-yaml"
            )
        except Exception as error:
            raise EngineAway(f"no scheduler answers: {summary(error)}") from error
        with suppress(Exception):  # a scheduler that runs no functions of clients does not say
            failures = self._client.run_on_scheduler(
                lambda dask_scheduler: dask_scheduler.allowed_failures
            )
            if failures:
                log.warning(
                    "the scheduler at %s tries a call whose worker died up to %d times again by "
                    "itself; start it with DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0",
                    self.name,
                    failures,
                    extra={"action": "engine"},
                )

    def capacity(self) -> Capacity:
        """Return the threads of all workers, and the most that one of them has of a resource."""
        info = self._ask("identity")
        self._nodes = list(info["workers"].values())
        most: dict[str, float] = {}
        for node in self._nodes:
            for name, amount in node["resources"].items():
                most[name] = max(most.get(name, 0.0), amount)
        ours = {ours: most[theirs] for ours, theirs in _NAMES.items() if theirs in most}
        others = {name: most[name] for name in most.keys() - _NAMES.values()}
        return Capacity(
            slots=sum(node["nthreads"] for node in self._nodes), resources={**others, **ours}
        )

    def submit(self, text: str, key: str, resources: Mapping[str, float]) -> Call[str]:
        """Submit a call under its key."""
        client = self._connected()
        wanted = {_NAMES.get(name, name): amount for name, amount in resources.items()}
        wanted.pop("cpus", None)  # a thread of a worker; more of them are a resource of its own
        if (cpus := resources.get("cpus", 1)) > 1:
            wanted["CPU"] = cpus
        try:
            future = client.submit(
                call, text, key=key, pure=False, retries=0, resources=wanted or None
            )
        except Exception as error:
            raise EngineAway(summary(error)) from error
        made: Call[str] = Call()
        self._calls[made] = future
        future.add_done_callback(lambda done: self._land(made, done))
        return made

    def begun(self, futures: Iterable[Call[str]]) -> set[Call[str]]:
        """Return those that a thread of a worker runs."""
        asked = {future.key: made for made in futures if (future := self._calls.get(made))}
        # Of all workers: the scheduler refuses a question with the key of a call that just ended.
        stacks = self._ask("call_stack")
        return {asked[key] for calls in stacks.values() for key in calls if key in asked}

    def cancel(self, future: Call[str], *, force: bool) -> bool:  # noqa: ARG002 (see below)
        """Cancel a call that waits; Dask cannot stop a thread, whatever the force."""
        theirs = self._calls.get(future)
        if theirs is None:
            return True
        runs = future in self.begun([future])
        if not runs:
            theirs.cancel(reason="pgflow-yaml")
            self._land(future, theirs)
        return not runs

    def explain(self, error: BaseException) -> Loss:
        """Name the worker that died; a scheduler that went away is a loss of the engine."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            node = error.last_worker.address
            return Loss(
                kind="crashed",
                message=f"the Dask worker {node} died while it ran the handler (out of memory?)",
            )
        reason = getattr(error, "reason", None)
        if reason in _GONE or isinstance(error, TimeoutError | OSError):
            return Loss(kind="away", message=f"the connection to its scheduler was lost: {reason}")
        if isinstance(error, CancelledError):
            return Loss(kind="crashed", message=f"somebody else cancelled the call: {reason}")
        return Loss(kind="crashed", message=f"Dask lost the call: {summary(error)}")

    def want(self, slots: int) -> None:
        """Ignore the hint."""

    def close(self) -> None:
        """Disconnect."""
        self._forget()

    def _ask(self, what: str) -> dict[str, Any]:
        """Call a function of the scheduler; raise EngineAway if it does not answer."""
        client = self._connected()
        try:
            answer: dict[str, Any] = client.sync(
                getattr(client.scheduler, what), callback_timeout=_ASK_SECONDS
            )
        except (OSError, TimeoutError) as error:
            raise EngineAway(f"its scheduler does not answer: {summary(error)}") from error
        return answer

    def _connected(self) -> Any:
        client = self._client
        if client is None or client.status != "running":
            raise EngineAway("the connection to its scheduler was lost")
        return client

    def _forget(self) -> None:
        client, self._client = self._client, None
        self._calls.clear()
        if client is not None:  # it waits for a scheduler that is gone
            threading.Thread(target=client.close, kwargs={"timeout": 1}, daemon=True).start()

    def _land(self, made: Call[str], future: Any) -> None:
        """Pass the end of a call on, and let Dask forget its result; any thread calls this."""
        if self._calls.pop(made, None) is None:
            return
        try:
            text = future.result(timeout=_RESULT_SECONDS)
        except BaseException as error:  # noqa: BLE001 (the bridge has it explained)
            made.set_exception(error)
        else:
            made.set_result(text)
        with suppress(Exception):
            future.release()
