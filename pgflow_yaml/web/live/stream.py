"""The stream of a browser: events with a mark, never with data (server-sent events)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection

from pgflow_yaml.text import utc
from pgflow_yaml.web.answers import Application, refusal
from pgflow_yaml.web.live.watcher import Stream, is_watchable

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from pgflow_yaml.web.state import State

MOST_STREAMS = 200
MOST_WATCHED = 20
_PING_SECONDS = 15.0
_WRITE_SECONDS = 20.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def events(state: State) -> Application:
    """Return the row's answer: an event when something that `?watch=` names has changed."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        watched = QueryParams(scope.get("query_string", b"")).get("watch", "").split(",")
        if not all(map(is_watchable, watched)) or len(watched) > MOST_WATCHED:
            why = f"write ?watch= with up to {MOST_WATCHED} names: runs, or run: and an id"
            await refusal(state, scope, 400, why, kind="json")(scope, receive, send)
        elif len(state.watcher) >= MOST_STREAMS:
            why = "many pages are open at this moment: reload this one by hand"
            await refusal(state, scope, 503, why, kind="json")(scope, receive, send)
        else:
            stream = Stream(watched)
            stream.mark = HTTPConnection(scope).headers.get("Last-Event-ID", "")
            state.watcher.add(stream)
            try:
                await _serve(state, stream, scope, receive=receive, send=send)
            finally:
                state.watcher.remove(stream)

    return Application(app)


async def _serve(
    state: State, stream: Stream, scope: Scope, *, receive: Receive, send: Send
) -> None:
    """Send events until the browser leaves, reads too slowly, or its session ends."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    gone = asyncio.create_task(_wait_until_gone(receive))
    try:
        await _write(send, "retry: 1000\n\n")
        while not gone.done():
            news = asyncio.create_task(stream.news.wait())
            await asyncio.wait({gone, news}, timeout=_PING_SECONDS, return_when="FIRST_COMPLETED")
            news.cancel()
            if gone.done():
                return
            if not stream.news.is_set():
                if await run_in_threadpool(state.authorize, scope) is None:
                    await _write(send, "event: out\ndata: \n\n")
                    break
                await _write(send, "event: ping\ndata: \n\n")
                continue
            stream.news.clear()
            await _write(send, _event(stream))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, OSError):
        pass  # the browser left in the middle, or does not read
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


def _event(stream: Stream) -> str:
    if stream.lost_since is not None:
        return f"event: lost\ndata: {utc(stream.lost_since.isoformat())}\n\n"
    return f"id: {stream.mark}\nevent: changed\ndata: {stream.mark}\n\n"


async def _write(send: Send, text: str) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
