"""The embedded server runs as long as it has users, and is restarted when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.database import embedded
from pgflow_yaml.database.embedded import server
from pgflow_yaml.errors import Unavailable
from tests.fixtures.local_users import postmaster, until_stopped
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fixtures.local_users import Holder


def test_the_last_user_stops_the_server(project: Path, holder: Callable[..., Holder]) -> None:
    """While another process uses it the server stays, and it goes with the last."""
    local_server = embedded.open_server(project)
    other = holder(project)
    assert other.said() == f"holds {local_server.conninfo()}"
    pid = postmaster(local_server)

    local_server.release()
    with psycopg.connect(local_server.conninfo()) as connection:
        connection.execute("select 1")
    assert postmaster(local_server) == pid
    other.end()

    until_stopped(local_server)


def test_a_killed_user_does_not_count(project: Path, holder: Callable[..., Holder]) -> None:
    """After kill -9 of the only user the server stops by itself."""
    local_server = embedded.open_server(project)
    other = holder(project)
    other.said()
    local_server.release()

    other.kill()

    until_stopped(local_server)


def test_an_exception_lets_go(project: Path) -> None:
    """Leaving the block by an error stops the server as well."""
    local_server = embedded.open_server(project)

    with pytest.raises(ZeroDivisionError), local_server:
        _ = 1 / 0

    until_stopped(local_server)
    with pytest.raises(Unavailable, match="already released"):
        local_server.ensure()


def test_a_killed_server_comes_back_with_all_that_was_committed(project: Path) -> None:
    """After kill -9 of the postmaster `ensure` starts it on the same socket, nothing lost."""
    with embedded.open_server(project) as local_server:
        with psycopg.connect(local_server.conninfo()) as connection:
            connection.execute("create table kept as select 7 as number")
        old = postmaster(local_server)
        os.kill(old, signal.SIGKILL)

        eventually(lambda: _ensured(local_server, old), what="another server runs")

        with psycopg.connect(local_server.conninfo()) as connection:
            assert connection.execute("select number from kept").fetchone() == (7,)


def test_ensure_leaves_a_running_server_alone(project: Path) -> None:
    """Calling it again and again costs a check, not a restart."""
    with embedded.open_server(project) as local_server:
        pid = postmaster(local_server)

        local_server.ensure()

        assert postmaster(local_server) == pid


def test_a_server_whose_keeper_was_killed_is_not_left_running(project: Path) -> None:
    """The next user replaces it by one that will be stopped."""
    first = embedded.open_server(project)
    orphan = postmaster(first)
    keeper = server._keepers[0]
    keeper.kill()
    keeper.wait()
    first.release()

    second = embedded.open_server(project)

    assert postmaster(second) != orphan
    second.release()
    until_stopped(second)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_server_that_a_new_keeper_is_stopping_is_not_joined(project: Path) -> None:
    """Until the orphan of a killed keeper has ended, it is not mistaken for the new keeper's."""
    first = embedded.open_server(project)
    orphan = postmaster(first)
    keeper = server._keepers[0]
    keeper.kill()
    keeper.wait()
    os.kill(orphan, signal.SIGSTOP)  # it still looks ready, and its socket takes connections
    joined: list[int] = []

    def join() -> None:
        with embedded.open_server(project) as second:
            joined.append(postmaster(second))

    thread = threading.Thread(target=join)
    thread.start()
    try:
        eventually(lambda: _has_pending(orphan, signal.SIGINT), what="the new keeper stops it")
        taken_for_ours = server._answers(first.paths)
    finally:
        os.kill(orphan, signal.SIGCONT)
        thread.join(60)
        first.release()

    assert not taken_for_ours
    assert len(joined) == 1
    assert joined != [orphan]


def test_a_pid_file_from_before_a_reboot_does_not_stop_the_start(project: Path) -> None:
    """Its number belongs to another process of the same user by now."""
    with embedded.open_server(project) as local_server:
        left_over = (local_server.paths.data / "postmaster.pid").read_text()
    until_stopped(local_server)
    user = local_server.paths.uid if os.geteuid() == 0 else None
    sleeper = subprocess.Popen(["sleep", "300"], user=user)
    pid_file = local_server.paths.data / "postmaster.pid"
    pid_file.write_text("\n".join([str(sleeper.pid), *left_over.split("\n")[1:]]))
    os.chown(pid_file, local_server.paths.uid, -1)
    pid_file.chmod(0o600)

    try:
        with (
            embedded.open_server(project) as again,
            psycopg.connect(again.conninfo()) as connection,
        ):
            assert connection.execute("select 1").fetchone() == (1,)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_many_processes_may_come_first_at_once(
    project: Path, holder: Callable[..., Holder]
) -> None:
    """Six processes find no data: one server is made, and all of them use it."""
    holders = [holder(project) for _ in range(6)]

    messages = {user.said() for user in holders}

    assert len(messages) == 1
    assert messages.pop().startswith("holds host=")


def test_ctrl_c_in_the_terminal_is_not_for_the_server(
    project: Path, holder: Callable[..., Holder]
) -> None:
    """SIGINT to the process group of the one who started it leaves the server running."""
    starter = holder(project)
    starter.said()
    with embedded.open_server(project) as local_server:
        pid = postmaster(local_server)

        os.killpg(starter.process.pid, signal.SIGINT)
        starter.process.communicate()

        local_server.ensure()
        assert postmaster(local_server) == pid


def _has_pending(pid: int, number: signal.Signals) -> bool:
    listed = Path(f"/proc/{pid}/status").read_text()
    (pending,) = (line for line in listed.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending.split()[1], 16) & 1 << number - 1)


def _ensured(local_server: embedded.LocalServer, old: int) -> bool:
    local_server.ensure()
    return postmaster(local_server) != old
