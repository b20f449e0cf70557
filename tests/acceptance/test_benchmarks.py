"""`make bench`: it measures both peers, and says when a ratio is below its floor."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SIZES = {"chain": 3, "diamonds": 5}


@pytest.fixture(scope="module")
def report() -> ModuleType:
    """The module that computes the ratios."""
    spec = importlib.util.spec_from_file_location("report", BENCHMARKS / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_row(peer: str, turn: int, **facts: Any) -> dict[str, Any]:
    """One measured run of a fan-out."""
    return {"peer": peer, "round": turn, "workload": "fanout", "n": 2000, **facts}


@pytest.mark.slow
def test_the_benchmark_measures_both_peers(tmp_path: Path) -> None:
    """Two small workloads: no errors, every task counted, ratios in the JSON."""
    out = tmp_path / "bench.json"
    sizes = ",".join(f"{name}={size}" for name, size in SIZES.items())
    arguments = [
        "--rounds=1",
        f"--workloads={sizes}",
        f"--out={out}",
        f"--work={tmp_path / 'data'}",
    ]

    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )

    found = json.loads(out.read_text())
    assert [row["error"] for row in found["rows"] if "error" in row] == [], done.stderr
    tasks = {(row["peer"], row["workload"]): row["tasks"] for row in found["rows"]}
    for peer in ("pgmq", "pgflow_yaml"):
        assert [tasks[peer, name] for name in SIZES] == [3, 20]
    assert [ratio["workload"] for ratio in found["ratios"]] == list(SIZES)
    assert found["machine"]["fsync"] == "on"
    assert "chain, hop time" in done.stdout


def test_a_ratio_is_the_median_of_rounds(report: ModuleType) -> None:
    """Each round is compared with itself, so a machine that slows down changes nothing."""
    ours, theirs = [50.0, 10.0, 4.0], [100.0, 50.0, 10.0]
    rows = [a_row("ours", i, tasks_per_s=value) for i, value in enumerate(ours)]
    rows += [a_row("pgmq", i, tasks_per_s=value) for i, value in enumerate(theirs)]

    (found,) = report.ratios(rows, ours="ours", limit="pgmq")

    assert (found["ratio"], found["lowest"], found["highest"]) == (0.4, 0.2, 0.5)


@pytest.mark.parametrize(("ours", "met"), [(26.0, True), (25.0, False)])
def test_a_ratio_below_its_floor_is_missed(report: ModuleType, ours: float, met: bool) -> None:  # noqa: FBT001
    """The floor of a fan-out of 2,000 is a third of 0.76."""
    rows = [a_row("ours", 0, tasks_per_s=ours), a_row("pgmq", 0, tasks_per_s=100.0)]

    (found,) = report.ratios(rows, ours="ours", limit="pgmq")

    assert found["met"] is met
    assert ("MISSED" in report.ratio_table([found])) is not met


@pytest.mark.parametrize(("hop", "met"), [(4.5, True), (4.6, False)])
def test_a_slow_hop_is_missed(report: ModuleType, hop: float, met: bool) -> None:  # noqa: FBT001
    """A hop may take three times the prototype's one and a half."""
    rows = [
        a_row("ours", 0, hop_ms_p50=hop) | {"workload": "chain"},
        a_row("pgmq", 0, hop_ms_p50=1.0) | {"workload": "chain"},
    ]

    (found,) = report.ratios(rows, ours="ours", limit="pgmq")

    assert found["met"] is met


def test_a_peer_that_fails_has_no_ratio(report: ModuleType) -> None:
    """An error is shown in its line of the table, and there is nothing to compare."""
    rows = [a_row("ours", 0, error="Boom: it broke"), a_row("pgmq", 0, error="over 1 s")]

    assert report.ratios(rows, ours="ours", limit="pgmq") == []
    assert "Boom: it broke" in report.table(rows)
