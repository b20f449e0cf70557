"""Procrastinate: a queue; jobs defer the jobs that follow them. Ten at a time."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from common import Message, QueuePeer, Router

CONCURRENCY = 10


class Peer(QueuePeer):
    """One worker over a pool of at most ten connections."""

    NAME = "procrastinate"
    REQUIREMENTS = ("procrastinate==3.10.0", "psycopg[binary]==3.3.9")
    ROUNDS = 1
    LIMITS: ClassVar = {"fanout": 2000, "backlog": 2000}

    def setup(self) -> None:
        """Connect and install."""
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._open())

    async def _open(self) -> None:
        import procrastinate

        connector = procrastinate.PsycopgConnector(conninfo=self.dsn, min_size=1, max_size=10)
        self._app = procrastinate.App(connector=connector)
        await self._app.open_async()
        await self._app.schema_manager.apply_schema_async()
        self._task = self._app.task(name="bench")(self._job)

    async def _job(self, message: Message) -> None:
        following = self._router.finish(message)
        if following:
            await self._send(following)

    async def _send(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), 1000):
            chunk = messages[start : start + 1000]
            await self._task.batch_defer_async(*({"message": message} for message in chunk))

    def close(self) -> None:
        """Disconnect."""
        self._loop.run_until_complete(self._app.close_async())

    def enqueue(self, messages: list[Message]) -> None:
        """Send them with one statement."""
        self._loop.run_until_complete(self._send(messages))

    def work(self, router: Router) -> None:
        """Run its worker."""
        self._router = router
        self._loop.run_until_complete(self._work(router))

    async def _work(self, router: Router) -> None:
        run = self._app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
        worker = asyncio.create_task(run)
        # A look now and then is enough: the router has stamped the end. Also over: a dead worker.
        while not router.done.is_set() and not worker.done():
            await asyncio.sleep(0.005)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
