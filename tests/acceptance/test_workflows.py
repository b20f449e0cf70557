"""Each flow of `workflows/`, run by the installed command, against facts found in another way."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import os
import re
import socket
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rich

from tests.acceptance.shell import Result, Shell
from tests.acceptance.test_workflows_killed import OPEN_BANK
from tests.stock.conftest import GRANTED

if TYPE_CHECKING:
    import psycopg

ROOT = Path(__file__).resolve().parents[2]
ALLOW = {"PGFLOW_YAML_ALLOW": ",".join(GRANTED)}
NAMES = sorted(path.parent.name for path in ROOT.glob("workflows/*/workflow.yaml"))


def files_of(name: str) -> list[str]:
    """The files of a flow, its own first, then those of the flows that it runs."""
    folder = ROOT / "workflows" / name
    others = sorted(path for path in folder.glob("*.yaml") if "workflow" not in path.name)
    return [f"workflows/{name}/{path.name}" for path in (folder / "workflow.yaml", *others)]


def small(name: str, folder: Path) -> list[str]:
    """An input with which a flow is done soon, and writes where nobody is disturbed."""
    return {
        "archive": [f"folder={folder}", f"target={folder}.tar.gz"],
        "backup": ["folder=schemas", f"target={folder}"],
        "batches": ["limit=3", "size=2"],
        "bulk": ["limit=3"],
        "bulk_shares": ["limit=3"],
        "census": ["package=json", f"folder={folder}"],
        "codecs": ["levels=[1]"],
        "diamond": [f"folder={folder}"],
        "fractal": ["width=10", "height=8"],
        "order": [f"folder={folder}"],
        "tools": ['programs=["sh"]'],
        "tidy": [f"folder={folder}", "at_least_kb=1000000"],
        "words": ["limit=3"],
    }.get(name, [])


@dataclass(frozen=True)
class Cli:
    """The command in the project's folder, with a database."""

    shell: Shell

    def __call__(self, *args: str) -> Result:
        """Run it; it succeeds."""
        return self.shell(*args)

    def run(self, name: str, *inputs: str, code: int = 0) -> Snapshot:
        """Run a flow of `workflows/` to its end and return the run as it ended."""
        pairs = [word for pair in inputs for word in ("--input", pair)]
        done = self.shell("run", *files_of(name), *pairs, "--json", expect=code)
        return Snapshot(done.events[-1])


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
def cli(database: str, db: psycopg.Connection) -> Cli:
    """The command with a fresh database, in which there is a bank."""
    db.execute(OPEN_BANK)
    return Cli(Shell(ROOT, database, ALLOW))


def test_each_payment_has_one_entry(cli: Cli, db: psycopg.Connection) -> None:
    """And those that cannot be paid have none; the sum of all accounts stays."""
    payments = [{"payer": "ada", "payee": "bob", "cents": cents} for cents in (100, 90_000, 200)]

    run = cli.run("transfers", f"payments={json.dumps(payments)}")

    assert run.output("close") == {"entries": 2, "moved": 300, "total": 100_000}
    assert (run.step("pay")["status"], run.step("pay")["tasks"]["failed"]) == ("completed", 1)
    assert db.execute("select nr, cents from bank.entries order by nr").fetchall() == [
        (0, 100),
        (2, 200),
    ]


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
    inputs = small(name, tmp_path)

    versions = {cli.run(name, *inputs).result["run"]["version"] for _ in range(2)}
    compiled = cli("compile", *files_of(name), "--json").json
    said = cli("compile", *files_of(name))

    assert versions == {compiled[0]["version"]}
    assert compiled[0]["status"] == "unchanged"
    assert "unchanged" in said.out + said.err


def test_their_own_tests_pass(cli: Cli) -> None:
    """`pgflow-yaml test workflows/`: each has a test file, and every case passes."""
    files = cli("test", "workflows", "--json").json["files"]

    assert {Path(file["file"]).parent.name for file in files} == set(NAMES)
    assert all(file["cases"] for file in files)


def test_an_order_that_cannot_be_paid_is_released(cli: Cli, tmp_path: Path) -> None:
    """The stock is as before, nothing was charged, and the failure was dealt with."""
    run = cli.run("order", f"folder={tmp_path}", "customer=bob")

    assert run.status == "completed"
    assert run.result["run"]["output"]["because"] == "bob has 10.00 and should pay 49.90"
    assert (run.step("charge")["attempts"], run.step("refund")["status"]) == (1, "skipped")
    assert books(tmp_path) == {"ada": 500_000, "bob": 1_000, "lamp": 40, "desk": 3}


def test_an_order_that_cannot_be_shipped_is_paid_back(cli: Cli, tmp_path: Path) -> None:
    """Money and stock are as before; the next order goes through."""
    back = cli.run("order", f"folder={tmp_path}", "country=AQ").result["run"]["output"]
    assert (back["refunded"], back["released"]) == (True, True)
    assert books(tmp_path) == {"ada": 500_000, "bob": 1_000, "lamp": 40, "desk": 3}

    sent = cli.run("order", f"folder={tmp_path}", "article=desk", "pieces=2")

    assert Path(sent.output("ship")).read_text() == "ada, DE\n"
    assert books(tmp_path) == {"ada": 500_000 - 49_800, "bob": 1_000, "lamp": 40, "desk": 1}


def books(folder: Path) -> dict[str, int]:
    """Every account and every article of the shop."""
    with closing(sqlite3.connect(folder / "books.sqlite")) as opened:
        rows = opened.execute("select * from accounts union all select article, pieces from stock")
        return dict(rows.fetchall())


def test_a_backup_that_fails_leaves_nothing_but_a_note(cli: Cli, tmp_path: Path) -> None:
    """`finally` sees which step failed; the workspace is gone."""
    run = cli.run("backup", f"target={tmp_path}", "limit_kb=1", code=1)

    assert "backup failed at check: " in run.output("alarm")
    note = json.loads((tmp_path / "log.jsonl").read_text())
    assert (note["status"], note["failed"]) == ("failed", ["check"])
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_intake_takes_the_branch_of_the_file(cli: Cli) -> None:
    """JSON, TOML, and the default; the join is given the branch that was taken."""
    described = {
        file: cli.run("intake", f"file={file}").output("describe")
        for file in ("schemas/workflow.schema.json", "pyproject.toml", "README.md")
    }

    assert described["schemas/workflow.schema.json"].startswith("json: ")
    assert "project" in described["pyproject.toml"]
    assert "# pgflow-yaml" in described["README.md"]


def test_the_checksum_of_batches_is_that_of_the_files(cli: Cli) -> None:
    """A run for each batch, and their checksums in the order of the batches."""
    files = standard_library(5)
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    of_batches = [
        hashlib.sha256("".join(part).encode()).hexdigest()
        for part in (sums[:2], sums[2:4], sums[4:])
    ]

    run = cli.run("batches", "limit=5", "size=2")

    merged = run.output("merge")
    assert len(run.step("batch")["children"]) == merged["batches"] == 3
    assert merged["checksum"] == hashlib.sha256("".join(of_batches).encode()).hexdigest()


def test_a_digest_of_a_night_lists_what_changed(cli: Cli, tmp_path: Path) -> None:
    """Files of the day before; by hand, the night is the start of the run."""
    for name, hours in (("new.txt", 2), ("old.txt", 30)):
        (tmp_path / name).write_text(name)
        at = time.time() - hours * 3600
        os.utime(tmp_path / name, (at, at))

    run = cli.run("digest", f"folder={tmp_path}", "night=by-hand")

    assert run.output("changed") == [f"{tmp_path}/new.txt"]
    assert Path(run.output("write")).read_text() == f"{tmp_path}/new.txt\n"


def test_a_picture_shows_the_points_of_the_set(cli: Cli) -> None:
    """The points that do not escape, found with real numbers only."""
    width, height, depth = 24, 9, 60

    def stays(x: int, y: int) -> bool:
        a, b = -2.2 + 3 * (x + 0.5) / width, 1.2 - 2.4 * (y + 0.5) / height
        re = im = 0.0
        for _ in range(depth):
            if re * re + im * im > 4:
                return False
            re, im = re * re - im * im + a, 2 * re * im + b
        return True

    rows = cli.run("fractal", f"width={width}", f"height={height}", f"depth={depth}").output("join")

    inside = [[stays(x, y) for x in range(width)] for y in range(height)]
    assert [[shade == "@" for shade in row] for row in rows] == inside
    assert 0 < sum(map(sum, inside)) < width * height / 2


def test_words_are_counted_as_by_hand(cli: Cli) -> None:
    """Map and reduce give what one loop gives."""
    text = "\n".join(file.read_text("utf-8") for file in standard_library(7)).lower()
    words = re.findall("[a-z]+", text)

    top = cli.run("words", "limit=7", "part=2").output("top")

    assert (top["words"], top["different"]) == (len(words), len(set(words)))
    word, times = top["top"][0].split()
    assert words.count(word) == int(times)


def test_a_codec_that_cannot_work_stops_no_other(cli: Cli) -> None:
    """bz2 has no level 0: eleven cells have a result."""
    run = cli.run("codecs")

    cells = run.output("cell")
    assert [cell is None for cell in cells].index(True) == 4
    assert run.output("compare")["failed"] == ["compresslevel must be between 1 and 9"]
    assert all(0 < cell["percent"] < 110 for cell in cells if cell)


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
    memory = {"memory"} if linux else set[str]()
    assert set(report["passed"]) == {"python", "disk", "drill", "clock"} | memory
    assert set(report["skipped"]) == {"memory", "service"} - memory
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
