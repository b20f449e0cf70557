"""Each door with nonsense in each of its arguments: an answer or a sentence."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from tests.engine.driver import Engine, a_step

NONSENSE: dict[str, list[Any]] = {
    "integer": [None, -1, -(2**31), 2**31 - 1],
    "bigint": [None, -1, -(2**63), 2**63 - 1],
    "double precision": [None, -1, 0, 1e300, "NaN", "Infinity", "-Infinity"],
    "bigint[]": [None, "{}", "{NULL}", "{-1}"],
    "interval": [None, "-1 s", "0", "178000000 years", "-178000000 years"],
    "text": [None, "", " ", "'; --", "no such thing", "x" * 5000],
    "text[]": [
        None,
        "{}",
        "{NULL}",
        "{{a,b},{c,d}}",
        '{""}',
        "{pgflow__timers}",
        "{PGFLOW__TIMERS}",
    ],
    "uuid[]": [None, "{}", "{NULL}", "{00000000-0000-0000-0000-000000000000}"],
    "uuid": [None, "00000000-0000-0000-0000-000000000000"],
    "timestamp with time zone": [None, "infinity", "-infinity", "0001-01-01 BC"],
    "timestamp with time zone[]": [None, "{}", "{NULL}", "{infinity}", "{{now},{now}}"],
    "boolean": [None],
    "jsonb[]": [None, "{}", "{NULL}", '{"1"}'],
    "jsonb": [
        *(None, "null", '"x"', "-1", "1e400", "true", "[]", "{}", "[null]", "[1]", "[[]]", "[{}]"),
        '{"labels": -1}',
        '[{"run": "x"}]',
        *map(
            '[{"run": "RUN", "step": "a", "index": 0, %s}]'.__mod__,
            (
                '"attempt": 1',
                '"attempt": 1, "outcome": "nonsense"',
                '"attempt": 1e99, "outcome": "failed"',
                '"attempt": 1, "outcome": "failed", "error": [1]',
                '"attempt": 1, "outcome": "retry_later", "delay_ms": -9223372036854775808',
                '"attempt": 1, "outcome": "retry_later", "delay_ms": 9223372036854775807',
            ),
        ),
    ],
}
DOORS = """select p.proname, p.proargnames[1:p.pronargs],
    array(select format_type(a.oid, null) from unnest(p.proargtypes) with ordinality a(oid, nr)
          order by nr)
  from pg_proc p
  where p.pronamespace = 'pgflow'::regnamespace and p.prosecdef
    and p.proname !~ '^_|^start_flow_with_states$'
    and p.pronargs > 0 order by 1"""


def _sane(engine: Engine) -> dict[str, Any]:
    """An argument that fits, for each name."""
    step = {"handler": "app.work", "depends_on": {}}
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    (task,) = engine.claim("flow")
    tasks = [{key: task[key] for key in ("run", "step", "index", "attempt")}]
    return {
        "p_worker": engine.worker,
        "p_results": "[]",
        "p_queues": "{flow}",
        "p_quantity": 5,
        "p_lease": "30 s",
        "p_refused": "{}",
        "p_run": run,
        "p_run_id": run,
        "p_step": "a",
        "p_event": "go",
        "p_name": "flow",
        "p_flow": "flow",
        "p_definition": json.dumps({"flow": "other", "steps": {"a": step}}),
        "p_version": "0123456789ab",
        "p_order": "{a}",
        "p_source": "source",
        "p_input": "{}",
        "p_inputs": "{}",
        "p_info": "{}",
        "p_tasks": json.dumps(tasks),
        "p_limit": 10,
        "p_text": run[:8],
        "p_error": "{}",
        "p_after_error": 0,
    }


def test_nonsense_in_any_argument_gets_an_answer_or_a_sentence(db: psycopg.Connection) -> None:
    """No error of PostgreSQL's own shows through; the transaction of each call is undone.

    Two exceptions: a worker that is not registered, and a function for clients of pgflow.
    """
    engine = Engine(db)
    sane = _sane(engine)
    run = sane["p_run"]
    engine.db.execute("set statement_timeout = '10s'")
    raw, calls = [], 0
    for door, names, types in engine.db.execute(DOORS).fetchall():
        for place, kind in enumerate(types):
            for value in NONSENSE[kind]:
                bad = value.replace("RUN", run) if isinstance(value, str) else value
                given = [
                    each == "boolean" or sane.get(name)
                    for name, each in zip(names, types, strict=True)
                ]
                given[place] = bad
                arguments = ", ".join(f"%s::{each}" for each in types)
                calls += 1
                try:
                    with engine.db.transaction(force_rollback=True):
                        query = f"select pgflow.{door}({arguments})"
                        engine.db.execute(query.encode(), given)
                except psycopg.Error as error:
                    is_ours = (error.sqlstate or "").startswith("PF")
                    if not is_ours and "step_tasks_last_worker_id_fkey" not in str(error):
                        said = f"{error.sqlstate} {error.diag.message_primary}"
                        raw.append(f"{door}({names[place]} = {str(bad)[:90]}): {said}")
    assert calls > 200
    assert not raw, "\n".join(raw)
