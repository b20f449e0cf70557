"""What the embedded server refuses: planted files, other users, our environment."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.database import embedded
from pgflow_yaml.database.embedded import files
from pgflow_yaml.errors import Unavailable
from tests.fixtures.local_users import postmaster, until_stopped
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fixtures.local_users import Holder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
REFUSED = "holds a database server that you did not make on this machine"


@pytest.fixture(scope="module")
def once_made() -> Iterator[Path]:
    """A project whose server was made and has stopped."""
    project = Path(tempfile.mkdtemp(prefix="pgflow-yaml-made-", dir="/var/tmp"))
    project.chmod(0o755)
    with embedded.open_server(project) as held:
        pass
    until_stopped(held)
    yield project
    embedded.discard(project)
    shutil.rmtree(project)


@pytest.fixture
def made(once_made: Path) -> Iterator[Path]:
    """The same project; the next test begins when the server has stopped again."""
    yield once_made
    pid_file = once_made / ".pgflow/data/postmaster.pid"
    eventually(lambda: not pid_file.exists(), what="the server has stopped")


def identity(project: Path) -> str:
    """The id of a project's server."""
    return (project / ".pgflow/server.id").read_text().strip()


def test_data_that_came_with_a_folder_are_refused(open_folder: Path) -> None:
    """In a clone of somebody else's project its settings would run a command."""
    project = open_folder / "clone"
    data = project / ".pgflow/data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    (data / "postgresql.auto.conf").write_text("archive_command = 'touch /tmp/owned'\n")

    with pytest.raises(Unavailable, match=f"{REFUSED}.*rm -rf {project}/.pgflow.*--dsn"):
        embedded.open_server(project)

    shutil.rmtree(project / ".pgflow")
    files.server_paths(project)
    embedded.discard(project)


@pytest.mark.parametrize("entry", ["server.log", "users.lock", "data.new", "tests"])
def test_a_link_that_came_with_a_folder_is_not_followed(project: Path, entry: str) -> None:
    """The log would be written into any file of this user."""
    (project / ".pgflow").mkdir()
    (project / ".pgflow" / entry).symlink_to(project / "victim")

    with pytest.raises(Unavailable, match=REFUSED):
        embedded.open_server(project)

    assert not (project / "victim").exists()
    (project / ".pgflow" / entry).unlink()


def test_a_copy_is_refused_and_a_moved_project_is_not(open_folder: Path) -> None:
    """A copy has the id and neither the place nor the inode that were recorded with it."""
    first, copy, moved = (open_folder / name for name in ("first", "copy", "moved"))
    first.mkdir()
    home = files.server_paths(first).home
    (home / "data").mkdir()
    subprocess.run(["cp", "-a", first, copy], check=True)

    with pytest.raises(Unavailable, match=REFUSED):
        files.server_paths(copy)

    first.rename(moved)
    assert files.server_paths(moved).home == moved / ".pgflow"
    embedded.discard(moved)


@pytest.mark.parametrize("lost", ["HOME", "/var/tmp"])
def test_one_of_two_records_is_enough(
    made: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Systems delete old files in /var/tmp; cron and sudo change HOME. The lost one is renewed."""
    in_tmp, in_home = records(made)
    text = in_tmp.read_text()
    assert in_home.read_text() == text
    if lost == "HOME":
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setenv("HOME", "")
        in_home.unlink()
        files.server_paths(made)
        monkeypatch.undo()
    else:
        in_tmp.unlink()

    files.server_paths(made)

    assert (in_tmp.read_text(), in_home.read_text()) == (text, text)
    in_tmp.unlink()
    in_home.unlink()
    with pytest.raises(Unavailable, match=REFUSED):
        files.server_paths(made)
    for record in (in_tmp, in_home):
        record.write_text(text)


def records(project: Path) -> tuple[Path, Path]:
    """The records of a project's server, in /var/tmp and below HOME."""
    state = Path(os.environ["XDG_STATE_HOME"], "pgflow-yaml/servers")
    return files._top() / "servers" / identity(project), state / identity(project)


def test_discarded_servers_leave_no_record(open_folder: Path) -> None:
    """Neither below HOME nor in /var/tmp."""
    files.server_paths(open_folder)
    before = records(open_folder)

    embedded.discard(open_folder)

    assert [record.exists() for record in before] == [False, False]


@pytest.mark.parametrize("planted", ["base/x", "recovery.signal"])
def test_a_file_that_a_checkout_added_is_refused(made: Path, planted: str) -> None:
    """Git overwrites files that it ignores; those have another mode than the server's own."""
    data = made / ".pgflow/data"
    (data / planted).touch(mode=0o644)

    with pytest.raises(Unavailable, match=f"{planted} was not made by the database server"):
        embedded.open_server(made)

    (data / planted).unlink()


def test_settings_beside_the_data_have_no_say(made: Path) -> None:
    """Even where they look like the server's own: ours are written anew at each start."""
    data = made / ".pgflow/data"
    for name, text in {
        "postgresql.conf": "archive_mode = on\narchive_command = 'false'\n",
        "postgresql.auto.conf": "work_mem = '9MB'\n",
        "pg_hba.conf": "local all all trust\n",
    }.items():
        with (data / name).open("a") as file:
            file.write(text)
        os.chown(data / name, data.stat().st_uid, -1)
        (data / name).chmod(0o600)

    with embedded.open_server(made) as held, psycopg.connect(held.conninfo()) as connection:
        shown = connection.execute(
            "select current_setting('archive_mode'), current_setting('work_mem'),"
            " (select string_agg(auth_method, ' ') from pg_hba_file_rules)"
        ).fetchone()
        places = connection.execute(
            "select setting from pg_settings where name ~ '^(config|hba|ident)_file$'"
        ).fetchall()

    assert shown == ("off", "4MB", "peer")
    for (place,) in places:
        folder = Path(place).parent
        assert folder == held.paths.away
        assert folder.stat().st_uid == os.geteuid()
        assert not stat.S_IMODE(folder.stat().st_mode) & 0o022


@as_root
def test_another_user_cannot_connect(made: Path) -> None:
    """Not even the one as whom the server runs, who may enter the folder of the socket."""
    with embedded.open_server(made) as held:
        assert stat.S_IMODE(held.paths.socket.stat().st_mode) == 0o700
        server_user = _answer_to(held.paths.uid, held)
        stranger = _answer_to(54321, held)

    assert b"eer authentication failed" in server_user
    assert b"Permission denied" in stranger


def _answer_to(uid: int, held: embedded.LocalServer) -> bytes:
    """What another user is told who connects; a fork speaks, no program need be open to them."""
    words = b"user\0pgflow\0database\0pgflow\0\0"
    hello = struct.pack("!ii", len(words) + 8, 196_608) + words
    out, into = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(held.paths.socket / ".s.PGSQL.5432"))
                connection.sendall(hello)
                os.write(into, connection.recv(4096))
        except OSError as error:
            os.write(into, str(error).encode())
        finally:
            os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    with os.fdopen(out, "rb") as answer:
        return answer.read()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_server_knows_nothing_of_our_environment(
    made: Path, holder: Callable[..., Holder]
) -> None:
    """Its processes live longer than a command, and whoever may read them sees no secret."""
    starter = holder(made, PGFLOW_YAML_SECRET_TOKEN="sesame-open", AWS_KEY="sesame-too")
    assert starter.said().startswith("holds")

    with embedded.open_server(made) as held:
        keeper = int(Path(f"/proc/{postmaster(held)}/stat").read_text().split()[3])
        environs = [Path(f"/proc/{pid}/environ").read_bytes() for pid in (postmaster(held), keeper)]
        with psycopg.connect(held.conninfo()) as connection:
            (own,) = connection.execute(
                "select pg_read_binary_file('/proc/self/environ')"
            ).fetchone() or (b"",)

    assert b"LC_ALL=C" in environs[1]
    assert not any(b"sesame" in environ for environ in [*environs, own])
