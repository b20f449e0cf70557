"""Effects exactly once (F2, F3, F8): what handlers with `tx` wrote is what completed, row by row.

Each trial is one task whose worker is killed or frozen while it has an open transaction, or whose
commit has no answer. PGFLOW_YAML_EFFORT=100 makes it a thousand trials of each kind.
"""

from __future__ import annotations

import json
import signal
from random import Random
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database.store import Attempt, Links
from tests.engine.driver import Engine, a_step, done
from tests.fixtures.effort import examples, patient
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from pgflow_yaml import Client
    from pgflow_yaml.database.store import Transaction
    from tests.engine.driver import Task
    from tests.fixtures.apps import App
    from tests.fixtures.proxy import Proxy
    from tests.fixtures.worker_process import StartCli, WorkerProc
    from tests.fixtures.working import Works

TRIALS = examples(10)
HELD = min(20, TRIALS)
"""The tasks that one worker holds at once: each of them is a trial."""
EFFECTS = """
create table public.effects (run_id uuid, index int, fence int, primary key (run_id, index));
grant all on public.effects to public"""
HANDLERS = """
import os, time
from pathlib import Path

HERE = Path(__file__).parent

def put(item, ctx, *, tx):
    tx.execute("insert into effects values (%s, %s, %s)", [ctx.run_id, ctx.index, ctx.fence])
    with open(HERE / "begun", "a", buffering=1) as out:
        out.write(f"{os.getpid()} {ctx.run_id} {ctx.index} {ctx.fence}\\n")
    while ctx.fence == 1 and not (HERE / f"open-{ctx.run_id}").exists():
        time.sleep(0.01)
    return item
"""
FLOW = """
flow: pay
input: {items: {type: array}}
steps:
  put: {handler: bank.put, map: input.items, timeout: 50s}
"""


class Bank:
    """A flow whose map writes a row for each item, and workers to kill and to freeze."""

    def __init__(self, works: Works, app: App, db: psycopg.Connection, start: StartCli) -> None:
        self.client: Client = works.client
        self.works, self.folder, self.db, self._start = works, app.folder, db, start
        app.write("bank.py", HANDLERS)
        db.execute(EFFECTS)
        works.deploy(FLOW)

    def worker(self, failpoints: str = "") -> WorkerProc:
        """Start a worker with a slot for each task."""
        words = ("worker", "--lease", "1s", "-c", str(HELD))
        return self._start(
            *words,
            dsn=self.works.database,
            cwd=self.folder,
            PGFLOW_YAML_FAILPOINTS=failpoints,
        )

    def start(self, items: int = HELD) -> str:
        """Start a run; return its id."""
        return self.client.start_run("pay", {"items": list(range(items))}).run_id

    def until_begun(self, run_id: str, worker: WorkerProc) -> None:
        """Wait until a worker has written the row of each task of a run."""

        def all_begun() -> bool:
            assert worker.running, worker.stderr
            path = self.folder / "begun"
            text = path.read_text() if path.exists() else ""
            return text.count(f"{worker.pid} {run_id} ") == HELD

        eventually(all_begun, seconds=30, what="each task has written")

    def open(self, run_id: str) -> None:
        """Let the first attempts of a run go on."""
        (self.folder / f"open-{run_id}").touch()

    def until_ended(self, run_id: str, worker: WorkerProc) -> None:
        """Wait until a run has completed."""
        eventually(
            lambda: self.client.get(run_id).ended, seconds=45, what=f"it ends: {worker.stderr}"
        )
        assert self.client.get(run_id).status == "completed", worker.stderr


@pytest.fixture
def bank(works: Works, app: App, db: psycopg.Connection, start_cli: StartCli) -> Bank:
    """A bank without effects."""
    return Bank(works, app, db, start_cli)


def assert_exactly_once(db: psycopg.Connection, tasks: int) -> None:
    """The effects are those of the attempts that completed; nothing is missing or left over."""
    effects = db.execute("select run_id, index, fence from effects order by 1, 2").fetchall()
    completed = db.execute(
        "select run_id, task_index, attempts_count from pgflow.step_tasks "
        "where status = 'completed' order by 1, 2"
    ).fetchall()
    assert len(completed) == tasks
    assert effects == completed


@patient
@pytest.mark.parametrize("point", ["after_handler", "before_tx_commit", "after_tx_commit"])
def test_kill_9_around_the_commit(bank: Bank, point: str) -> None:
    """Some tasks of the worker have committed, one is about to, others are on their way (F2)."""
    chance = Random(point)
    batches = max(1, TRIALS // HELD)
    for _ in range(batches):
        victim = bank.worker(f"{point}=kill@{chance.randint(1, HELD)}")
        run_id = bank.start()
        bank.until_begun(run_id, victim)
        bank.open(run_id)
        assert victim.wait() == -signal.SIGKILL

        heir = bank.worker()
        bank.until_ended(run_id, heir)
        heir.kill()
    assert_exactly_once(bank.db, batches * HELD)


@patient
def test_a_frozen_worker_holds_up_nobody_and_commits_nothing(bank: Bank) -> None:
    """Its transactions hold locks that the next attempts need: these end them (F8)."""
    batches = max(1, TRIALS // HELD)
    for _ in range(batches):
        zombie = bank.worker()
        run_id = bank.start()
        bank.until_begun(run_id, zombie)
        zombie.freeze()
        owner = bank.worker()
        bank.until_ended(run_id, owner)
        zombie.thaw()
        bank.open(run_id)
        owner.kill()
        last = bank.start()
        bank.open(last)
        bank.until_ended(last, zombie)
        zombie.kill()
    assert_exactly_once(bank.db, 2 * batches * HELD)


@patient
@pytest.mark.parametrize("zombie_is_first", [True, False])
def test_a_late_completion_is_lost_with_its_effects(
    database: str, db: psycopg.Connection, *, zombie_is_first: bool
) -> None:
    """The task is another's when its transaction settles, before and after that one did (F8)."""
    db.execute("create table public.effects (run_id uuid, index int, fence int)")
    zombie, owner = Engine(db), Engine(db)
    links = Links(database)
    zombie.deploy("zombies", {"work": a_step(initial_tasks=HELD)})
    batches = max(1, TRIALS // HELD)
    verdicts: list[str] = []
    for _ in range(batches):
        zombie.start("zombies")
        late = claims(zombie, lease="1 s")
        live = claims(owner, lease="1 s")
        for task, again in zip(late, live, strict=True):
            owners = written(links, owner, again), again
            zombies = written(links, zombie, task), task
            both = [zombies, owners] if zombie_is_first else [owners, zombies]
            verdicts += [settle(*each) for each in both]
    links.close()

    assert verdicts.count("applied") == batches * HELD
    assert set(verdicts) <= {"applied", "lost", "run_terminal"}  # the last one ends its run
    assert_exactly_once(db, batches * HELD)


def claims(engine: Engine, *, lease: str) -> list[Task]:
    """Claim all tasks, once what holds them has ended; return them by index."""
    found: dict[int, Task] = {}

    def all_claimed() -> bool:
        found.update({task["index"]: task for task in engine.claim("zombies", lease=lease)})
        return len(found) == HELD

    eventually(all_claimed, what="tasks can be claimed")
    return [found[index] for index in range(HELD)]


def written(links: Links, engine: Engine, task: Task) -> Transaction:
    """Begin a transaction for an attempt, and write its row."""
    transaction = links.transaction(
        Attempt(
            worker=engine.worker,
            run_id=task["run"],
            label=f"{task['step']}[{task['index']}]",
            fence=task["attempt"],
            seconds=20,
        )
    )
    transaction.begin()
    transaction.connection.execute(
        "insert into effects values (%s, %s, %s)", [task["run"], task["index"], task["attempt"]]
    )
    return transaction


def settle(transaction: Transaction, task: Task) -> str:
    """Settle an attempt as its worker does, and commit what is applied."""
    (verdict,) = transaction.settle(json.dumps(done(task, task["index"])), {})["verdicts"]
    if verdict == "applied":
        transaction.commit()
    transaction.end()
    return verdict


@patient
@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_without_an_answer_counts_once(bank: Bank, proxy: Proxy, *, arrives: bool) -> None:
    """The worker gives the task back, and learns whether it has completed (F3)."""

    def swallow() -> None:
        is_lost = not arrives and proxy.swallowed % 2 == 0
        proxy.swallow_reply_to(b"COMMIT\0", b"ABORT \0" if is_lost else None)  # no COMMITTED

    swallow()
    run_id = bank.start(TRIALS)
    bank.open(run_id)
    bank.works.start(conninfo=proxy.conninfo)
    seen = 0

    def ended() -> bool:
        nonlocal seen
        if proxy.swallowed > seen:
            seen = proxy.swallowed
            swallow()
        return bank.client.get(run_id).ended

    eventually(ended, seconds=50 * TRIALS / 10, what="the run ends")

    run = bank.client.get(run_id)
    assert run.output == {"put": list(range(TRIALS))}
    assert proxy.swallowed >= TRIALS // 4  # a quick worker commits before the next one is lost
    assert_exactly_once(bank.db, TRIALS)
