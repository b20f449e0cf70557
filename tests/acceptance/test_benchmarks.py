"""`make bench`: it measures peers side by side, and says what of the targets is met."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
PAGE = ROOT / "docs" / "explanation" / "performance.md"
SIZES = {"chain": 3, "fanout": 20, "diamonds": 5, "backlog": 10}
TASKS = {"chain": 3, "fanout": 22, "diamonds": 20, "backlog": 10}


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """The modules of the folder, which import each other by their bare names."""
    names = {file.stem for file in BENCHMARKS.glob("*.py")}
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(BENCHMARKS):
            del sys.modules[name]


def a_row(peer: str, turn: int, **facts: Any) -> dict[str, Any]:
    """One measured run of a fan-out."""
    row = {"peer": peer, "round": turn, "workload": "fanout", "size": 2000, "n": 2000}
    return {**row, **facts}


def measured(of_pgmq: float) -> list[dict[str, Any]]:
    """One round of all three, ours at so many times pgmq's speed and pgmq's costs."""
    costs = {"commits_per_task": 0.02, "wal_bytes_per_task": 500, "rss_mib": 50}
    speeds = {"pgmq": 1000.0, "pgflow_yaml": 1000.0 * of_pgmq, "pgqueuer": 200.0}
    return [a_row(peer, 0, tasks_per_s=speed, **costs) for peer, speed in speeds.items()]


def cells(line: str) -> int:
    """How many cells a line of a table has."""
    return line.count("|") - 1


def a_checkout(folder: Path) -> None:
    """A repository with this project's benchmarks, and an environment that has its package."""
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for name in ("benchmarks", "pgflow_yaml"):
        (folder / name).symlink_to(ROOT / name)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "before"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)


def test_a_checkout_with_our_environment_is_refused(tmp_path: Path) -> None:
    """Both sides would run our code, and their ratio would say nothing."""
    other = tmp_path / "other"
    a_checkout(other)
    shutil.rmtree(other / ".venv")
    (other / ".venv").symlink_to(sys.prefix)

    command = [sys.executable, str(BENCHMARKS / "run.py"), f"--against={other}"]
    done = subprocess.run(
        [*command, f"--work={tmp_path / 'data'}"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert f"the environment of {other} has the package of {ROOT}" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_benchmark_measures_every_peer(tmp_path: Path) -> None:
    """Four tiny workloads, an idle worker and another checkout: all in JSON, picture and page."""
    a_checkout(tmp_path / "other")
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    options = {
        "--rounds": "1",
        "--against": str(tmp_path / "other"),
        "--work": str(tmp_path / "data"),
        "--json": str(tmp_path / "bench.json"),
        "--picture": str(tmp_path / "bench.svg"),
        "--docs": str(page),
    }

    command = [sys.executable, str(BENCHMARKS / "run.py"), "--short"]
    command += [f"{name}={value}" for name, value in options.items()]
    command += ["--sections", "idle", "lateness"]
    command += ["--workloads", *(f"{name}={size}" for name, size in SIZES.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    report = json.loads((tmp_path / "bench.json").read_text())
    assert [row["error"] for row in report["rows"] if "error" in row] == [], done.stderr
    tasks = {(row["peer"], row["workload"]): row["tasks"] for row in report["rows"]}
    for peer in ("pgmq", "pgflow_yaml", "against"):
        assert {name: tasks[peer, name] for name in SIZES} == TASKS
    assert (report["machine"]["fsync"], report["machine"]["synchronous_commit"]) == ("on", "on")
    verdicts = {target["verdict"] for target in report["targets"]}
    assert done.returncode == int("below the floor" in verdicts)
    names = "\n".join(target["name"] for target in report["targets"])
    for name in ("idle worker", "wait.for: late by", "retry delay: late", "run timeout: late"):
        assert name in names
    drawn = ET.parse(tmp_path / "bench.svg").getroot()
    assert any("20 tasks" in (text.text or "") for text in drawn.iter() if text.text)
    assert "| fan-out of 20: tasks/s, × pgmq |" in page.read_text()
    assert re.search(r"^\| fan-out of 20 \| \d+\.\d{3} \(", done.stdout, re.MULTILINE)


def test_a_ratio_is_the_median_of_rounds(modules: dict[str, ModuleType]) -> None:
    """Each round is compared with itself, so a machine that slows down changes nothing."""
    ours, theirs = [50.0, 10.0, 4.0], [100.0, 50.0, 10.0]
    rows = [a_row("ours", i, tasks_per_s=value) for i, value in enumerate(ours)]
    rows += [a_row("pgmq", i, tasks_per_s=value) for i, value in enumerate(theirs)]

    figure, _ = modules["figures"].figures(rows)

    ratio = figure.values["rate_x_pgmq"]
    assert (ratio.figure, ratio.lowest, ratio.highest) == (0.4, 0.2, 0.5)
    assert figure.values["tasks_per_s"].figure == 10.0


@pytest.mark.parametrize(
    ("of_pgmq", "verdict"),
    [(0.6, "met"), (0.59, "missed"), (0.3, "missed"), (0.29, "below the floor")],
)
def test_a_rate_stands_between_its_floor_and_its_target(
    modules: dict[str, ModuleType], of_pgmq: float, verdict: str
) -> None:
    """A fan-out wants six tenths of pgmq's speed and may not fall below three."""
    targets = modules["figures"].engine_targets(modules["figures"].figures(measured(of_pgmq)))

    (rate,) = [target for target in targets if target.name.endswith("× pgmq")]
    assert rate.verdict == verdict
    assert verdict in modules["figures"].target_table([rate])


@pytest.mark.parametrize(
    ("hop", "verdict"), [(1.5, "met"), (1.6, "missed"), (2.5, "missed"), (2.6, "below the floor")]
)
def test_a_hop_may_take_a_multiple(
    modules: dict[str, ModuleType], hop: float, verdict: str
) -> None:
    """For a hop, less is better."""
    rows = [
        a_row("pgflow_yaml", 0, hop_ms_p50=hop) | {"workload": "chain"},
        a_row("pgmq", 0, hop_ms_p50=1.0) | {"workload": "chain"},
    ]

    first, *_ = modules["figures"].engine_targets(modules["figures"].figures(rows))

    assert (first.name.endswith("hop, × pgmq's"), first.verdict) == (True, verdict)


def test_another_checkout_is_compared_round_by_round(modules: dict[str, ModuleType]) -> None:
    """Ours over theirs, the median first, then the lowest and the highest round."""
    ours, theirs = [95.0, 50.0, 30.0], [100.0, 40.0, 30.0]
    rows = [a_row("pgflow_yaml", i, tasks_per_s=value) for i, value in enumerate(ours)]
    rows += [a_row("against", i, tasks_per_s=value) for i, value in enumerate(theirs)]

    table = modules["figures"].against_table(rows)

    assert "| fan-out of 2,000 | 1.000 (0.950–1.250) |" in table


@pytest.mark.parametrize(
    ("files", "reason"),
    [([], "has no benchmarks/peer.py"), (["benchmarks/peer.py"], "run make .venv/dev.stamp there")],
)
def test_a_folder_that_is_no_checkout_is_refused(
    modules: dict[str, ModuleType], tmp_path: Path, files: list[str], reason: str
) -> None:
    """Before anything is measured, the message names what the folder lacks."""
    ours = modules["environments"].Entry(Path("ours.py"), object)
    for file in files:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()

    with pytest.raises(modules["environments"].CannotInstall, match=reason):
        modules["environments"].checkout(ours, tmp_path)


def test_every_cost_has_its_target(modules: dict[str, ModuleType]) -> None:
    """Commits, the write-ahead log and memory stand beside the rates, pgmq's and PgQueuer's."""
    targets = modules["figures"].engine_targets(modules["figures"].figures(measured(0.7)))

    assert {target.name.rpartition(": ")[2]: target.spread.figure for target in targets} == {
        "tasks/s, × pgmq": pytest.approx(0.7),
        "tasks/s, × PgQueuer": pytest.approx(3.5),
        "commits a task": 0.02,
        "WAL a task, × pgmq's": 1.0,
        "worker memory, the workload with most": 50,
    }
    assert {target.verdict for target in targets} == {"met"}


def test_what_was_not_measured_is_not_met(modules: dict[str, ModuleType]) -> None:
    """Without pgmq's figure there is no ratio: the line says so, and no floor is missed."""
    rows = [a_row("pgflow_yaml", 0, tasks_per_s=9.0), a_row("pgmq", 0, error="Boom: it broke")]
    summary = modules["figures"].figures(rows)

    (rate, _, _) = modules["figures"].engine_targets(summary)

    assert (rate.spread, rate.verdict) == (None, "not measured")
    assert modules["figures"].missing(summary) == ["pgmq, fanout: Boom: it broke"]
    assert "Boom: it broke" in modules["figures"].peer_table(summary)


def test_a_slow_peer_runs_each_workload_once(modules: dict[str, ModuleType]) -> None:
    """Its limit stands for all larger sizes; below it, it runs what the others run."""

    class Slow:
        LIMITS: ClassVar = {"fanout": 500}

    entry = modules["environments"].Entry(Path("slow.py"), Slow, sys.executable)
    texts = ["fanout=100", "fanout=2000", "fanout=8000", "chain=20"]
    workloads = [modules["peer"].Workload.parse(text) for text in texts]

    sized = [modules["rounds"].size_for(entry, workload, workloads) for workload in workloads]

    assert sized == [100, 500, None, 20]


def test_a_peer_without_its_package_is_left_out(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No npm on the PATH: pgflow's core is named with the reason, and nothing fails."""
    monkeypatch.setenv("PATH", str(tmp_path))

    peers, left_out = modules["run"].entries(["pgflow_core"], tmp_path)

    assert [entry.name for entry in peers] == ["pgmq", "pgflow_yaml"]
    assert "needs npm" in left_out["pgflow core"]


@pytest.mark.slow
def test_a_peer_that_pip_cannot_find_is_left_out(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an index the reason is pip's own, and the next time it is tried again."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))

    for _ in range(2):
        _, left_out = modules["run"].entries(["procrastinate"], tmp_path)

        assert "No matching distribution" in left_out["procrastinate"]


def test_a_queue_whose_worker_gives_up_has_no_figure(modules: dict[str, ModuleType]) -> None:
    """A worker that ends early would otherwise look like a fast one: it did not do all tasks."""

    class Lazy(modules["peer"].QueuePeer):  # type: ignore[misc]  # known at run time
        async def open(self) -> None:
            self.sent: list[Any] = []

        async def disconnect(self) -> None:
            self.sent.clear()

        async def send(self, messages: list[Any]) -> None:
            self.sent += messages

        async def work(self) -> None:
            await self.finish(self.sent[0])

    peer = Lazy("nowhere")
    peer.setup()

    with pytest.raises(RuntimeError, match="its worker ended after 1 of 3 tasks"):
        peer.run(modules["peer"].Workload("backlog", 3))
    peer.close()


def test_a_page_without_its_marks_is_refused(modules: dict[str, ModuleType]) -> None:
    """Nothing is written over text of a page that has no generated part."""
    with pytest.raises(ValueError, match="the page needs one line"):
        modules["run"].page({}, "# A page\n")


def test_the_page_holds_generated_figures(modules: dict[str, ModuleType]) -> None:
    """Each line of a table has as many cells as its head, each target one of the four verdicts."""
    _, _, rest = PAGE.read_text().partition(modules["run"].BEGIN)
    part, end, _ = rest.partition(modules["run"].END)
    tables = re.findall(r"(?:^\|.*\n)+", part, re.MULTILINE)

    assert end
    assert len(tables) == 2
    for table in tables:
        assert len({cells(line) for line in table.splitlines()}) == 1
    verdicts = {line.rsplit("|", 2)[1].strip() for line in tables[0].splitlines()[2:]}
    assert verdicts <= {"met", "missed", "below the floor", "not measured"}
    assert "fan-out of 8,000: tasks/s, × pgmq" in tables[0]
    assert re.search(r"^Taken \d{4}-\d\d-\d\d: \d+ cores, PostgreSQL \d", part, re.MULTILINE)


def test_the_picture_of_the_page_is_drawn() -> None:
    """The page shows a picture that is there and is an image."""
    assert "](performance.svg)" in PAGE.read_text()
    assert ET.parse(PAGE.with_suffix(".svg")).getroot().tag.endswith("svg")


@pytest.mark.slow
def test_a_profile_names_functions_and_relations(tmp_path: Path) -> None:
    """Where a target is missed, the profile says which function and which table it went to."""
    command = [sys.executable, str(BENCHMARKS / "profiles.py"), f"--work={tmp_path}", "diamonds=5"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    functions, relations, _ = re.findall(r"(?:^\|.*\n)+", done.stdout, re.MULTILINE)
    # The longest twelve of a run this short are a matter of luck; each task passes these.
    assert re.search(r"^\| (_settle|_make_tasks|_claim\w*|turn) \|", functions, re.MULTILINE)
    assert "| step_tasks | Heap INSERT |" in relations


def test_two_benchmarks_do_not_meet(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    """Each would count the other's log: the second one is told so, and measures nothing."""
    lock = modules["server"].alone(tmp_path)

    with pytest.raises(SystemExit, match="another benchmark runs in"):
        modules["server"].alone(tmp_path)

    lock.close()
    modules["server"].alone(tmp_path).close()


def test_a_section_that_fails_costs_only_itself(
    modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other figures are kept; the report names what failed, and that is exit code 1."""
    target = modules["figures"].Target("kept", None, 1.0)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(modules["run"].SECTIONS, "idle", (broken, lambda *_: [target]))

    targets, errors = modules["run"].sections(None, ["idle"], modules["farm"].SHORT)

    assert targets == [target]
    assert errors == ["broken: ZeroDivisionError: division by zero"]
