"""The stream of a browser: events with a mark, never with data (server-sent events)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.text import utc
from pgflow_yaml.web.answers import Application, refusal
from pgflow_yaml.web.live.watcher import Stream, is_watchable
from pgflow_yaml.web.state import VISIT

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from pgflow_yaml.web.state import State, Visit

MOST_STREAMS = 200
MOST_OF_ONE = 50
"""Number of streams of one user: nobody takes the places of all others."""
MOST_WATCHED = 20
_MOST_LISTS = 2
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
        visit: Visit = scope[VISIT]
        user = visit.user.name if visit.user else ""
        if not _may_watch(watched):
            why = f"write ?watch= with up to {MOST_WATCHED} names: runs, or run: and an id"
            await refusal(state, scope, 400, why, kind="json")(scope, receive, send)
        elif len(state.watcher) >= MOST_STREAMS or state.watcher.of(user) >= MOST_OF_ONE:
            why = "many pages are open at this moment: reload this one by hand"
            await refusal(state, scope, 503, why, kind="json")(scope, receive, send)
        else:
            stream = Stream(watched, user)
            stream.mark = HTTPConnection(scope).headers.get("Last-Event-ID", "")
            state.watcher.add(stream)
            try:
                await _serve(state, stream, scope, receive=receive, send=send)
            finally:
                state.watcher.remove(stream)

    return Application(app)


def _may_watch(names: list[str]) -> bool:
    lists = sum(name.startswith("runs:") for name in names)
    return len(names) <= MOST_WATCHED and lists <= _MOST_LISTS and all(map(is_watchable, names))


async def _serve(
    state: State, stream: Stream, scope: Scope, *, receive: Receive, send: Send
) -> None:
    """Send events until the browser leaves, reads too slowly, or its session ends."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    gone = asyncio.create_task(_wait_until_gone(receive))
    clock = asyncio.get_running_loop().time
    checked = clock()
    try:
        await _write(send, "retry: 1000\n\n")
        while not gone.done():
            news = asyncio.create_task(stream.news.wait())
            await asyncio.wait({gone, news}, timeout=_PING_SECONDS, return_when="FIRST_COMPLETED")
            news.cancel()
            if gone.done():
                return
            if not stream.news.is_set() or clock() - checked >= _PING_SECONDS:
                checked = clock()
                if not await run_in_threadpool(_is_in, state, scope):
                    await _write(send, "event: out\ndata: \n\n")
                    break
            if state.watcher.is_late:
                stream.lose(state.watcher.looked_at)
            await _write(send, _next(stream))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, OSError):
        pass  # the browser left in the middle, or does not read
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


def _is_in(state: State, scope: Scope) -> bool:
    """Return true while the session lasts; false if that cannot be found out, as in `Safety`."""
    try:
        return state.authorize(scope) is not None
    except PgflowError:
        return False


def _next(stream: Stream) -> str:
    """Return the news; without any a ping, which says that what is shown is true."""
    if not stream.news.is_set():
        return "event: ping\ndata: \n\n" if stream.lost_since is None else ":\n\n"
    stream.news.clear()
    if stream.lost_since is not None:
        return f"event: lost\ndata: {utc(stream.lost_since.isoformat())}\n\n"
    return f"id: {stream.mark}\nevent: changed\ndata: {stream.mark}\n\n"


async def _write(send: Send, text: str) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
