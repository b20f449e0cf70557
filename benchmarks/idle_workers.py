"""A hundred idle workers: connections, commits and processor (X-G7).

.venv/bin/python benchmarks/idle_workers.py          # a quarter of an hour: polls are rare then
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from figures import Spread, Target, target_table
from server import WORK, Server

from pgflow_yaml import Client
from pgflow_yaml.database import migrate
from pgflow_yaml.project.files import compile_content

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES, SUPERVISORS = 25, 4
QUIET_SECONDS, SETTLE_SECONDS, MEASURED_SECONDS = 660.0, 75.0, 20.0
_WORKERS = PROCESSES * SUPERVISORS
FLOW = "flow: idle\nsteps:\n  one: {handler: app.one}\n"
BACKENDS = """
select count(*) from pg_stat_activity
where datname = %s and backend_type = 'client backend' and pid <> pg_backend_pid()
"""
COMMITS = "select xact_commit from pg_stat_database where datname = %s"
PGBOUNCER = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 10
max_client_conn = 1000
"""


@contextmanager
def workers(uri: str, folder: Path, *, environ: dict[str, str]) -> Iterator[list[int]]:
    """Start the workers; yield the numbers of their processes once all have registered."""
    words = [sys.executable, "-P", "-m", "pgflow_yaml", "worker", "--processes", str(PROCESSES)]
    env = {**os.environ, "DATABASE_URL": uri, **environ}
    with (folder / "log").open("ab") as log:
        started = [
            subprocess.Popen(words, env=env, cwd=folder, stdout=log, stderr=log)
            for _ in range(SUPERVISORS)
        ]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait()


def processor_seconds(parents: list[int], server: int) -> float:
    """Return the processor time so far of supervisors, their workers, and the server."""
    tick = os.sysconf("SC_CLK_TCK")
    times: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            times[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / tick)
    roots = {*parents, server}
    return sum(
        seconds for pid, (parent, seconds) in times.items() if pid in roots or parent in roots
    )


def measured_through(
    server: Server, name: str, uri: str, *, folder: Path, environ: dict[str, str], rest: float
) -> tuple[int, float, float]:
    """Return backends, commits a second, and cores of the workers and the server."""
    direct = server.uri(name)
    with (
        workers(uri, folder, environ=environ) as parents,
        Client(direct) as client,
        psycopg.connect(server.uri("postgres"), autocommit=True) as db,
    ):
        until = time.monotonic() + 120
        while len(client.list_workers()) < _WORKERS:
            if time.monotonic() > until:
                raise RuntimeError(f"the workers do not start: {(folder / 'log').read_text()}")
            time.sleep(0.5)
        client.close()
        time.sleep(rest)
        (postmaster,) = db.execute(
            "select (pg_read_file('postmaster.pid', 0, 20, true)::text)"
        ).fetchone() or ("0",)
        server_pid = int(str(postmaster).split("\n", 1)[0])
        before = processor_seconds(parents, server_pid)
        (commits,) = db.execute(COMMITS, [name]).fetchone() or (0,)
        time.sleep(MEASURED_SECONDS)
        (later,) = db.execute(COMMITS, [name]).fetchone() or (0,)
        cores = (processor_seconds(parents, server_pid) - before) / MEASURED_SECONDS
        (backends,) = db.execute(BACKENDS, [name]).fetchone() or (0,)
    return int(backends), (later - commits) / MEASURED_SECONDS, cores


@contextmanager
def pooler(folder: Path, uri: str) -> Iterator[str | None]:
    """Start pgbouncer before the server; yield the address, None where it is not installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or os.geteuid() == 0:  # it refuses root, and the server asks who connects
        yield None
        return
    known = psycopg.conninfo.conninfo_to_dict(uri)
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    users = folder / "users"
    users.write_text('"pgflow" ""\n')
    file = folder / "pgbouncer.ini"
    values = {"host": known["host"], "port": known["port"], "own": own, "users": users}
    file.write_text(PGBOUNCER.format(**values))
    process = subprocess.Popen([program, "-q", file])
    try:
        yield f"postgresql://pgflow@127.0.0.1:{own}/{known['dbname']}"
    finally:
        process.kill()
        process.wait()


def measured() -> list[Target]:
    """Measure a hundred idle workers, directly and through pgbouncer."""
    server = Server(WORK, {"max_connections": "400"})
    try:
        name, uri = server.fresh(with_pgmq=False)
        migrate.apply(uri)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "app.py").write_text("def one(input): return 1\n")
            with Client(uri) as client:
                client.deploy(compile_content(FLOW.encode(), file="a flow").require())
            backends, commits, cores = measured_through(
                server, name, uri, folder=folder, environ={}, rest=QUIET_SECONDS
            )
            targets = [
                _target("connections", backends, 250, ""),
                _target("commits a second", commits, 50, ""),
                _target("processor of workers and server", cores, 1, "cores"),
            ]
            with pooler(folder, uri) as address:
                through = None
                if address is not None:
                    listen = {"PGFLOW_YAML_LISTEN_DSN": uri}
                    through, *_ = measured_through(
                        server, name, address, folder=folder, environ=listen, rest=SETTLE_SECONDS
                    )
            targets.append(_target("backends through pgbouncer", through, 20, ""))
        server.drop(name)
    finally:
        server.close()
    return targets


def _target(name: str, figure: float | None, most: float, unit: str) -> Target:
    spread = None if figure is None else Spread.of([figure])
    return Target(f"{_WORKERS} idle workers: {name}", spread, most, None, "less", unit)


if __name__ == "__main__":
    print(target_table(measured()))
