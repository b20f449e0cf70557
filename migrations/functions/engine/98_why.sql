-- The reason why each unfinished step of a run has not ended: one kind a step, the first that holds
-- in the order of the functions here. The kinds are part of the interface; clients turn them into
-- sentences. Called by people who ask, never by workers. Nothing here locks.
--
--   start_time, overlap, backfill                        the run has not begun
--   dependency   a step before it has not ended          finally      it comes last
--   stopping     its worker is to end it                 timer, event it is a wait
--   child        its child run goes on                   child_told   that has ended
--   start_delay, back_off, repeat                        the next call is later
--   run_limit, step_limit, rate                          it waits at a gate (92_why_gates)
--   max_parallel, making                                 more tasks of a map are held back
--   running      a handler runs                          lost_worker, restarted: it did
--   paused, no_worker, no_handler, no_room, missing      nobody has taken its task
--   clock        it is due, and no worker lives          ready        any worker goes on

-- {step: {kind, …}} for each step that the run waits for: the unfinished ones, and the ended ones
-- with a child run that goes on; {run: {kind, …}} of one that has not begun. Times are UTC.
-- `child` has, as `why`, the reason of the step below that waits for something outside, through at
-- most 16 runs. Null for an unknown run.
create or replace function pgflow.run_why(p_run_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  return (
    select coalesce((
      select jsonb_object_agg(w.step_slug, w.why) from pgflow._reasons(r) w), '{}')
    from pgflow.runs r where r.run_id = p_run_id);
end
$$;

-- The reasons of the steps of one run, in their order; of a run that has not begun, its own under
-- the name `run`, which no step has.
create or replace function pgflow._reasons(p_run pgflow.runs)
returns table (step_slug text, why jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if p_run.waits_at is not null then
    return query select 'run', pgflow._why_run_waits(p_run);
    return;
  end if;
  return query
  select s.step_slug, w.why
  from pgflow.steps d
  join pgflow.step_states s on s.run_id = p_run.run_id and s.step_slug = d.step_slug
  cross join lateral (
    select case
      when s.status = 'created' then pgflow._why_not_begun(p_run, d)
      when s.status <> 'started' then pgflow._why_child(p_run, s, d, true)
      when pgflow._is_stopping(s.run_id, s.step_slug) then pgflow._why_stopping(p_run, s, d)
      when d.action = 'wait' then pgflow._why_wait(s, d)
      else coalesce(pgflow._why_child(p_run, s, d, false), pgflow._why_tasks(p_run, s, d))
    end as why) w
  where d.flow_slug = p_run.flow_slug and p_run.status = 'started' and w.why is not null
  order by d.step_index;
end
$$;

-- The steps before one that has not begun.
create or replace function pgflow._why_not_begun(p_run pgflow.runs, p_step pgflow.steps)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when k.waiting_for is not null
      then jsonb_build_object('kind', 'dependency', 'waiting_for', k.waiting_for)
    when p_step.is_finally and (o.steps > 0 or c.is_open)
      then jsonb_build_object('kind', 'finally', 'steps', o.steps)
    else '{"kind": "ready"}' end
  from (
    select jsonb_object_agg(d.dep_slug, d.edge) as waiting_for
    from pgflow.deps d
    join pgflow.step_states s on s.run_id = p_run.run_id and s.step_slug = d.dep_slug
    where d.flow_slug = p_step.flow_slug and d.step_slug = p_step.step_slug
      and s.status in ('created', 'started')) k
  cross join (
    select count(*) as steps
    from pgflow.step_states s
    join pgflow.steps d on d.flow_slug = p_run.flow_slug and d.step_slug = s.step_slug
    where s.run_id = p_run.run_id and s.status in ('created', 'started') and not d.is_finally) o
  cross join (select pgflow._waits_for_children(p_run.run_id, p_run.flow_slug) as is_open) c
$$;

-- What is due: any worker does it with its next turn, if there is one.
create or replace function pgflow._why_due(p_since timestamptz) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('kind', case when exists (
    select 1 from pgflow.workers w
    where w.stopped_at is null and w.last_heartbeat_at > (select pgflow._alive_since()))
    then 'ready' else 'clock' end, 'since', p_since)
$$;

-- A run that waits before it begins: for its time, for the run before it of its schedule, or for
-- those before it of a backfill. p_run is one of them.
create or replace function pgflow._why_not_entered(p_run pgflow.runs) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case split_part(p_run.waits_at, ':', 1)
    when 'start_time' then
      case when p_run.scheduled_at < pgflow.clock() then pgflow._why_due(p_run.scheduled_at)
        else jsonb_build_object('kind', 'start_time', 'until', p_run.scheduled_at) end
    when 'schedule' then
      coalesce((
        select jsonb_build_object('kind', 'overlap', 'run', s.run_id,
          'schedule', substring(p_run.waits_at from '^[^:]*:[^:]*:(.*)$'))
        from pgflow.slots s where s.gate = p_run.waits_at and s.held limit 1),
        pgflow._why_due(p_run.started_at))
    when 'backfill' then jsonb_build_object('kind', 'backfill', 'at_once', (
        select l.places from pgflow.limits l where l.gate = p_run.waits_at),
      'before', (
        select count(*) from pgflow.slots s
        join pgflow.slots m on m.gate = s.gate and m.run_id = p_run.run_id
        where s.gate = p_run.waits_at and not s.held
          and (s.order_at, s.nr) < (m.order_at, m.nr))) end
$$;

-- A wait. One whose time has passed is ended by the next turn of any worker.
create or replace function pgflow._why_wait(p_state pgflow.step_states, p_step pgflow.steps)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_state.wakes_at < pgflow.clock() then pgflow._why_due(p_state.wakes_at)
    when p_step.spec -> 'wait' ? 'event' then jsonb_build_object('kind', 'event',
      'event', p_step.spec #> '{wait,event}', 'run', p_state.run_id, 'step', p_state.step_slug,
      'until', p_state.wakes_at) || pgflow._asked(p_step.spec -> 'wait')
    else jsonb_build_object('kind', 'timer', 'until', p_state.wakes_at) end
$$;

-- True for a reason that somebody outside the engine can do something about.
create or replace function pgflow._is_outside(p_why jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_why ->> 'kind'
    when 'child' then pgflow._is_outside(p_why -> 'why')
    else coalesce(
      p_why ->> 'kind' in ('event', 'paused', 'no_worker', 'no_handler', 'clock'), false) end
$$;

-- {step, why} of the step of a child run that waits for something outside, else of one that runs.
create or replace function pgflow._deepest_reason(p_run pgflow.runs) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('step', w.step_slug, 'why', w.why)
  from pgflow._reasons(p_run) with ordinality w(step_slug, why, nr)
  where w.why ->> 'kind' not in ('dependency', 'finally')
  order by pgflow._is_outside(w.why) desc, w.nr limit 1
$$;

-- The child run of a step, of several one that waits for something outside. Null without one.
-- p_left: of a step that has ended, for whose child its run waits.
create or replace function pgflow._why_child(
  p_run pgflow.runs, p_state pgflow.step_states, p_step pgflow.steps, p_left boolean
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_child pgflow.runs;
  v_first jsonb;
  v_why jsonb;
begin
  if p_step.action <> 'flow' then
    return null;
  end if;
  -- `offset 0` and `is not null`: children are found by the index of their parents
  for v_child in
    select k.* from (
      select r.* from pgflow.runs r
      where r.parent_run_id = p_run.run_id and r.parent_run_id is not null
        and r.parent_step = p_state.step_slug offset 0) k
    where k.status = 'started' order by k.parent_index, k.started_at limit 20
  loop
    v_why := jsonb_build_object('kind', 'child', 'run', v_child.run_id,
      'flow', coalesce(v_child.flow_name, v_child.flow_slug), 'index', v_child.parent_index,
      'stops', v_child.outcome in ('failed', 'cancelled') or null)
      || coalesce(pgflow._deepest_reason(v_child), '{}');
    exit when pgflow._is_outside(v_why -> 'why');
    v_first := coalesce(v_first, v_why);
  end loop;
  if v_why is not null then
    return case when pgflow._is_outside(v_why -> 'why') then v_why else v_first end;
  elsif p_left or not exists (
    select 1 from pgflow.step_tasks t
    where t.run_id = p_state.run_id and t.step_slug = p_state.step_slug and t.status = 'started')
  then
    return null;
  end if;
  return '{"kind": "child_told"}';
end
$$;

-- The name of a worker: host and process id. Null for one that is not known any more.
create or replace function pgflow._worker_name(p_worker uuid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((w.info ->> 'host') || '/' || (w.info ->> 'pid'), left(w.worker_id::text, 8))
  from pgflow.workers w where w.worker_id = p_worker
$$;

-- A step that its run is stopping, and the worker that is to say that its handler has ended.
create or replace function pgflow._why_stopping(
  p_run pgflow.runs, p_state pgflow.step_states, p_step pgflow.steps
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case p_step.action
    when 'flow' then pgflow._why_child(p_run, p_state, p_step, false)
    else (
      select jsonb_build_object('kind', 'stopping', 'worker', pgflow._worker_name(t.last_worker_id),
        'until', t.lease, 'tasks', count(*) over ())
      from pgflow.step_tasks t
      where t.run_id = p_state.run_id and t.step_slug = p_state.step_slug and t.status = 'started'
      order by t.lease desc nulls last limit 1) end
$$;
