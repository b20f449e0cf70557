"""Each flow of `workflows/`, run by the installed command, against facts found in another way."""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rich

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("pgflow-yaml")
NAMES = sorted(path.parent.name for path in ROOT.glob("workflows/*/workflow.yaml"))


@dataclass(frozen=True)
class Cli:
    """The command, with a database."""

    database: str

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run it in the project's folder."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "DATABASE_URL"))}
        return subprocess.run(
            [str(COMMAND), *args],
            cwd=ROOT,
            env=env | {"DATABASE_URL": self.database},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    def run(self, name: str, *inputs: str, code: int = 0) -> Snapshot:
        """Run a flow of `workflows/` to its end and return the run as it ended."""
        pairs = [word for pair in inputs for word in ("--input", pair)]
        done = self("run", f"workflows/{name}/workflow.yaml", *pairs, "--json")
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
        return Snapshot(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Snapshot:
    """The last line of `run --json`."""

    result: dict[str, Any]

    @property
    def status(self) -> str:
        """How the run ended."""
        return str(self.result["run"]["status"])

    def step(self, slug: str) -> dict[str, Any]:
        """One step."""
        return next(step for step in self.result["steps"] if step["slug"] == slug)

    def output(self, slug: str) -> Any:
        """The output of one step."""
        return self.step(slug)["output"]


@pytest.fixture
def cli(database: str) -> Cli:
    """The command with a fresh database."""
    return Cli(database)


def standard_library(limit: int) -> list[Path]:
    """The first source files beside `os`, by name."""
    return sorted(Path(os.__file__).parent.glob("*.py"))[:limit]


def test_the_flows_are_those_that_the_readme_names() -> None:
    """No example is missing in the README, and none is named that is not there."""
    readme = (ROOT / "README.md").read_text()

    assert set(re.findall(r"workflows/(\w+)/workflow\.yaml", readme)) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_second_compile_changes_nothing(cli: Cli, name: str, tmp_path: Path) -> None:
    """Run and compile, twice: the same version both times, and the second compile says so."""
    file = f"workflows/{name}/workflow.yaml"
    inputs = ["limit=3"] if name.startswith("bulk") else []
    inputs += ["package=json"] if name == "census" else []
    inputs += [f"folder={tmp_path}"] if name in ("census", "diamond") else []

    versions = {cli.run(name, *inputs).result["run"]["version"] for _ in range(2)}
    compiled = json.loads(cli("compile", file, "--json").stdout)
    said = cli("compile", file)

    assert versions == {compiled[0]["version"]}
    assert compiled[0]["status"] == "unchanged"
    assert "unchanged" in said.stdout + said.stderr


def test_diamond_reports_on_a_text(cli: Cli, tmp_path: Path) -> None:
    """The statistics are right, the files are there, analyze and summarize ran side by side."""
    text = Path(difflib.__file__).read_text()

    run = cli.run("diamond", f"folder={tmp_path}", "sentences=2")

    words = sum(len(re.findall("[A-Za-z]+(?:'[A-Za-z]+)?", line)) for line in text.splitlines())
    assert run.status == "completed"
    assert run.output("fetch")["text"] == text
    assert run.output("analyze")["words"] == words
    assert len(run.output("summarize")) == 2
    assert all(part in " ".join(text.split()) for part in run.output("summarize"))
    assert run.result["run"]["output"] == {"save": run.output("save")}
    report = (tmp_path / "diamond-difflib.md").read_text()
    assert report.startswith(f"# Report on difflib ({words} words)\n")
    assert (
        json.loads((tmp_path / "diamond-difflib.json").read_text())["statistics"]["words"] == words
    )


def test_bulk_measures_each_file(cli: Cli) -> None:
    """One task per file, in the order of the files, and sums that are right."""
    files = standard_library(40)

    run = cli.run("bulk", "limit=40")

    measures = run.output("measure")
    assert run.step("measure")["tasks"]["completed"] == 40
    assert [entry["file"] for entry in measures] == [str(file) for file in files]
    assert [entry["size"] for entry in measures] == [file.stat().st_size for file in files]
    assert run.output("aggregate")["size"] == sum(file.stat().st_size for file in files)
    assert run.output("aggregate")["largest"][0] == str(max(files, key=lambda f: f.stat().st_size))


def test_bulk_of_an_empty_folder_completes(cli: Cli, tmp_path: Path) -> None:
    """No items: the map completes with an empty list, and the step behind it runs."""
    run = cli.run("bulk", f"folder={tmp_path}")

    assert (run.status, run.output("measure"), run.output("aggregate")["files"]) == (
        "completed",
        [],
        0,
    )


def test_bulk_shares_makes_fifty_tasks(cli: Cli) -> None:
    """Fifty tasks measure every file exactly once, more files or fewer than tasks."""
    for limit in (120, 7):
        files = standard_library(limit)

        run = cli.run("bulk_shares", f"limit={limit}")

        shares = run.output("measure")
        assert run.step("measure")["tasks"]["completed"] == len(shares) == 50
        assert [m["file"] for m in shares[3]] == [str(file) for file in files[3::50]]
        assert run.output("aggregate")["files"] == limit
        assert run.output("aggregate")["size"] == sum(file.stat().st_size for file in files)


def test_checks_completes_although_some_checks_do_not(cli: Cli) -> None:
    """Conditions skip, retries help, a step that may fail is skipped, a delay is kept."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but it does not listen: a connection is refused
        run = cli.run("checks", f"service=127.0.0.1:{closed.getsockname()[1]}")

    assert run.status == "completed"
    assert (run.step("drill")["attempts"], run.output("drill")) == (3, {"attempts": 3})
    assert (run.step("service")["status"], run.step("service")["skip_reason"]) == (
        "skipped",
        "handler_failed",
    )
    assert run.step("service")["attempts"] == 2
    assert run.step("database")["skip_reason"] == "condition_unmet"
    assert run.step("speed")["skip_reason"] == "dependency_skipped"
    assert run.output("clock_again") >= 0.3
    linux = sys.platform == "linux"
    report = run.output("report")
    assert report["passed"] == ["python", *(["memory"] if linux else []), "disk", "drill", "clock"]
    assert report["skipped"] == [*([] if linux else ["memory"]), "service"]
    assert report["drill_attempts"] == 3
    assert "Connect call failed" in report["service_problem"]


def test_checks_takes_the_other_branches_too(cli: Cli) -> None:
    """With a service that listens and the deep check, nothing but memory may be skipped."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        run = cli.run("checks", f"service=127.0.0.1:{server.getsockname()[1]}", "deep=true")

    assert run.output("service")["address"].startswith("127.0.0.1:")
    assert re.fullmatch(r"[\d,]+ rows a second", run.output("speed"))
    assert run.output("report")["skipped"] in ([], ["memory"])
    assert run.output("report")["service_problem"] == "none"


def test_checks_fails_when_a_check_that_must_hold_does_not(cli: Cli) -> None:
    """Four attempts that all fail end the run as failed, with the last error."""
    run = cli.run("checks", "failures=9", code=1)

    assert run.status == "failed"
    assert run.step("drill")["attempts"] == 4
    assert run.step("drill")["error"]["type"] == "ConnectionError"
    assert "failure 4 of 9" in run.step("drill")["error"]["message"]


def test_a_census_counts_every_module(cli: Cli, tmp_path: Path) -> None:
    """Modules, lines, classes and functions are those that a walk over the files finds."""
    root = Path(rich.__file__).parent
    files = list(root.rglob("*.py"))
    trees = [list(ast.walk(ast.parse(file.read_bytes()))) for file in files]

    run = cli.run("census", f"folder={tmp_path}", "top=3")

    totals, rankings = run.output("totals"), run.output("rankings")
    assert run.step("analyse")["tasks"]["completed"] == totals["modules"] == len(files)
    assert totals["lines"] == sum(file.read_bytes().count(b"\n") for file in files)
    assert totals["classes"] == sum(isinstance(n, ast.ClassDef) for tree in trees for n in tree)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert totals["functions"] == sum(isinstance(n, functions) for tree in trees for n in tree)
    assert len(rankings["longest"]) == 3
    report = run.output("report")
    assert report["lines"] == (tmp_path / "census-rich.md").read_text().splitlines()
    assert report["lines"][0] == f"# Census of rich: {len(files)} modules"
    largest = max(files, key=lambda file: file.read_bytes().count(b"\n"))
    assert rankings["modules"][0]["name"].split(".")[-1] == largest.stem


def test_a_census_of_nothing_says_what_is_wrong(cli: Cli) -> None:
    """A package that is not installed fails the run with one sentence."""
    run = cli.run("census", "package=no_such_package", code=1)

    assert run.step("list_modules")["error"]["type"] == "ModuleNotFoundError"
    assert '"no_such_package" is not an installed package' in run.result["run"]["error"]["message"]
