"""Stock handlers as a worker calls them, with what this worker grants."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.worker.calls import Context, Handlers, invoke

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.apps import App

STOCK = "pgflow_yaml.handlers"
GRANTED = [f"{STOCK}.{name}" for name in ("http", "shell", "sql")]


@dataclass
class Attempt:
    """An attempt that a test cancels."""

    run_id: str = "019c0000-0000-7000-8000-000000000000"
    step: str = "deploy"
    index: int = 0
    attempt: int = 1
    fence: int = 1
    iteration: int = 0
    cancelled: bool = False
    trace_id: str | None = None


@dataclass
class Stock:
    """The stock handlers of a worker that may call all of them."""

    folder: Path
    attempt: Attempt = field(default_factory=Attempt)
    seconds: float = 30

    def call(self, name: str, **with_: Any) -> Any:
        """Call a handler by its name in `pgflow_yaml.handlers`, with the keys of `with`."""
        handler = Handlers(self.folder, GRANTED).get(f"{STOCK}.{name}")
        context = Context(
            self.attempt, run_input=lambda: None, beat=lambda: None, timeout=self.seconds
        )
        result: Any = invoke(handler, with_, context, named=True)
        return asyncio.run(result) if handler.is_async else result

    def shell(self, *command: Any, **with_: Any) -> Any:
        """Run a program."""
        return self.call("shell", command=list(command), **with_)


@pytest.fixture
def stock(app: App) -> Stock:
    """The stock handlers, in the folder of an app."""
    return Stock(app.folder)
