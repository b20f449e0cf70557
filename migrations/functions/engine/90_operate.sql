-- Operating runs: cancel, fail.

-- Cancels a run with all its child runs; an ended one stays as it is. A run with `finally` steps is
-- stopped, and ends when these have run; a second cancel cancels them, those of its child runs too.
-- Locks the runs of the tree by id, their tasks, their messages. Returns {run_id, status,
-- cancelled}; the status is still "started" while `finally` runs.
create or replace function pgflow.cancel_run(p_run_id uuid, p_reason text default null)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tree uuid[] := case when p_run_id is not null then pgflow._lock_run_tree(p_run_id) end;
  v_run pgflow.runs;
  v_group record;
  v_error jsonb := jsonb_build_object('type', 'Cancelled',
    'message', coalesce(p_reason, 'cancelled'));
begin
  select r.* into v_run from pgflow.runs r where r.run_id = p_run_id;
  if not found then
    raise exception using errcode = 'PF001',
      message = format('there is no run %s in this database', coalesce(p_run_id::text, 'null'));
  elsif v_run.status <> 'started' then
    return jsonb_build_object('run_id', p_run_id, 'cancelled', false, 'status', v_run.status);
  elsif v_run.outcome is null then
    perform pgflow._end_or_stop_runs(v_tree, 'cancelled',
      array_fill(v_error, array[cardinality(v_tree)]));
  else
    for v_group in
      select case r.outcome when 'failed' then 'failed' else 'cancelled' end as status,
        r.outcome is null as fresh, array_agg(r.run_id) as runs,
        array_agg(coalesce(r.error, v_error)) as errors
      from pgflow.runs r where r.run_id = any(v_tree) group by 1, 2
    loop
      if v_group.fresh then
        perform pgflow._end_or_stop_runs(v_group.runs, v_group.status, v_group.errors);
      else
        perform pgflow._end_runs(v_group.runs, v_group.status, v_group.errors);
      end if;
    end loop;
  end if;
  insert into pgflow.audit (action, subject, details)
  values ('cancel', p_run_id::text, jsonb_build_object('reason', p_reason));
  return jsonb_build_object('run_id', p_run_id, 'cancelled', true,
    'status', (select r.status from pgflow.runs r where r.run_id = p_run_id));
end
$$;

-- Locks a run and its live descendants, in the order of their ids. A child cannot start while its
-- parent is held, so the second pass finds those that started during the first. Returns them.
-- (`offset 0` and `is not null`: children are found by the index of their parents, not among all
-- live runs.)
create or replace function pgflow._lock_run_tree(p_run_id uuid) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tree uuid[];
  v_locked uuid[] := '{}';
  v_level uuid[];
begin
  loop
    v_tree := '{}';
    v_level := array[p_run_id];
    while cardinality(v_level) > 0 loop
      v_tree := v_tree || v_level;
      v_level := array(
        select k.run_id
        from (select r.run_id, r.status from pgflow.runs r
              where r.parent_run_id = any(v_level) and r.parent_run_id is not null offset 0) k
        where k.status = 'started');
    end loop;
    exit when v_tree <@ v_locked;
    perform 1 from pgflow.runs r where r.run_id = any(v_tree) order by r.run_id for no key update;
    v_locked := v_tree;
  end loop;
  return v_tree;
end
$$;

-- Fails a run: the last resort of a worker whose report the engine refuses. A run that has an
-- outcome already ends now, without the rest of its `finally` steps; its error stays. Locks the
-- run, then its tasks and messages; its child runs end by timers. Returns false for a run that had
-- ended.
create or replace function pgflow.fail_run(p_run_id uuid, p_error jsonb) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs;
begin
  select r.* into v_run from pgflow.runs r
  where r.run_id = p_run_id and r.status = 'started' for no key update;
  if not found then
    return false;
  elsif v_run.outcome is null then
    perform pgflow._fail_runs(array[row(p_run_id, null, p_error)::pgflow._run_failure]);
  else
    perform pgflow._end_runs(array[p_run_id], 'failed', array[coalesce(v_run.error, p_error)]);
  end if;
  return true;
end
$$;
