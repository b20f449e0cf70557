"""Workers that die and are replaced, as a supervisor would do it."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from tests.chaos.mix import APP
from tests.fixtures.waiting import eventually
from tests.fixtures.worker_process import WorkerProc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random
    from types import TracebackType
    from typing import Self

    Undo = tuple[float, Callable[[], object]]

POINTS = (
    *("after_claim", "before_handler", "after_handler", "before_commit", "after_commit"),
    *("heartbeat", "sweep"),
)
"""The failpoints at which a worker may kill itself."""


class Fleet:
    """A number of workers in one folder, which holds the journal of their handlers.

    Use it as a context: at its end no worker is left.
    """

    def __init__(
        self, conninfo: str, folder: Path, *, size: int, lease: float = 2, slots: int = 8
    ) -> None:
        self.conninfo = conninfo
        self.folder = folder
        self.kills = 0
        self.died: list[str] = []
        self._lease = lease
        self._settings = ("--lease", f"{lease}s", "-c", str(slots), "--app-dir", str(APP))
        self._all: list[WorkerProc] = []
        self.workers = [self.another() for _ in range(size)]

    def __enter__(self) -> Self:
        """Use the workers that run already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill all workers."""
        for worker in self._all:
            worker.kill()

    def another(self, **env: str) -> WorkerProc:
        """Start a worker that the fleet does not replace."""
        worker = WorkerProc(
            ["worker", *self._settings],
            folder=Path(mkdtemp(prefix="worker-", dir=self.folder)),
            cwd=self.folder,
            env={"DATABASE_URL": self.conninfo, **env},
        )
        self._all.append(worker)
        return worker

    def kill(self, chance: Random) -> None:
        """Kill -9 a worker and start another; one in three of these kills itself somewhere."""
        env = {}
        if chance.random() < 1 / 3:
            env["PGFLOW_YAML_FAILPOINTS"] = f"{chance.choice(POINTS)}=kill@{chance.randint(1, 40)}"
        nr = chance.randrange(len(self.workers))
        self.mend()
        self.workers[nr].kill()
        self.kills += 1
        self.workers[nr] = self.another(**env)

    def freeze(self, chance: Random) -> Undo:
        """Stop a worker as a hung machine would, for half to twice its lease."""
        worker = chance.choice(self.workers)
        if worker.running:
            worker.freeze()
        return chance.uniform(0.5, 2) * self._lease, worker.thaw

    def mend(self) -> None:
        """Replace the workers that a failpoint has killed; note those that ended by themselves."""
        for nr, worker in enumerate(self.workers):
            if worker.running:
                continue
            if worker.wait() == -signal.SIGKILL:
                self.kills += 1
            else:
                self.died.append(f"exit code {worker.wait()}: {worker.stderr}")
            self.workers[nr] = self.another()

    def faults(self) -> Iterable[str]:
        """Yield what should not have happened to a worker: an end of its own, a traceback."""
        yield from (f"a worker ended by itself, {text}" for text in self.died)
        for worker in self._all:
            said = worker.stderr
            if "Traceback" in said:
                yield f"a traceback of a worker: {said[said.index('Traceback') :][:2000]}"

    def said(self, text: str) -> int:
        """Return how often workers said something."""
        return sum(worker.stderr.count(text) for worker in self._all)

    def stop(self) -> Iterable[str]:
        """Tell all workers to stop; yield what is wrong with the exit of any of them."""
        self.mend()
        for worker in self.workers:
            eventually(partial(_can_be_told, worker), what="a worker has started")
            worker.send(signal.SIGTERM)
        for worker in self.workers:
            if (code := worker.wait()) not in {0, -signal.SIGKILL}:
                yield f"a worker told to stop ended with exit code {code}: {worker.stderr}"


def _can_be_told(worker: WorkerProc) -> bool:
    """Return True once a worker handles SIGTERM."""
    return not worker.running or "worker started" in worker.stderr
