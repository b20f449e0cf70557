"""The stream: events with a mark, one look for all, and the truth about a database that is away."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.web.clients import MOST_READERS
from pgflow_yaml.web.live import stream, watcher
from tests.web.conftest import COOKIE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

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


def test_a_session_is_checked_between_news(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that changes all the time leaves no quiet moment; nor has one who cannot be known."""
    monkeypatch.setattr(stream, "_PING_SECONDS", 0.3)
    numbers = count()
    monkeypatch.setattr(site.app.state.watcher, "_look", lambda _: {"runs": str(next(numbers))})

    def unreadable(_scope: object) -> None:
        raise WrongSetting("line 1 of the users file is wrong")

    async def play(end: Callable[[str], object]) -> None:
        cookie = site.way.begin("vera")
        async with opened(site, "runs", cookie) as tab:
            assert "event: changed" in await tab.event()
            end(cookie)
            async with asyncio.timeout(10):
                while (event := await tab.event()) != "event: out\ndata: \n\n":
                    assert "event: changed" in event

    asyncio.run(play(lambda cookie: site.way._ended.update({session_id(site, cookie): 9e12})))
    asyncio.run(play(lambda _: monkeypatch.setattr(site.app.state, "authorize", unreadable)))


def test_a_look_that_fails_or_lasts_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page says that it is live while nobody looks; a ping says that somebody does."""
    monkeypatch.setattr(stream, "_PING_SECONDS", 0.05)
    monkeypatch.setattr(watcher, "_LATE", timedelta(seconds=0.2))
    go_on, found = threading.Event(), site.app.state.watcher

    def fail(_: object) -> dict[str, str]:
        raise RuntimeError("a bug")

    def last(_: object) -> dict[str, str]:
        go_on.wait(20)
        return {}

    async def play() -> None:
        async with opened(site, "runs", site.way.begin("vera")) as tab:
            for wrong in (last, fail):
                with monkeypatch.context() as patch:
                    patch.setattr(found, "_look", wrong)
                    while "event: lost" not in await tab.event():
                        pass
                    go_on.set()
                while "event: changed" not in await tab.event():
                    pass

    asyncio.run(play())


def test_busy_pages_are_no_outage(site: Site) -> None:
    """The watcher has a connection of its own."""

    async def play() -> None:
        with ExitStack() as stack:
            for _ in range(MOST_READERS):
                stack.enter_context(site.app.state.clients.reading())
            async with opened(site, "runs", site.way.begin("vera")) as tab:
                assert "event: changed" in await tab.event()

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


def test_one_user_does_not_take_all_places(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The streams of others go on."""
    monkeypatch.setattr(stream, "MOST_OF_ONE", 1)

    async def play() -> None:
        async with opened(site, "runs", site.way.begin("vera")) as tab:
            await tab.event()  # it has its place
            async with (
                opened(site, "runs", site.way.begin("vera")) as second,
                opened(site, "runs", site.way.begin("otto")) as other,
            ):
                await other.event()
                await second.texts.get()
                assert [each.status for each in (tab, second, other)] == [200, 503, 200]

    asyncio.run(play())


@pytest.mark.parametrize(
    "watch",
    [
        *("", "run", "run:", "run:last", "run:" + "0" * 36, "runs,x", ",".join(["runs"] * 21)),
        "runs:a,runs:b,runs:c",
    ],
)
def test_only_runs_can_be_watched(site: Site, watch: str) -> None:
    """Any other name is refused."""
    assert site.browser("vera").get("/events", params={"watch": watch}).status_code == 400


def test_a_run_that_vanishes_has_a_mark(works: Works, site: Site) -> None:
    """So that its page is told."""
    gone = str(uuid4())

    assert watcher.marks(works.client, [f"run:{gone}"]) == {f"run:{gone}": watcher.GONE}


def test_marks_are_asked_for_in_bounded_numbers() -> None:
    """The database answers for 1,000 runs at once: the others would be called gone."""

    class Bounded:
        def run_marks(self, ids: Sequence[str]) -> dict[str, str]:
            return dict.fromkeys(ids[:1_000], "m")

    names = [f"run:{uuid4()}" for _ in range(2_500)]
    bounded: Any = Bounded()

    assert set(watcher.marks(bounded, names).values()) == {"m"}


def test_what_waits_is_watched(works: Works, site: Site, run: str) -> None:
    """An answer to any run changes the mark, however old the run is."""
    assert 'data-live="waiting"' in site.browser("vera").get("/waiting").text
    before = watcher.marks(works.client, ["waiting"])
    assert watcher.marks(works.client, ["waiting"]) == before

    works.client.approve(run, "go_live")

    assert watcher.marks(works.client, ["waiting"]) != before
