"""Take each fence out of the SQL in turn: the engine's tests must notice (G12).

    make mutate

Each mutation is one predicate and what stands in its place; it is made in a copy of the project,
and the tests run there. Exit code 1: no test goes red, or a fence is not where this list says.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("pgflow_yaml", "migrations", "schemas", "tests", "pyproject.toml")
TESTS = ("test_fencing.py", "test_failure.py", "test_pgflow_door.py", "test_pgflow_workers.py")
SETTLE, CLAIM, LEASES = "40_settle.sql", "60_claim.sql", "70_leases.sql"

# (what the fence keeps out, file, predicate, replacement)
FENCES = [
    (
        "a report of an older attempt",
        SETTLE,
        "          and t.attempts_count = coalesce(p.attempt, t.attempts_count)\n",
        "",
    ),
    (
        "a report of somebody else",
        SETTLE,
        (
            "          and t.last_worker_id is not distinct from"
            " coalesce(p.worker, t.last_worker_id)\n"
        ),
        "",
    ),
    (
        "a report of a task that is not running",
        SETTLE,
        "        when t.status = 'started'\n          and t.attempts_count",
        "        when true\n          and t.attempts_count",
    ),
    (
        "the same report twice in a batch",
        SETTLE,
        (
            "          and row_number() over (partition by p.run_id, p.step_slug, p.task_index"
            " order by p.nr) = 1\n"
        ),
        "",
    ),
    (
        "a report for a run that has ended",
        SETTLE,
        (
            "        when r.status <> 'started' and (f.door = 'deploy' or r.status <> 'completed')"
            " then 'run_terminal'\n"
        ),
        "",
    ),
    ("another output for a completed attempt", SETTLE, " and t.output = p.output then", " then"),
    ("two settlers of one run", SETTLE, "  order by r.run_id for no key update;", "  ;"),
    ("a claim that waits", CLAIM, "    for no key update of t skip locked);", "    for update);"),
    (
        "a takeover right after a restart",
        CLAIM,
        "elsif v_clock < v_rested and not v_task.mine then",
        "elsif false then",
    ),
    ("crashes without end", CLAIM, "elsif v_task.crashes >= 4 and", "elsif false and"),
    (
        "a crash counted against oneself",
        CLAIM,
        "(t.status = 'started' and t.last_worker_id is distinct from p_worker)::int",
        "(t.status = 'started')::int",
    ),
    (
        "a takeover that uses up the budget",
        CLAIM,
        "uncounted = t.uncounted + (t.status = 'started')::int,\n        crashes_count",
        "crashes_count",
    ),
    (
        "a heartbeat of an older attempt",
        LEASES,
        "    where t.status = 'started' and t.attempts_count = a.attempt and t.last",
        "    where t.status = 'started' and t.last",
    ),
    (
        "pgflow's recovery of a task that a worker of ours holds",
        "98_pgflow_workers.sql",
        "and t.status = 'started' and t.lease is null and",
        "and t.status = 'started' and",
    ),
]


def survives(file: str, predicate: str, replacement: str) -> bool:
    """Whether the tests stay green without this fence."""
    with tempfile.TemporaryDirectory(prefix="pgflow-yaml-mutant-") as folder:
        Path(folder).chmod(0o755)
        for part in PARTS:
            source, target = ROOT / part, Path(folder) / part
            if source.is_dir():
                shutil.copytree(
                    source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(source, target)
        path = Path(folder) / "migrations" / "functions" / file
        sql = path.read_text()
        if sql.count(predicate) != 1:
            raise SystemExit(
                f"{file} holds this {sql.count(predicate)} times, not once: {predicate}"
            )
        path.write_text(sql.replace(predicate, replacement))
        tests = [f"tests/engine/{name}" for name in TESTS]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", *tests]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Try all; name those that nobody guards."""
    unguarded = 0
    for what, file, predicate, replacement in FENCES:
        alive = survives(file, predicate, replacement)
        unguarded += alive
        print(f"{'NOT NOTICED' if alive else 'noticed':12} {file:22} {what}", flush=True)  # noqa: T201
    print(f"{len(FENCES) - unguarded} of {len(FENCES)} fences are guarded by a test")  # noqa: T201
    return 1 if unguarded else 0


if __name__ == "__main__":
    sys.exit(main())
