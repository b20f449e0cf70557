"""One watcher a server: it looks once a second at what somebody looks at, however many they are."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from pgflow_yaml.errors import PgflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgflow_yaml.client import Client
    from pgflow_yaml.web.bulk import Jobs
    from pgflow_yaml.web.clients import Clients

log = logging.getLogger(__name__)

RUNS = "runs"
GONE = "gone"
PAUSE = 1.0
_NEWEST = 50
_RUN = re.compile(r"run:(?P<id>[0-9a-f-]{36})")
_JOB = re.compile(r"bulk:[0-9a-f]{16}")


def marks(client: Client, watched: Iterable[str]) -> dict[str, str]:
    """Return a mark of each watched thing, `run:ID` or `runs`: it changes when the thing does."""
    names = set(watched)
    runs = {name: name.removeprefix("run:") for name in names if name != RUNS}
    known = client.run_marks(runs.values()) if runs else {}
    found = {name: known.get(run_id, GONE) for name, run_id in runs.items()}
    if RUNS in names:
        rows = [row.as_json() for row in client.list_runs(limit=_NEWEST)]
        found[RUNS] = digest(json.dumps(rows, sort_keys=True))
    return found


def digest(text: str) -> str:
    """Return a short text that stands for a long one."""
    return sha256(text.encode()).hexdigest()[:16]


def is_watchable(name: str) -> bool:
    """Return true for the name of a thing that can be watched."""
    run = _RUN.fullmatch(name)
    if run is None:
        return name == RUNS or _JOB.fullmatch(name) is not None
    with suppress(ValueError):
        return str(UUID(run["id"])) == run["id"]
    return False


class Stream:
    """What one browser watches; `news` is set when something has changed for it."""

    def __init__(self, watched: Iterable[str]) -> None:
        """Watch these."""
        self.watched = frozenset(watched)
        self.news = asyncio.Event()
        self.mark = ""
        """Stands for the marks of all that is watched."""
        self.lost_since: datetime | None = None
        """Since when the database does not answer."""

    def look(self, found: Mapping[str, str]) -> None:
        """Compare with new marks."""
        mark = digest(json.dumps({name: found.get(name, GONE) for name in sorted(self.watched)}))
        if mark != self.mark or self.lost_since is not None:
            self.mark, self.lost_since = mark, None
            self.news.set()

    def lose(self, since: datetime) -> None:
        """Say that the database does not answer."""
        if self.lost_since is None:
            self.lost_since = since
            self.news.set()


class Watcher:
    """Looks while there are streams."""

    def __init__(self, clients: Clients, jobs: Jobs) -> None:
        """Read by these clients, and look at the changes that this server makes itself."""
        self._clients = clients
        self._jobs = jobs
        self._streams: set[Stream] = set()
        self._task: asyncio.Task[None] | None = None
        self.looks = 0
        """How often it has asked the database."""

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self._streams)

    def add(self, stream: Stream) -> None:
        """Begin to look for a stream."""
        self._streams.add(stream)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def remove(self, stream: Stream) -> None:
        """Look no more for a stream."""
        self._streams.discard(stream)

    async def _run(self) -> None:
        while self._streams:
            streams = list(self._streams)
            watched = sorted(frozenset[str]().union(*(stream.watched for stream in streams)))
            try:
                found = await run_in_threadpool(self._look, watched)
            except PgflowError as error:
                log.info("not watching: %s", error)
                now = datetime.now(UTC)
                for stream in streams:
                    stream.lose(now)
            except Exception:
                log.exception("not watching")
            else:
                for stream in streams:
                    stream.look(found)
            await asyncio.sleep(PAUSE)

    def _look(self, watched: list[str]) -> dict[str, str]:
        found = {name: self._jobs.mark(name) for name in watched if _JOB.fullmatch(name)}
        if stored := [name for name in watched if name not in found]:
            self.looks += 1
            with self._clients.reading() as client:
                found |= marks(client, stored)
        return found
