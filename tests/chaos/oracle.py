"""What must hold after a storm; each violation is one sentence.

Two witnesses are independent of the engine: the journal of the handlers, and triggers that note
each end of a task, step or run and each change of one that has ended.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.chaos.mix import CANCELLED, FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import psycopg

    from tests.chaos.mix import Plan

WITNESS = """
create schema chaos;
create table chaos.ends (
  kind text, run_id uuid, step text, index int, was text, became text, attempt int);
create function chaos.note() returns trigger language plpgsql as $$
declare
  v_row jsonb := to_jsonb(new);
begin
  insert into chaos.ends values (
    tg_table_name, new.run_id, v_row ->> 'step_slug', (v_row ->> 'task_index')::int,
    old.status, new.status, (v_row ->> 'attempts_count')::int);
  return null;
end
$$;
"""
TRIGGER = """
create trigger chaos_note after update on pgflow.{table} for each row
when (old.status is distinct from new.status
      and not (old.status in ('created', 'queued', 'started')
               and new.status in ('created', 'queued', 'started')))
execute function chaos.note()
"""
TABLES = ("runs", "step_states", "step_tasks")

TWICE = """
select format('%s %s/%s/%s ended %s times: %s', kind, run_id, step, index, count(*),
              string_agg(was || ' to ' || became, ', '))
from chaos.ends group by kind, run_id, step, index having count(*) > 1
"""
INVARIANTS = """
select format('%s: %s %s/%s', invariant, details, run_id, step_slug) from pgflow.violations()
union all
select format('%s: %s %s/%s', invariant, details, queue_name, message_id)
from pgflow.queue_violations()
"""
STUCK = """
select format('%s %s is still started; live steps: %s', r.flow_name, r.run_id, (
    select string_agg(format('%s %s, due %s', s.step_slug, s.status, s.wakes_at), '; ')
    from pgflow.step_states s
    where s.run_id = r.run_id and s.status in ('created', 'started')))
from pgflow.runs r where r.status = 'started'
"""
COMPLETED = """
select t.run_id::text, t.step_slug, t.task_index, t.attempts_count, t.output ->> 'fence'
from pgflow.step_tasks t where t.status = 'completed' and t.queue_name <> 'pgflow__timers'
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A line of the journal: one end of a call."""

    run: str
    step: str
    index: int
    fence: int
    what: str
    pid: int
    at: float

    @property
    def attempt(self) -> tuple[str, str, int, int]:
        """What the call was an attempt of, with its fence."""
        return self.run, self.step, self.index, self.fence


def journal(folder: Path) -> list[Call]:
    """Read what handlers have done so far; a line that is being written is not there yet."""
    try:
        *lines, _ = (folder / "journal").read_text().split("\n")
    except FileNotFoundError:
        return []
    return [Call(*json.loads(line)) for line in lines]


def call_witnesses(db: psycopg.Connection) -> None:
    """Install the triggers."""
    db.execute(WITNESS)
    for table in TABLES:
        db.execute(TRIGGER.format(table=table).encode())


def verdict(db: psycopg.Connection, plans: Mapping[str, Plan], calls: list[Call]) -> Iterator[str]:
    """Yield all that is wrong after a storm; `plans` are by the id of their run."""
    for query in (STUCK, TWICE, INVARIANTS):
        yield from answers(db, query)
    yield from queues(db)
    yield from _outcomes(db, plans)
    yield from _effects(db, calls)


def answers(db: psycopg.Connection, query: str) -> list[str]:
    """Return the one column of a query."""
    return [row[0] for row in db.execute(query.encode())]


def queues(db: psycopg.Connection) -> Iterator[str]:
    """Yield the queues that still have messages which will become visible."""
    for queue in answers(db, "select queue_name from pgmq.meta"):
        query = f"select count(*), min(message::text) from pgmq.q_{queue} where vt < 'infinity'"
        count, message = db.execute(query.encode()).fetchone() or (0, "")
        if count:
            yield f"queue {queue} still has {count} messages, such as {message}"


def _outcomes(db: psycopg.Connection, plans: Mapping[str, Plan]) -> Iterator[str]:
    query = """
        select r.run_id::text, r.status, r.output, r.error, (
          select jsonb_object_agg(s.step_slug, s.status)
          from pgflow.step_states s where s.run_id = r.run_id)
        from pgflow.runs r where r.parent_run_id is null
    """
    runs = {run: facts for run, *facts in db.execute(query.encode())}
    for run in plans.keys() ^ runs.keys():
        yield f"run {run} was {'lost' if run in plans else 'started by nobody'}"
    for run in plans.keys() & runs.keys():
        yield from _outcome(run, plans[run], runs[run])


def _outcome(run: str, plan: Plan, facts: list[Any]) -> Iterator[str]:
    status, output, error, steps = facts
    is_open = FAILED in steps.values()  # nobody had handled it when the cancel came
    if plan.may_be_cancelled and (status == CANCELLED or (status == FAILED and is_open)):
        return
    if status != plan.status or (plan.output is not None and output != plan.output):
        yield (
            f"{plan.flow} {run} with {plan.input} is {status}, {output}, {error}; "
            f"it must be {plan.status}, {plan.output}; its steps: {steps}"
        )
    for step, wanted in plan.steps.items():
        if steps[step] != wanted:
            yield f"step {step} of {plan.flow} {run} is {steps[step]}, not {wanted}"


def _effects(db: psycopg.Connection, calls: list[Call]) -> Iterator[str]:
    """No fence was given out twice; each completed task was done by the attempt that it names."""
    begun = Counter(call.attempt for call in calls if call.what == "begin")
    for attempt, count in begun.items():
        if count > 1:
            yield f"{count} calls had the same fence: {attempt}"
    done = {call.attempt for call in calls if call.what == "done"}
    for run, step, index, attempt, fence in db.execute(COMPLETED.encode()):
        if (run, step, index, attempt) not in done:
            yield f"task {run}/{step}/{index} completed, but its attempt {attempt} did not"
        if fence != str(attempt):
            yield f"task {run}/{step}/{index} has the output of attempt {fence}, not {attempt}"
