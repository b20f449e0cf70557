"""Where one workload's time and write-ahead log go: SQL functions, relations, Python functions.

    .venv/bin/python benchmarks/profiles.py fanout=2000 diamonds=500 backlog=20000

Function statistics and samples cost time themselves: the shares count, not the seconds.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from common import WORKLOADS, load_peer
from rounds import parse_sizes
from server import WORK, Server

if TYPE_CHECKING:
    from types import FrameType

HERE = Path(__file__).resolve().parent
PAUSE = 0.002
"""Seconds between two looks at the stacks."""

FUNCTIONS = """
select funcname, calls, self_time, total_time from pg_stat_user_functions
where schemaname in ('pgflow', 'pgmq') order by self_time desc limit 12"""

# A record that touches two blocks is counted with its share of bytes in both.
LOG = """
with block as (
  select start_lsn, record_type, resource_manager, relfilenode, block_fpi_length,
    record_length::numeric / count(*) over (partition by start_lsn) as bytes
  from pg_get_wal_block_info(%s, %s) where reldatabase = %s
)
select coalesce(parent.relname || ': ' || c.relname, c.relname, 'other') as relation,
  resource_manager || ' ' || record_type as record, count(*), sum(bytes), sum(block_fpi_length)
from block b
left join pg_class c on c.relfilenode = b.relfilenode
left join pg_index i on i.indexrelid = c.oid
left join pg_class parent on parent.oid = i.indrelid
group by 1, 2 order by sum(bytes) desc limit 25"""


class Sampler(threading.Thread):
    """Looks at what all other threads do, and counts the innermost function of ours."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        super().__init__(daemon=True)
        self.seen: Counter[str] = Counter()
        self.looks = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Look until it is stopped."""
        while not self._over.wait(PAUSE):
            self.looks += 1
            for ident, frame in sys._current_frames().items():  # noqa: SLF001 (its door)
                name = _ours(frame) if ident != self.ident else None
                if name is not None:
                    self.seen[name] += 1

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


def _ours(frame: FrameType | None) -> str | None:
    """The innermost function of the package on a stack, and what it is waiting in."""
    inner = None if frame is None else frame.f_code.co_name
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if "pgflow_yaml" in file.parts:
            name = f"{file.stem}.{frame.f_code.co_name}"
            return name if frame.f_code.co_name == inner else f"{name} > {inner}"
        frame = frame.f_back
    return None


def profile(server: Server, workload: str, n: int) -> None:
    """Run ours once and print where its time went."""
    database, uri = server.fresh(with_pgmq=False)
    try:
        with psycopg.connect(uri, autocommit=True) as conn:
            conn.execute("create extension if not exists pg_walinspect")
            conn.execute(f"alter database {database} set track_functions = 'all'".encode())
            peer = load_peer(HERE / "peers" / "pgflow_yaml_peer.py")(uri)
            peer.setup()
            # A slot keeps the log until it has been read.
            conn.execute("select pg_create_physical_replication_slot('bench', true)")
            before = _place(conn)
            sampler = Sampler()
            sampler.start()
            result = getattr(peer, workload)(n)
            sampler.stop()
            after = _place(conn)
            peer.close()
            server.until_left(database, but=1)  # the last calls of the worker's connections
            functions = conn.execute(FUNCTIONS).fetchall()
            oid = conn.execute("select oid from pg_database where datname = current_database()")
            log = conn.execute(LOG, [before, after, *(oid.fetchone() or ())]).fetchall()
            conn.execute("select pg_drop_replication_slot('bench')")
    finally:
        server.drop(database)
    tasks = result.tasks
    _say(f"{workload}={n}: {tasks:,} tasks in {1000 * result.seconds:,.0f} ms while profiled")
    _table(["SQL function", "calls", "self, ms", "with callees, ms"], functions)
    rows = [(*row[:3], row[3] / tasks, row[4] / tasks) for row in log]
    _table(["relation", "record", "blocks", "bytes/task", "page images/task"], rows)
    shares = [(name, 100 * seen / sampler.looks) for name, seen in sampler.seen.most_common(15)]
    _table(["Python function (> what it is in)", "% of looks, by thread"], shares)


def _place(conn: psycopg.Connection[Any]) -> str:
    row = conn.execute("select pg_current_wal_insert_lsn()::text").fetchone()
    return "" if row is None else str(row[0])


def _table(head: list[str], rows: list[tuple[Any, ...]]) -> None:
    _say("| " + " | ".join(head) + " |", "|" + "---|" * len(head))
    for row in rows:
        cells = [cell if isinstance(cell, str) else f"{float(cell):,.0f}" for cell in row]
        _say("| " + " | ".join(cells) + " |")
    _say("")


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def main() -> int:
    """Profile each workload that was named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workloads", nargs="+", help=f"NAME=SIZE of {', '.join(WORKLOADS)}")
    parser.add_argument("--work", type=Path, default=WORK, help="where data lie")
    args = parser.parse_args()
    server = Server(args.work.resolve() / "server")
    try:
        for workload, n in parse_sizes(",".join(args.workloads)):
            profile(server, workload, n)
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
