"""Late writes (G3): owners that lost their task to another worker, by SQL and by SIGSTOP."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import psycopg

from pgflow_yaml import Client
from pgflow_yaml.project.flow_set import FlowSet
from tests.chaos import mix, oracle
from tests.chaos.fleet import Fleet
from tests.engine.driver import Engine, a_step, done, failed
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.driver import Task

HELD = 50
"""How many tasks a frozen worker holds: those of the flow `chaos_gates`."""
LATE = ("completed", "failed", "fatal", "retry_later", "released")
REFUSALS = ("late result refused", "lost to another worker")


def by_sql(conninfo: str, trials: int) -> tuple[int, int]:
    """Write late with every outcome; return how many were refused, and live attempts disturbed.

    Each task is claimed twice; the first owner reports and extends its lease while the second
    one works.
    """
    refused = disturbed = 0
    with psycopg.connect(conninfo, autocommit=True) as db:
        zombie, owner = Engine(db), Engine(db)
        zombie.deploy("zombies", {"work": a_step(initial_tasks=HELD)})
        for _ in range(0, trials, HELD):
            run = zombie.start("zombies")
            late = _claims(zombie, lease="1 s")
            live = _claims(owner, lease="5 s")
            before = _rows(db, run)
            lost = zombie.heartbeat(*late)["lost"]
            verdicts = zombie.report(*(_outcome(nr, task) for nr, task in enumerate(late)))
            refused += min(len(lost), Counter(verdicts)["lost"])
            disturbed += len(before ^ _rows(db, run)) // 2
            applied = owner.report(*(done(task, "owner") for task in live))
            disturbed += HELD - Counter(applied)["applied"]
            assert zombie.snapshot(run)["run"]["status"] == "completed"
    return refused, disturbed


def _claims(engine: Engine, *, lease: str) -> list[Task]:
    """Claim all tasks, once what holds them has ended: a lease, or the rest after a restart."""
    found: dict[int, Task] = {}

    def all_claimed() -> bool:
        found.update({task["index"]: task for task in engine.claim("zombies", lease=lease)})
        return len(found) == HELD

    eventually(all_claimed, what="tasks can be claimed")
    return list(found.values())


def _outcome(nr: int, task: Task) -> Task:
    kind = LATE[nr % len(LATE)]
    return done(task, "zombie") if kind == "completed" else failed(task, kind)


def _rows(db: psycopg.Connection, run: str) -> set[tuple[object, ...]]:
    """Return all of the tasks that a late write could change, their messages included."""
    query = """
        select t.task_index, t.status, t.attempts_count, t.crashes_count, t.lease::text,
          t.last_worker_id, t.output::text, q.vt
        from pgflow.step_tasks t join pgmq.q_zombies q on q.msg_id = t.message_id
        where t.run_id = %s
    """
    return set(db.execute(query, [run]).fetchall())


def by_signal(conninfo: str, folder: Path) -> tuple[int, int]:
    """Freeze a worker that holds tasks, past its lease; return refused and disturbed as above.

    When it comes back, half of the tasks have been completed by others and half are live; half
    of its handlers return and half raise.
    """
    with Client(conninfo) as client, Fleet(conninfo, folder, size=0, slots=HELD) as fleet:
        client.deploy(FlowSet.load([mix.APP / "gates.yaml"]))
        zombie = fleet.another()
        run = client.start_run("chaos_gates").run_id
        _until(folder, HELD, fence=1, what="begin")
        zombie.freeze()
        owner = fleet.another()
        _open(folder, "soon-2")
        _until(folder, HELD, fence=2, what="begin")
        _until(folder, HELD // 2, fence=2, what="done")
        _open(folder, "soon-1", "later-1")
        zombie.thaw()
        eventually(lambda: _refusals(zombie.stderr) >= HELD, what="all late results come")
        _open(folder, "later-2")
        ended = eventually(lambda: _ended(client, run), what="the run ends")
        owners = {call.pid for call in oracle.journal(folder) if call.fence == 2}
        with psycopg.connect(conninfo, autocommit=True) as db:
            query = """
                select count(*) from pgflow.step_tasks
                where run_id = %s and attempts_count = 2 and (output ->> 'fence')::int = 2
            """
            row = db.execute(query, [run]).fetchone()
        undisturbed = int(row[0]) if row and owners == {owner.pid} and ended else 0
        return _refusals(zombie.stderr), HELD - undisturbed


def _ended(client: Client, run: str) -> bool:
    return client.get(run).ended


def _refusals(said: str) -> int:
    """Return for how many tasks a worker has said that it lost them."""
    lines = [line for line in said.splitlines() if any(text in line for text in REFUSALS)]
    return len({line.partition("run_id=")[2].partition(" attempt=")[0] for line in lines})


def _open(folder: Path, *gates: str) -> None:
    for gate in gates:
        (folder / f"open-{gate}").touch()


def _until(folder: Path, count: int, *, fence: int, what: str) -> None:
    def there() -> bool:
        found = [c for c in oracle.journal(folder) if (c.fence, c.what) == (fence, what)]
        return len(found) >= count

    eventually(there, seconds=30, what=f"{count} calls with fence {fence} {what}")
