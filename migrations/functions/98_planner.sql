-- The planner settings of functions: one list, applied after any other file, since
-- `create or replace` forgets them. docs/decisions/0004 says why.
--
-- A function that callers enter and that works on sets gets one generic plan of nested loops over
-- indexes. Its sets are small beside the tables that they meet, and a plan made while the tables
-- were small must still be right when they are large; the cost of a hash join over all live runs
-- does not show in a test, only in production. For the same reason no statement joins a large table
-- with two sets: the planner might reach the table by half of its key. Inner functions run under
-- the settings of the function that was entered.
do $$
declare
  v_generic text[] := array['plan_cache_mode = force_generic_plan'];
  v_by_index text[] := array['enable_seqscan = off', 'enable_bitmapscan = off'];
  v_nested text[] := array['enable_hashjoin = off', 'enable_mergejoin = off'];
  v_entry record;
  v_function text;
  v_setting text;
begin
  for v_entry in values
    -- the engine
    (array['start_run', 'start_runs', 'start_debounced', 'turn', 'wind', 'write_logs',
       'heartbeat', 'sweep', 'cancel_run', 'fail_run', 'retry_run', 'register_worker',
       'prune_due', 'prune',
       'fire_schedule', 'pause_schedules', 'resume_schedules', 'backfill_schedule',
       'prune_archives', 'gauges', 'take_spans', 'send_event', '_decide', 'start_flow',
       'start_tasks', 'complete_task', 'fail_task', 'cascade_resolve_conditions',
       'cascade_complete_taskless_steps', 'start_ready_steps', 'maybe_complete_run',
       '_cascade_force_skip_steps', 'requeue_stalled_tasks', '_forget_workers'],
     v_generic || v_by_index || v_nested || 'enable_material = off'::text),
    -- some runs and messages out of many: everything about them is found by an index
    (array['list_queues', 'queue_stats', 'work_waiting', 'list_workers', 'list_schedules',
       'list_missing_handlers', 'history', 'complete', 'run_marks', 'run_audit', '_violations',
       '_queue_violations', 'check_invariants'],
     v_generic || v_by_index || v_nested),
    -- two sets of thousands of leases: a nested loop would compare each with all of the other
    (array['_queue_extend'], array['enable_hashjoin = on']),
    -- joined by hash: the number of steps and tasks is not known when these are planned
    (array['_shape_problem', '_step_snapshots'], array['enable_nestloop = off']),
    (array['step_items'], v_by_index || 'enable_nestloop = off'::text),
    -- but children are found by the index of their parents, and so are the few tasks that report
    -- progress, inside _step_snapshots as well
    (array['_child_snapshots', '_progress'],
     v_nested || array['enable_nestloop = on', 'enable_seqscan = off']),
    -- live runs, then their waits and the states of these, all by index
    (array['waiting_events'], v_by_index || v_nested),
    -- runs are read in the order of their start or end, logs in that of their steps, up to a limit
    (array['list_failed', 'usual_seconds', '_log_ids', '_with_last_lines', 'list_items',
       'run_densities'],
     v_by_index),
    -- and of each flow the last 10,000 runs, whatever their share of all runs is
    (array['list_runs', 'run_page', 'list_flows', 'list_versions', 'flow_strips'],
     v_by_index || 'enable_sort = off'::text)
  loop
    foreach v_function in array v_entry.column1 loop
      foreach v_setting in array v_entry.column2 loop
        execute format('alter function pgflow.%I set %s', v_function, v_setting);
      end loop;
    end loop;
  end loop;
end
$$;

-- Compiling takes longer than running, each time anew. Before version 18 a plan with a kind of node
-- that is off costs 1e10, which is above every threshold of the compiler. Functions that callers
-- enter turn it off, and so do triggers, for rows that are written by hand. Immutable functions
-- read no table; neither do the two of the clock, which are called for each row. What another role
-- has put into the schema is not ours to alter.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc p
    where p.pronamespace = 'pgflow'::regnamespace
      and pg_has_role(p.proowner, 'usage')
      and (p.proconfig::text like '%enable_%'
        or p.prorettype = 'trigger'::regtype
        or p.proname not like '\_%' and p.proname not in ('now', 'clock')
          and p.provolatile <> 'i')
  loop
    execute format('alter function %s set jit = off', v_function);
  end loop;
end
$$;
