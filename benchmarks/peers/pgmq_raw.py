"""The physical limit: pgmq alone, in batches of 100, with no workflow state at all.

Each batch costs two commits: one read, then one that archives it and sends what follows. The
end is the commit of the last archive, not the call of the last message.
"""

from __future__ import annotations

import time

import psycopg
from peer import Message, QueuePeer
from psycopg.types.json import Jsonb

QUEUE = "bench"
BATCH = 100

READ = "select msg_id, message from pgmq.read(%s, 30, %s)"
SEND = "select pgmq.send_batch(%s, %s)"
ARCHIVE = "select count(*) from pgmq.archive(%s, %s::bigint[])"
FORWARD = """
with done as (select pgmq.archive(%s, %s::bigint[]))
select (select count(*) from done), pgmq.send_batch(%s, %s)
"""


class Peer(QueuePeer):
    """pgmq, read and archived in batches by one worker."""

    NAME = "pgmq"
    PGMQ = True

    async def open(self) -> None:
        self._conn = psycopg.connect(self.dsn, autocommit=True)
        self._conn.execute("select pgmq.create(%s)", [QUEUE])

    async def disconnect(self) -> None:
        self._conn.close()

    async def send(self, messages: list[Message]) -> None:
        self._conn.execute(SEND, [QUEUE, [Jsonb(message) for message in messages]])

    async def work(self) -> None:
        while not self.router.done.is_set():
            rows = self._conn.execute(READ, [QUEUE, BATCH]).fetchall()
            ids = [msg_id for msg_id, _ in rows]
            # Finish in memory first: the messages that follow go in the same commit.
            following = [Jsonb(m) for _, message in rows for m in self.router.finish(message)]
            if following:
                self._conn.execute(FORWARD, [QUEUE, ids, QUEUE, following])
            else:
                self._conn.execute(ARCHIVE, [QUEUE, ids])
        self.router.ended = time.perf_counter()
