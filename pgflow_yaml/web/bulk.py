"""Changes of many runs, by a thread of the server: one at a time, each in its own transaction."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgflow_yaml.errors import NotFound, PgflowError, Unavailable, WrongSetting
from pgflow_yaml.web.failures import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.client import Client
    from pgflow_yaml.web.clients import Clients

log = logging.getLogger(__name__)

MOST_RUNS = 1_000
MOST_AT_ONCE = 3
_KEPT = 50

Act: TypeAlias = Literal["cancel", "retry"]


@dataclass(slots=True, kw_only=True)
class Job:
    """A change of many runs; `refused` has (run, sentence) of those that were not changed."""

    id: str
    act: Act
    by: str
    runs: Sequence[str]
    changed: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    stopped: str = ""
    """Why the rest was left alone."""
    ended: bool = False

    @property
    def watched(self) -> str:
        """The name of the job for the stream."""
        return f"bulk:{self.id}"


class Jobs:
    """The changes of a server, the last ones of which are kept for their pages."""

    def __init__(self, clients: Clients) -> None:
        """Change by these clients."""
        self._clients = clients
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def find(self, job_id: str) -> Job:
        """Return a job; raises NotFound."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise NotFound("there is no such change, or no more: the server has begun anew")
        return job

    def mark(self, name: str) -> str:
        """Return a text that changes whenever the page of a job does."""
        with self._lock:
            job = self._jobs.get(name.removeprefix("bulk:"))
        return f"{job.changed} {len(job.refused)} {job.ended}" if job else ""

    def start(
        self, act: Act, runs: Sequence[str], change: Callable[[Client, str], object], *, by: str
    ) -> Job:
        """Begin to change runs; raises WrongSetting while as many others as may be go on."""
        job = Job(id=token_hex(8), act=act, by=by, runs=tuple(runs))
        with self._lock:
            live = sum(not other.ended for other in self._jobs.values())
            if live >= MOST_AT_ONCE:
                raise WrongSetting(f"{live} changes of many runs go on: wait for one of them")
            self._jobs[job.id] = job
            while len(self._jobs) > _KEPT:
                oldest = next(key for key, other in self._jobs.items() if other.ended)
                del self._jobs[oldest]
        name = f"bulk-{job.act}-{job.id}"
        threading.Thread(target=self._work, args=(job, change), name=name, daemon=True).start()
        return job

    def _work(self, job: Job, change: Callable[[Client, str], object]) -> None:
        try:
            for run in job.runs:
                try:
                    with self._clients.writing() as client:
                        change(client, run)
                except Unavailable as error:
                    job.stopped = sentence(error)
                    break
                except PgflowError as error:
                    job.refused.append((run, sentence(error)))
                else:
                    job.changed += 1
        except Exception:
            log.exception("%s of many runs ended", job.act)
            job.stopped = "this is a bug in pgflow-yaml; the log of the server has its traceback"
        finally:
            job.ended = True
            log.info("%s of %s by %s: %s changed", job.act, len(job.runs), job.by, job.changed)
