"""The server of `pgflow-yaml ui`: one process, stopped by a signal."""

from __future__ import annotations

import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from pgflow_yaml.errors import WrongSetting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.web.app import WebView

_BACKLOG = 128
_STOP_SECONDS = 3
_MOST_REQUESTS = 400


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address; raises WrongSetting if that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(_BACKLOG)
        except BaseException:
            opened.close()
            raise
    except OSError as error:
        raise WrongSetting(
            f"--host {host} --port {port}: cannot listen there: {error.strerror}; name another one"
        ) from None
    return opened


def serve(app: WebView, opened: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT; open streams hold up the end for three seconds at most."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # The address of the peer is that of the connection: `--trusted-proxy` compares it.
        proxy_headers=False,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        limit_concurrency=_MOST_REQUESTS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    _Server(config).run(sockets=[opened])


class _Server(uvicorn.Server):
    """Server that a signal stops; the process then ends with exit code 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals as long as the server runs."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
