"""The server under measurement, a fresh database for each run, and one measured run."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import pgmq
import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgflow_yaml.database import embedded

if TYPE_CHECKING:
    from environments import Entry

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / ".bench"
"""Where data and peers lie; one place, so that no two benchmarks run at once unseen."""

Row = dict[str, Any]

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
"""Settings that must be on: a figure without them would compare nothing."""


@dataclass(frozen=True)
class Counters:
    """Where a database and its server stand: differences of two say what a run cost."""

    commits: int
    wal: int


def alone(folder: Path) -> IO[str]:
    """The lock of a folder: two at once would count each other's log, and share the cores."""
    lock = (folder / "alone.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        sys.exit(f"another benchmark runs in {folder}: wait for it, or give another --work")
    return lock


class Server:
    """An embedded server of its own; fsync and the other settings are PostgreSQL's defaults."""

    def __init__(self, folder: Path) -> None:
        """Start it, with no other benchmark in this folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._alone = alone(folder)
        self._server = embedded.open_server(folder)
        self._admin = psycopg.connect(self._server.conninfo("postgres"), autocommit=True)
        self._pgmq = (Path(pgmq.__file__).parent / "sql" / "pgmq.sql").read_text()
        self._count = 0
        for name in DURABLE:
            if self.facts()[name] != "on":
                raise RuntimeError(f"{name} is not on: figures would not be durable ones")

    def close(self) -> None:
        """Let go of it; the last one out stops it."""
        self._admin.close()
        self._server.release()
        self._alone.close()

    def fresh(self, *, with_pgmq: bool) -> tuple[str, str]:
        """The name and the connection text of a new database."""
        self._count += 1
        name = f"bench_{os.getpid()}_{self._count}"
        self._admin.execute(f"create database {name}".encode())
        conninfo = self.uri(name)
        if with_pgmq:
            with psycopg.connect(conninfo, autocommit=True) as conn:
                conn.execute("create schema if not exists pgmq")
                conn.execute(self._pgmq.encode())
        self._admin.execute("checkpoint")
        return name, conninfo

    def uri(self, name: str) -> str:
        """Where a database is, as a URI: the form that every driver reads."""
        given = conninfo_to_dict(self._server.conninfo(name))
        host = quote(str(given["host"]), safe="")
        return f"postgresql://{given['user']}@/{name}?host={host}&port={given['port']}"

    def drop(self, name: str) -> None:
        """Remove a database and whoever is connected to it."""
        self._admin.execute(f"drop database {name} with (force)".encode())

    def until_left(self, name: str, *, but: int = 0) -> None:
        """Wait until so many are connected to a database: who leaves hands in its statistics."""
        query = """
            select count(*) from pg_stat_activity
            where datname = %s and backend_type = 'client backend'
        """
        deadline = time.monotonic() + 10
        while (self._admin.execute(query, [name]).fetchone() or (0,))[0] > but:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the connections to {name} do not end")
            time.sleep(0.01)

    def counters(self, name: str) -> Counters:
        """The commits of a database, and the write-ahead log of the server so far."""
        query = """
            select d.xact_commit, (pg_current_wal_insert_lsn() - '0/0')::bigint
            from pg_stat_database d where d.datname = %s
        """
        row = self._admin.execute(query, [name]).fetchone()
        if row is None:
            raise LookupError(f"database {name} is gone")
        return Counters(*map(int, row))

    def facts(self) -> dict[str, str]:
        """The settings on which figures depend."""
        query = "select name, setting from pg_settings where name = any(%s) order by name"
        names = ["server_version", "shared_buffers", *DURABLE]
        return dict(self._admin.execute(query, [names]).fetchall())


class Child:
    """The process of one measured run, spoken to in lines."""

    def __init__(self, command: list[str], timeout: float) -> None:
        """Start it; it is killed when the time is up."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self._errors: list[str] = []
        self._timeout = timeout
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        self._timer = threading.Timer(timeout, self._process.kill)
        self._timer.start()

    def expect(self, word: str) -> Row:
        """The facts of the next line that says this word."""
        for line in self._stream(self._process.stdout):
            if line.startswith('{"bench"'):
                facts: Row = json.loads(line)
                if facts.pop("bench") == word:
                    return facts
        self._reader.join(1)
        said = "".join(self._errors[-4:]).strip()[-300:]
        raise RuntimeError(said or f"over {self._timeout:.0f} s")

    def say(self, word: str) -> None:
        """Send one line."""
        stream = self._stream(self._process.stdin)
        stream.write(f"{word}\n")
        stream.flush()

    def close(self) -> None:
        """Give it ten seconds to end by itself."""
        self.say("close")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)

    def kill(self) -> None:
        """End it in any case."""
        self._timer.cancel()
        self._process.kill()
        self._process.wait()

    def _read_errors(self) -> None:
        self._errors.extend(self._stream(self._process.stderr))

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        if stream is None:
            raise RuntimeError("the process has no such stream")
        return stream


def measure(server: Server, entry: Entry, *, workload: str, n: int, timeout: float) -> Row:
    """One peer on one workload, as numbers, or as an `error`."""
    name, conninfo = server.fresh(with_pgmq=entry.cls.PGMQ)
    command = [entry.python, str(HERE / "common.py"), str(entry.path), conninfo]
    package = ["--package", str(entry.package)] if entry.package else []
    child = Child([*command, workload, str(n), *package], timeout)
    try:
        child.expect("ready")
        # Rest: what the setup wrote is not to be in the figures. Its last commits are: an idle
        # backend hands in its statistics after up to ten seconds.
        time.sleep(1.2)
        before = server.counters(name)
        child.say("go")
        facts = child.expect("result")
        wal = server.counters(name).wal - before.wal
        child.close()
        child.kill()
        server.until_left(name)
        after = server.counters(name)
    except (RuntimeError, BrokenPipeError) as error:
        return {"error": str(error)}
    finally:
        child.kill()
        server.drop(name)
    facts["tasks_per_s"] = round(facts["tasks"] / facts["seconds"], 1)
    tasks = facts["tasks"]
    facts["commits_per_task"] = round((after.commits - before.commits) / tasks, 4)
    facts["wal_bytes_per_task"] = round(wal / tasks, 1)
    return facts
