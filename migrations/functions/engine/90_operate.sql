-- Operating runs: cancel, fail.

-- Cancels a run with its child runs; an ended one stays as it is. A run with `finally` steps is
-- stopped, and ends when these have run; one that is stopping already, or has only these left, goes
-- on as it is. A second cancel of the same run ends it at once with all its child runs. p_request
-- is the id of the request, and a request that is repeated counts once. Locks the runs of the tree
-- by id, their tasks, their messages. Returns {run_id, status, outcome, cancelled: false for a run
-- that had ended}; the status is still "started" while the clean-up goes on.
create or replace function pgflow.cancel_run(
  p_run_id uuid, p_reason text default null, p_request uuid default null,
  p_by text default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tree uuid[] := case when p_run_id is not null then pgflow._lock_run_tree(p_run_id) end;
  v_run pgflow.runs;
  v_repeated boolean;
  v_group record;
  v_error jsonb := jsonb_build_object('type', 'Cancelled',
    'message', coalesce(pgflow._cut_text(p_reason), 'cancelled'));
begin
  select r.* into v_run from pgflow.runs r where r.run_id = p_run_id;
  if not found then
    raise exception using errcode = 'PF001',
      message = format('there is no run %s in this database', coalesce(p_run_id::text, 'null'));
  end if;
  v_repeated := (p_request = any(v_run.cancels)) is true;
  if v_run.status = 'started' and not v_repeated then
    if v_run.cancels is null then
      perform pgflow._end_or_stop_runs(v_tree, 'cancelled',
        array_fill(v_error, array[cardinality(v_tree)]));
    else
      for v_group in
        select case r.outcome when 'failed' then 'failed' else 'cancelled' end as status,
          array_agg(r.run_id) as runs, array_agg(coalesce(r.error, v_error)) as errors
        from pgflow.runs r where r.run_id = any(v_tree) group by r.depth, 1 order by r.depth desc
      loop
        perform pgflow._end_runs(v_group.runs, v_group.status, v_group.errors);
      end loop;
    end if;
    update pgflow.runs r set cancels = r.cancels || coalesce(p_request, gen_random_uuid())
    where r.run_id = p_run_id;
    insert into pgflow.audit (action, subject, details, who)
    values ('cancel', p_run_id::text, jsonb_build_object('reason', pgflow._cut_text(p_reason)),
      coalesce(p_by, session_user));
  end if;
  return (
    select jsonb_build_object('run_id', p_run_id, 'status', r.status, 'outcome', r.outcome,
      'cancelled', v_run.status = 'started' or v_repeated)
    from pgflow.runs r where r.run_id = p_run_id);
end
$$;

-- Locks the runs that a cancel of this run concerns, in the order of their ids: the run and its
-- live descendants, at its first cancel without those below a run that has an outcome: they have
-- been told to stop, or are the clean-up. A child cannot start while its parent is held, so the
-- second pass finds those that started during the first. Returns them. (`offset 0` and `is not
-- null`: children are found by the index of their parents, not among all live runs.)
create or replace function pgflow._lock_run_tree(p_run_id uuid) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tree uuid[];
  v_locked uuid[] := '{}';
  v_level uuid[];
  v_whole boolean;
begin
  loop
    v_whole := (select r.cancels is not null from pgflow.runs r where r.run_id = p_run_id);
    v_tree := '{}';
    v_level := array[p_run_id];
    while cardinality(v_level) > 0 loop
      v_tree := v_tree || v_level;
      v_level := array(
        select r.run_id from pgflow.runs r
        where r.run_id = any(v_level) and (v_whole or r.outcome is null));
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
-- outcome already ends without the rest of its `finally` steps, as soon as its child runs have
-- ended, which timers tell to stop; its error stays. Locks the run, then its tasks and messages.
-- Returns false for a run that had ended. Raises 42501 for a login without a task of the run.
create or replace function pgflow.fail_run(p_run_id uuid, p_error jsonb) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._check_works_for(p_run_id, true);
  return pgflow._fail_live_run(p_run_id, p_error);
end
$$;

-- The same for a run of which no worker can have a task: a row of it cannot be read.
create or replace function pgflow._fail_live_run(p_run_id uuid, p_error jsonb) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs;
  v_error jsonb := pgflow._cut_error(p_error);
begin
  select r.* into v_run from pgflow.runs r
  where r.run_id = p_run_id and r.status = 'started' for no key update;
  if not found then
    return false;
  elsif v_run.outcome is null then
    perform pgflow._fail_runs(array[row(p_run_id, null, v_error)::pgflow._run_failure]);
  else
    perform pgflow._end_runs(array[p_run_id], 'failed', array[coalesce(v_run.error, v_error)]);
  end if;
  insert into pgflow.audit (action, subject, details)
  values ('fail', p_run_id::text, jsonb_build_object('error', v_error));
  return true;
end
$$;
