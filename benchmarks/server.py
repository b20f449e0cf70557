"""The server under measurement, with a fresh database for each run."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import pgmq
import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgflow_yaml.database import embedded

if TYPE_CHECKING:
    from collections.abc import Mapping

WORK = Path(__file__).resolve().parents[1] / ".bench"
"""The folder of data and peers; one for all, so that no two benchmarks run at once unseen."""

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
"""Settings that must be on: a figure without them would compare nothing."""


def alone(folder: Path) -> IO[str]:
    """Lock a folder: two benchmarks at once would count each other's log, and share the cores."""
    lock = (folder / "alone.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        sys.exit(f"another benchmark runs in {folder}: wait for it, or give another --work")
    return lock


class Server:
    """An embedded server of its own; fsync and the other settings are PostgreSQL's defaults."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._alone = alone(folder)
        self._server = embedded.open_server(folder, settings=settings)
        self._admin = psycopg.connect(self._server.conninfo("postgres"), autocommit=True)
        self._pgmq = (Path(pgmq.__file__).parent / "sql" / "pgmq.sql").read_text()
        self._count = 0
        for name in DURABLE:
            if self.facts()[name] != "on":
                raise RuntimeError(f"{name} is not on: figures would not be durable ones")

    def close(self) -> None:
        """Release the server; the last one out stops it."""
        self._admin.close()
        self._server.release()
        self._alone.close()

    def fresh(self, *, with_pgmq: bool) -> tuple[str, str]:
        """Create a database; return its name and its URI."""
        self._count += 1
        name = f"bench_{os.getpid()}_{self._count}"
        self._admin.execute(f"create database {name}".encode())
        uri = self.uri(name)
        if with_pgmq:
            with psycopg.connect(uri, autocommit=True) as conn:
                conn.execute("create schema if not exists pgmq")
                conn.execute(self._pgmq.encode())
        self._admin.execute("checkpoint")
        return name, uri

    def uri(self, name: str) -> str:
        """Return the URI of a database: the form that every driver reads."""
        parameters = conninfo_to_dict(self._server.conninfo(name))
        host = quote(str(parameters["host"]), safe="")
        return f"postgresql://{parameters['user']}@/{name}?host={host}&port={parameters['port']}"

    def drop(self, name: str) -> None:
        """Remove a database, its connections included."""
        self._admin.execute(f"drop database {name} with (force)".encode())

    def until_left(self, name: str, *, but: int = 0) -> None:
        """Wait until a database has at most `but` connections: statistics come at their end."""
        query = """
            select count(*) from pg_stat_activity
            where datname = %s and backend_type = 'client backend'
        """
        deadline = time.monotonic() + 10
        while (self._admin.execute(query, [name]).fetchone() or (0,))[0] > but:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the connections to {name} do not end")
            time.sleep(0.01)

    def counters(self, name: str) -> tuple[int, int]:
        """Return the commits of a database and the bytes of the server's log so far."""
        query = """
            select d.xact_commit, (pg_current_wal_insert_lsn() - '0/0')::bigint
            from pg_stat_database d where d.datname = %s
        """
        row = self._admin.execute(query, [name]).fetchone()
        if row is None:
            raise LookupError(f"database {name} is gone")
        commits, wal = map(int, row)
        return commits, wal

    def facts(self) -> dict[str, str]:
        """Return the settings on which figures depend."""
        query = "select name, setting from pg_settings where name = any(%s) order by name"
        names = ["server_version", "shared_buffers", *DURABLE]
        return dict(self._admin.execute(query, [names]).fetchall())
