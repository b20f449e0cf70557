"""The cost of a call of pgflow's functions does not grow with the rows beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.pgflow_door import a_map, deps
from tests.engine.test_plans import EXPLAIN, TOUCHED

if TYPE_CHECKING:
    from tests.engine.pgflow_door import Door

BESIDE = """
with runs as (
  insert into pgflow.runs (flow_slug, input, remaining_steps)
  select 'flow', '{}', 3 from generate_series(1, 30000) returning run_id
), states as (
  insert into pgflow.step_states (flow_slug, run_id, step_slug, status, initial_tasks,
    remaining_tasks, started_at, remaining_deps)
  select 'flow', r.run_id, d.step_slug, case d.step_slug when 'a' then 'started' else 'created' end,
    1, case d.step_slug when 'a' then 1 end, case d.step_slug when 'a' then now() end, d.deps_count
  from runs r cross join pgflow.steps d returning run_id, step_slug
), sent as (
  select s.run_id, nextval(pg_get_serial_sequence('pgmq.q_flow', 'msg_id')) as id
  from states s where s.step_slug = 'a'
), tasks as (
  insert into pgflow.step_tasks (flow_slug, run_id, step_slug, message_id)
  select 'flow', s.run_id, 'a', s.id from sent s
)
insert into pgmq.q_flow (msg_id, vt, message) overriding system value
select s.id, 'infinity', '{}' from sent s"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_statement_of_these_functions_touches_more_than_its_run(by_hand: Door) -> None:
    """Plans made on empty tables, then 30,000 live runs beside: start, claim, retry, end."""
    by_hand.flow("flow", a={"max_attempts": 2}, b=deps("a"), c=a_map("b"))
    for _ in range(7):
        by_hand.start("flow")
        by_hand.work("flow", [1])
    by_hand.db.execute(BESIDE.encode())
    plans: list[str] = []
    by_hand.db.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    by_hand.db.execute(EXPLAIN.encode())

    runs = [by_hand.start("flow") for _ in range(2)]
    for run in runs:
        by_hand.db.execute(
            """select pgflow.start_tasks('flow', array(select t.message_id
              from pgflow.step_tasks t where t.run_id = %s and t.step_slug = 'a'), null)""",
            [run],
        )
    task = {"run_id": runs[0], "step_slug": "a", "task_index": 0}
    by_hand.complete(task, [1])
    by_hand.fail(task | {"run_id": runs[1]})
    by_hand.one("select pgflow.fail_run(%s, '{}')", runs[1])
    for function in ("start_ready_steps", "maybe_complete_run", "cascade_resolve_conditions"):
        by_hand.one(f"select pgflow.{function}(%s)", runs[0])
    by_hand.one("select pgflow._cascade_force_skip_steps(%s, 'b', 'condition_unmet')", runs[0])

    assert len(plans) > 100
    for plan in plans:
        rows = [int(a or b) for a, b in TOUCHED.findall(plan)]
        assert max(rows, default=0) <= 500, plan[:3000]
