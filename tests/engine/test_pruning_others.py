"""What else goes when it is old, what a pass reads, and what keeps lists and queues small."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from tests.engine.costs import Meter
from tests.engine.driver import Engine, a_child, a_step, done
from tests.engine.pruner import KINDS, LEFT, prune, prune_due
from tests.engine.test_plans import EXPLAIN, TOUCHED

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door

AGED = "update pgflow.workers set last_heartbeat_at = last_heartbeat_at - %s::interval returning 1"
MANY = """
set session_replication_role = replica;
create temp table many as
select gen_random_uuid() as run_id, now() - interval '40 days' + g * interval '1 s' as at,
  case when g % {live_every} = 0 then 'started' else 'completed' end as status
from generate_series(1, {runs}) g;
insert into pgflow.runs (run_id, flow_slug, flow_name, status, input, remaining_steps, started_at,
  completed_at)
select m.run_id, '{slug}', 'flow', m.status, '{{}}', (m.status = 'started')::int, m.at,
  case m.status when 'completed' then m.at end from many m;
insert into pgflow.step_states (flow_slug, run_id, step_slug, status, initial_tasks,
  remaining_tasks, created_at, started_at, completed_at, made, sent)
select '{slug}', m.run_id, 'a', m.status, 1, (m.status = 'started')::int, m.at, m.at,
  case m.status when 'completed' then m.at end, 1, 1 from many m;
insert into pgflow.step_tasks (flow_slug, run_id, step_slug, status, message_id, queue_name,
  queued_at, completed_at)
select '{slug}', m.run_id, 'a', replace(m.status, 'started', 'queued'),
  nextval('pgmq.q_flow_msg_id_seq'), 'flow', m.at,
  case m.status when 'completed' then m.at end from many m;
insert into pgmq.q_flow (msg_id, vt, message) overriding system value
select t.message_id, 'infinity', '{{}}' from many m
join pgflow.step_tasks t on t.run_id = m.run_id where m.status = 'started';
drop table many;
set session_replication_role = origin"""


def many(engine: Engine, runs: int, live_every: int) -> None:
    """Put runs of one flow there that are 40 days old; every so many-th goes on."""
    slug = engine.deploy("flow", {"a": a_step()})["flow_slug"]
    text = MANY.format(slug=slug, runs=runs, live_every=live_every)
    engine.db.execute(text.encode())


def test_workers_that_fell_silent_a_week_ago_are_forgotten(engine: Engine, other: Engine) -> None:
    """With their tasks left alone; one that comes back registers again."""
    engine.deploy("flow", {"a": a_step()})
    engine.start("flow")
    (task,) = engine.claim("flow")
    assert prune(engine, kinds=KINDS) == {}
    engine.one(AGED, "6 days")
    assert prune(engine, kinds=KINDS) == {}
    engine.one(AGED, "25 hours")
    engine.call("register_worker", other.worker, None, "{}")

    assert prune(other, kinds=KINDS, dry_run=True) == {"workers": 1}
    assert prune_due(other, kinds=KINDS) == {"workers": 1}

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        engine.report(done(task))
    engine.call("register_worker", engine.worker, None, "{}")
    assert engine.report(done(task)) == ["applied"]


def test_to_forget_workers_reads_no_task(door: Door) -> None:
    """The trigger of the table lets pruned ones pass, of whatever client they were."""
    engine = Engine(door.db)
    many(engine, 3000, live_every=1)
    door.one("update pgflow.workers set last_heartbeat_at = '2000-01-01' returning 1")
    meter = Meter(engine)
    cursor = json.dumps({"others": True})

    reply = meter.call("prune", "prune", str(uuid4()), cursor)

    assert reply["workers"] == 2
    assert (meter.costs["prune"].rows, meter.costs["prune"].scans) == (0, 0)


def test_the_audit_goes_back_a_year(engine: Engine) -> None:
    """What is older goes; a pass that a person asked for is in it."""
    engine.deploy("flow", {"a": a_step()})
    engine.db.execute("update pgflow.audit set created_at = created_at - interval '366 days'")

    assert prune(engine, dry_run=True, kinds=KINDS) == {"audit": 1}
    assert prune(engine, "flow", "7 days", kinds=KINDS) == {}
    assert prune(engine, kinds=KINDS) == {"audit": 1}

    query = "select json_agg(array[action, subject, details::text] order by id) from pgflow.audit"
    assert engine.one(query) == [
        ["prune", "flow", '{"older_than": "7 days"}'],
        ["prune", "*", '{"older_than": null}'],
    ]


def test_versions_that_nobody_can_miss_go(engine: Engine) -> None:
    """The last 20 stay, and those that are active, have runs, or are named by another flow."""
    versions = [engine.deploy("flow", {f"a{number}": a_step()})["version"] for number in range(26)]
    engine.call("activate", "flow", versions[0])
    engine.call("start_run", "flow", "{}", None, versions[1])
    engine.deploy("parent", {"sub": a_child(f"flow@{versions[2]}")})

    assert prune(engine, "parent", kinds=KINDS) == {}
    assert prune(engine, "flow", dry_run=True, kinds=KINDS) == {"versions": 3}
    assert prune(engine, kinds=KINDS) == {"versions": 3}

    left = [row["version"] for row in engine.call("list_versions", "flow")]
    assert sorted(left) == sorted(versions[:3] + versions[6:])
    assert engine.deploy("flow", {"a3": a_step()})["status"] == "created"


def test_a_version_that_is_being_started_or_deployed_stays(engine: Engine, other: Engine) -> None:
    """Nobody waits: it goes with a later pass, if it may."""
    versions = [engine.deploy("flow", {f"a{n}": a_step()})["version"] for n in range(22)]
    engine.db.execute("set lock_timeout = '1ms'")

    with other.db.transaction():
        other.call("activate", "flow", versions[-1])
        assert prune(engine, kinds=KINDS) == {}
    with other.db.transaction():
        other.call("start_run", "flow", "{}", None, versions[0])
        assert prune(engine, kinds=KINDS) == {"versions": 1}

    left = {row["version"] for row in engine.call("list_versions", "flow")}
    assert left == set(versions) - {versions[1]}


def test_archives_of_pgflows_flows_go_when_somebody_says_so(engine: Engine, door: Door) -> None:
    """By age, 5,000 messages a commit, of all queues; no pass touches them by itself."""
    for slug, messages in (("one", 5001), ("two", 3)):
        door.flow(slug, a={})
        door.db.execute(
            f"""insert into pgmq.a_{slug} (msg_id, read_ct, enqueued_at, archived_at, vt, message)
            select g, 1, now(), now() - interval '8 days', now(), '{{}}'
            from generate_series(1, {messages}) g""".encode()
        )
    ended = door.start(door.flow("empty"))
    assert prune(engine, None, "0 s") == {}
    assert door.one("select status from pgflow.runs where run_id = %s", ended) == "completed"

    def archives(age: str, *, dry_run: bool = False) -> list[dict[str, int]]:
        cursor: str | None = None
        found: list[dict[str, int]] = []
        while not found or cursor is not None:
            reply = engine.call("prune_archives", age, cursor, dry_run)
            found.append(reply["messages"])
            cursor = reply["cursor"]
        return found

    assert archives("9 days") == [{}]
    assert archives("7 days", dry_run=True) == [{"one": 5001}, {"two": 3}, {}]
    assert archives("7 days") == [{"one": 5000}, {"one": 1}, {"two": 3}, {}]
    assert archives("7 days") == [{}]


def test_a_batch_reads_no_more_than_it_deletes(engine: Engine) -> None:
    """By the index of the flow's runs: past 20 live runs to 200 others, beside 20,000."""
    many(engine, 20_000, live_every=10)
    prune(engine, dry_run=True)
    plans: list[str] = []
    engine.db.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    engine.db.execute(EXPLAIN.encode())

    reply = engine.call("prune_due", engine.worker)

    engine.db.execute("set auto_explain.log_min_duration = -1")
    assert reply["runs"] == {"flow": 200}
    assert len(plans) > 10
    for plan in plans:
        rows = [int(a or b) for a, b in TOUCHED.findall(plan)]
        assert max(rows, default=0) <= 1001, plan[:3000]  # a sort may look one row ahead
        assert "Seq Scan on runs" not in plan
        assert "Seq Scan on step_" not in plan
    assert any("using runs_by_flow" in plan for plan in plans)
    assert engine.violations() == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_50_000_runs_go_and_the_live_ones_stay(engine: Engine) -> None:
    """As many as the dry run says; nothing of them is left, and the rest is as it was."""
    many(engine, 50_000, live_every=100)

    expected = prune(engine, dry_run=True)
    assert expected == {"flow": 49_500, "tasks": 49_500}
    assert prune_due(engine) == expected

    assert engine.one(LEFT) == [500, 500, 500, 0, 0]
    assert prune_due(engine) == {}
    (flow,) = engine.call("list_flows")
    assert flow["runs"] == {
        "started": 500,
        "completed": 0,
        "failed": 0,
        "cancelled": 0,
        "more": False,
    }
    assert engine.violations() == []


def test_lists_count_live_runs_and_the_last_10_000(engine: Engine) -> None:
    """However many there are; `more` says that there are older ones."""
    many(engine, 15_000, live_every=5)
    meter = Meter(engine)

    (flow,) = meter.call("list_flows", "list_flows")
    (version,) = meter.call("list_versions", "list_versions", "flow")

    assert flow["runs"] == version["runs"]
    assert flow["runs"] == {
        "started": 3000,
        "completed": 8000,
        "failed": 0,
        "cancelled": 0,
        "more": True,
    }
    assert version["live"] == 3000
    for cost in meter.costs.values():
        assert cost.rows <= 10_001 + 3000 + 10


def test_queues_and_large_tables_are_vacuumed_often(door: Door) -> None:
    """Of deployed flows, of pgflow's, and the timers; the archives too."""
    Engine(door.db).deploy("ours", {"a": a_step(queue="fast")})
    door.flow("Theirs", a={})
    query = """select c.relname::text, c.reloptions from pg_class c
    where c.relnamespace = any('{pgmq,pgflow}'::regnamespace[]) and c.relkind = 'r'
      and c.reloptions::text like '%%autovacuum%%' order by 1"""

    found = {row["relname"]: row["reloptions"] for row in door.rows(query)}

    tuned = {
        name for name, options in found.items() if "autovacuum_vacuum_threshold=1000" in options
    }
    assert tuned == {
        *("q_ours", "a_ours", "q_fast", "a_fast", "q_theirs", "a_theirs", "q_pgflow__timers"),
    }
    assert found.keys() - tuned == {"runs", "slots", "step_states", "step_tasks"}
