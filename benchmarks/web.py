"""What the queries of the web view cost beside a long history, each held against its goal.

    make bench-web                                   # 1,000,000 runs: some minutes, 2 GB of disk
    .venv/bin/python benchmarks/web.py --runs 100000

One statement writes the runs. A figure is the least of five calls, there and back.
Exit code 1: a goal was missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from figures import Spread, Target, target_table
from server import WORK, Server

from pgflow_yaml import Client
from pgflow_yaml.database import migrate
from pgflow_yaml.project.files import compile_content

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOW = "flow: {name}\nsteps:\n  one: {{handler: app.work, with: {{n: {version}}}}}\n"
MAP = """
flow: wide
input: {items: {type: array}}
steps:
  each: {handler: app.work, map: input.items}
"""
NAMES = ("orders", "reports", "mails")
VERSIONS = 5
ITEMS = 10_000
# One run in twenty has failed, 0.2 % go on, one in ten is a child; all within 100 days.
PAST = """
set session_replication_role = replica;
insert into pgflow.runs (run_id, flow_slug, flow_name, status, input, started_at, completed_at,
  failed_at, error, labels, parent_run_id, run_key)
select gen_random_uuid(), s.slugs[1 + n %% cardinality(s.slugs)],
  split_part(s.slugs[1 + n %% cardinality(s.slugs)], '__', 1), k.status, '{"n": 1}', k.at,
  case k.status when 'completed' then k.at + interval '2 s' end,
  case k.status when 'failed' then k.at + interval '2 s' end,
  case k.status when 'failed' then '{"type": "Broken", "message": "it broke"}'::jsonb end,
  '{"team": "shop"}', case when n %% 10 = 3 then gen_random_uuid() end,
  case when n %% 10 = 7 then 'schedule:every 10m:' || n end
from (select array(select d.flow_slug from pgflow.definitions d where d.name <> 'wide'
                   order by d.flow_slug) as slugs) s,
  generate_series(1, %(runs)s) n,
  lateral (select now() - n * (interval '100 days' / %(runs)s) as at,
    case when n %% 20 = 0 then 'failed' when n %% 500 = 1 then 'started' else 'completed' end
      as status) k;
insert into pgflow.step_states (flow_slug, run_id, step_slug, status, initial_tasks,
  remaining_tasks, created_at, started_at, completed_at, failed_at, made, sent)
select r.flow_slug, r.run_id, 'one', r.status, 1, (r.status <> 'completed')::int, r.started_at,
  r.started_at, r.completed_at, r.failed_at, 1, 1
from pgflow.runs r;
set session_replication_role = origin"""
MADE = """
set session_replication_role = replica;
delete from pgflow.step_tasks where run_id = %(run)s;
insert into pgflow.step_tasks (flow_slug, run_id, step_slug, task_index, status, queue_name)
select r.flow_slug, r.run_id, 'each', n,
  case when n %% 3 = 0 then 'completed' when n %% 100 = 1 then 'failed' else 'queued' end, 'wide'
from pgflow.runs r, generate_series(0, %(last)s) n where r.run_id = %(run)s;
set session_replication_role = origin"""
FILTERS: dict[str, dict[str, Any]] = {
    "the newest": {},
    "children too": {"children": True},
    "of a flow": {"flow": "orders"},
    "of an unknown flow": {"flow": "nothing"},
    "of a version": {"version": "VERSION"},
    "completed": {"status": "completed"},
    "failed": {"status": "failed"},
    "failed, of a flow": {"status": "failed", "flow": "orders"},
    "cancelled: none": {"status": "cancelled"},
    "started": {"status": "started"},
    "waiting: none": {"status": "waiting"},
    "with a label": {"labels": {"team": "shop"}},
    "with a label that none has": {"labels": {"team": "none"}},
    "of a flow, with a label that none has": {"flow": "orders", "labels": {"team": "none"}},
    "with an error": {"error": "broke"},
    "with an error that none has": {"error": "fire"},
    "of a schedule": {"flow": "orders", "schedule": "every 10m"},
    "of an unknown schedule": {"schedule": "every 11m"},
    "of an unknown parent": {"parent": "00000000-0000-0000-0000-000000000001"},
    "of a day": {"since": 86_400},
    "older than 90 days": {"older": 90 * 86_400},
}


def filled(db: psycopg.Connection, client: Client, runs: int) -> str:
    """Write the history; return the run with the map."""
    for version in range(VERSIONS):
        for name in NAMES:
            _deploy(client, FLOW.format(name=name, version=version))
    _deploy(client, MAP)
    with psycopg.ClientCursor(db) as cursor:
        cursor.execute(PAST.encode(), {"runs": runs})
        wide = client.start_run("wide", {"items": list(range(ITEMS))}).run_id
        cursor.execute(MADE.encode(), {"run": wide, "last": ITEMS - 1})
    db.execute("vacuum analyze")
    return wide


def _deploy(client: Client, text: str) -> None:
    client.deploy(compile_content(text.encode(), file="a flow").require())


def measured(db: psycopg.Connection, wide: str) -> Iterator[Target]:
    """Time each query of the pages."""
    (version,) = db.execute("select max(version) from pgflow.definitions").fetchone() or ("",)
    listed = "select pgflow.run_page(%s::jsonb, %s)"
    for name, filters in FILTERS.items():
        text = json.dumps(filters).replace("VERSION", version)
        yield _target(db, f"50 runs, {name}", 100, listed, text, 50)
    yield _target(db, "200 runs, the newest", 100, listed, "{}", 200)
    newest = db.execute("select pgflow.run_page('{}', 50)").fetchone() or ({},)
    runs = [run["id"] for run in newest[0]["runs"]]
    yield _target(db, "flows, without counts", 50, "select pgflow.list_flows(false)")
    yield _target(db, "flows, with counts", 1000, "select pgflow.list_flows()")
    yield _target(db, "strips of all flows", 100, "select pgflow.flow_strips()")
    yield _target(db, "marks of 50 runs", 5, "select pgflow.run_marks(%s::uuid[])", runs)
    yield _target(db, "marks of a map of 10,000", 5, "select pgflow.run_marks(%s::uuid[])", [wide])
    look = "select pgflow.run_snapshot(%s::uuid, false, 0, false, false, false)"
    yield _target(db, "a look at a run", 30, look, runs[0])
    yield _target(db, "a look at a map of 10,000", 50, look, wide)
    yield _target(db, "10,000 items", 50, "select pgflow.step_items(%s::uuid, 'each')", wide)
    failed = "select pgflow.list_items(%s::uuid, 'each', array['failed'])"
    yield _target(db, "the first 100 failed items", 50, failed, wide)


def _target(
    db: psycopg.Connection, name: str, milliseconds: float, query: str, *arguments: object
) -> Target:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        db.execute(query.encode(), arguments)
        times.append(1000 * (time.perf_counter() - began))
    spread = Spread(min(times), min(times), max(times))
    return Target(name, spread, milliseconds, None, "less", "ms")


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the data")
    args = parser.parse_args()
    server = Server(args.work.resolve() / "server")
    name, uri = server.fresh(with_pgmq=True)
    try:
        migrate.apply(uri)
        with psycopg.connect(uri, autocommit=True) as db, Client(uri) as client:
            began = time.monotonic()
            wide = filled(db, client, args.runs)
            print(f"{args.runs:,} runs written in {time.monotonic() - began:.0f} s", flush=True)
            targets = list(measured(db, wide))
    finally:
        server.drop(name)
        server.close()
    print(target_table(targets))
    return int(any(target.verdict != "met" for target in targets))


if __name__ == "__main__":
    sys.exit(main())
