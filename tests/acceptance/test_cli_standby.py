"""Views on a standby, which only reads: a real one, that follows the archive of its primary."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml import Client
from pgflow_yaml.database.embedded.files import programs
from pgflow_yaml.errors import Unavailable
from pgflow_yaml.web.clients import Clients
from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.pg import CrashableServer

FLOW = """
flow: seen
labels: {team: shop}
steps:
  one: {handler: app.one}
  wait: {wait: {event: go}, depends_on: [one]}
"""
VIEWS = (
    ("runs",),
    ("show", "RUN"),
    ("logs", "RUN"),
    ("workers",),
    ("queues",),
    ("flows",),
    ("versions", "seen"),
    ("graph", "RUN"),
    ("waiting",),
    ("schedules",),
)


@contextmanager
def standby_of(primary: CrashableServer) -> Iterator[str]:
    """Start a standby with a copy of the data; it replays what the primary has written."""
    paths = primary.held.paths
    folder = Path(tempfile.mkdtemp(prefix="pgflow-yaml-standby-"))
    owner = paths.data.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    data = folder / "data"
    with psycopg.connect(primary.conninfo(), autocommit=True) as db:
        db.execute("select pg_backup_start('standby', true)")
        subprocess.run(["cp", "-a", str(paths.data), str(data)], check=True)
        label = db.execute("select labelfile from pg_backup_stop()").fetchone()
        db.execute("select pg_switch_wal()")
    assert label is not None
    (data / "postmaster.pid").unlink()
    access = {"backup_label": label[0], "standby.signal": "", "pg_hba.conf": "local all all trust"}
    for name, text in access.items():
        (data / name).write_text(text)
        os.chown(data / name, owner.st_uid, owner.st_gid)
    archive = f"cp {paths.data}/pg_wal/%f %p"
    settings = {"restore_command": f"'{archive}'", "unix_socket_directories": f"'{folder}'"}
    settings |= {"listen_addresses": "''", "port": "5432"}
    with (data / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = {value}\n" for name, value in settings.items())
    user = owner.st_uid if os.geteuid() == 0 else None
    conninfo = f"host={folder} port=5432 user=pgflow dbname=pgflow"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs(paths) / "postgres", "-D", data], stdout=log, stderr=log, user=user
        )
    try:
        eventually(lambda: _answers(conninfo), what="the standby answers")
        yield conninfo
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(folder)


def _answers(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


def test_views_read_from_a_standby_and_nothing_else_does(
    crashable: CrashableServer, tmp_path: Path
) -> None:
    shell = Shell(tmp_path, crashable.conninfo())
    shell.write("app.py", "def one(input): print('seen')\n")
    shell.write("seen.yaml", FLOW)
    shell("compile", "seen.yaml")
    run = shell("start", "seen").out.strip()
    shell("worker", "--burst")
    with standby_of(crashable) as standby:
        with psycopg.connect(standby) as db:
            assert db.execute("select pg_is_in_recovery()").fetchone() == (True,)
        # The primary is away: what answers is the standby.
        crashable.kill()
        for words in VIEWS:
            given = [run if word == "RUN" else word for word in words]
            assert shell(*given, "--read-dsn", standby, "--json").out
        assert [row["id"] for row in shell("runs", "--read-dsn", standby, "--json").json] == [run]

        with (
            closing(Clients(crashable.conninfo(), reading=standby)) as clients,
            clients.reading() as reader,
        ):
            assert reader.get(run).id == run

        refused = shell("cancel", run, "--dsn", standby, expect=3)
        assert "this server only reads (a standby" in refused.err
        with Client(standby) as client, pytest.raises(Unavailable, match="only reads"):
            client.start("seen")
        crashable.start()


def test_a_password_for_reading_is_hidden_too(tmp_path: Path, database: str) -> None:
    shell = Shell(tmp_path, database)
    refused = shell("runs", "--read-dsn", "postgresql://me:secret@db/x", expect=2)
    assert "--read-dsn holds a password" in refused.err
