"""The pages /metrics, /livez and /readyz, by the server of the standard library."""

from __future__ import annotations

import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from prometheus_client.exposition import choose_encoder

from pgflow_yaml.errors import WrongSetting

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.worker import Worker

log = logging.getLogger(__name__)

_MOST_REQUESTS = 16
_REQUEST_SECONDS = 5.0
_PLAIN = "text/plain; charset=utf-8"


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    server_version, sys_version = "pgflow-yaml", ""
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        status, kind, body = self.server.page(self.path.partition("?")[0], self.headers)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
        """Log nothing: a scrape is no event."""


class MetricsServer(ThreadingHTTPServer):
    """Listens from the beginning; answers once it has a worker to tell about."""

    daemon_threads = True

    def __init__(self, text: str) -> None:
        """Listen at `[HOST:]PORT`; raises WrongSetting if that cannot be."""
        host, port = _address(text)
        self._free = threading.BoundedSemaphore(_MOST_REQUESTS)
        self._pages: dict[str, Callable[[str], tuple[int, str, bytes]]] = {}
        if ":" in host:
            import socket

            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise WrongSetting(
                f"--metrics {text}: cannot listen there: {error.strerror}; name another [HOST:]PORT"
            ) from error
        # A process that a handler forks must not keep the port when this one has ended.
        os.register_at_fork(after_in_child=self.socket.close)

    def server_bind(self) -> None:
        """Bind without a look-up of this host's name, which may hang."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def serve(self, worker: Worker) -> None:
        """Answer in a thread until the process ends."""
        measures = worker.measures
        assert measures is not None

        def metrics(accept: str) -> tuple[int, str, bytes]:
            encode, kind = choose_encoder(accept)
            return 200, kind, encode(measures.registry)

        health = worker.health
        self._pages = {
            "/metrics": metrics,
            "/livez": lambda _: _verdict(health.why_not_alive()),
            "/readyz": lambda _: _verdict(health.why_not_ready()),
        }
        threading.Thread(target=self.serve_forever, name="pgflow-metrics", daemon=True).start()
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        log.info("metrics at http://%s:%d/metrics", shown, port, extra={"action": "metrics"})

    def page(self, path: str, headers: Any) -> tuple[int, str, bytes]:
        """Return status, content type and text of a page."""
        page = self._pages.get(path)
        if page is None:
            return 404, _PLAIN, f"there are only {', '.join(self._pages)}\n".encode()
        return page(headers.get("Accept", ""))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a request, unless there are too many already."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (its name)
        """Log what went wrong: usually a client that has hung up."""
        log.debug("a request for metrics failed", exc_info=True, extra={"action": "metrics"})  # noqa: LOG014 (called in one)


def _verdict(problem: str | None) -> tuple[int, str, bytes]:
    if problem is None:
        return 200, _PLAIN, b"ok\n"
    return 503, _PLAIN, f"{problem}\n".encode()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536):
        raise WrongSetting(
            f'--metrics "{text}" has no port from 0 to 65535; write [HOST:]PORT, as in 9187'
        )
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)
