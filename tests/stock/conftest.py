"""Stock handlers as a worker calls them, with what this worker grants."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.worker.calls import Context, Handlers, invoke

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
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
    retries: int = 0
    trace_id: str | None = None
    scheduled_at: datetime | None = None


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


class Peer(ThreadingHTTPServer):
    """A server that notes requests and gives the replies of a test, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.replies: list[tuple[int, dict[str, str], bytes]] = [(200, {}, b"")]
        super().__init__(("127.0.0.1", 0), _Exchange)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.server_address[1]}"

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        """Give this reply from now on."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if isinstance(body, bytes) else {"content-type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies = [(status, {**kind, **named}, content)]


class _Exchange(BaseHTTPRequestHandler):
    server: Peer

    def _reply(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.server.requests.append(
            {
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": self.rfile.read(length).decode(),
            }
        )
        replies = self.server.replies
        status, headers, body = replies.pop(0) if len(replies) > 1 else replies[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in headers:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def __getattr__(self, name: str) -> Any:
        """Answer all methods in the same way."""
        if name.startswith("do_"):
            return self._reply
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """A server that the worker allows."""
    server = Peer()
    monkeypatch.setenv("PGFLOW_YAML_HTTP_ALLOW", "127.0.0.1")
    thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
