"""S-14, T15: a worker reports on what its own login has claimed, from its queues."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import ForeignKeyViolation, InsufficientPrivilege

from tests.engine.driver import Engine, a_step, a_wait, done, failed, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def boss(owner: psycopg.Connection) -> Iterator[Engine]:
    """The owner, who deploys and starts; the invariants hold when the test is over."""
    boss = Engine(owner)
    yield boss
    assert boss.violations() == []


@pytest.fixture
def run(boss: Engine) -> str:
    """A run of two steps with an input that is not sent along."""
    boss.deploy("billing", {"charge": a_step(), "ship": a_step("charge")}, input={"card": {}})
    return boss.start("billing", {"card": "4711"})


def login(engine: Engine) -> str:
    """The name with which it logged in."""
    return str(engine.one("select session_user"))


ATTACKS: dict[str, Callable[[Engine, Engine, Any], object]] = {
    "complete": lambda thief, victim, task: thief.call(
        "turn", victim.worker, json.dumps([done(task, "forged")]), [], 0, "30 s"
    ),
    "fail": lambda thief, victim, task: thief.call(
        "turn", victim.worker, json.dumps([failed(task, "fatal")]), [], 0, "30 s"
    ),
    "claim in its name": lambda thief, victim, _: thief.call(
        "turn", victim.worker, "[]", ["billing"], 1, "30 s"
    ),
    "extend its lease": lambda thief, victim, task: thief.call(
        "heartbeat", victim.worker, "1 day", named(task)
    ),
    "keep it alive": lambda thief, victim, _: thief.call("heartbeat", victim.worker, "30 s", "[]"),
    "stop it": lambda thief, victim, _: thief.call("stop_worker", victim.worker),
    "take its id": lambda thief, victim, _: thief.call(
        "register_worker", victim.worker, None, "{}"
    ),
    "fail its run": lambda thief, _, task: thief.call("fail_run", task["run"], '{"type": "X"}'),
    "read its gauges": lambda thief, victim, _: thief.call("gauges", victim.worker),
    "take its spans": lambda thief, victim, _: thief.call("take_spans", victim.worker),
    "write its log": lambda thief, victim, _: thief.call(
        "write_logs", victim.worker, '{"lines": [], "progress": []}'
    ),
    "read its run": lambda thief, _, task: thief.call("run_input", task["run"]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_worker_of_another_login_is_refused(
    attack: str, run: str, boss: Engine, worker: Engine, rival: Engine
) -> None:
    """It knows the worker's id, the run and the attempt; nothing changes and the victim goes on."""
    (task,) = worker.claim("billing")
    state = (
        "select jsonb_agg(t order by step_slug) || (select jsonb_agg(w order by worker_id)"
        " from pgflow.workers w) from pgflow.step_tasks t"
    )
    before = boss.one(state)

    with pytest.raises(InsufficientPrivilege, match=login(rival)):
        ATTACKS[attack](rival, worker, task)

    assert boss.one(state) == before
    assert worker.report(done(task, "real")) == ["applied"]
    assert boss.work("billing") == ["ship"]


@pytest.mark.parametrize("attack", ["take its id", "keep it alive", "extend its lease", "stop it"])
def test_the_id_of_a_deleted_worker_stays_its_logins(
    attack: str, run: str, boss: Engine, worker: Engine, rival: Engine
) -> None:
    """Its tasks are not the booty of who registers first; it registers again and goes on."""
    (task,) = worker.claim("billing")
    boss.db.execute("delete from pgflow.workers where worker_id = %s", [worker.worker])
    before = boss.one("select jsonb_agg(t) from pgflow.step_tasks t")

    with pytest.raises(InsufficientPrivilege, match="registered by another login"):
        ATTACKS[attack](rival, worker, task)
    with pytest.raises(ForeignKeyViolation, match="last_worker_id"):
        ATTACKS["complete"](rival, worker, task)

    assert boss.one("select jsonb_agg(t) from pgflow.step_tasks t") == before
    assert rival.call("owned_tasks", worker.worker) == []
    assert worker.heartbeat(task) == {"lost": [], "stop": []}
    worker.call("register_worker", worker.worker, None, "{}")
    assert worker.report(done(task, "real")) == ["applied"]
    assert boss.one("select count(*) from pgflow.former_workers") == 0


def test_another_login_sees_none_of_a_workers_tasks(
    run: str, worker: Engine, rival: Engine
) -> None:
    """Not even their names."""
    (task,) = worker.claim("billing")

    assert rival.call("owned_tasks", worker.worker) == []
    assert worker.call("owned_tasks", worker.worker) == json.loads(named(task))
    assert worker.call("run_input", run) == {"card": "4711"}


@pytest.mark.parametrize("nobody", [None, str(uuid4())], ids=["null", "unknown"])
def test_a_report_needs_a_worker(nobody: str | None, run: str, worker: Engine) -> None:
    """Null matched any worker's attempt; an unknown worker has none."""
    (task,) = worker.claim("billing")

    with pytest.raises(ForeignKeyViolation, match="last_worker_id"):
        worker.call("turn", nobody, json.dumps([done(task, "forged")]), [], 0, "30 s")

    assert worker.report(done(task)) == ["applied"]


def test_a_worker_fails_only_a_run_of_which_it_holds_a_task(
    run: str, boss: Engine, worker: Engine
) -> None:
    """Having had one is enough to read the input, as it was sent with that task."""
    worker.report(done(*worker.claim("billing")))
    assert worker.call("run_input", run) == {"card": "4711"}
    with pytest.raises(InsufficientPrivilege, match="no task of run"):
        worker.call("fail_run", run, '{"type": "X"}')

    worker.claim("billing")

    assert worker.call("fail_run", run, '{"type": "X", "message": "x"}') is True
    assert boss.one("select login from pgflow.audit where action = 'fail'") == login(worker)


# Queues


def test_a_login_serves_the_queues_that_it_is_granted(
    run: str, boss: Engine, worker: Engine, rival: Engine
) -> None:
    """As soon as one grant exists, each login needs one; grants count for running workers too."""
    boss.deploy("stock", {"count": a_step()})
    boss.start("stock")
    grant = f"insert into pgflow.queue_grants values ('{login(rival)}', 'stock')"

    boss.db.execute(grant.encode())

    assert rival.call("served_queues") == ["stock"]
    assert [task["flow"].split("__")[0] for task in rival.claim("stock")] == ["stock"]
    for engine, granted in ((rival, "stock"), (worker, "none")):
        with pytest.raises(InsufficientPrivilege, match=f"may not serve .* grants it {granted}"):
            engine.claim("billing")
    with pytest.raises(InsufficientPrivilege, match="may not serve the queues billing"):
        rival.call("register_worker", str(uuid4()), ["billing"], "{}")

    place = {"run": run, "step": "charge", "index": 0, "attempt": 1, "fence": 1, "part": 0}
    rival.call("write_logs", rival.worker, json.dumps({"lines": [{**place, "lines": []}]}))
    assert boss.one("select count(*) from pgflow.task_logs") == 0

    boss.db.execute("delete from pgflow.queue_grants")
    rival.call("write_logs", rival.worker, json.dumps({"lines": [{**place, "lines": []}]}))
    assert boss.one("select count(*) from pgflow.task_logs") == 1

    assert worker.call("served_queues") == ["billing", "stock"]
    assert len(worker.claim("billing")) == 1


def test_a_login_is_told_only_of_ends_in_its_queues(
    run: str, boss: Engine, worker: Engine, rival: Engine
) -> None:
    """Timers end runs of all flows in the turns of all workers; a stranger's id tells nothing."""
    boss.deploy("stock", {"wait": a_wait(wait={"event": "x"}), "count": a_step("wait")}, timeout=1)
    boss.deploy("secret", {"wait": a_wait(wait={"event": "x"}), "do": a_step("wait")}, timeout=1)
    boss.db.execute(f"insert into pgflow.queue_grants values ('{login(rival)}', 'stock')".encode())

    told = []
    for engine, worker_id in ((rival, rival.worker), (worker, rival.worker)):
        boss.start("stock")
        boss.start("secret")
        ends: list[Any] = []
        live = (
            "select count(*) from pgflow.runs where status = 'started' and flow_name <> 'billing'"
        )
        while boss.one(live):
            ends += engine.call("wind", worker_id).get("ended", [])
        told.append([end["flow"] for end in ends])

    assert told == [["stock"], []]


def test_a_login_sees_gauges_and_spans_of_its_queues_only(
    run: str, boss: Engine, worker: Engine, rival: Engine
) -> None:
    """The other login, on the same host, reads its own; no one's spans go to a stranger."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for flow in ("stock", "secret"):
        boss.deploy(flow, {"count": a_step()})
        traced = boss.call("start_run", flow, "{}", None, None, None, trace)
        boss.call("cancel_run", traced["run_id"])
        boss.start(flow)
    boss.db.execute(f"insert into pgflow.queue_grants values ('{login(rival)}', 'stock')".encode())
    boss.db.execute(f"insert into pgflow.queue_grants values ('{login(worker)}', '*')".encode())
    boss.db.execute(
        """update pgflow.workers set info = '{"host": "web1", "metrics": true}'
        where login <> session_user"""
    )

    seen = rival.call("gauges", rival.worker)
    spans = rival.call("take_spans", rival.worker)
    others = worker.call("gauges", worker.worker)

    assert {row["queue"] for row in seen["queues"]} == {"pgflow__timers", "stock"}
    assert {row["flow"] for row in seen["runs"]} == {"stock"}
    assert {span["flow"] for span in spans} == {"stock"}
    assert {row["flow"] for row in others["runs"]} == {"billing", "secret", "stock"}
    assert {s["flow"] for s in worker.call("take_spans", worker.worker)} == {"secret"}


def test_a_grant_to_a_role_counts_for_its_members(
    run: str, boss: Engine, worker: Engine, rival: Engine
) -> None:
    """A star is every queue."""
    boss.db.execute(
        f"""
        insert into pgflow.queue_grants values
          ('pgflow_worker', 'stock'), ('{login(worker)}', '*'), ('no_such_role', 'billing')
        """.encode()
    )

    with pytest.raises(InsufficientPrivilege, match="grants it stock"):
        rival.claim("billing")
    assert len(worker.claim("billing")) == 1


@pytest.mark.parametrize("queue", ["pgflow__timers", "PGFLOW__TIMERS"])
def test_nobody_claims_from_the_queue_of_timers(queue: str, boss: Engine, worker: Engine) -> None:
    """The tasks there are child runs: whoever claimed one could invent its result."""
    boss.deploy("pause", {"wait": a_wait(wait={"for": 3_600_000})})
    boss.start("pause")

    with pytest.raises(psycopg.Error, match=r"names of queues"):
        worker.claim(queue)


def test_the_messages_of_other_programs_stay(boss: Engine, worker: Engine) -> None:
    """A queue of pgmq that no flow has is not emptied by a worker that names it."""
    boss.db.execute("set role pgflow_owner")
    boss.db.execute("select pgmq.create('letters')")
    boss.db.execute("select pgmq.send('letters', '{}')")
    table = "select array_agg(q order by msg_id) from pgmq.q_letters q"
    before = boss.one(table)

    with pytest.raises(InsufficientPrivilege, match='"letters" are not tasks'):
        worker.call("turn", worker.worker, "[]", ["letters"], 5, "30 s")

    assert boss.one(table) == before


# Who did it


def test_the_login_is_kept_beside_the_name_that_was_given(
    connect: Callable[..., psycopg.Connection], boss: Engine
) -> None:
    """S-24: a caller can claim to be anybody; the login is what the server checked."""
    deployer, client = Engine.__new__(Engine), Engine.__new__(Engine)
    deployer.db, client.db = connect("deployer"), connect("client")
    event = {"event": "paid"}
    steps = {"one": a_wait(wait=event), "two": a_wait(wait=event)}
    deployed = deployer.deploy("flow", steps)
    deployer.call("activate", "flow", deployed["version"])
    run, other = client.start("flow"), client.start("flow")
    client.call("approve_step", run, "one", None, "the pope")
    client.call("reject_step", run, "two", None, "the pope")
    client.call("send_event", other, "paid", "{}", "the pope")
    client.call("cancel_run", client.start("flow"), "wrong")

    audit = boss.db.execute("select action, who, login from pgflow.audit order by id").fetchall()

    assert audit == [
        ("deploy", login(deployer), login(deployer)),
        ("approve", "the pope", login(client)),
        ("reject", "the pope", login(client)),
        ("cancel", login(client), login(client)),
    ]
    events = "select distinct sent_by || ' ' || login from pgflow.events"
    assert boss.one(events) == f"the pope {login(client)}"
    assert boss.one("select array_agg(distinct started_by) from pgflow.runs") == [login(client)]
    assert boss.one("select created_by from pgflow.definitions") == login(deployer)
