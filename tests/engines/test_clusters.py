"""Each engine does what its page says: outputs, errors, refusals, cancels, time, lost workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.conftest import MAP, ONCE
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests.engines.clusters import Cluster
    from tests.engines.conftest import Counts, StartWorker
    from tests.fixtures.working import Works

ALL = pytest.mark.parametrize("name", ["dask", "ray", "parsl"])
BOTH = pytest.mark.parametrize("name", ["dask", "ray"])
SECONDS = 100
STOCK = "pgflow_yaml.handlers.shell"


@ALL
def test_a_map_has_the_output_of_threads(
    works: Works, bridge: StartWorker, clusters: Callable[[str], Cluster], name: str
) -> None:
    works.deploy(MAP.replace("NAME", "double"))
    started = works.client.start("double", {"n": 300})
    bridge(clusters(name))
    assert works.ended(started.id, seconds=SECONDS).output == {
        "collect": [2 * n for n in range(300)]
    }


@ALL
def test_what_a_handler_raises_comes_with_its_trace(
    works: Works,
    bridge: StartWorker,
    clusters: Callable[[str], Cluster],
    db: psycopg.Connection,
    name: str,
) -> None:
    works.deploy(MAP.replace("NAME", "boom"))
    started = works.client.start("boom", {"n": 1})
    bridge(clusters(name))

    assert works.ended(started.id, seconds=SECONDS).status == "failed"
    error = _first_error(db)
    assert (error["type"], error["message"]) == ("ValueError", "no")
    assert 'raise ValueError("no")' in error["trace"]


@ALL
def test_an_output_over_two_megabytes_does_not_leave_its_node(
    works: Works,
    bridge: StartWorker,
    clusters: Callable[[str], Cluster],
    db: psycopg.Connection,
    name: str,
) -> None:
    works.deploy(MAP.replace("NAME", "big"))
    started = works.client.start("big", {"n": 1})
    bridge(clusters(name))
    assert works.ended(started.id, seconds=SECONDS).status == "failed"
    assert _first_error(db)["type"] == "UnserialisableOutput"


@ALL
def test_a_handler_that_the_nodes_do_not_allow_is_refused_there(
    works: Works, bridge: StartWorker, clusters: Callable[[str], Cluster], name: str
) -> None:
    """The worker itself allows anything: its own rules are not asked."""
    works.deploy(MAP.replace("NAME", "double").replace("far.double", STOCK))
    started = works.client.start("double", {"n": 1})
    worker = bridge(clusters(name), "--allow", STOCK)
    worker.wait_for(STOCK, seconds=SECONDS)
    worker.wait_for(f"(on {os.uname().nodename})", seconds=SECONDS)
    assert works.client.get(started.id).status == "started"


@ALL
def test_a_step_that_outlives_its_timeout_ends(
    works: Works,
    bridge: StartWorker,
    clusters: Callable[[str], Cluster],
    db: psycopg.Connection,
    tmp_path: Path,
    name: str,
) -> None:
    """Ray ends its process; elsewhere its slot stays busy until it returns."""
    works.deploy(ONCE.replace("TIMEOUT", "1s"))
    files = _files(tmp_path)
    started = works.client.start("once", files)
    bridge(clusters(name))
    assert works.ended(started.id, seconds=SECONDS).status == "failed"
    assert _first_error(db)["type"] == "Timeout"
    pid = _pid(files)
    if name == "ray":
        eventually(lambda: not _lives(pid), what="its process ends")
    Path(files["go"]).touch()


@BOTH
def test_a_run_that_is_cancelled_frees_what_the_engine_can_free(
    works: Works,
    bridge: StartWorker,
    clusters: Callable[[str], Cluster],
    tmp_path: Path,
    name: str,
) -> None:
    works.deploy(ONCE.replace("TIMEOUT", "60s"))
    files = _files(tmp_path)
    started = works.client.start("once", files)
    bridge(clusters(name))
    pid = _pid(files)

    works.client.cancel(started.id)

    assert works.ended(started.id).status == "cancelled"
    if name == "ray":
        eventually(lambda: not _lives(pid), what="its process ends")
    else:
        assert _lives(pid)  # a thread, which nothing ends
        Path(files["go"]).touch()
    works.deploy(MAP.replace("NAME", "double"))
    after = works.client.start("double", {"n": 5})
    assert works.ended(after.id, seconds=SECONDS).status == "completed"


@BOTH
def test_an_item_that_kills_its_process_costs_its_neighbours_nothing(
    works: Works,
    bridge: StartWorker,
    clusters: Callable[[str], Cluster],
    counts: Counts,
    name: str,
) -> None:
    """X-G5: it ends after as many dead processes as are allowed."""
    works.deploy(MAP.replace("NAME", "deadly"))
    started = works.client.start("deadly", {"n": 30})
    worker = bridge(clusters(name))

    assert works.ended(started.id, seconds=SECONDS).status == "failed"
    assert counts("crashes_count") == [5 if n == 7 else 0 for n in range(30)]
    assert counts("status") == ["failed" if n == 7 else "completed" for n in range(30)]
    assert worker.stderr.count("an attempt was lost") == 5
    assert "out of memory?" in worker.stderr


@BOTH
@pytest.mark.parametrize("keeps", [False, True])
def test_a_worker_that_is_killed_loses_no_task_and_with_results_no_work(
    works: Works,
    bridge: StartWorker,
    clusters: Callable[[str], Cluster],
    tmp_path: Path,
    *,
    name: str,
    keeps: bool,
) -> None:
    """Dask and Ray drop what a client that is gone has submitted, unless it runs to its end."""
    works.deploy(ONCE.replace("TIMEOUT", "60s"))
    files = _files(tmp_path)
    started = works.client.start("once", files)
    words = ["--results", str(tmp_path / "results")] if keeps else []
    first = bridge(clusters(name), *words)
    _pid(files)
    if keeps:
        Path(files["go"]).touch()
        first.freeze()
        eventually(lambda: list(tmp_path.glob("results/*/*.json")), what="the node ends it")
    first.send(signal.SIGKILL)
    first.wait()
    Path(files["go"]).touch()

    bridge(clusters(name), *words)

    assert works.ended(started.id, seconds=SECONDS).output == {"once": "done"}
    assert Path(files["file"]).read_text() == ("x" if keeps else "xx")


def _files(folder: Path) -> dict[str, str]:
    return {name: str(folder / name) for name in ("file", "pid", "go")}


def _pid(files: dict[str, str]) -> int:
    file = Path(files["pid"])
    eventually(lambda: file.exists() and file.read_text(), seconds=SECONDS, what="it is called")
    return int(file.read_text())


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _first_error(db: psycopg.Connection) -> dict[str, Any]:
    query = "select type, message, trace from pgflow.task_errors order by id limit 1"
    row = db.execute(query).fetchone()
    assert row is not None
    return dict(zip(("type", "message", "trace"), row, strict=True))
