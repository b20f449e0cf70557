"""Each flow of `workflows/` loses its worker by kill -9 and comes to the same end."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually
from tests.stock.conftest import GRANTED
from workflows.transfers.handlers import BANK

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from tests.fixtures.worker_process import StartCli, WorkerProc

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Kind:
    """How a flow is run here: which handler call its worker does not survive, and its input."""

    dies_after: int = 2
    more_files: tuple[str, ...] = ()
    input: Mapping[str, Any] = field(default_factory=dict)
    approve: str | None = None
    same_output: bool = True
    """Whether two runs with the same input have the same output."""


ALLOW = {"PGFLOW_YAML_ALLOW": ",".join(GRANTED)}
OPEN_BANK = f"""{BANK}
grant usage on schema bank to public; grant all on all tables in schema bank to public"""
SMALL = {"limit": 6, "pattern": "a*.py"}
FLOWS = {
    "archive": Kind(dies_after=3, input={"target": "out/a.tar.gz", "folder": "files"}),
    "backup": Kind(input={"target": "backups", "folder": "files"}),
    "batches": Kind(dies_after=3, more_files=("batch",), input={**SMALL, "size": 2}),
    "bulk": Kind(dies_after=3, input=SMALL),
    "bulk_shares": Kind(dies_after=20, input=SMALL),
    "census": Kind(dies_after=3, input={"package": "json", "folder": "out"}),
    "checks": Kind(dies_after=4, same_output=False),
    "codecs": Kind(dies_after=3, input={"levels": [0, 1]}, same_output=False),
    "diamond": Kind(input={"folder": "out"}),
    "digest": Kind(dies_after=1, input={"folder": "files", "night": "night"}),
    "fractal": Kind(dies_after=3, input={"width": 10, "height": 8}),
    "intake": Kind(input={"file": "files/b.txt"}),
    "order": Kind(input={"folder": "shop"}, same_output=False),
    "quota": Kind(dies_after=3, input={"folder": "files"}),
    "tidy": Kind(
        input={"folder": "files", "at_least_kb": 1, "trash": "trash"},
        approve="review",
        same_output=False,
    ),
    "tools": Kind(),
    "transfers": Kind(dies_after=3),
    "words": Kind(dies_after=3, input={**SMALL, "part": 2}),
}


@dataclass(frozen=True)
class Project:
    """A folder that the handlers work in, and a database."""

    folder: Path
    database: str
    db: psycopg.Connection

    def command(self, *words: str) -> str:
        """Run a command to its end; what it printed."""
        return Shell(self.folder, self.database, ALLOW)(*words).out

    def begin(self, name: str, kind: Kind) -> str:
        """Deploy a flow and start a run for workers elsewhere; the run's id."""
        files = [
            ROOT / "workflows" / name / f"{file}.yaml" for file in ("workflow", *kind.more_files)
        ]
        run = self.command(
            "run",
            *map(str, files),
            "--detach",
            "--app-dir",
            str(ROOT),
            "--input",
            json.dumps(kind.input),
        ).strip()
        if kind.approve is not None:
            self.db.execute(
                "select pgflow.approve_step(%s, %s, null, 'a test')", [run, kind.approve]
            )
        return run

    def snapshot(self, run: str) -> dict[str, Any]:
        """The run as it is now."""
        row = self.db.execute("select pgflow.run_snapshot(%s::uuid)", [run]).fetchone()
        assert row is not None
        found: dict[str, Any] = row[0]
        return found

    def ended(self, run: str) -> bool:
        """Whether the run has ended."""
        return bool(self.snapshot(run)["run"]["status"] != "started")


@pytest.fixture
def project(tmp_path: Path, database: str, db: psycopg.Connection) -> Project:
    """A folder with a few files, and a bank."""
    db.execute(OPEN_BANK)
    (tmp_path / "files").mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / "files" / name).write_text(f"{name}\n" * 400)
    return Project(tmp_path, database, db)


def test_every_flow_is_killed_here() -> None:
    """A new flow in `workflows/` has to survive it, too."""
    assert set(FLOWS) == {path.parent.name for path in ROOT.glob("workflows/*/workflow.yaml")}


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_survives_kill_9_of_its_worker(
    name: str, project: Project, start_cli: StartCli
) -> None:
    """Another worker takes over when the lease has passed; the output is that of a quiet run."""
    kind = FLOWS[name]

    def worker(**env: str) -> WorkerProc:
        words = ("worker", "--lease", "1s", "-c", "2", "--app-dir", str(ROOT))
        return start_cli(*words, dsn=project.database, cwd=project.folder, **ALLOW, **env)

    run = project.begin(name, kind)
    first = worker(PGFLOW_YAML_FAILPOINTS=f"after_handler=kill@{kind.dies_after}")
    assert first.wait() == -signal.SIGKILL, first.stderr
    in_between = project.snapshot(run)
    second = worker()
    eventually(lambda: project.ended(run), seconds=30, what=f"the run ends; {second.stderr}")
    after = project.snapshot(run)

    assert in_between["run"]["status"] == "started"
    assert after["run"]["status"] == "completed", after["run"]["error"]
    assert _crashes(project, run) >= 1
    assert project.db.execute("select * from pgflow.violations()").fetchall() == []
    if kind.same_output:
        quiet = project.begin(name, kind)
        eventually(lambda: project.ended(quiet), seconds=30, what="the quiet run ends")
        assert after["run"]["output"] == project.snapshot(quiet)["run"]["output"]
    _look_at_what_it_did(name, project, after)


def _crashes(project: Project, run: str) -> int:
    """How often a task of the run, or of one of its children, lost its worker."""
    row = project.db.execute(
        "select sum(t.crashes_count) from pgflow.step_tasks t join pgflow.runs r using (run_id) "
        "where %s in (r.run_id, r.parent_run_id)",
        [run],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _look_at_what_it_did(name: str, project: Project, after: dict[str, Any]) -> None:
    """What has an effect had it once, although a handler was called twice."""
    output = after["run"]["output"]
    match name:
        case "order":
            with closing(sqlite3.connect(project.folder / "shop" / "books.sqlite")) as books:
                lamps = books.execute("select pieces from stock where article = 'lamp'").fetchone()
                ada = books.execute("select cents from accounts where customer = 'ada'").fetchone()
            assert (lamps, ada) == ((39,), (500_000 - 4_990,))
            assert output["released"] is False
        case "tidy":
            assert len(output["moved"]) == 3
            assert all((project.folder / file).is_file() for file in output["moved"])
            assert list((project.folder / "files").iterdir()) == []
        case "backup":
            assert list((project.folder / "backups").glob("work-*")) == []
            assert len(list((project.folder / "backups").glob("*.zip"))) >= 1
        case "codecs":
            assert output["compare"]["tried"] == 6
            assert len(output["compare"]["failed"]) == 1
        case "checks":
            assert output["report"]["drill_attempts"] >= 3
