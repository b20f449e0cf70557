"""What one call of the engine reads: pages and rows, counted by the server; no clock is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from tests.engine.driver import Engine

LARGE = ("runs", "step_states", "step_tasks", "task_errors", "q_%")
_ROWS = """
select coalesce(sum(seq_scan), 0), coalesce(sum(idx_tup_fetch), 0)
from pg_stat_xact_user_tables where schemaname in ('pgflow', 'pgmq') and relname like any(%s)"""

FINISHED, LIVE, PARKED = 100_000, 20_000, 1_000_000

# Triggers are off: foreign keys and defaults of a million rows are not what is tested here.
CROWD = """
set session_replication_role = replica;
create temp table crowd as
select gen_random_uuid() as run_id, nextval('pgmq.q_{queue}_msg_id_seq') as message_id,
  case when g > {finished} then 'started' else 'completed' end as status,
  case when g > {finished} then null else now() end as completed_at
from generate_series(1, {finished} + {live}) g;

insert into pgflow.runs (run_id, flow_slug, flow_name, status, input, completed_at)
select c.run_id, '{slug}', '{queue}', c.status, '{{}}', c.completed_at from crowd c;
insert into pgflow.step_states (flow_slug, run_id, step_slug, status, initial_tasks,
  remaining_tasks, started_at, completed_at, made, sent)
select '{slug}', c.run_id, 'a', c.status, 1, (c.status = 'started')::int, now(), c.completed_at,
  1, 1 from crowd c;
insert into pgflow.step_tasks (flow_slug, run_id, step_slug, status, message_id, queue_name,
  completed_at)
select '{slug}', c.run_id, 'a', replace(c.status, 'started', 'queued'), c.message_id, '{queue}',
  c.completed_at from crowd c;
insert into pgflow.task_errors (run_id, step_slug, task_index, attempt, type, message, final)
select c.run_id, 'a', 0, 1, 'Broken', 'it broke', false from crowd c;

insert into pgmq.q_{queue} (msg_id, vt, message) overriding system value
select c.message_id, 'infinity', '{{}}' from crowd c where c.status = 'started';
insert into pgmq.q_{queue} (vt, message)
select now() + g * interval '1 s', '{{}}' from generate_series(1000, 999 + {parked}) g;
insert into pgmq.q_pgflow__timers (vt, message)
select now() + g * interval '1 s', '{{}}' from generate_series(1000, 999 + {parked}) g;
drop table crowd;
set session_replication_role = origin"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call: pages looked at, rows fetched over an index, scans of whole large tables."""

    pages: int
    rows: int
    scans: int


class Meter:
    """Calls functions of the engine and keeps the cost of each."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.costs: dict[str, Cost] = {}

    def call(self, name: str, function: str, *arguments: object) -> Any:
        """The result of `select pgflow.function(arguments)`; its cost goes under `name`."""
        places = ", ".join(["%s"] * len(arguments))
        explain = "explain (analyze, buffers, timing off, summary off, format json)"
        call = f"select pgflow.{function}({places})::text as reply"
        query = f"{explain} create temp table reply as {call}"
        with psycopg.ClientCursor(self.engine.db) as cursor, self.engine.db.transaction():
            before = self._counters(cursor)
            plan: Any = cursor.execute(query.encode(), arguments).fetchone()
            scans, rows = (a - b for a, b in zip(self._counters(cursor), before, strict=True))
            (reply,) = cursor.execute(b"select max(reply) from reply").fetchone() or (None,)
            cursor.execute(b"drop table reply")
        node = plan[0][0]["Plan"]
        pages = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
        self.costs[name] = Cost(pages=pages, rows=rows, scans=scans)
        return json.loads(reply) if reply and reply[0] in "[{" else reply

    @staticmethod
    def _counters(cursor: psycopg.Cursor) -> tuple[int, int]:
        """Scans and fetched rows of this session so far; what differs between two is the call's."""
        scans, rows = cursor.execute(_ROWS.encode(), [list(LARGE)]).fetchone() or (0, 0)
        return int(scans), int(rows)

    def turn(self, name: str, *results: dict[str, Any], queue: str) -> list[dict[str, Any]]:
        """A turn that claims up to 100 tasks."""
        worker, given = self.engine.worker, json.dumps(results)
        reply = self.call(name, "turn", worker, given, [queue], 100, "30 s", [])
        assert set(reply["verdicts"]) <= {"applied"}
        tasks: list[dict[str, Any]] = reply["tasks"]
        return tasks


def crowd(engine: Engine, *, queue: str, slug: str) -> None:
    """Put finished runs, live runs that wait, and parked messages beside what there is."""
    sizes = {"finished": FINISHED, "live": LIVE, "parked": PARKED}
    engine.db.execute(CROWD.format(queue=queue, slug=slug, **sizes).encode())
