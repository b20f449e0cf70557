"""Engines that lose nodes, calls, or themselves: no item is lost, and none is claimed too often."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.clusters import Dask, Ray
from tests.engines.conftest import MAP
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.clusters import Cluster
    from tests.engines.conftest import Counts, StartWorker
    from tests.fixtures.working import Works

SECONDS = 120


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    """A cluster for one test, which may break it."""
    cluster = Dask(tmp_path)
    cluster.start()
    yield cluster
    cluster.close()


@pytest.fixture
def ray(tmp_path: Path) -> Iterator[Ray]:
    """A cluster for one test, which may break it."""
    cluster = Ray(tmp_path)
    cluster.start()
    yield cluster
    cluster.close()


def _client(cluster: Dask) -> Any:
    from distributed import Client

    return Client(f"tcp://127.0.0.1:{cluster.port}", set_as_default=False)


def _done(counts: Counts) -> int:
    return counts("status").count("completed")


def test_a_node_that_dies_costs_no_item(
    works: Works, bridge: StartWorker, dask: Dask, counts: Counts
) -> None:
    """In the middle of a map of 1,000; each item is once in the output."""
    works.deploy(MAP.replace("NAME", "double"))
    started = works.client.start("double", {"n": 1000})
    bridge(dask)
    eventually(lambda: _done(counts) > 50, seconds=SECONDS, what="the map is under way")

    with _client(dask) as client:
        pid = next(iter(client.run(os.getpid).values()))
    os.kill(pid, signal.SIGKILL)

    assert works.ended(started.id, seconds=SECONDS).output == {
        "collect": [2 * n for n in range(1000)]
    }
    assert max(counts("crashes_count")) <= 1


def test_a_call_that_somebody_else_cancels_is_called_again(
    works: Works, bridge: StartWorker, dask: Dask, counts: Counts
) -> None:
    works.deploy(MAP.replace("NAME", "slow"))
    started = works.client.start("slow", {"n": 100})
    worker = bridge(dask)
    eventually(lambda: _done(counts) > 10, seconds=SECONDS, what="the map is under way")

    with _client(dask) as client:
        from distributed import Future

        def cancel_all() -> bool:
            keys = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
            client.cancel([Future(key, client) for key in keys if "/work/" in key], force=True)
            return "somebody else cancelled the call" in worker.stderr

        eventually(cancel_all, what="a call is cancelled")

    assert works.ended(started.id, seconds=SECONDS).output == {
        "collect": [2 * n for n in range(100)]
    }
    assert max(counts("crashes_count")) >= 1


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_cluster_that_goes_away_and_comes_back_costs_few_claims(
    works: Works,
    bridge: StartWorker,
    counts: Counts,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    """X-5: no more than two claims a task while it is away; the worker connects again."""
    cluster: Cluster = request.getfixturevalue(name)
    works.deploy(MAP.replace("NAME", "slow"))
    started = works.client.start("slow", {"n": 200})
    worker = bridge(cluster)
    eventually(lambda: _done(counts) > 10, seconds=SECONDS, what="the map is under way")

    cluster.close()
    eventually(
        lambda: [row for row in works.client.list_workers() if row.engine_away],
        what="the list of workers says that it waits",
    )
    eventually(lambda: any(counts("crashes_count")), what="what ran there crashes after a lease")
    before = counts("attempts_count")
    worker.wait_for("is still away", seconds=90)
    assert counts("attempts_count") == before
    assert max(before) <= 2
    cluster.start()

    assert works.ended(started.id, seconds=SECONDS).output == {
        "collect": [2 * n for n in range(200)]
    }
    assert worker.running
    assert worker.stderr.count("is away") == 1
    assert max(counts("crashes_count")) <= 1
