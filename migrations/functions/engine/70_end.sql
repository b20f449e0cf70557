-- Ending runs whose steps have ended: completed when no step is left. A run with `finally` steps
-- has an outcome first: its other steps are stopped or done, then those of `finally` run, then it
-- ends. A run with child runs has an outcome first, too: neither does `finally` begin nor the run
-- end before they have ended. The callers hold the runs. A run that ends notifies its parent by a
-- message in the timer queue, which locks nothing, and so it tells the flows that hear it.

-- Counts runs down by their ended steps. A run at 0 is completed, with the outputs of its leaf
-- steps; _finish_runs decides about runs of flows with more to do. The caller holds the runs and
-- knows that they have not ended; a retried run may hold failures that the retry left (no status in
-- the `where`: a plan that searches the few runs among all live ones grows with them). Arrays are
-- parallel.
create or replace function pgflow._end_steps(p_runs uuid[], p_steps int[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_special uuid[];
  v_noting boolean := starts_with(current_setting('pgflow.ended', true), 'all');
  v_ended text;
  v_children uuid[];
begin
  with counted as (
    update pgflow.runs r
    set remaining_steps = r.remaining_steps - e.steps,
        (status, completed_at, output) = (
          select case when k.ends then 'completed' else r.status end,
                 case when k.ends then greatest(v_now, r.started_at) else r.completed_at end,
                 -- _leaf_outputs, written out: a call for each run costs as much as the rest
                 case when k.ends then coalesce((
                     select jsonb_object_agg(s.step_slug, s.output)
                     from pgflow.step_states s
                     where s.run_id = r.run_id and s.status = 'completed'
                       and not exists (
                         select 1 from pgflow.deps d
                         where d.flow_slug = s.flow_slug and d.dep_slug = s.step_slug)),
                   case k.origin when 'deploy' then '{}'::jsonb end)
                 else r.output end
          from (select r.remaining_steps = e.steps and f.ends_simply and r.retries = 0 as ends,
                  f.origin
                from pgflow.flows f where f.flow_slug = r.flow_slug) k)
    from unnest(p_runs, p_steps) e(run_id, steps)
    where r.run_id = e.run_id
    returning r.run_id, r.flow_slug, r.status, r.remaining_steps, r.parent_run_id, r.flow_name,
      r.retries
  )
  select array_agg(c.run_id) filter (where c.status = 'started' and (
             select (not f.ends_simply or c.retries > 0)
               and c.remaining_steps <= f.finally_steps
             from pgflow.flows f where f.flow_slug = c.flow_slug)),
         string_agg(format('{"run":"%s","flow":"%s","status":"completed"}', c.run_id,
             coalesce(c.flow_name, c.flow_slug)), ',')
           filter (where v_noting and c.status <> 'started'),
         array_agg(c.run_id) filter (where c.status <> 'started' and c.parent_run_id is not null)
  into v_special, v_ended, v_children
  from counted c;
  if v_ended is not null then
    perform pgflow._note(v_ended);
  end if;
  if v_special is not null then
    perform pgflow._finish_runs(v_special);
  end if;
  if v_children is not null then
    perform pgflow._notify_parents(v_children);
  end if;
end
$$;

-- {leaf: output} of the completed leaf steps, without those of `finally`: the output of a run whose
-- flow has no `output`. A leaf is a step that no other follows by an edge `success`: a step that
-- only handles its failure takes nothing away from the output. Null for a run of create_flow
-- without any.
create or replace function pgflow._leaf_outputs(p_run pgflow.runs) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
      select jsonb_object_agg(s.step_slug, s.output)
      from pgflow.step_states s
      where s.run_id = p_run.run_id and s.status = 'completed'
        and not exists (
          select 1 from pgflow.deps d
          where d.flow_slug = s.flow_slug and d.dep_slug = s.step_slug and d.edge = 'success')
        and (f.finally_steps = 0 or not (
          select d.is_finally from pgflow.steps d
          where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug))),
    case f.origin when 'deploy' then '{}'::jsonb end)
  from pgflow.flows f where f.flow_slug = p_run.flow_slug
$$;

-- Finishes runs whose steps have ended, all but those of `finally`: the outcome is set, then
-- `finally` begins, and a run without open steps ends; a run with live child runs is left until the
-- last of them notifies it. A cancelled run with an unhandled failure has failed. The caller holds
-- the runs.
create or replace function pgflow._finish_runs(p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_roots pgflow._start[];
  v_ended uuid[];
begin
  update pgflow.runs r
  set outcome = case when o.error is null then 'completed' else 'failed' end, error = o.error,
      output = o.output
  from (select x.run_id, v.error, v.output
        from pgflow.runs x cross join lateral pgflow._run_outcome(x) v
        where x.run_id = any(p_runs) and x.outcome is null) o
  where r.run_id = o.run_id;
  update pgflow.runs r set outcome = 'failed', error = u.error
  from (select x.run_id, (pgflow._unhandled_failures(array[x.run_id]))[1].error as error
                    from pgflow.runs x
        where x.run_id = any(p_runs) and x.outcome = 'cancelled' offset 0) u
  where r.run_id = u.run_id and u.error is not null;

  with roots as (
    update pgflow.step_states s set remaining_deps = 0
    where s.run_id = any(p_runs) and s.status = 'created' and s.remaining_deps = 1 and (
      select d.is_finally and d.deps_count = 0 from pgflow.steps d
      where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug)
      and not pgflow._waits_for_children(s.run_id, s.flow_slug)
    returning s.run_id, s.flow_slug, s.step_slug
  )
  select array_agg(row(t.run_id, t.flow_slug, t.step_slug, null, null)::pgflow._start)
  into v_roots from roots t;
  if v_roots is not null then
    perform pgflow._advance('{}', v_roots);
  end if;

  v_ended := array(
    select r.run_id from pgflow.runs r
    where r.run_id = any(p_runs) and r.status = 'started' and r.remaining_steps = 0
      and not pgflow._waits_for_children(r.run_id, r.flow_slug));
  update pgflow.runs r
  set outcome = case when o.error is null then 'completed' else 'failed' end, error = o.error,
      output = o.output
  from (select x.run_id, v.error, v.output
        from pgflow.runs x cross join lateral pgflow._run_outcome(x) v
        where x.run_id = any(v_ended) and x.outcome = 'completed'
          and pgflow._output_is_last(x.flow_slug)) o
  where r.run_id = o.run_id;
  update pgflow.runs r
  set status = r.outcome, output = case r.outcome when 'completed' then r.output end,
      completed_at = case r.outcome when 'completed' then greatest(v_now, r.started_at) end,
      failed_at = case r.outcome when 'failed' then greatest(v_now, r.started_at) end,
      cancelled_at = case r.outcome when 'cancelled' then v_now end
  where r.run_id = any(v_ended);
  perform pgflow._release_timers(v_ended);
end
$$;

-- True for a run with a live child run: a step that failed, timed out or was skipped may have left
-- one that is still stopping. (`offset 0` and `is not null`: children are found by the index of
-- their parents, not among all live runs.)
create or replace function pgflow._waits_for_children(p_run_id uuid, p_flow_slug text)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select f.runs_flows and exists (
    select 1 from (select c.status from pgflow.runs c
                   where c.parent_run_id = p_run_id and c.parent_run_id is not null offset 0) k
    where k.status = 'started')
  from pgflow.flows f where f.flow_slug = p_flow_slug
$$;

-- True for a flow whose `output` reads a step of `finally`: it is evaluated when these have ended.
create or replace function pgflow._output_is_last(p_flow_slug text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select f.finally_steps > 0 and f.output is not null and exists (
    select 1 from jsonb_array_elements_text(f.output -> 'paths') p(path)
    where starts_with(p.path, 'steps.') and (
      select s.is_finally from pgflow.steps s
      where s.flow_slug = f.flow_slug and s.step_slug = split_part(p.path, '.', 2)))
  from pgflow.flows f where f.flow_slug = p_flow_slug
$$;

-- The outcome of a run whose steps have all ended by themselves: the last unhandled failure, or its
-- output, unless that is still to come.
create or replace function pgflow._run_outcome(p_run pgflow.runs, out error jsonb, out output jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_formula jsonb := (select f.output from pgflow.flows f where f.flow_slug = p_run.flow_slug);
  v_result jsonb;
begin
  error := (pgflow._unhandled_failures(array[p_run.run_id]))[1].error;
  if error is null and p_run.retries > 0 then
    error := pgflow._left_cancelled(p_run);
  end if;
  if error is not null then
    return;
  elsif v_formula is null then
    output := pgflow._leaf_outputs(p_run);
    return;
  elsif p_run.outcome is null and pgflow._output_is_last(p_run.flow_slug) then
    return;
  end if;
  v_result := pgflow.evaluate(v_formula -> 'ast', pgflow._environment(p_run, v_formula -> 'paths'));
  output := v_result -> 'value';
  if v_result ? 'error' then
    error := jsonb_build_object('type', 'ExpressionError',
      'message', 'output: ' || (v_result ->> 'error'));
  end if;
end
$$;

-- The error of a retried run with a step that was cancelled before and not run again; null for
-- others: the steps behind it would be missing in a run that is called completed.
create or replace function pgflow._left_cancelled(p_run pgflow.runs) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('type', 'Cancelled', 'step', s.step_slug, 'message',
    format('step "%s" was cancelled before the retry, which did not run it again', s.step_slug))
  from pgflow.step_states s
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  where s.run_id = p_run.run_id and s.status = 'cancelled' and not d.is_finally
  order by d.step_index limit 1
$$;

-- Notes runs that have just ended, drops what they have left in the timer queue, notifies their
-- parents and the flows that hear of them, and gives their slots back. The caller holds the runs.
create or replace function pgflow._release_timers(p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_timer_ids bigint[];
  v_children uuid[];
  v_heard uuid[];
  v_gated uuid[];
begin
  select array_agg(r.deadline_message_id) filter (where r.deadline_message_id is not null),
         array_agg(r.run_id) filter (where r.parent_run_id is not null),
         array_agg(r.run_id) filter (where r.parent_run_id is null and (
           select f.heard ? r.status from pgflow.flows f where f.flow_slug = r.flow_slug)),
         array_agg(r.run_id) filter (where r.scheduled_at is not null or (
           select f.gate is not null from pgflow.flows f where f.flow_slug = r.flow_slug))
  into v_timer_ids, v_children, v_heard, v_gated
  from pgflow.runs r where r.run_id = any(p_runs);
  if current_setting('pgflow.ended', true) <> '' then
    perform pgflow._note_ends(p_runs, null);
  end if;
  if v_timer_ids is not null then
    perform pgflow._queue_drop('pgflow__timers', v_timer_ids, false);
  end if;
  if v_children is not null then
    perform pgflow._notify_parents(v_children);
  end if;
  if v_heard is not null then
    perform pgflow._notify_listeners(v_heard);
  end if;
  if v_gated is not null then
    perform pgflow._leave_gates(v_gated);
  end if;
end
$$;

-- Notifies the parents of ended runs by messages in the timer queue: the run of a parent is another
-- lock.
create or replace function pgflow._notify_parents(p_runs uuid[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._queue_send_timer('pgflow__timers', pgflow.clock(),
    jsonb_build_object('kind', 'child', 'run_id', r.parent_run_id, 'step_slug', r.parent_step,
      'task_index', r.parent_index, 'child', r.run_id))
  from pgflow.runs r where r.run_id = any(p_runs)
$$;

-- Asks child runs to end, by messages in the timer queue as well. Such a message may be late: it
-- says by the retries of the parent which life of the child it means.
create or replace function pgflow._cancel_children(p_runs uuid[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._queue_send_timer('pgflow__timers', pgflow.clock(),
    jsonb_build_object('kind', 'cancel', 'run_id', c.id, 'retries', p.retries))
  from unnest(p_runs) c(id)
  left join pgflow.runs k on k.run_id = c.id
  left join pgflow.runs p on p.run_id = k.parent_run_id
$$;
