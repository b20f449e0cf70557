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
from figures import table
from peer import Workload, load_peer
from server import WORK, Server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

OURS = Path(__file__).resolve().parent / "peers" / "pgflow_yaml_peer.py"
PAUSE = 0.002
"""Seconds between two samples of the stacks."""

FUNCTIONS = """
select funcname, calls, self_time, total_time from pg_stat_user_functions
where schemaname in ('pgflow', 'pgmq') order by self_time desc limit 12"""

# A record that touches two blocks is counted with its share of bytes in both.
LOG = """
with block as (
  select start_lsn, record_type, resource_manager, relfilenode, block_fpi_length,
    record_length::numeric / count(*) over (partition by start_lsn) as bytes
  from pg_get_wal_block_info(%s, pg_current_wal_insert_lsn())
  where reldatabase = (select oid from pg_database where datname = current_database())
)
select coalesce(parent.relname || ': ' || c.relname, c.relname, 'other') as relation,
  resource_manager || ' ' || record_type as record, count(*),
  sum(bytes) / %s, sum(block_fpi_length)::numeric / %s
from block b
left join pg_class c on c.relfilenode = b.relfilenode
left join pg_index i on i.indexrelid = c.oid
left join pg_class parent on parent.oid = i.indrelid
group by 1, 2 order by sum(bytes) desc limit 25"""


def sample(over: threading.Event, functions: Counter[str]) -> None:
    """Count the samples, and in each the innermost function of every thread, until it is over."""
    while not over.wait(PAUSE):
        functions["samples"] += 1
        for frame in sys._current_frames().values():  # noqa: SLF001 (its documented use)
            functions.update(filter(None, [_function(frame)]))


def _function(frame: FrameType | None) -> str | None:
    """Return the innermost function of the package on a stack, and its innermost callee."""
    inner = None if frame is None else frame.f_code.co_name
    while frame is not None:
        file, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        if "pgflow_yaml" in file.parts:
            return f"{file.stem}.{name}" + ("" if name == inner else f" > {inner}")
        frame = frame.f_back
    return None


def profile(server: Server, workload: Workload) -> None:
    """Run ours once and print the tables."""
    database, uri = server.fresh(with_pgmq=False)
    try:
        with psycopg.connect(uri, autocommit=True) as conn:
            conn.execute("create extension if not exists pg_walinspect")
            conn.execute(f"alter database {database} set track_functions = 'all'".encode())
            peer = load_peer(OURS)(uri)
            peer.setup()
            # A slot keeps the log until it has been read.
            conn.execute("select pg_create_physical_replication_slot('bench', true)")
            begin = conn.execute("select pg_current_wal_insert_lsn()::text").fetchone() or ()
            over, samples = threading.Event(), Counter[str]()
            sampler = threading.Thread(target=sample, args=(over, samples), daemon=True)
            sampler.start()
            seconds = peer.run(workload)
            over.set()
            sampler.join()
            log = conn.execute(LOG, [*begin, workload.tasks, workload.tasks]).fetchall()
            conn.execute("select pg_drop_replication_slot('bench')")
            peer.close()
            server.until_left(database, but=1)  # the last calls of the worker's connections
            functions = conn.execute(FUNCTIONS).fetchall()
    finally:
        server.drop(database)
    title = f"{workload.name}={workload.size}: {workload.tasks:,} tasks"
    print(f"{title} in {1000 * seconds:,.0f} ms while profiled", flush=True)
    _print("SQL function,calls,self (ms),with callees (ms)", functions)
    _print("relation,record,blocks,bytes/task,page images/task", log)
    total = samples.pop("samples", 1)
    shares = [(name, 100 * count / total) for name, count in samples.most_common(15)]
    _print("Python function (> its callee),% of samples by thread", shares)


def _print(head: str, rows: Iterable[tuple[Any, ...]]) -> None:
    cells = [[c if isinstance(c, str) else f"{float(c):,.0f}" for c in row] for row in rows]
    print(table(head.split(","), cells), end="\n\n", flush=True)


def main() -> None:
    """Profile each workload on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workloads", nargs="+", type=Workload.parse, metavar="NAME=SIZE")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the server")
    args = parser.parse_args()
    server = Server(args.work.resolve() / "server")
    try:
        for workload in args.workloads:
            profile(server, workload)
    finally:
        server.close()


if __name__ == "__main__":
    main()
