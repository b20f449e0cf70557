-- The planner settings of the functions that callers enter: one list, applied after any other
-- file, for `create or replace` forgets them. docs/decisions/0004 says why.
--
-- A function that works on sets gets one generic plan of nested loops over indexes. Its sets are
-- small beside the tables that they meet, and a plan made while the tables were small must still
-- be right when they are large; the cost of a hash join over all live runs does not show in a test,
-- only in production. For the same reason no statement joins a large table with two sets:
-- the planner might reach the table by half of its key. Inner functions run under the settings of
-- the function that was entered.
do $$
declare
  v_settings text[] := array[
    'plan_cache_mode = force_generic_plan', 'enable_seqscan = off', 'enable_bitmapscan = off',
    'enable_material = off', 'enable_hashjoin = off', 'enable_mergejoin = off'];
  v_function text;
  v_setting text;
begin
  foreach v_function in array array[
    'start_run', 'start_runs', 'turn', 'wind', 'write_logs', 'heartbeat', 'sweep', 'cancel_run',
    'fail_run', 'retry_run', 'register_worker', 'prune_due', 'prune', 'prune_archives',
    'gauges', 'take_spans',
    'send_event', '_decide',
    'start_flow', 'start_tasks', 'complete_task', 'fail_task', 'cascade_resolve_conditions',
    'cascade_complete_taskless_steps', 'start_ready_steps', 'maybe_complete_run',
    '_cascade_force_skip_steps', 'requeue_stalled_tasks', '_forget_workers']
  loop
    foreach v_setting in array v_settings loop
      execute format('alter function pgflow.%I set %s', v_function, v_setting);
    end loop;
  end loop;
end
$$;

-- Joined by hash: the number of steps and tasks is not known when these are planned.
alter function pgflow._shape_problem set enable_nestloop = off;
alter function pgflow._step_snapshots set enable_nestloop = off;

-- Children are found by the index of their parents, also inside _step_snapshots.
alter function pgflow._child_snapshots set enable_nestloop = on;
alter function pgflow._child_snapshots set enable_seqscan = off;
alter function pgflow._child_snapshots set enable_hashjoin = off;
alter function pgflow._child_snapshots set enable_mergejoin = off;

-- So are the few tasks that report progress, and the logs by the index of their steps.
alter function pgflow._progress set enable_nestloop = on;
alter function pgflow._progress set enable_seqscan = off;
alter function pgflow._progress set enable_hashjoin = off;
alter function pgflow._progress set enable_mergejoin = off;
alter function pgflow._log_ids set enable_seqscan = off;
alter function pgflow._log_ids set enable_bitmapscan = off;
alter function pgflow._with_last_lines set enable_seqscan = off;
alter function pgflow._with_last_lines set enable_bitmapscan = off;

-- Runs are read in the order of their start, up to the limit, whatever filters there are.
alter function pgflow.list_runs set enable_seqscan = off;
alter function pgflow.list_runs set enable_bitmapscan = off;
alter function pgflow.list_runs set enable_sort = off;
alter function pgflow.list_failed set enable_seqscan = off;
alter function pgflow.list_failed set enable_bitmapscan = off;
alter function pgflow.usual_seconds set enable_seqscan = off;
alter function pgflow.usual_seconds set enable_bitmapscan = off;

-- Some runs and messages out of many: everything about them is found by an index.
do $$
declare
  v_function text;
  v_setting text;
begin
  foreach v_function in array array[
    'list_queues', 'list_workers', 'list_missing_handlers', 'history', 'complete', '_violations',
    '_queue_violations', 'check_invariants']
  loop
    foreach v_setting in array array[
      'plan_cache_mode = force_generic_plan', 'enable_seqscan = off', 'enable_bitmapscan = off',
      'enable_hashjoin = off', 'enable_mergejoin = off']
    loop
      execute format('alter function pgflow.%I set %s', v_function, v_setting);
    end loop;
  end loop;
end
$$;

-- The last 10,000 runs of each flow are read by their index, whatever their share of all runs is.
alter function pgflow.list_flows set enable_seqscan = off;
alter function pgflow.list_flows set enable_bitmapscan = off;
alter function pgflow.list_flows set enable_sort = off;
alter function pgflow.list_versions set enable_seqscan = off;
alter function pgflow.list_versions set enable_bitmapscan = off;
alter function pgflow.list_versions set enable_sort = off;

-- Compiling takes longer than running, each time anew. Before version 18 a plan with a kind of node
-- that is off costs 1e10, which is above every threshold of the compiler. Functions that callers
-- enter turn it off, and so do triggers, for rows that are written by hand. Immutable functions
-- read no table; neither do the two of the clock, which are called for each row.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc p
    where p.pronamespace = 'pgflow'::regnamespace
      and (p.proconfig::text like '%enable_%'
        or p.prorettype = 'trigger'::regtype
        or p.proname not like '\_%' and p.proname not in ('now', 'clock')
          and p.provolatile <> 'i')
  loop
    execute format('alter function %s set jit = off', v_function);
  end loop;
end
$$;
