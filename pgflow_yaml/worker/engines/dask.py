"""Dask distributed as an engine: `--executor dask://HOST:PORT` or `tls://HOST:PORT`."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError
from concurrent.futures import Future as Call
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.calls import summary
from pgflow_yaml.worker.engines.engine import Capacity, EngineAway, Loss
from pgflow_yaml.worker.engines.network import warn_of_open_network
from pgflow_yaml.worker.engines.node import call
from pgflow_yaml.worker.engines.schemes import need

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from distributed import KilledWorker

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10
_ASK_SECONDS = 5
_LOOK_AFTER_SECONDS = 0.3
_VERDICT_SECONDS, _APART_SECONDS = 0.1, 0.25
_LET_OFF = 2
_NAMES = {"gpus": "GPU", "memory": "MEMORY"}
_GONE = {"scheduler-connection-lost", "scheduler-restart"}


class Bystander(Exception):
    """A call that was lost with a worker which may have died of another call."""


@dataclass
class _Death:
    calls: dict[Call[str], str] = field(default_factory=dict)
    """Those that were lost with a worker, and their tasks."""
    culprits: set[Call[str]] | None = None


def _task_name(key: str) -> str:
    """Return the part of a key that all attempts of a task have."""
    return key.partition("#")[0]


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
        self._looks: dict[Call[str], float] = {}
        """The time to ask whether a call has begun; infinite once it is being asked."""
        self._begun: set[Call[str]] = set()
        self._deaths: dict[str, _Death] = {}
        """The deaths of workers that are looked into, by address."""
        self._losses: Counter[str] = Counter()
        """The losses of a task since its last result."""
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
        ours["cpus"] = most.pop("CPU", 1.0)
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
        self._looks[made] = time.monotonic() + _LOOK_AFTER_SECONDS
        follow = self._follow(made, future)
        asyncio.run_coroutine_threadsafe(follow, client.loop.asyncio_loop)
        return made

    def begun(self, futures: Iterable[Call[str]]) -> set[Call[str]]:
        """Return those that a thread of a worker runs, as far as the workers have answered."""
        asked, now = set(futures), time.monotonic()
        for made in asked - self._begun:
            # Most calls have ended by then.
            if self._looks.get(made, math.inf) < now and (theirs := self._calls.get(made)):
                self._looks[made] = math.inf
                look = self._look(self._connected(), made, theirs.key)
                asyncio.run_coroutine_threadsafe(look, self._client.loop.asyncio_loop)
        return asked & self._begun

    async def _look(self, client: Any, made: Call[str], key: str) -> None:
        """Ask the worker of a call, and no other: one may be too busy to answer."""
        ask = client.scheduler.call_stack(keys=[key])
        try:
            stacks = await asyncio.wait_for(ask, _ASK_SECONDS)
        except TimeoutError:  # a handler in C keeps its interpreter: it has begun
            runs = True
        except Exception:  # noqa: BLE001 (the scheduler raises KeyError for one that has ended)
            runs = False
        else:
            runs = any(key in calls for calls in stacks.values())
        if made in self._calls:
            self._looks[made] = time.monotonic()
            if runs:
                self._begun.add(made)

    def cancel(self, future: Call[str], *, force: bool) -> bool:  # noqa: ARG002 (see below)
        """Cancel a call that waits; Dask cannot stop a thread, whatever the force."""
        theirs = self._calls.get(future)
        if theirs is None:
            return True
        if future in self._begun:
            return False
        theirs.cancel(reason="pgflow-yaml")
        return True

    def explain(self, error: BaseException) -> Loss:
        """Name the worker that died; a scheduler that went away is a loss of the engine."""
        from distributed import KilledWorker

        if isinstance(error, Bystander):
            return Loss(kind="released", message="its worker died, maybe of another call")
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
        for known in (self._calls, self._looks, self._begun, self._deaths, self._losses):
            known.clear()
        if client is not None:  # it waits for a scheduler that is gone
            threading.Thread(target=client.close, kwargs={"timeout": 1}, daemon=True).start()

    async def _follow(self, made: Call[str], future: Any) -> None:
        """Pass the end of a call on, and let Dask forget its result."""
        from distributed import KilledWorker

        end: str | BaseException
        try:
            end = await future
        except KilledWorker as error:
            end = await self._blamed(made, error) if self.isolates else error
        except BaseException as error:  # noqa: BLE001 (the bridge has it explained)
            end = error
        self._end(made, end)

    async def _blamed(self, made: Call[str], error: KilledWorker) -> Exception:
        """Return the error of a call that was lost with its worker; another may be to blame."""
        cause: Exception = error
        address = error.last_worker.address
        death = self._deaths.setdefault(address, _Death())
        death.calls[made] = _task_name(error.task)
        await asyncio.sleep(_VERDICT_SECONDS)  # the scheduler names them all in one message
        if death.culprits is None:
            death.culprits = self._culprits(death.calls)
            del self._deaths[address]
        if made in death.culprits:
            return cause
        # So that they do not go out, and die, together again.
        await asyncio.sleep(_APART_SECONDS * list(death.calls).index(made))
        return Bystander()

    def _culprits(self, calls: Mapping[Call[str], str]) -> set[Call[str]]:
        """Return the calls that the death of a worker with one thread counts against.

        With the culprit Dask loses calls that waited there, and calls that had ended a moment ago.
        Who is lost again is to blame: several that nobody saw running are let off, twice at most.
        """
        self._losses.update(calls.values())
        if len(seen := self._begun & calls.keys()) == 1:
            return seen
        most = max(self._losses[name] for name in calls.values())
        suspects = {made for made, name in calls.items() if self._losses[name] == most}
        return suspects if most > _LET_OFF or len(suspects) == 1 else set()

    def _end(self, made: Call[str], end: str | BaseException) -> None:
        future = self._calls.pop(made, None)
        if future is None:
            return
        self._looks.pop(made, None)
        self._begun.discard(made)
        if isinstance(end, str):
            self._losses.pop(_task_name(future.key), None)
            made.set_result(end)
        else:
            made.set_exception(end)
        with suppress(Exception):
            future.release()
