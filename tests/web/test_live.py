"""The stream: events with a mark, one look for all, and the truth about a database that is away."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pgflow_yaml.web.live import stream, watcher
from tests.web.conftest import COOKIE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.fixtures.working import Works
    from tests.web.conftest import Site


class Tab:
    """A browser's end of a stream."""

    def __init__(self) -> None:
        self.texts: asyncio.Queue[str] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.status = 0

    async def receive(self) -> dict[str, Any]:
        """The request is complete; later, the browser has gone."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take a piece of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["body"]:
            self.texts.put_nowait(message["body"].decode())

    async def event(self) -> str:
        """The next event."""
        async with asyncio.timeout(20):
            while "event:" not in (text := await self.texts.get()):
                pass
        return text


@asynccontextmanager
async def opened(site: Site, watch: str, cookie: str, last: str = "") -> AsyncIterator[Tab]:
    """A tab that follows a stream."""
    tab = Tab()
    headers = [(b"host", b"localhost"), (b"cookie", f"{COOKIE}={cookie}".encode())]
    headers += [(b"last-event-id", last.encode())] if last else []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/events",
        "query_string": f"watch={watch}".encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }
    task = asyncio.create_task(site.app(scope, tab.receive, tab.send))
    try:
        yield tab
    finally:
        tab.gone.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(task, 20)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(watcher, "PAUSE", 0.02)


def test_a_change_is_an_event_for_those_who_watch(works: Works, site: Site, run: str) -> None:
    """It has no data; another run is not concerned; what the browser has is not sent again."""
    other = works.client.start("release").id

    async def play() -> None:
        cookie = site.way.begin("vera")
        async with (
            opened(site, f"run:{run}", cookie) as tab,
            opened(site, f"run:{other}", cookie) as far,
        ):
            first, elsewhere = await tab.event(), await far.event()
            assert tab.status == 200
            await asyncio.to_thread(works.client.approve, run, "go_live")
            second = await tab.event()
            assert first != second
            assert second.startswith("id: ")
            assert "release" not in second
            assert "go_live" not in second
            assert far.texts.empty()
        mark = elsewhere.split()[1]
        async with opened(site, f"run:{other}", cookie, mark) as again:
            assert await again.texts.get() == "retry: 1000\n\n"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(again.texts.get(), 0.3)

    asyncio.run(play())


def test_many_tabs_are_one_look(site: Site, run: str) -> None:
    """And without any, nobody looks."""

    async def play() -> None:
        cookie, began = site.way.begin("vera"), time.monotonic()
        found = site.app.state.watcher
        tabs = [opened(site, f"runs,run:{run}", cookie) for _ in range(5)]
        entered = [await tab.__aenter__() for tab in tabs]
        for tab in entered:
            await tab.event()
        assert len(found) == 5
        assert found.looks <= 2 + time.monotonic() - began
        for context in tabs:
            await context.__aexit__(None, None, None)
        assert len(found) == 0
        assert found.task is not None
        await asyncio.wait_for(found.task, 10)

    asyncio.run(play())


def test_a_database_that_is_away_is_told(make_site: Callable[..., Site]) -> None:
    """With the time since when."""
    site = make_site("host=/nowhere dbname=x")

    async def play() -> None:
        async with opened(site, "runs", site.way.begin("vera")) as tab:
            event = await tab.event()
            assert event.startswith("event: lost\ndata: 20")

    asyncio.run(play())


def test_a_session_that_ends_ends_its_stream(
    site: Site, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next ping."""
    monkeypatch.setattr(stream, "_PING_SECONDS", 0.05)

    async def play() -> None:
        cookie = site.way.begin("vera")
        async with opened(site, f"run:{run}", cookie) as tab:
            while await tab.event() != "event: ping\ndata: \n\n":
                pass  # the first look may take longer than the first ping
            site.way._ended.update({session_id(site, cookie): 9e12})
            while await tab.event() != "event: out\ndata: \n\n":
                pass

    asyncio.run(play())


def session_id(site: Site, cookie: str) -> str:
    """The id of the session of a cookie."""
    headers = [(b"cookie", f"{COOKIE}={cookie}".encode())]
    session = site.way.session({"type": "http", "headers": headers})
    assert session is not None
    return session.id


def test_there_is_room_for_so_many_streams(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one gets 503, at once."""
    monkeypatch.setattr(stream, "MOST_STREAMS", 1)

    async def play() -> None:
        cookie = site.way.begin("vera")
        async with opened(site, "runs", cookie) as tab:
            await tab.event()
            async with opened(site, "runs", cookie) as second:
                assert "reload this one by hand" in await second.texts.get()
                assert second.status == 503

    asyncio.run(play())


@pytest.mark.parametrize(
    "watch", ["", "run", "run:", "run:last", "run:" + "0" * 36, "runs,x", ",".join(["runs"] * 21)]
)
def test_only_runs_can_be_watched(site: Site, watch: str) -> None:
    """Any other name is refused."""
    assert site.browser("vera").get("/events", params={"watch": watch}).status_code == 400


def test_a_run_that_vanishes_has_a_mark(works: Works, site: Site) -> None:
    """So that its page is told."""
    gone = str(uuid4())

    assert watcher.marks(works.client, [f"run:{gone}"]) == {f"run:{gone}": watcher.GONE}
