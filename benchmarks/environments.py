"""The environments of the peers: one each, made once, with exactly what the peer requires."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from figures import AGAINST

if TYPE_CHECKING:
    from peer import BasePeer, Workload

SCRIPT = Path(__file__).resolve().parent / "peer.py"
SECONDS = 600
"""An installation that takes longer is given up."""


class CannotInstall(Exception):
    """A peer that is not available here; the message gives the reason."""


@dataclass(frozen=True)
class Entry:
    """A peer to measure: its file, its class, and what runs it."""

    path: Path
    cls: type[BasePeer]
    python: str = sys.executable
    package: Path | None = None
    script: Path = SCRIPT
    name: str = ""
    versions: tuple[str, ...] = ("this project's environment",)

    def command(self, uri: str, workload: Workload) -> list[str]:
        """Return the command of one measured run."""
        parts = [self.python, self.script, self.path, uri, workload.name, workload.size]
        return [str(part) for part in (*parts, *filter(None, [self.package]))]


def installed(path: Path, cls: type[BasePeer], folder: Path) -> Entry:
    """Return the peer, ready to run; what is already in the folder is kept."""
    entry = Entry(path.resolve(), cls, name=cls.NAME)
    if cls.NPM:
        entry = replace(entry, package=_package(cls.NPM, folder / "packages"))
    if cls.REQUIREMENTS:
        python = _environment(folder / "venvs" / path.stem, list(cls.REQUIREMENTS))
        versions = (*filter(None, [cls.NPM]), *cls.REQUIREMENTS)
        entry = replace(entry, python=python, versions=versions)
    return entry


def checkout(ours: Entry, folder: Path) -> Entry:
    """Return the same peer of another checkout: its files, run by its own environment."""
    benchmarks, python = folder.resolve() / "benchmarks", folder.resolve() / ".venv/bin/python"
    # Commits up to November 2026 call the script common.py.
    scripts = [benchmarks / name for name in ("peer.py", "common.py")]
    script = next((script for script in scripts if script.exists()), None)
    if script is None:
        raise CannotInstall(f"{folder} has no {scripts[0].relative_to(folder.resolve())}")
    if not python.exists():
        raise CannotInstall(f"{folder} has no environment: run make .venv/dev.stamp there")
    # A link to our environment would measure our own code, and call it the other's.
    found = "import pgflow_yaml; print(pgflow_yaml.__file__)"
    origin = Path(_call([str(python), "-P", "-c", found])).parents[1].resolve()
    if origin != folder.resolve():
        raise CannotInstall(
            f"the environment of {folder} has the package of {origin}: run make .venv/dev.stamp "
            "there, without a link"
        )
    commit = _call(["git", "-C", str(folder), "describe", "--always", "--dirty"])
    return replace(
        ours,
        path=benchmarks / "peers" / ours.path.name,
        python=str(python),
        script=script,
        name=AGAINST,
        versions=(f"{folder} at {commit}",),
    )


def _environment(folder: Path, requirements: list[str]) -> str:
    """Return the interpreter of an environment with these requirements."""
    python, stamp = folder / "bin" / "python", folder / "requirements.json"
    wanted = [sys.version, *requirements]
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
        stamp.unlink(missing_ok=True)
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        _call([str(python), "-m", "pip", "install", "-q", "--retries", "1", *requirements])
        stamp.write_text(json.dumps(wanted))
    return str(python)


def _package(name: str, folder: Path) -> Path:
    """Return the folder of an unpacked npm package; nothing of it is run or installed."""
    target = folder / name.strip("@").replace("/", "-")
    if target.exists():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall(f"{name} needs npm, which is not on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _call([npm, "pack", "--silent", "--pack-destination", scratch, name])
        (file,) = Path(scratch).glob("*.tgz")
        with tarfile.open(file) as archive:
            archive.extractall(Path(scratch) / "unpacked", filter="data")
        (Path(scratch) / "unpacked").rename(target)
    return target


def _call(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"{command[-1]} did not install within {SECONDS} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CannotInstall(lines[-1] if lines else f"exit code {done.returncode}")
    return done.stdout.strip()
