-- Runs that fail or are cancelled: ended at once, or stopped first where `finally` steps are to
-- come. The callers hold the runs.

-- Fails runs, each by the first of its failures: at once, or with `finally` steps to come. The
-- caller holds the runs.
create or replace function pgflow._fail_runs(p_failures pgflow._run_failure[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[];
  v_errors jsonb[];
  v_wave pgflow._ended[];
begin
  -- dependents of a failed step are skipped, as in a run that goes on; other steps are cancelled
  v_wave := array(
    select row(u.run_id, r.flow_slug, u.step_slug, 'failed')::pgflow._ended
    from unnest(p_failures) u
    join pgflow.runs r on r.run_id = u.run_id and r.status = 'started'
    join pgflow.flows f on f.flow_slug = r.flow_slug and f.origin = 'deploy' and f.fails_at_once
    where u.step_slug is not null);
  while cardinality(v_wave) > 0 loop
    v_wave := (pgflow._lower_dependents(v_wave)).skipped;
  end loop;
  select array_agg(f.run_id), array_agg(f.error) into v_runs, v_errors
  from (select distinct on (u.run_id) u.*
        from unnest(p_failures) with ordinality u(run_id, step_slug, error, nr)
        order by u.run_id, u.nr) f;
  perform pgflow._end_or_stop_runs(v_runs, 'failed', v_errors);
  perform pgflow._emit_failures(p_failures);
end
$$;

-- Ends runs with this outcome, children before their parents; those with `finally` steps are
-- stopped, and end when these have run, unless they have not begun. Runs that have ended, or have
-- an outcome, stay as they are: nothing but a second cancel takes the clean-up from a run. The
-- caller holds the runs; arrays are parallel.
create or replace function pgflow._end_or_stop_runs(p_runs uuid[], p_outcome text, p_errors jsonb[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_group record;
begin
  for v_group in
    select f.finally_steps > 0 and r.waits_at is null as stop, array_agg(e.run_id) as runs,
      array_agg(e.error) as errors
    from unnest(p_runs, p_errors) e(run_id, error)
    join pgflow.runs r on r.run_id = e.run_id
    join pgflow.flows f on f.flow_slug = r.flow_slug
    where r.status = 'started' and r.outcome is null
    group by r.depth, 1 order by r.depth desc
  loop
    if v_group.stop then
      perform pgflow._stop_runs(v_group.runs, p_outcome, v_group.errors);
    else
      perform pgflow._end_runs(v_group.runs, p_outcome, v_group.errors);
    end if;
  end loop;
end
$$;

-- Stops runs that have `finally` steps: queued and waiting steps are cancelled; running handlers
-- are told to stop (by the heartbeat, child runs by a timer) and cancelled when they report or
-- their lease ends. The caller holds the runs.
create or replace function pgflow._stop_runs(p_runs uuid[], p_outcome text, p_errors jsonb[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.runs r set outcome = p_outcome, error = e.error
  from unnest(p_runs, p_errors) e(run_id, error) where r.run_id = e.run_id;
  perform pgflow._advance(pgflow._stop_steps(p_runs), '{}');
end
$$;

-- Stops the steps of these runs that are to stop. Returns those that are cancelled now, as kind
-- `cancelled`; a step with a running task follows when that has ended. The caller holds the runs.
create or replace function pgflow._stop_steps(p_runs uuid[]) returns pgflow._ended[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_steps pgflow._step[];
  v_done pgflow._ended_task[];
  v_timer_ids bigint[];
begin
  select array_agg(row(s.run_id, s.flow_slug, s.step_slug)::pgflow._step),
         array_agg(s.timer_message_id) filter (where s.timer_message_id is not null)
  into v_steps, v_timer_ids
  from pgflow.step_states s
  where s.run_id = any(p_runs) and s.status in ('created', 'started')
    and pgflow._is_stopping(s.run_id, s.step_slug);
  with cancelled as (
    update pgflow.step_tasks t set status = 'cancelled', cancelled_at = v_now
    from unnest(v_steps) x
    where t.run_id = x.run_id and t.step_slug = x.step_slug and t.status = 'queued'
    returning t.run_id, t.flow_slug, t.step_slug, t.queue_name, t.message_id
  )
  select array_agg(
    row(c.run_id, c.flow_slug, c.step_slug, c.queue_name, c.message_id, false)::pgflow._ended_task)
  into v_done from cancelled c;
  perform pgflow._drop_messages(v_done);
  if exists (
    select 1 from unnest(v_done) d
    join pgflow.flows f on f.flow_slug = d.flow_slug and f.gated)
  then
    perform pgflow._free_slots(p_runs, null, null);
  end if;
  perform pgflow._cancel_children(array(
    select t.child_run_id from unnest(v_steps) x
    join pgflow.step_tasks t on t.run_id = x.run_id and t.step_slug = x.step_slug
    where t.status = 'started' and t.child_run_id is not null));
  perform pgflow._queue_drop('pgflow__timers', coalesce(v_timer_ids, '{}'), false);
  return pgflow._cancel_stopped_steps(p_runs);
end
$$;

-- True for a step that is to stop: its run has failed or was cancelled and only `finally` is to
-- come, or only recovery steps and `finally`.
create or replace function pgflow._is_stopping(p_run_id uuid, p_step_slug text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not d.is_finally
    and (r.outcome is not null or coalesce(p_step_slug = any(r.stopping), false))
  from pgflow.runs r
  join pgflow.steps d on d.flow_slug = r.flow_slug and d.step_slug = p_step_slug
  where r.run_id = p_run_id
$$;

-- Cancels the steps that are to stop and have no live task; the caller advances their runs. Returns
-- the steps. The caller holds the runs.
create or replace function pgflow._cancel_stopped_steps(p_runs uuid[]) returns pgflow._ended[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stopped pgflow._transition[];
begin
  v_stopped := array(
    select row(s.run_id, s.step_slug, 'cancelled', null, null, null, null)::pgflow._transition
    from pgflow.step_states s
    where s.run_id = any(p_runs) and s.status in ('created', 'started')
      and pgflow._is_stopping(s.run_id, s.step_slug)
      and not exists (
        select 1 from pgflow.step_tasks t
        where t.run_id = s.run_id and t.step_slug = s.step_slug
          and t.status in ('queued', 'started')));
  return array(
    select row(x.run_id, x.flow_slug, x.step_slug, 'cancelled')::pgflow._ended
    from unnest(pgflow._end_states(v_stopped)) x);
end
$$;

-- Ends runs as failed or cancelled: live tasks are cancelled, their messages are dropped, workers
-- learn it at their next call. Open steps of deployed flows are cancelled too; those of create_flow
-- stay as they are, as in pgflow. An unhandled failure turns a cancel into a failure. A run with
-- live child runs has only its outcome then; it ends when they have. The caller holds the runs;
-- arrays are parallel.
create or replace function pgflow._end_runs(p_runs uuid[], p_status text, p_errors jsonb[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_done pgflow._ended_task[] := pgflow._end_tasks(p_runs, null, 'cancelled');
  v_ended uuid[];
begin
  perform pgflow._end_states(array(
    select row(s.run_id, s.step_slug, 'cancelled', null, null, null, null)::pgflow._transition
    from pgflow.step_states s
    where s.run_id = any(p_runs) and s.status in ('created', 'started')
      and (select f.origin from pgflow.flows f where f.flow_slug = s.flow_slug) = 'deploy'));
  with told as (
    update pgflow.runs r
    set status = coalesce(o.ends, r.status), error = o.error, outcome = o.outcome, output = null,
        waits_at = null,
        failed_at = case o.ends when 'failed' then greatest(v_now, r.started_at) end,
        cancelled_at = case o.ends when 'cancelled' then v_now end,
        remaining_steps = case when o.ends is null then 0 else (
          select count(*) from pgflow.step_states s
          where s.run_id = r.run_id and s.status not in ('completed', 'skipped')) end
    from (
      select x.*, case when not pgflow._waits_for_children(x.run_id, x.flow_slug)
          then x.outcome end as ends
      from (
        select e.run_id, q.flow_slug, coalesce(u.error, e.error) as error,
          case when u.error is null then p_status else 'failed' end as outcome
        from unnest(p_runs, p_errors) e(run_id, error)
        join pgflow.runs q on q.run_id = e.run_id
        cross join lateral (
          select case p_status when 'cancelled' then
            (pgflow._unhandled_failures(array[e.run_id]))[1].error end as error offset 0) u) x) o
    where r.run_id = o.run_id
    returning r.run_id, r.status
  )
  select coalesce(array_agg(t.run_id) filter (where t.status <> 'started'), '{}') into v_ended
  from told t;
  perform pgflow._drop_messages(v_done);
  perform pgflow._release_timers(v_ended);
end
$$;
