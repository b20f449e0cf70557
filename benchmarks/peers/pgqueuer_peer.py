"""PgQueuer: a queue on asyncpg with LISTEN/NOTIFY; jobs enqueue the jobs that follow them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from common import Message, QueuePeer, Router

BATCH = 10
"""The library's default."""


class Peer(QueuePeer):
    """One worker, one connection for it and one for what it sends."""

    NAME = "pgqueuer"
    REQUIREMENTS = ("pgqueuer==1.6.0", "asyncpg==0.32.0")

    def setup(self) -> None:
        """Connect and install."""
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._open())

    async def _open(self) -> None:
        import asyncpg
        from pgqueuer import PgQueuer
        from pgqueuer.db import AsyncpgDriver
        from pgqueuer.queries import Queries

        self._sender = await asyncpg.connect(self.dsn)
        self._queries = Queries(AsyncpgDriver(self._sender))
        await self._queries.install()
        self._queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(self.dsn)))
        self._queue.entrypoint("bench")(self._job)

    async def _job(self, job: Any) -> None:
        following = self._router.finish(json.loads(job.payload))
        if following:
            await self._send(following)

    async def _send(self, messages: list[Message]) -> None:
        payloads = [json.dumps(message).encode() for message in messages]
        await self._queries.enqueue(["bench"] * len(messages), payloads, [0] * len(messages))

    def close(self) -> None:
        """Disconnect."""
        self._loop.run_until_complete(self._sender.close())

    def enqueue(self, messages: list[Message]) -> None:
        """Send them with one statement."""
        self._loop.run_until_complete(self._send(messages))

    def work(self, router: Router) -> None:
        """Run its worker with its defaults."""
        self._router = router
        self._loop.run_until_complete(self._work(router))

    async def _work(self, router: Router) -> None:
        worker = asyncio.create_task(self._queue.run(batch_size=BATCH))
        # A look now and then is enough: the router has stamped the end. Also over: a dead worker.
        while not router.done.is_set() and not worker.done():
            await asyncio.sleep(0.005)
        self._queue.shutdown.set()
        await asyncio.wait([worker], timeout=5)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
