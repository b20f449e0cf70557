"""Benches for the contract of engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.worker.engines import node
from pgflow_yaml.worker.logs import catch_logging
from pgflow_yaml.worker.streams import take_record
from tests.executors.engine_bench import HANDLERS, Bench
from tests.executors.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fixtures.apps import App


@pytest.fixture
def benches(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Return a function from an engine to a bench; nodes find the handlers above."""
    app.write("jobs.py", HANDLERS)
    monkeypatch.setenv("PGFLOW_YAML_APP_DIR", str(app.folder))
    node._handlers.cache_clear()
    catch_logging(take_record)
    made: list[Bench] = []

    def make(engine: FakeEngine | None = None, **settings: Any) -> Bench:
        made.append(Bench(app, engine or FakeEngine(), **settings))
        return made[-1]

    yield make
    for bench in made:
        node._handlers().get("jobs.wait").function.__globals__["gate"].set()
        bench.pool.close()
    node._handlers.cache_clear()


@pytest.fixture
def bench(benches: Callable[..., Bench]) -> Bench:
    """A pool on an engine with two slots."""
    return benches()
