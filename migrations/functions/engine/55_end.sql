-- Ending runs: completed when no step is left, failed or cancelled with all that was live. A run with `finally` steps
-- has an outcome first: its other steps are stopped or done, then those of `finally` run, then it ends. Called by
-- somebody who holds the runs. A run that ends tells its parent by a message in the clock queue, which locks nothing.

-- Counts runs down by the steps that ended; those at 0 are completed, with the outputs of their leaf steps; those
-- with more to decide are looked at by _finish. The caller holds the runs and knows that they have not ended (no
-- status in the `where`: a plan that finds the few runs it wants among all live ones grows with them). Arrays are parallel.
create or replace function pgflow._end_steps(p_runs uuid[], p_steps int[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_special uuid[];
  v_children uuid[];
begin
  with counted as (
    update pgflow.runs r
    set remaining_steps = r.remaining_steps - e.steps,
        (status, completed_at, output) = (
          select case when k.ends then 'completed' else r.status end,
                 case when k.ends then greatest(v_now, r.started_at) else r.completed_at end,
                 case when k.ends then coalesce((  -- _leaf_outputs, written out: a call for each run costs as much as the rest
                     select jsonb_object_agg(s.step_slug, s.output)
                     from pgflow.step_states s
                     where s.run_id = r.run_id and s.status = 'completed'
                       and not exists (select 1 from pgflow.deps d where d.flow_slug = s.flow_slug and d.dep_slug = s.step_slug)),
                   case k.door when 'deploy' then '{}'::jsonb end)
                 else r.output end
          from (select r.remaining_steps = e.steps and f.plain_end as ends, f.door
                from pgflow.flows f where f.flow_slug = r.flow_slug) k)
    from unnest(p_runs, p_steps) e(run_id, steps)
    where r.run_id = e.run_id
    returning r.run_id, r.flow_slug, r.status, r.remaining_steps, r.parent_run_id
  )
  select array_agg(c.run_id) filter (where c.status = 'started' and (
             select not f.plain_end and c.remaining_steps <= f.finally_steps
             from pgflow.flows f where f.flow_slug = c.flow_slug)),
         array_agg(c.run_id) filter (where c.status <> 'started' and c.parent_run_id is not null)
  into v_special, v_children
  from counted c;
  if v_special is not null then
    perform pgflow._finish(v_special);
  end if;
  if v_children is not null then
    perform pgflow._tell_parents(v_children);
  end if;
end
$$;

-- {leaf: output} of the completed leaf steps, those of `finally` left out: what a run returns that has no `output`.
-- Null for a run of pgflow's door without any.
create or replace function pgflow._leaf_outputs(p_run pgflow.runs) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
      select jsonb_object_agg(s.step_slug, s.output)
      from pgflow.step_states s
      where s.run_id = p_run.run_id and s.status = 'completed'
        and not exists (select 1 from pgflow.deps d where d.flow_slug = s.flow_slug and d.dep_slug = s.step_slug)
        and (f.finally_steps = 0 or not (
          select d.is_finally from pgflow.steps d where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug))),
    case f.door when 'deploy' then '{}'::jsonb end)
  from pgflow.flows f where f.flow_slug = p_run.flow_slug
$$;

-- Runs all of whose steps but those of `finally` have ended: the outcome is known now, then `finally` begins, and
-- where nothing is left the run ends. A cancelled run with a failure that nobody handled has failed. The caller holds them.
create or replace function pgflow._finish(p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_roots pgflow._start[];
  v_over uuid[];
begin
  update pgflow.runs r
  set outcome = case when o.error is null then 'completed' else 'failed' end, error = o.error, output = o.output
  from (select x.run_id, v.error, v.output from pgflow.runs x cross join lateral pgflow._outcome(x) v
        where x.run_id = any(p_runs) and x.outcome is null) o
  where r.run_id = o.run_id;
  update pgflow.runs r set outcome = 'failed', error = u.error
  from (select x.run_id, (pgflow._unhandled(array[x.run_id]))[1].error as error from pgflow.runs x
        where x.run_id = any(p_runs) and x.outcome = 'cancelled' offset 0) u
  where r.run_id = u.run_id and u.error is not null;

  with roots as (
    update pgflow.step_states s set remaining_deps = 0
    where s.run_id = any(p_runs) and s.status = 'created' and s.remaining_deps = 1 and (
      select d.is_finally and d.deps_count = 0 from pgflow.steps d
      where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug)
    returning s.run_id, s.flow_slug, s.step_slug
  )
  select array_agg(row(t.run_id, t.flow_slug, t.step_slug, null, null)::pgflow._start) into v_roots from roots t;
  if v_roots is not null then
    perform pgflow._advance('{}', v_roots);
  end if;

  v_over := array(
    select r.run_id from pgflow.runs r
    where r.run_id = any(p_runs) and r.status = 'started' and r.remaining_steps = 0);
  update pgflow.runs r
  set status = r.outcome, output = case r.outcome when 'completed' then r.output end,
      completed_at = case r.outcome when 'completed' then greatest(v_now, r.started_at) end,
      failed_at = case r.outcome when 'failed' then greatest(v_now, r.started_at) end,
      cancelled_at = case r.outcome when 'cancelled' then v_now end
  where r.run_id = any(v_over);
  perform pgflow._leave(v_over);
end
$$;

-- What a run has come to whose steps have all ended by themselves: the last failure that nobody handled, or its output.
create or replace function pgflow._outcome(p_run pgflow.runs, out error jsonb, out output jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_formula jsonb := (select f.output from pgflow.flows f where f.flow_slug = p_run.flow_slug);
  v_result jsonb;
begin
  error := (pgflow._unhandled(array[p_run.run_id]))[1].error;
  if error is not null then
    return;
  elsif v_formula is null then
    output := pgflow._leaf_outputs(p_run);
    return;
  end if;
  v_result := pgflow.evaluate(v_formula -> 'ast', pgflow._environment(p_run, v_formula -> 'paths'));
  output := v_result -> 'value';
  if v_result ? 'error' then
    error := jsonb_build_object('type', 'ExpressionError', 'message', 'output: ' || (v_result ->> 'error'));
  end if;
end
$$;

-- Runs that have just ended leave nothing behind in the clock queue, and tell their parents. The caller holds them.
create or replace function pgflow._leave(p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_notes bigint[];
  v_children uuid[];
begin
  select array_agg(r.deadline_message_id) filter (where r.deadline_message_id is not null),
         array_agg(r.run_id) filter (where r.parent_run_id is not null)
  into v_notes, v_children
  from pgflow.runs r where r.run_id = any(p_runs);
  if v_notes is not null then
    perform pgflow._queue_drop('pgflow__clock', v_notes, false);
  end if;
  if v_children is not null then
    perform pgflow._tell_parents(v_children);
  end if;
end
$$;

-- Tells the parents of ended runs, by messages that the clock reads: a parent's run is another lock.
create or replace function pgflow._tell_parents(p_runs uuid[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._queue_send_note('pgflow__clock', pgflow.clock(), jsonb_build_object('kind', 'child', 'run_id',
    r.parent_run_id, 'step_slug', r.parent_step, 'task_index', r.parent_index, 'child', r.run_id))
  from pgflow.runs r where r.run_id = any(p_runs)
$$;

-- Tells child runs to end, likewise.
create or replace function pgflow._tell_children(p_runs uuid[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._queue_send_note('pgflow__clock', pgflow.clock(), jsonb_build_object('kind', 'cancel', 'run_id', c.id))
  from unnest(p_runs) c(id)
$$;

-- Fails runs, each by the first of its failures: at once, or with `finally` steps to come. The caller holds them.
create or replace function pgflow._fail_runs(p_failures pgflow._failure[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[];
  v_errors jsonb[];
  v_wave pgflow._ended[];
begin
  -- what hangs on a failed step is skipped, as in a run that goes on; the rest of the run is cancelled
  v_wave := array(
    select row(u.run_id, r.flow_slug, u.step_slug, 'failed')::pgflow._ended
    from unnest(p_failures) u
    join pgflow.runs r on r.run_id = u.run_id and r.status = 'started'
    join pgflow.flows f on f.flow_slug = r.flow_slug and f.door = 'deploy' and f.tame
    where u.step_slug is not null);
  while cardinality(v_wave) > 0 loop
    v_wave := (pgflow._lower_dependents(v_wave)).skipped;
  end loop;
  select array_agg(f.run_id), array_agg(f.error) into v_runs, v_errors
  from (select distinct on (u.run_id) u.* from unnest(p_failures) with ordinality u(run_id, step_slug, error, nr)
        order by u.run_id, u.nr) f;
  perform pgflow._end_or_stop(v_runs, 'failed', v_errors);
  perform pgflow._tell_failures(p_failures);
end
$$;

-- Ends runs with this outcome; those with `finally` steps are stopped, and end when these have run. Runs that have
-- ended, or whose outcome is known, are left alone. The caller holds them; arrays are parallel.
create or replace function pgflow._end_or_stop(p_runs uuid[], p_outcome text, p_errors jsonb[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind record;
begin
  for v_kind in
    select f.finally_steps > 0 as stop, array_agg(e.run_id) as runs, array_agg(e.error) as errors
    from unnest(p_runs, p_errors) e(run_id, error)
    join pgflow.runs r on r.run_id = e.run_id
    join pgflow.flows f on f.flow_slug = r.flow_slug
    where r.status = 'started' and r.outcome is null
    group by 1
  loop
    if v_kind.stop then
      perform pgflow._stop_runs(v_kind.runs, p_outcome, v_kind.errors);
    else
      perform pgflow._end_runs(v_kind.runs, p_outcome, v_kind.errors);
    end if;
  end loop;
end
$$;

-- Stops runs that have `finally` steps: what is queued or waits is cancelled, what runs is told to stop (by the
-- heartbeat, children by the clock) and cancelled when its worker says so or its lease ends. The caller holds them.
create or replace function pgflow._stop_runs(p_runs uuid[], p_outcome text, p_errors jsonb[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_done pgflow._done[];
  v_notes bigint[];
begin
  update pgflow.runs r set outcome = p_outcome, error = e.error
  from unnest(p_runs, p_errors) e(run_id, error) where r.run_id = e.run_id;
  with cancelled as (
    update pgflow.step_tasks t set status = 'cancelled', cancelled_at = v_now
    where t.run_id = any(p_runs) and t.status = 'queued'
    returning t.run_id, t.flow_slug, t.step_slug, t.queue_name, t.message_id
  )
  select array_agg(row(c.run_id, c.flow_slug, c.step_slug, c.queue_name, c.message_id, false)::pgflow._done)
  into v_done from cancelled c;
  perform pgflow._drop_messages(v_done);
  perform pgflow._tell_children(array(
    select t.child_run_id from pgflow.step_tasks t
    where t.run_id = any(p_runs) and t.status = 'started' and t.child_run_id is not null));
  v_notes := array(
    select s.make_message_id from pgflow.step_states s
    where s.run_id = any(p_runs) and s.make_message_id is not null);
  perform pgflow._queue_drop('pgflow__clock', v_notes, false);
  perform pgflow._end_stopped(p_runs);
end
$$;

-- Whether a step is to stop, for its run has failed or was cancelled and only `finally` is to come.
create or replace function pgflow._is_stopping(p_run_id uuid, p_step_slug text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select r.outcome is not null and not d.is_finally
  from pgflow.runs r
  join pgflow.steps d on d.flow_slug = r.flow_slug and d.step_slug = p_step_slug
  where r.run_id = p_run_id
$$;

-- Steps of runs that are being stopped end as cancelled once none of their tasks is live; the last one lets `finally`
-- begin. The caller holds the runs.
create or replace function pgflow._end_stopped(p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_counts record;
begin
  with stopped as (
    update pgflow.step_states s set status = 'cancelled', cancelled_at = pgflow.now(), make_message_id = null
    where s.run_id = any(p_runs) and s.status in ('created', 'started')
      and not (select d.is_finally from pgflow.steps d where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug)
      and not exists (
        select 1 from pgflow.step_tasks t
        where t.run_id = s.run_id and t.step_slug = s.step_slug and t.status in ('queued', 'started'))
    returning s.run_id
  )
  select array_agg(c.run_id) as runs, array_agg(c.steps) as steps into v_counts
  from (select x.run_id, count(*)::int as steps from stopped x group by 1) c;
  if v_counts.runs is not null then
    perform pgflow._end_steps(v_counts.runs, v_counts.steps);
  end if;
end
$$;

-- Ends runs as failed or cancelled: live tasks are cancelled, their messages go, workers hear of it at their next
-- call. Steps of deployed flows that had not ended are cancelled too; those of pgflow's door stay as they are, as
-- there. A failure that nobody handled weighs more than a cancel. The caller holds the runs; arrays are parallel.
create or replace function pgflow._end_runs(p_runs uuid[], p_status text, p_errors jsonb[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_done pgflow._done[] := pgflow._end_tasks(p_runs, null, 'cancelled');
begin
  update pgflow.step_states s
  set status = 'cancelled', cancelled_at = v_now
  from pgflow.flows f
  where s.run_id = any(p_runs) and s.status in ('created', 'started')
    and f.flow_slug = s.flow_slug and f.door = 'deploy';
  update pgflow.runs r
  set status = o.status, error = o.error, outcome = o.status, output = null,
      failed_at = case o.status when 'failed' then greatest(v_now, r.started_at) end,
      cancelled_at = case o.status when 'cancelled' then v_now end,
      remaining_steps = (select count(*) from pgflow.step_states s
                         where s.run_id = r.run_id and s.status not in ('completed', 'skipped'))
  from (
    select e.run_id, coalesce(u.error, e.error) as error, case when u.error is null then p_status else 'failed' end as status
    from unnest(p_runs, p_errors) e(run_id, error)
    cross join lateral (
      select case p_status when 'cancelled' then (pgflow._unhandled(array[e.run_id]))[1].error end as error offset 0) u) o
  where r.run_id = o.run_id;
  perform pgflow._drop_messages(v_done);
  perform pgflow._leave(p_runs);
end
$$;
