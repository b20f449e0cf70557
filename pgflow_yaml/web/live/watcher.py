"""One watcher a server: it looks once a second at what somebody looks at, however many they are."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from pgflow_yaml.errors import PgflowError, Unavailable
from pgflow_yaml.web.pages.filters import read_filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pgflow_yaml.client import Client, RunSummary
    from pgflow_yaml.client.deciding import WaitingStep
    from pgflow_yaml.web.bulk import Jobs
    from pgflow_yaml.web.clients import Clients

log = logging.getLogger(__name__)

RUNS, WAITING = "runs", "waiting"
GONE = "gone"
PAUSE = 1.0
_LATE = timedelta(seconds=15)
"""After so long without a look, nobody knows any more if what is shown is true."""
_NEWEST = 50
_MOST_WAITS = 100
_MOST_MARKS = 1_000
_RUN = re.compile(r"run:(?P<id>[0-9a-f-]{36})")
_JOB = re.compile(r"bulk:[0-9a-f]{16}")
_LIST = re.compile(r"runs:(?P<filters>[A-Za-z0-9_-]{1,4000})")
_LOOK = 1_000
"""Number of runs that a look at a filtered list looks at; those before them hardly change."""


def list_name(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the name of the list of the runs that filters find; `runs` is that of all."""
    if not pairs:
        return RUNS
    return f"runs:{urlsafe_b64encode(urlencode(pairs).encode()).decode().rstrip('=')}"


def marks(client: Client, watched: Iterable[str]) -> dict[str, str]:
    """Return a mark of each watched thing: it changes when the thing does.

    That is `run:ID`, `runs`, `waiting`, or a list of runs by `list_name`.
    """
    names = set(watched)
    runs = {name: name.removeprefix("run:") for name in names if name.startswith("run:")}
    ids, known = list(runs.values()), dict[str, str]()
    for start in range(0, len(ids), _MOST_MARKS):
        known |= client.run_marks(ids[start : start + _MOST_MARKS])
    found = {name: known.get(run_id, GONE) for name, run_id in runs.items()}
    if RUNS in names:
        found[RUNS] = _mark_of(client.page_runs(limit=_NEWEST, look=_LOOK).runs)
    if WAITING in names:
        found[WAITING] = _mark_of(client.list_waiting(limit=_MOST_WAITS))
    found |= {name: _list_mark(client, name) for name in names if _LIST.fullmatch(name)}
    return found


def _list_mark(client: Client, name: str) -> str:
    """Return the mark of a filtered list; a wrong name hinders no other watcher."""
    text = name.removeprefix("runs:")
    try:
        query = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        pairs = parse_qsl(query)
        if any("\0" in value for pair in pairs for value in pair):
            return GONE
        page = client.page_runs(limit=_NEWEST, look=_LOOK, **read_filters(client, pairs))
    except Unavailable:
        raise
    except (ValueError, PgflowError):
        return GONE
    return _mark_of(page.runs)


def _mark_of(rows: Iterable[RunSummary | WaitingStep]) -> str:
    return digest(json.dumps([row.as_json() for row in rows], sort_keys=True))


def digest(text: str) -> str:
    """Return a short text that stands for a long one."""
    return sha256(text.encode()).hexdigest()[:16]


def is_watchable(name: str) -> bool:
    """Return true for the name of a thing that can be watched."""
    run = _RUN.fullmatch(name)
    if run is None:
        return name in (RUNS, WAITING) or any(kind.fullmatch(name) for kind in (_JOB, _LIST))
    with suppress(ValueError):
        return str(UUID(run["id"])) == run["id"]
    return False


class Stream:
    """Things that one browser watches; `news` is set when something has changed for it."""

    def __init__(self, watched: Iterable[str], user: str = "") -> None:
        """`watched` are names of runs and lists."""
        self.watched = frozenset(watched)
        self.user = user
        self.news = asyncio.Event()
        self.mark = ""
        """Stands for the marks of all that is watched."""
        self.lost_since: datetime | None = None
        """Since when nobody knows if what is shown is true."""

    def look(self, found: Mapping[str, str]) -> None:
        """Compare the marks with those of the last look."""
        mark = digest(json.dumps({name: found.get(name, GONE) for name in sorted(self.watched)}))
        if mark != self.mark or self.lost_since is not None:
            self.mark, self.lost_since = mark, None
            self.news.set()

    def lose(self, since: datetime) -> None:
        """Note that the database does not answer."""
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
        self.task: asyncio.Task[None] | None = None
        """Looks until there is no stream."""
        self.looked_at = datetime.now(UTC)
        """Time of the last look that found something out, or of the first try."""
        self.looks = 0
        """Number of questions to the database."""

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self._streams)

    def of(self, user: str) -> int:
        """Return the number of streams of a user."""
        return sum(stream.user == user for stream in self._streams)

    @property
    def is_late(self) -> bool:
        """True if the last look is too long ago: it failed, or the database takes its time."""
        return datetime.now(UTC) - self.looked_at > _LATE

    def add(self, stream: Stream) -> None:
        """Begin to look for a stream."""
        self._streams.add(stream)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())

    def remove(self, stream: Stream) -> None:
        """Look no more for a stream."""
        self._streams.discard(stream)

    async def _run(self) -> None:
        self.looked_at = datetime.now(UTC)
        while self._streams:
            streams = list(self._streams)
            watched = sorted(frozenset[str]().union(*(stream.watched for stream in streams)))
            try:
                # In a thread of its own: those of the pages may all be waiting for the database.
                found = await asyncio.to_thread(self._look, watched)
            except Exception as error:
                if isinstance(error, PgflowError):
                    log.info("not watching: %s", error)
                else:
                    log.exception("not watching")
                for stream in streams:
                    stream.lose(datetime.now(UTC))
            else:
                self.looked_at = datetime.now(UTC)
                for stream in streams:
                    stream.look(found)
            await asyncio.sleep(PAUSE)

    def _look(self, watched: list[str]) -> dict[str, str]:
        found = {name: self._jobs.mark(name) for name in watched if _JOB.fullmatch(name)}
        if stored := [name for name in watched if name not in found]:
            self.looks += 1
            with self._clients.watching() as client:
                found |= marks(client, stored)
        return found
