"""PgQueuer: a queue on asyncpg with LISTEN/NOTIFY; jobs enqueue the jobs that follow them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from peer import Message, QueuePeer

BATCH = 10
"""The library's default."""


class Peer(QueuePeer):
    """One worker, one connection for it and one for what it sends."""

    NAME = "pgqueuer"
    REQUIREMENTS = ("pgqueuer==1.6.0", "asyncpg==0.32.0")

    async def open(self) -> None:
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
        await self.finish(json.loads(job.payload))

    async def send(self, messages: list[Message]) -> None:
        payloads = [json.dumps(message).encode() for message in messages]
        await self._queries.enqueue(["bench"] * len(messages), payloads, [0] * len(messages))

    async def work(self) -> None:
        await self._queue.run(batch_size=BATCH)

    async def stop(self, worker: asyncio.Task[None]) -> None:
        self._queue.shutdown.set()
        await asyncio.wait([worker], timeout=5)

    async def disconnect(self) -> None:
        await self._sender.close()
