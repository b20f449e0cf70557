"""The physical limit: pgmq alone, in batches of 100, with no workflow state at all.

Each batch costs two commits: one read, then one that archives it and sends what follows.
Its joins live in this process's memory, so nothing of a workflow would outlive it.
"""

from __future__ import annotations

import time

import psycopg
from common import Message, Result, Router, hop_p50
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


class Peer:
    """pgmq, read and archived in batches by one worker."""

    NAME = "pgmq"
    PGMQ = True

    def __init__(self, dsn: str, options: dict[str, str]) -> None:
        """Keep where the database is; there are no options."""
        self.dsn, self.options = dsn, options

    def setup(self) -> None:
        """Connect and make the queue."""
        self._conn = psycopg.connect(self.dsn, autocommit=True)
        self._conn.execute("select pgmq.create(%s)", [QUEUE])

    def close(self) -> None:
        """Disconnect."""
        self._conn.close()

    def chain(self, n: int) -> Result:
        """N messages, each sent when the one before is done."""
        return self._run("chain", n)

    def fanout(self, n: int) -> Result:
        """One message, then n at once, then one."""
        return self._run("fanout", n)

    def diamonds(self, n: int) -> Result:
        """N times one, two, one."""
        return self._run("diamonds", n)

    def backlog(self, n: int) -> Result:
        """N messages that lead to nothing."""
        return self._run("backlog", n)

    def _run(self, workload: str, n: int) -> Result:
        router = Router(workload, n)
        began = time.perf_counter()
        first = router.first()
        for start in range(0, len(first), 1000):
            chunk = [Jsonb(message) for message in first[start : start + 1000]]
            self._conn.execute(SEND, [QUEUE, chunk])
        enqueued = time.perf_counter()
        self._work(router)
        return Result(
            tasks=router.total,
            seconds=time.perf_counter() - enqueued,
            runs=n if workload == "diamonds" else 1,
            enqueue_seconds=enqueued - began,
            hop_ms_p50=hop_p50(router.stamps) if workload == "chain" else None,
        )

    def _work(self, router: Router) -> None:
        while not router.done.is_set():
            rows = self._conn.execute(READ, [QUEUE, BATCH]).fetchall()
            if not rows:
                time.sleep(0.001)
                continue
            ids = [msg_id for msg_id, _ in rows]
            # Finish in memory first: the messages that follow go in the same commit.
            following: list[Message] = [f for _, m in rows for f in router.finish(m)]
            if following:
                sent = [Jsonb(message) for message in following]
                self._conn.execute(FORWARD, [QUEUE, ids, QUEUE, sent])
            else:
                self._conn.execute(ARCHIVE, [QUEUE, ids])
