"""Clusters for the tests of a module, and workers that hand them their tasks.

These tests need the packages of the engines: `make test-executors` only collects them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import psycopg
import pytest

from tests.engines.clusters import CLUSTERS, Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fixtures.worker_process import StartCli, WorkerProc

collect_ignore_glob = [] if os.environ.get("PGFLOW_YAML_ENGINES") else ["test_*.py"]

MAP = """
flow: NAME
input: {n: {type: integer}}
steps:
  split: {handler: far.split}
  work:
    handler: far.NAME
    depends_on: [split]
    map: steps.split.output
    fail_fast: false
    retry: {max_attempts: 2, base_delay: 10ms}
  collect: {handler: far.collect, depends_on: [work]}
"""
ONCE = """
flow: once
input: {file: {type: string}, pid: {type: string}, go: {type: string}}
steps:
  once: {handler: far.once, timeout: TIMEOUT, retry: {max_attempts: 1}}
"""


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cluster]]:
    """Return a function from a name to a cluster that runs; each is started once."""
    started: dict[str, Cluster] = {}

    def get(name: str) -> Cluster:
        if name not in started:
            started[name] = CLUSTERS[name](tmp_path_factory.mktemp(name))
            started[name].start()
        return started[name]

    yield get
    for cluster in started.values():
        cluster.close()


class StartWorker(Protocol):
    """What `bridge` gives."""

    def __call__(self, cluster: Cluster, *words: str) -> WorkerProc:
        """Start a worker on a cluster."""


@pytest.fixture
def bridge(start_cli: StartCli, database: str) -> StartWorker:
    """Return a function that starts workers on a cluster."""

    def start(cluster: Cluster, *words: str) -> WorkerProc:
        return start_cli(
            *("worker", "--executor", cluster.address, "--lease", "5s", *words),
            dsn=database,
            cwd=cluster.folder,
            **cluster.env,
        )

    return start


class Counts:
    """Claims and crashes of the tasks of a map."""

    def __init__(self, database: str) -> None:
        self._database = database

    def __call__(self, column: str) -> list[int]:
        """Return a column of all tasks, by index."""
        query = (
            f"select {column} from pgflow.step_tasks where step_slug = 'work' order by task_index"
        )
        with psycopg.connect(self._database) as db:
            return [row[0] for row in db.execute(query.encode())]


@pytest.fixture
def counts(database: str) -> Counts:
    """Claims and crashes."""
    return Counts(database)
