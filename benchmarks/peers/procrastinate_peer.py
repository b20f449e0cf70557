"""Procrastinate: a queue; jobs defer the jobs that follow them. Ten at a time."""

from __future__ import annotations

from typing import ClassVar

from peer import Message, QueuePeer

CONCURRENCY = 10


class Peer(QueuePeer):
    """One worker over a pool of at most ten connections."""

    NAME = "procrastinate"
    REQUIREMENTS = ("procrastinate==3.10.0", "psycopg[binary]==3.3.9")
    ROUNDS = 1
    LIMITS: ClassVar = {"fanout": 2000, "backlog": 2000}

    async def open(self) -> None:
        import procrastinate

        connector = procrastinate.PsycopgConnector(conninfo=self.dsn, min_size=1, max_size=10)
        self._app = procrastinate.App(connector=connector)
        await self._app.open_async()
        await self._app.schema_manager.apply_schema_async()
        self._task = self._app.task(name="bench")(self.finish)

    async def send(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), 1000):
            chunk = messages[start : start + 1000]
            await self._task.batch_defer_async(*({"message": message} for message in chunk))

    async def work(self) -> None:
        await self._app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)

    async def disconnect(self) -> None:
        await self._app.close_async()
