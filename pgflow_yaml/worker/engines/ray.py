"""Ray as an engine: `--executor ray:auto` on a node of the cluster, or `ray:HOST:PORT`."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.calls import summary
from pgflow_yaml.worker.engines.engine import Capacity, EngineAway, Loss
from pgflow_yaml.worker.engines.node import call
from pgflow_yaml.worker.engines.schemes import need

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future

log = logging.getLogger(__name__)

_OWN = ("cpus", "gpus", "memory")
_ASK_AFTER_SECONDS = 2.0
_PROBE_SECONDS = 1.0
_GONE = ("RaySystemError", "LocalRayletDiedError", "RpcError", "RayChannelError")


class RayEngine:
    """The workers of a Ray cluster; each call is a task that Ray must not try again."""

    isolates = True
    grows = True

    def __init__(self, name: str, address: str) -> None:
        """`address` is "auto" or that of a head; raise Unavailable without the extra `ray`."""
        need("ray", "ray")
        self.name = name
        self._address = address
        self._calls: dict[Future[str], tuple[float, Any]] = {}
        self._remote: Any = None
        self._head: str | None = None if address == "auto" else address
        """Host and port of the head, once it is known."""
        self._has_warned = False

    def open(self) -> None:
        """Join the cluster as a driver; forget the calls of before."""
        import ray

        self.close()
        self._probe()  # Ray would try for minutes
        try:
            ray.init(
                address=self._address,
                namespace="pgflow-yaml",
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:
            raise EngineAway(f"no Ray cluster answers: {summary(error)}") from error
        self._head = ray.get_runtime_context().gcs_address
        # Each call is a task of its own, which Ray runs once.
        self._remote = ray.remote(max_retries=0)(call)
        if not self._has_warned and os.environ.get("RAY_AUTH_MODE") != "token":
            self._has_warned = True
            log.warning(
                "%s asks nobody for a token: who reaches its ports can run any code on it; close "
                "its network, or start it and this worker with RAY_AUTH_MODE=token",
                self.name,
                extra={"action": "engine"},
            )

    def _probe(self) -> None:
        """Raise EngineAway if nothing listens at the head.

        60 seconds after its head has gone, Ray ends the process of a driver that has not left.
        """
        if self._head is None:
            return
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _PROBE_SECONDS).close()
        except OSError as error:
            raise EngineAway(f"no head listens at {self._head}: {summary(error)}") from error

    def capacity(self) -> Capacity:
        """Return the processors of all nodes, and the most that one of them has of a resource."""
        import ray

        self._probe()
        try:
            nodes = [node for node in ray.nodes() if node["Alive"]]
        except Exception as error:
            raise EngineAway(summary(error)) from error
        most: dict[str, float] = {}
        for node in nodes:
            for name, amount in node["Resources"].items():
                most[name] = max(most.get(name, 0.0), amount)
        ours = {"cpus": most.pop("CPU", 0.0), "gpus": most.pop("GPU", 0.0)}
        slots = int(sum(node["Resources"].get("CPU", 0.0) for node in nodes))
        return Capacity(slots=slots, resources={**most, **ours})

    def submit(self, text: str, key: str, resources: Mapping[str, float]) -> Future[str]:
        """Submit a call under its key; it takes one processor unless its step says otherwise."""
        if self._remote is None:
            raise EngineAway("it is closed")
        others = {name: amount for name, amount in resources.items() if name not in _OWN}
        options = {
            "name": key,
            "num_cpus": resources.get("cpus", 1),
            "num_gpus": resources.get("gpus", 0),
            "memory": resources.get("memory"),
            "resources": others or None,
        }
        try:
            reference = self._remote.options(**options).remote(text)
            future: Future[str] = reference.future()
        except Exception as error:
            raise EngineAway(summary(error)) from error
        self._calls[future] = (time.monotonic(), reference)
        future.add_done_callback(lambda done: self._calls.pop(done, None))
        return future

    def begun(self, futures: Iterable[Future[str]]) -> set[Future[str]]:
        """Return those that run, as Ray's state says; it is asked about calls of two seconds.

        A cluster without that service says nothing: then they have begun for all we know.
        """
        late = time.monotonic() - _ASK_AFTER_SECONDS
        asked = {
            known[1].task_id().hex(): future
            for future in futures
            if (known := self._calls.get(future)) is not None and known[0] < late
        }
        if not asked:
            return set()
        from ray.util.state import list_tasks

        try:
            running = list_tasks(
                filters=[("state", "=", "RUNNING")],
                limit=10_000,
                timeout=1,
                raise_on_missing_output=False,
            )
        except Exception as error:  # noqa: BLE001 (it needs the dashboard)
            log.debug("Ray does not say what runs: %s", summary(error))
            return set(asked.values())
        return {asked[task.task_id] for task in running if task.task_id in asked}

    def cancel(self, future: Future[str], *, force: bool) -> bool:
        """Cancel a call that waits; with `force`, end the process of one that runs."""
        import ray

        known = self._calls.get(future)
        if known is None:
            return True
        with suppress(Exception):
            ray.cancel(known[1], force=force)
        return force

    def explain(self, error: BaseException) -> Loss:
        """Name the cause as Ray does; nodes that were stopped on purpose cost a task nothing."""
        import ray.exceptions as of_ray

        kind = type(error).__name__
        if isinstance(error, of_ray.OutOfMemoryError):
            message = f"Ray ended the process of the handler, out of memory: {summary(error)}"
        elif isinstance(error, of_ray.WorkerCrashedError):
            message = "the process of the handler died in Ray (out of memory?)"
        elif "expected termination" in str(error).lower():
            return Loss(kind="released", message="its node was shut down")
        elif kind in _GONE:
            return Loss(kind="away", message=summary(error))
        elif isinstance(error, of_ray.TaskCancelledError):
            message = "somebody else cancelled the call"
        else:
            message = f"Ray lost the call: {summary(error)}"
        return Loss(kind="crashed", message=message)

    def want(self, slots: int) -> None:
        """Ask the autoscaler for so many processors; 0: for none."""
        from ray.autoscaler.sdk import request_resources

        with suppress(Exception):  # a cluster without an autoscaler
            request_resources(num_cpus=slots)

    def close(self) -> None:
        """Leave the cluster."""
        import ray

        self._calls.clear()
        self._remote = None
        with suppress(Exception):
            ray.shutdown()
