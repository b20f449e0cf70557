"""Real processes and faults in the middle of a 1,000-wide map: nobody has to help (F1 … F13).

Each handler call leaves a line in a file, so that what ran, where and how often is known besides
what the database says.
"""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml import Client, load
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgflow_yaml import Run
    from tests.fixtures.apps import App
    from tests.fixtures.pg import CrashableServer
    from tests.fixtures.worker_process import StartCli, WorkerProc

WIDTH = 1000
FLOW = """
flow: wide
input: {n: {type: integer}}
steps:
  list: {handler: faulty.numbers, with: {n: "${{ input.n }}"}}
  work: {handler: faulty.work, depends_on: [list], map: steps.list.output}
  end: {handler: faulty.end, depends_on: [work], with: {items: "${{ steps.work.output }}"}}
"""
HANDLERS = """
import os, time
from pathlib import Path

HERE = Path(__file__).parent

def numbers(n):
    return list(range(n))

def note(name, *facts):
    line = " ".join(map(str, facts)) + "\\n"
    with open(HERE / name, "a", buffering=1) as out:
        out.write(line)

def work(i, ctx):
    note("effects", os.getpid(), i, ctx.fence)
    time.sleep(0.03)
    return i

def end(items):
    while (HERE / "hold").exists():
        time.sleep(0.02)
    return items

def stay(input, ctx):
    note("effects", os.getpid(), ctx.index, ctx.fence)
    while (HERE / "hold").exists():
        time.sleep(0.02)
    return ctx.fence
"""


@dataclass(frozen=True, slots=True)
class Effect:
    """One call of a handler."""

    pid: int
    index: int
    fence: int


class Scene:
    """A flow, its handlers, and workers to do harm to."""

    def __init__(self, conninfo: str, app: App, start_cli: StartCli) -> None:
        self.conninfo = conninfo
        self.folder: Path = app.folder
        self.client = Client(as_author(conninfo))
        self._start_cli = start_cli
        app.write("faulty.py", HANDLERS)

    def begin(self, flow: str = FLOW, **given: Any) -> str:
        """Deploy and start; the id of the run."""
        path = self.folder / "flow.yaml"
        path.write_text(flow, encoding="utf-8")
        name = self.client.deploy(load(path)).name
        return self.client.start(name, given).id

    def worker(self, **env: str) -> WorkerProc:
        """A worker with a lease of two seconds."""
        return self._start_cli("worker", "--lease", "2s", dsn=self.conninfo, cwd=self.folder, **env)

    @property
    def effects(self) -> list[Effect]:
        """What handlers did so far."""
        try:
            lines = (self.folder / "effects").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [Effect(*map(int, line.split())) for line in lines]

    def busy(self, *workers: WorkerProc, calls: int = 40) -> None:
        """Wait until each of these workers has called so many handlers."""

        def all_busy() -> bool:
            assert all(worker.running for worker in workers), [each.stderr for each in workers]
            counts = Counter(effect.pid for effect in self.effects)
            return all(counts[worker.pid] >= calls for worker in workers)

        eventually(all_busy, what="all of them work")

    def ended(self, run_id: str) -> Run:
        """The run once it has ended."""

        def look() -> Run | None:
            run = self.client.get(run_id)
            return run if run.ended else None

        run = eventually(look, seconds=30, what="the run ends")
        assert run is not None
        return run

    def assert_all_there(self, run_id: str) -> Run:
        """Completed by itself: each item once, in order; nothing left over (I1, I6)."""
        run = self.ended(run_id)
        assert run.status == "completed", run.error
        assert run.output == {"end": list(range(WIDTH))}
        snapshot = self.client.run_snapshot(run_id)
        assert snapshot["errors"] == []
        assert {effect.index for effect in self.effects} == set(range(WIDTH))
        return run

    def twice(self) -> set[int]:
        """The indexes whose handler was called more than once."""
        counts = Counter(effect.index for effect in self.effects)
        return {index for index, count in counts.items() if count > 1}


@pytest.fixture
def scene(database: str, app: App, start_cli: StartCli) -> Iterator[Scene]:
    """A scene on the server that all tests share."""
    found = Scene(database, app, start_cli)
    yield found
    found.client.close()


def crashes(scene: Scene, run_id: str) -> int:
    """How many attempts of the map ended with their worker."""
    steps = scene.client.run_snapshot(run_id)["steps"]
    return int(next(step["crashes"] for step in steps if step["slug"] == "work"))


def test_a_killed_worker_is_replaced_by_another(scene: Scene) -> None:
    """Its tasks are taken over when their lease has passed (F1)."""
    victim, other = scene.worker(), scene.worker()
    run_id = scene.begin(n=WIDTH)
    scene.busy(victim, other)

    victim.kill()

    scene.assert_all_there(run_id)
    assert crashes(scene, run_id) > 0
    taken_over = {effect.index for effect in scene.effects if effect.fence > 1}
    assert taken_over
    assert {e.pid for e in scene.effects if e.fence > 1} == {other.pid}


def test_a_worker_killed_before_its_commit_loses_only_the_result(scene: Scene) -> None:
    """The handler ran, nobody knows it: it runs again, and counts once (F2)."""
    victim = scene.worker(PGFLOW_YAML_FAILPOINTS="before_commit=kill@30")
    other = scene.worker()
    run_id = scene.begin(n=WIDTH)

    scene.assert_all_there(run_id)

    assert victim.wait() == -signal.SIGKILL
    assert scene.twice()
    assert crashes(scene, run_id) > 0
    assert other.running


def test_a_worker_killed_after_its_commit_loses_only_its_claims(scene: Scene) -> None:
    """What it has committed is not run again; what it has just claimed is taken over (F2)."""
    victim = scene.worker(PGFLOW_YAML_FAILPOINTS="after_commit=kill@30")
    scene.worker()
    run_id = scene.begin(n=WIDTH)

    scene.assert_all_there(run_id)

    assert victim.wait() == -signal.SIGKILL
    assert crashes(scene, run_id) > 0


def test_a_killed_database_interrupts_nothing_for_good(
    crashable: CrashableServer, app: App, start_cli: StartCli
) -> None:
    """Workers connect again by themselves and bring the results that they have (F4)."""
    scene = Scene(crashable.conninfo(), app, start_cli)
    workers = [scene.worker(), scene.worker()]
    run_id = scene.begin(n=WIDTH)
    scene.busy(*workers)

    crashable.kill()
    eventually(lambda: all("trying again" in worker.stderr for worker in workers))
    crashable.start()

    scene.assert_all_there(run_id)
    assert all(worker.running for worker in workers)
    assert len(scene.effects) <= WIDTH + 100, "running handlers were not begun anew"
    for worker in workers:
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    scene.client.close()


def test_a_frozen_worker_comes_back_too_late(scene: Scene) -> None:
    """Past its lease its tasks are another's; its own results are refused (F8, R-1)."""
    sleeper, other = scene.worker(), scene.worker()
    (scene.folder / "hold").touch()
    run_id = scene.begin(n=WIDTH)
    scene.busy(sleeper, other)

    sleeper.freeze()
    eventually(lambda: scene.client.get(run_id).steps[1].status == "completed", seconds=30)
    sleeper.thaw()
    sleeper.wait_for("late result refused")
    (scene.folder / "hold").unlink()

    scene.assert_all_there(run_id)
    late = {effect.index for effect in scene.effects if effect.pid == sleeper.pid}
    assert late & scene.twice()
    assert sleeper.running


STAY = """
flow: stay
input: {}
steps:
  stay: {handler: faulty.stay, retry: 1}
"""


def test_an_idle_worker_stops_at_once(scene: Scene) -> None:
    """SIGTERM: exit code 0 (F13)."""
    worker = scene.worker()
    worker.wait_for("worker started")

    worker.send(signal.SIGTERM)

    assert worker.wait(seconds=3) == 0


def test_a_busy_worker_finishes_what_has_begun(scene: Scene) -> None:
    """SIGTERM: no new tasks, the running one completes, exit code 0 (F13, R-14)."""
    (scene.folder / "hold").touch()
    run_id = scene.begin(STAY)
    worker = scene.worker()
    scene.busy(worker, calls=1)

    worker.send(signal.SIGTERM)
    worker.wait_for("stopping")
    waiting = scene.begin(STAY)
    (scene.folder / "hold").unlink()

    assert worker.wait(seconds=5) == 0
    assert scene.client.get(run_id).output == {"stay": 1}
    assert scene.client.get(waiting).steps[0].attempts == 0, "it took another task"


def test_a_second_signal_gives_running_tasks_back(scene: Scene) -> None:
    """At once, exit code 1; another worker begins without waiting for the lease (F13, R-14)."""
    (scene.folder / "hold").touch()
    run_id = scene.begin(STAY)
    worker = scene.worker()
    scene.busy(worker, calls=1)

    worker.send(signal.SIGTERM)
    worker.wait_for("stopping")
    assert worker.running
    worker.send(signal.SIGTERM)

    assert worker.wait(seconds=5) == 1
    step = scene.client.get(run_id).steps[0]
    assert (step.tasks["queued"], step.crashes) == (1, 0), (step, worker.stderr)
    (scene.folder / "hold").unlink()
    scene.worker()
    assert scene.ended(run_id).status == "completed"


def test_a_worker_stops_although_the_database_is_away(
    crashable: CrashableServer, app: App, start_cli: StartCli
) -> None:
    """No endless attempts to say goodbye: exit code 0 (F13)."""
    scene = Scene(crashable.conninfo(), app, start_cli)
    worker = scene.worker()
    worker.wait_for("worker started")
    crashable.kill()
    worker.wait_for("trying again")

    worker.send(signal.SIGTERM)

    assert worker.wait(seconds=5) == 0
    scene.client.close()


def test_a_module_that_hangs_when_imported_does_not_keep_its_worker(scene: Scene) -> None:
    """SIGINT, then SIGTERM: the worker ends although the import goes on, exit code 1 (R-14)."""
    (scene.folder / "stuck.py").write_text(
        "import threading\nopen('begun', 'w').close()\nthreading.Event().wait()\n"
    )
    run_id = scene.begin(STAY.replace("faulty.stay", "stuck.stay"))
    worker = scene.worker()
    eventually((scene.folder / "begun").exists)

    worker.send(signal.SIGINT)
    worker.wait_for("stopping")
    worker.send(signal.SIGTERM)

    assert worker.wait(seconds=5) == 1
    step = scene.client.get(run_id).steps[0]
    assert (step.tasks["queued"], step.attempts) == (1, 0)
