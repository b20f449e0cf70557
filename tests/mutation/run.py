"""Take each fence out of the SQL in turn: the engine's tests must notice (G12).

    make mutate
    .venv/bin/python -m tests.mutation.run 86_leases    # those of one file

Each mutation is one predicate and what stands in its place; it is made in a copy of the project,
and the tests run there. Exit code 1: no test goes red, or a fence is not where this list says.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutation.calm_fences import CALM_FENCES
from tests.mutation.decision_fences import DECISION_FENCES, DECISION_TESTS
from tests.mutation.fences import FENCES, TESTS
from tests.mutation.lease_fences import LEASE_FENCES
from tests.mutation.limit_fences import LIMIT_FENCES, LIMIT_TESTS

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
ALL_FENCES = [*FENCES, *CALM_FENCES, *LEASE_FENCES, *LIMIT_FENCES, *DECISION_FENCES]
ALL_TESTS = {**TESTS, **LIMIT_TESTS, **DECISION_TESTS}
PARTS = ("pgflow_yaml", "migrations", "schemas", "tests", "pyproject.toml")


def survives(file: str, predicate: str, replacement: str) -> bool:
    """Whether the tests stay green without this fence."""
    with tempfile.TemporaryDirectory(prefix="pgflow-yaml-mutant-") as folder:
        _copy(Path(folder))
        path = Path(folder) / "migrations" / "functions" / file
        sql = path.read_text()
        if sql.count(predicate) != 1:
            raise SystemExit(
                f"{file} holds this {sql.count(predicate)} times, not once: {predicate}"
            )
        path.write_text(sql.replace(predicate, replacement))
        return _is_green(folder, ALL_TESTS[file])


def _copy(folder: Path) -> None:
    folder.chmod(0o755)
    for part in PARTS:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(
                source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(source, target)


def _is_green(folder: str, names: Iterable[str]) -> bool:
    parts = [name.rpartition("/") for name in names]
    tests = [f"tests/{path or 'engine'}/test_{name}.py" for path, _, name in parts]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", *tests]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Try all, or those of the files named; name those that nobody guards."""
    words = sys.argv[1:] or [""]
    fences = [fence for fence in ALL_FENCES if any(word in fence[1] for word in words)]
    tests = {name for _, file, *_ in fences for name in ALL_TESTS[file]}
    with tempfile.TemporaryDirectory(prefix="pgflow-yaml-mutant-") as folder:
        _copy(Path(folder))
        if not _is_green(folder, sorted(tests)):
            raise SystemExit("the tests are red before anything is taken out: run `make test`")
    unguarded = 0
    for what, file, predicate, replacement in fences:
        alive = survives(file, predicate, replacement)
        unguarded += alive
        print(f"{'NOT NOTICED' if alive else 'noticed':12} {file:30} {what}", flush=True)  # noqa: T201
    print(f"{len(fences) - unguarded} of {len(fences)} fences are guarded by a test")  # noqa: T201
    return 1 if unguarded else 0


if __name__ == "__main__":
    sys.exit(main())
