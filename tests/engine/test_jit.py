"""No query of ours is compiled: before version 18 its time was a hundred times that of the run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.engine.driver import a_step, done, literal
from tests.engine.test_plans import EXPLAIN

if TYPE_CHECKING:
    from tests.engine.driver import Engine

# What a caller, or a statement by hand, runs outside of any other function of ours.
ENTRIES_THAT_MAY_COMPILE = """
select coalesce(array_agg(p.proname::text), '{}') from pg_proc p
where p.pronamespace = 'pgflow'::regnamespace and p.provolatile <> 'i'
  and (not starts_with(p.proname, '_') or p.prorettype = 'trigger'::regtype)
  and p.prosrc ~ '\\m(from|join|into|update|select|perform) (pgflow|pgmq)\\.'
  and not 'jit=off' = any(coalesce(p.proconfig, '{}'))"""
NODES_OFF_AND_COMPILER_ON = """
select coalesce(array_agg(p.proname::text), '{}') from pg_proc p
where p.pronamespace = 'pgflow'::regnamespace and p.proconfig::text ~ 'enable_'
  and not 'jit=off' = any(p.proconfig)"""
SENT = re.compile(r"Query Text: (select pgflow\.\w+\([$\d, ]*\)|delete from pgflow\.workers)\n")


def test_every_function_that_callers_enter_turns_the_compiler_off(engine: Engine) -> None:
    """Those that read tables, themselves or through others (immutable ones do not)."""
    assert engine.one(ENTRIES_THAT_MAY_COMPILE) == []
    assert engine.one(NODES_OFF_AND_COMPILER_ON) == []


def test_no_plan_of_a_run_and_of_its_views_may_be_compiled(engine: Engine) -> None:
    """On a server that compiles all it can, from the start of a run to the list of runs."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a", if_=literal(True))})
    plans: list[str] = []
    engine.db.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    engine.db.execute(f"{EXPLAIN}; set auto_explain.log_settings = on".encode())
    engine.db.execute("set jit = on; set jit_above_cost = 0; set jit_optimize_above_cost = 0")

    run = engine.start("flow", key="k")
    while tasks := engine.claim("flow"):
        engine.heartbeat(*tasks)
        engine.report(*map(done, tasks))
    engine.snapshot(run)
    for view in ("list_runs", "list_flows", "served_queues", "next_wake", "sweep"):
        engine.call(view)
    for view, argument in (
        ("find_run", "k"),
        ("list_versions", "flow"),
        ("get_definition", "flow"),
        ("queues_of", "flow"),
        ("run_why", run),
        ("run_input", run),
        ("owned_tasks", engine.worker),
        ("get_run_with_states", run),
        ("cancel_run", run),
        ("stop_worker", engine.worker),
    ):
        engine.call(view, argument)
    engine.db.execute("delete from pgflow.workers")

    inner = [plan for plan in plans if not SENT.search(plan)]
    assert len(inner) > 40
    assert [plan for plan in inner if "jit = 'off'" not in plan] == []
    assert [plan for plan in plans if "\nJIT:" in plan and not SENT.search(plan)] == []
