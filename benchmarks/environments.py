"""Where peers live: an environment each, made once, with exactly what the peer requires."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common import BasePeer

SECONDS = 600
"""An installation that takes longer is given up."""


class CannotInstall(Exception):
    """A peer cannot be had here; the sentence says why."""


@dataclass(frozen=True)
class Entry:
    """A peer to measure: its file, its class, the interpreter that runs it, its package."""

    path: Path
    cls: type[BasePeer]
    python: str
    package: Path | None = None

    @property
    def name(self) -> str:
        """The peer's name."""
        return self.cls.NAME

    @property
    def versions(self) -> list[str]:
        """What was installed for it."""
        return [*([self.cls.NPM] if self.cls.NPM else []), *self.cls.REQUIREMENTS]


def installed(path: Path, cls: type[BasePeer], folder: Path) -> Entry:
    """The peer, ready to run; what is already in the folder is kept."""
    package = _package(cls.NPM, folder / "packages") if cls.NPM else None
    python = sys.executable
    if cls.REQUIREMENTS:
        python = _environment(folder / "venvs" / path.stem, list(cls.REQUIREMENTS))
    return Entry(path.resolve(), cls, python, package)


def _environment(folder: Path, requirements: list[str]) -> str:
    """The interpreter of an environment with these requirements."""
    python, stamp = folder / "bin" / "python", folder / "requirements.json"
    wanted = [sys.version, *requirements]
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
        stamp.unlink(missing_ok=True)
        try:
            venv.create(folder, with_pip=True, clear=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise CannotInstall(f"an environment cannot be made: {error}") from error
        _call([str(python), "-m", "pip", "install", "-q", "--retries", "1", *requirements])
        stamp.write_text(json.dumps(wanted))
    return str(python)


def _package(name: str, folder: Path) -> Path:
    """The folder of an unpacked npm package; nothing of it is run or installed."""
    where = folder / name.strip("@").replace("/", "-")
    if where.exists():
        return where
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall(f"{name} needs npm, which is not on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _call([npm, "pack", "--silent", "--pack-destination", scratch, name])
        (file,) = Path(scratch).glob("*.tgz")
        with tarfile.open(file) as archive:
            archive.extractall(Path(scratch) / "unpacked", filter="data")
        (Path(scratch) / "unpacked").rename(where)
    return where


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"{command[-1]} did not install within {SECONDS} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotInstall(said[-1] if said else f"exit code {done.returncode}")
