"""Rows that somebody has spoilt, beside a worker: it lives, other runs complete, the bad one ends.

Each column of each table takes its turn, with each value below that its type can hold, the
constraints switched off by the owner. PGFLOW_YAML_EFFORT=100 takes all of them, else a sample.
"""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgflow_yaml.errors import PgflowError
from tests.fixtures.effort import examples, patient
from tests.fixtures.roles import as_program
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.working import Works

HANDLERS = "def one(): return [1, 2]\ndef item(i): return i\ndef last(values): return len(values)"
FLOW = """
flow: {name}
timeout: 1h
input: {{n: {{type: integer, default: 1}}}}
steps:
  first: {{handler: rows.one, queue: shared, start_delay: {delay}}}
  hold: {{wait: {{event: go, timeout: 1h}}}}
  each:
    handler: rows.item
    queue: shared
    map: steps.first.output
    depends_on: [first, hold]
    if: "input.n > 0"
  last:
    handler: rows.last
    queue: shared
    depends_on: [each]
    with: {{values: steps.each.output}}
"""
VALUES = {
    "text": ["null", "'nonsense'", "''"],
    "integer": ["null", "-1", "2147483647"],
    "bigint": ["null", "-1", "9223372036854775807"],
    "jsonb": ["null", "'null'", "'\"x\"'", "'[]'", "'7'", """'{"ast": 7, "with": 7}'"""],
    "timestamp with time zone": ["null", "'infinity'", "'-infinity'"],
    "boolean": ["null", "not {column}"],
    "ARRAY": ["null", "'{}'", "'{NULL}'"],
    "uuid": ["null", "gen_random_uuid()"],
}
TABLES = {
    "flows": "flow_slug = %(slug)s",
    "steps": "flow_slug = %(slug)s",
    "deps": "flow_slug = %(slug)s",
    "definitions": "flow_slug = %(slug)s",
    "runs": "run_id = %(run)s",
    "step_states": "run_id = %(run)s",
    "step_tasks": "run_id = %(run)s",
    "events": "run_id = %(run)s",
}
COLUMNS = """select c.table_name, c.column_name, c.data_type from information_schema.columns c
  where c.table_schema = 'pgflow' and c.table_name = any(%s) and c.is_generated = 'NEVER'
    and c.is_identity = 'NO'
  order by 1, c.ordinal_position"""
UNBIND = """do $$ declare c record; begin
  for c in select conrelid::regclass as t, conname from pg_constraint
    where connamespace = 'pgflow'::regnamespace and contype in ('c', 'f') loop
    execute format('alter table %s drop constraint if exists %I cascade', c.t, c.conname);
  end loop;
  for c in select a.attrelid::regclass as t, a.attname from pg_attribute a
    join pg_class r on r.oid = a.attrelid and r.relnamespace = 'pgflow'::regnamespace
      and r.relkind = 'r'
    where a.attnotnull and a.attnum > 0 and a.attgenerated = '' and a.attidentity = ''
      and not exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary
        and a.attnum = any(i.indkey)) loop
    execute format('alter table %s alter column %I drop not null', c.t, c.attname);
  end loop;
end $$"""
BATCH = 24


class Spoilt(NamedTuple):
    """One column with one value."""

    table: str
    column: str
    value: str

    def statement(self, rows: dict[str, str]) -> bytes:
        """The update that spoils these rows of the table."""
        value = self.value.replace("{column}", self.column)
        where = rows[self.table]
        return f"update pgflow.{self.table} set {self.column} = {value} where {where}".encode()


def all_cases(db: psycopg.Connection) -> list[Spoilt]:
    """Every column, in the order of the catalogue."""
    rows = db.execute(COLUMNS, [list(TABLES)]).fetchall()
    return [Spoilt(table, name, value) for table, name, kind in rows for value in VALUES[kind]]


def spoil(works: Works, db: psycopg.Connection, number: int, case: Spoilt) -> str:
    """Start a run of a flow of its own, spoil it, and let it go on; its id."""
    name = f"bad_{number}"
    works.deploy(FLOW.format(name=name, delay="500ms"))
    run = works.client.start(name).id
    row = db.execute("select flow_slug from pgflow.runs where run_id = %s", [run]).fetchone()
    assert row is not None
    with suppress(psycopg.Error):  # a generated column may refuse it
        db.execute(case.statement(TABLES), {"slug": row[0], "run": run})
    with suppress(PgflowError):
        works.client.send(run, "go")
    return run


ENDED = """select run_id::text, status, error from pgflow.runs where run_id::text = any(%s)"""
REPORTED = """select run_id::text from pgflow.violations()
  union select t.run_id::text from pgflow.queue_violations() v
    join pgflow.step_tasks t on t.message_id = v.message_id and t.queue_name = v.queue_name"""


@pytest.mark.slow
@patient
def test_a_spoilt_row_stops_its_own_run_only(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The others complete within seconds; the worker is the same at the end."""
    caplog.set_level(logging.WARNING)
    works.app.write("rows.py", HANDLERS)
    works.deploy(FLOW.format(name="good", delay="0s"))
    db.execute(UNBIND)
    cases = all_cases(db)
    assert len(cases) > 250
    chosen = random.Random(7).sample(cases, min(len(cases), examples(BATCH)))
    works.start(concurrency=4)
    left: list[Spoilt] = []
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        bad = {spoil(works, db, start + n, case): case for n, case in enumerate(batch)}
        good = [works.client.start("good").id for _ in range(4)]
        for run in good:
            works.client.send(run, "go")
        for run in good:
            assert works.ended(run, seconds=20).status == "completed"
        assert works.is_running()

        def unexplained(bad: dict[str, Spoilt] = bad) -> dict[str, Spoilt]:
            rows = db.execute(ENDED, [list(bad)]).fetchall()
            open_ = {run for run, status, _ in rows if status not in ("completed", "failed")}
            open_ -= {run for (run,) in db.execute(REPORTED).fetchall()}
            return {run: bad[run] for run in open_ if run not in caplog.text}

        try:
            eventually(lambda: not unexplained(), seconds=30)
        except AssertionError:
            left += unexplained().values()
        assert works.is_running()
    assert not left, "\n".join(map(repr, left))


OTHERS = {
    "workers": "stopped_at is null",
    "former_workers": "true",
    "queue_grants": "role_name = 'nobody'",
    "worker_functions": "true",
    "missing_handlers": "true",
    "audit": "true",
    "task_errors": "true",
    "realtime": "true",
}
REFUSALS = [("workers", "login"), ("workers", "granted")]  # a worker is told, and comes again
FILL = """
  insert into pgflow.former_workers values (gen_random_uuid(), 'nobody');
  insert into pgflow.queue_grants values ('nobody', 'shared'), ('public', '*'), ('{login}', '*');
  insert into pgflow.worker_functions (function_name) values ('f');
  insert into pgflow.missing_handlers values ('rows.gone', now());
  insert into pgflow.realtime values ('nobody');
"""


@pytest.mark.slow
@patient
def test_a_spoilt_row_of_no_run_stops_nobody(works: Works, db: psycopg.Connection) -> None:
    """Neither that of the worker itself, whatever has been spoilt before."""
    works.app.write("rows.py", HANDLERS)
    works.deploy(FLOW.format(name="good", delay="0s"))
    db.execute(UNBIND)
    login = conninfo_to_dict(as_program(works.database, "worker"))["user"]
    db.execute(FILL.format(login=login).encode())
    rows = db.execute(COLUMNS, [list(OTHERS)]).fetchall()
    cases = [
        Spoilt(table, name, value)
        for table, name, kind in rows
        if (table, name) not in REFUSALS
        for value in VALUES.get(kind, [])
    ]
    works.start(concurrency=4)
    for case in random.Random(7).sample(cases, min(len(cases), examples(BATCH))):
        with suppress(psycopg.Error), db.transaction():
            db.execute(case.statement(OTHERS))
        run = works.client.start("good").id
        works.client.send(run, "go")
        assert works.ended(run).status == "completed", case
    assert works.is_running()
