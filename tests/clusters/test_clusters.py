"""Flows on real clusters, and what their faults cost: no task, no run, and nothing twice (F33)."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.clusters.conftest import SECRET, Parsl
from tests.docs.fenced import ROOT, blocks
from tests.fixtures.maps import claims, map_flow
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.clusters.conftest import Cluster, Dask, Ray
    from tests.fixtures.worker_process import StartCli, WorkerProc
    from tests.fixtures.working import Works

FRACTAL = ROOT / "workflows" / "fractal"
ENGINES_PAGE = ROOT / "docs" / "how-to" / "engines.md"
pytestmark = pytest.mark.timeout(240)

HANDLERS = """
import os, signal, time
from pathlib import Path

def parsl():
    from parsl import Config, HighThroughputExecutor
    from parsl.concurrent import ParslPoolExecutor
    from parsl.providers import LocalProvider
    here = HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=2, cpu_affinity="none",
        provider=LocalProvider(init_blocks=1, max_blocks=1))
    return ParslPoolExecutor(Config(executors=[here], usage_tracking=0,
        run_dir=str(Path(__file__).parent / "parsl")))

def split(input): return list(range(input.get("n", 30)))
def work(item, ctx):
    if item % 50 == 0: ctx.log.info("item %s", item)
    return item * 2
def total(outputs): return sum(outputs["work"])
def nap(item):
    time.sleep(0.02)
    return item * 2
def poison(item):
    if item == 7: os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return item * 2
def boom(input): raise ValueError("no")
def big(input): return "x" * 5_000_000
def leak(key): return len(key)
def hang(input):
    Path(input["pid"]).write_text(str(os.getpid()))
    while not Path(input["go"]).exists(): time.sleep(0.01)
    return "done"
def once(input):
    with Path(input["file"]).open("a") as file: file.write("x")
    return hang(input)
"""
ONE = """
flow: NAME
steps:
  one: {handler: far.NAME, retry: {max_attempts: 1}}
"""
LEAK = """
flow: leak
steps:
  leak: {handler: far.leak, with: {key: "${{ secrets.CANARY }}"}}
"""
WAIT = """
flow: NAME
input: {pid: {type: string}, go: {type: string}, file: {type: string, default: ""}}
steps:
  one: {handler: far.NAME, timeout: LIMIT, retry: {max_attempts: 1}}
"""


@pytest.fixture(autouse=True)
def handlers(works: Works) -> None:
    """The module of the handlers, before a cluster starts."""
    works.app.write("far.py", HANDLERS)


@pytest.fixture
def bridge(works: Works, database: str, start_cli: StartCli) -> Callable[..., WorkerProc]:
    """Return a function that starts a worker whose handlers run in a cluster."""

    def begin(cluster: Cluster, *words: str) -> WorkerProc:
        here = ("worker", "--executor", cluster.executor, *cluster.needs, "--lease", "3s")
        env = {name: cluster.env[name] for name in ("PATH", *cluster.inherited)}
        worker = start_cli(*here, *words, dsn=database, cwd=cluster.app, **env)
        worker.wait_for("worker started")
        return worker

    return begin


def test_everyday_flows(
    works: Works, cluster: Cluster, bridge: Callable[..., WorkerProc], database: str
) -> None:
    """A map, an error with its node, an output that is too large, a secret, a handler not there."""
    for name in ("boom", "big", "nothing"):
        works.deploy(ONE.replace("NAME", name))
    works.deploy(map_flow("work"))
    works.deploy(LEAK)
    mapped = works.client.start("work", {"n": 200})
    runs = {name: works.client.start(name) for name in ("boom", "big", "leak", "nothing")}

    worker = bridge(cluster)

    assert works.ended(mapped.id, seconds=90).output == {"total": 2 * sum(range(200))}
    lines = [line.text for line in works.client.run_logs(mapped.id)]
    assert sorted(lines) == ["item 0", "item 100", "item 150", "item 50"]
    (failed,) = works.ended(runs["boom"].id).steps
    assert failed.error
    assert (failed.error["type"], failed.error["message"]) == ("ValueError", "no")
    with psycopg.connect(database) as db:
        query = "select trace from pgflow.task_errors where type = 'ValueError'"
        ((trace,),) = db.execute(query).fetchall()
    *_, line, place = trace.splitlines()
    assert line.strip() == 'def boom(input): raise ValueError("no")'
    assert place.startswith(f"on {socket.gethostname()}, process ")
    assert not place.endswith(f" {worker.pid}")
    (failed,) = works.ended(runs["big"].id).steps
    assert failed.error
    assert failed.error["type"] == "UnserialisableOutput"
    assert works.ended(runs["leak"].id).output == {"leak": len(SECRET)}
    worker.wait_for("handler far.nothing is not available here")
    assert works.client.get(runs["nothing"].id).status == "started"
    assert SECRET not in worker.stdout + worker.stderr


def test_a_heavy_step_draws_the_same_picture_anywhere(
    works: Works, cluster: Cluster, bridge: Callable[..., WorkerProc], start_cli: StartCli
) -> None:
    """Only the option of the worker differs: threads, processes, and each engine."""
    works.app.write("fractal/handlers.py", (FRACTAL / "handlers.py").read_text())
    text = (FRACTAL / "workflow.yaml").read_text()
    works.deploy(text.replace("workflows.fractal.", "fractal."))  # nodes see the app dir only
    pictures: dict[str, Any] = {}
    for executor in ("thread", "process"):
        run = works.client.start("fractal", {"depth": 50})
        words = ("worker", "--executor", executor, "--burst")
        assert start_cli(*words, dsn=works.database, cwd=works.app.folder).wait() == 0
        pictures[executor] = works.ended(run.id).output

    run = works.client.start("fractal", {"depth": 50})
    bridge(cluster)
    pictures["cluster"] = works.ended(run.id, seconds=90).output

    assert pictures["thread"] == pictures["process"] == pictures["cluster"]
    assert [len(row) for row in pictures["thread"]] == [72] * 24


def test_a_step_times_out_and_a_cancelled_run_ends(
    works: Works, cluster: Cluster, bridge: Callable[..., WorkerProc], tmp_path: Path
) -> None:
    """Neither waits for a handler that does not return."""
    works.deploy(WAIT.replace("NAME", "hang").replace("LIMIT", "1s"))
    late = works.client.start("hang", {"pid": str(tmp_path / "1"), "go": str(tmp_path / "go")})
    bridge(cluster)
    (step,) = works.ended(late.id).steps
    assert step.error
    assert step.error["type"] == "Timeout"

    works.deploy(WAIT.replace("NAME", "hang").replace("LIMIT", "1h"))
    pid = tmp_path / "2"
    run = works.client.start("hang", {"pid": str(pid), "go": str(tmp_path / "go")})
    eventually(pid.exists, what="the handler begins")
    works.client.cancel(run.id)
    assert works.ended(run.id).status == "cancelled"
    (tmp_path / "go").touch()


def test_an_item_that_kills_its_process_leaves_the_others_alone(
    works: Works, cluster: Cluster, bridge: Callable[..., WorkerProc], database: str
) -> None:
    """X-G5: as many deaths as are allowed, and one more where a death takes others along."""
    if cluster.executor == "python:far.parsl":
        pytest.skip("its manager is restarted by Parsl only with a strategy of its own")
    works.deploy(map_flow("poison"))
    run = works.client.start("poison", {"n": 60})

    bridge(cluster)

    assert works.ended(run.id, seconds=120).status == "failed"
    found = claims(database)
    assert sorted(crashes for _, crashes in found) == [0] * 59 + [5]


@pytest.mark.parametrize("keeps", [False, True])
def test_a_worker_that_is_killed_loses_no_task(
    works: Works,
    cluster: Cluster,
    bridge: Callable[..., WorkerProc],
    tmp_path: Path,
    *,
    keeps: bool,
) -> None:
    """With --results, what a node has finished meanwhile is not done again."""
    if keeps and cluster.executor != f"dask://{cluster.executor.rpartition('/')[2]}":
        pytest.skip("its nodes end with the worker that has started them")
    works.deploy(WAIT.replace("NAME", "once").replace("LIMIT", "1h"))
    files = {name: str(tmp_path / name) for name in ("file", "pid", "go")}
    run = works.client.start("once", files)
    words = ["--results", str(tmp_path / "results")] if keeps else []
    first = bridge(cluster, *words)
    eventually(Path(files["pid"]).exists, what="the handler begins")

    first.send(signal.SIGKILL)
    first.wait()
    Path(files["go"]).touch()
    if keeps:
        eventually(lambda: list(tmp_path.glob("results/*/*.json")), what="the node goes on")
    bridge(cluster, *words)

    assert works.ended(run.id, seconds=60).output == {"one": "done"}
    assert Path(files["file"]).read_text() == ("x" if keeps else "xx")


def test_the_executor_of_the_page_runs_handlers(
    works: Works, start_cli: StartCli, tmp_path: Path
) -> None:
    """The function for Parsl in `docs/how-to/engines.md`, with the options of the page."""
    (block,) = blocks("python", [ENGINES_PAGE])
    works.app.write("cluster.py", block.text)
    works.deploy(map_flow("work"))
    run = works.client.start("work", {"n": 20})
    (words,) = (
        line.split()[1:]
        for block in blocks("sh", [ENGINES_PAGE])
        for line in block.text.splitlines()
        if "python:" in line
    )
    env = Parsl(tmp_path, works.app.folder).env
    start_cli(*words, dsn=works.database, cwd=works.app.folder, **env)
    assert works.ended(run.id, seconds=90).output == {"total": 2 * sum(range(20))}


# Dask: its parts die one by one


def test_a_node_that_dies_in_the_middle_of_a_map_loses_no_item(
    works: Works, dask: Dask, bridge: Callable[..., WorkerProc], database: str
) -> None:
    works.deploy(map_flow("nap"))
    run = works.client.start("nap", {"n": 1000})
    bridge(dask)
    eventually(lambda: _completed(database) > 100, what="the map has begun", seconds=60)

    os.kill(dask.nodes()[0], signal.SIGKILL)

    assert works.ended(run.id, seconds=120).output == {"total": 2 * sum(range(1000))}
    assert max(count for count, _ in claims(database)) <= 2


def test_a_scheduler_that_dies_and_returns_costs_two_claims_at_most(
    works: Works, dask: Dask, bridge: Callable[..., WorkerProc], database: str
) -> None:
    """X-G4: what ran crashes once, nothing is claimed meanwhile, and the rest goes on after it."""
    works.deploy(map_flow("nap"))
    run = works.client.start("nap", {"n": 600})
    worker = bridge(dask)
    eventually(lambda: _completed(database) > 100, what="the map has begun", seconds=60)

    dask.kill_scheduler()
    worker.wait_for("this worker claims nothing until it is back")
    (row,) = eventually(lambda: [row for row in works.client.list_workers() if row.engine_away])
    assert (row.engine, row.slots) == (dask.executor, 0)
    eventually(lambda: any(n for _, n in claims(database)), what="what ran has crashed")
    dask.start()

    assert works.ended(run.id, seconds=120).output == {"total": 2 * sum(range(600))}
    found = claims(database)
    assert max(count for count, _ in found) <= 3
    assert max(crashes for _, crashes in found) <= 1


def test_a_call_that_somebody_cancels_is_made_again(
    works: Works, dask: Dask, bridge: Callable[..., WorkerProc], tmp_path: Path, database: str
) -> None:
    from distributed import Client, Future

    works.deploy(WAIT.replace("NAME", "hang").replace("LIMIT", "1h"))
    pid = tmp_path / "pid"
    run = works.client.start("hang", {"pid": str(pid), "go": str(tmp_path / "go")})
    bridge(dask)
    eventually(pid.exists, what="the handler begins")

    with Client(f"tcp://127.0.0.1:{dask.port}", set_as_default=False) as client:
        key = f"pgflow-{run.id}/one/0/0#1"
        client.cancel([Future(key, client)], force=True)
        query = "select crashes_count from pgflow.step_tasks"
        with psycopg.connect(database, autocommit=True) as db:
            eventually(lambda: db.execute(query).fetchall() == [(1,)], what="it counts as a crash")
    (tmp_path / "go").touch()

    assert works.ended(run.id, seconds=60).output == {"one": "done"}


def test_a_head_of_ray_that_dies_and_returns_ends_no_worker(
    works: Works, ray: Ray, bridge: Callable[..., WorkerProc], database: str
) -> None:
    """Ray ends the process of a driver that has not left 60 seconds after the death of its head."""
    works.deploy(map_flow("nap"))
    run = works.client.start("nap", {"n": 600})
    worker = bridge(ray)
    eventually(lambda: _completed(database) > 50, what="the map has begun", seconds=60)

    ray.kill()
    worker.wait_for("this worker claims nothing until it is back")
    worker.wait_for("is still away", seconds=90)  # it says so after 60 seconds
    before = claims(database)
    assert any(crashes for _, crashes in before)
    assert max(count for count, _ in before) <= 2
    ray.start()

    assert works.ended(run.id, seconds=120).output == {"total": 2 * sum(range(600))}
    assert worker.running
    assert max(crashes for _, crashes in claims(database)) <= 1


def test_a_scheduler_that_is_not_there_is_told_before_anything_is_claimed(
    works: Works, database: str, start_cli: StartCli
) -> None:
    works.deploy(map_flow("work"))
    works.client.start("work", {"n": 5})
    worker = start_cli(
        "worker", "--executor", "dask://127.0.0.1:9", dsn=database, cwd=works.app.folder
    )
    assert worker.wait() == 3
    assert "--executor dask://127.0.0.1:9: no scheduler answers: " in worker.stderr
    assert claims(database) == []


def _completed(database: str) -> int:
    query = "select count(*) from pgflow.step_tasks where status = 'completed'"
    with psycopg.connect(database) as db:
        (count,) = db.execute(query).fetchone() or (0,)
    return int(count)
