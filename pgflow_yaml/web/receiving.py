"""Requests of webhooks over HTTP: a bounded body, few at once, and the answer of `hooks`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response

from pgflow_yaml.errors import Unavailable
from pgflow_yaml.web.hooks import LARGEST, TOO_LARGE, Reply, handle, unanswered

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from pgflow_yaml.web.state import State
    from pgflow_yaml.worker.calls import Secrets

log = logging.getLogger(__name__)

MOST_AT_ONCE, MOST_WAITING = 2, 100
"""Requests that ask the database, and those that wait: people act beside them."""
MOST_UNREAD = 100
"""Requests whose body is on its way; nobody knows yet who sends them."""
_BODY_SECONDS = 20.0


class _Gone(Exception):
    """The sender has hung up, or is too slow."""


class Receiver:
    """The ASGI application of `POST /hooks/{flow}`."""

    def __init__(self, state: State, secrets: Secrets) -> None:
        """Answer with the writing clients of a server."""
        self._state = state
        self._secrets = secrets
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._waiting = 0
        self._unread: dict[asyncio.Timeout, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            reply = await self._reply(scope, receive)
        except _Gone:
            reply = Reply(status=408, json={"error": {"message": "the body did not arrive"}})
        text = json.dumps(reply.json, ensure_ascii=False)
        answer = Response(
            text + "\n", reply.status, dict(reply.headers), media_type="application/json"
        )
        await answer(scope, receive, send)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length[:20]) > LARGEST:
            return TOO_LARGE
        body = await self._body(receive)
        if self._waiting >= MOST_WAITING:
            return unanswered(Unavailable(f"more than {MOST_WAITING} requests wait"))
        self._waiting += 1
        try:
            async with self._places:
                return await run_in_threadpool(self._handled, scope, body)
        finally:
            self._waiting -= 1

    async def _body(self, receive: Receive) -> bytes:
        """Return the body; raises _Gone.

        Of too many that do not arrive, the oldest one is given up: they keep out none that does.
        """
        try:
            async with asyncio.timeout(_BODY_SECONDS) as patience:
                if len(self._unread) >= MOST_UNREAD:
                    oldest = next(iter(self._unread))
                    del self._unread[oldest]
                    if not oldest.expired():
                        oldest.reschedule(0)
                self._unread[patience] = None
                try:
                    return await _read(receive)
                finally:
                    self._unread.pop(patience, None)
        except TimeoutError:
            raise _Gone from None

    def _handled(self, scope: Scope, body: bytes) -> Reply:
        headers = [
            (key.decode("latin-1"), value.decode("latin-1")) for key, value in scope["headers"]
        ]
        flow = scope["path_params"]["flow"]
        try:
            with self._state.clients.writing() as client:
                return handle(client, flow, headers, body, secrets=self._secrets, now=time.time())
        except Unavailable as error:
            return unanswered(error)
        except Exception:
            log.exception("no answer for a webhook")
            return Reply(status=500, json={"error": {"message": "this is a bug of the server"}})


async def _read(receive: Receive) -> bytes:
    """Return the body, of one that is too large only so much that this shows; raises _Gone."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST or not message.get("more_body", False):
            return b"".join(parts)
