-- The steps of a run as `run_snapshot` shows them. Nothing here locks.

-- True for a step that nothing more is to be done about: one that completed or was skipped, or
-- whose failure did not end its run. Views count these.
create or replace function pgflow._is_done(p_status text, p_run pgflow.runs) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_status in ('completed', 'skipped')
    or p_status = 'failed' and coalesce(p_run.outcome, p_run.status) in ('started', 'completed')
$$;

-- {form, by} of a wait, as far as it has them: what it asks for, and whom.
create or replace function pgflow._asked(p_wait jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_strip_nulls(jsonb_build_object('by', p_wait -> 'by'))
    -- apart: a default may be null
    || case when p_wait ? 'form' then jsonb_build_object('form', p_wait -> 'form') else '{}' end
$$;

-- The child runs of a run's steps: all their ids, a summary of one of them (a live one before a
-- failed one before others; the newest), and the events that live runs below a step wait for, five
-- at most. (`offset 0` and `is not null`: children are found by the index of their parents, not
-- among all live runs.)
create or replace function pgflow._child_snapshots(p_run_id uuid)
returns table (parent_step text, ids jsonb, child jsonb, awaited jsonb)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select k.parent_step, k.ids,
    (select jsonb_build_object('id', r.run_id, 'flow', coalesce(r.flow_name, r.flow_slug),
       'version', nullif(split_part(r.flow_slug, '__', 2), ''), 'index', r.parent_index,
       'status', r.status, 'outcome', r.outcome, 'error', r.error, 'steps', (
         select jsonb_build_object(
           'total', count(*), 'completed', count(*) filter (where s.status = 'completed'),
           'done', count(*) filter (where pgflow._is_done(s.status, r)))
         from pgflow.step_states s where s.run_id = r.run_id))
     from pgflow.runs r where r.run_id = k.shown),
    (with recursive live as (
       select r.run_id, r.flow_slug, r.flow_name, r.started_at from pgflow.runs r
       where r.run_id = any(k.live)
       union all
       select r.run_id, r.flow_slug, r.flow_name, r.started_at
       from live l
       cross join lateral (
         select x.* from pgflow.runs x
         where x.parent_run_id = l.run_id and x.parent_run_id is not null offset 0) r
       where r.status = 'started'
     )
     select coalesce(jsonb_agg(jsonb_build_object(
       'run_id', w.run_id, 'flow', w.flow, 'step', w.step_slug, 'event', w.wait -> 'event',
       'until', w.wakes_at) || pgflow._asked(w.wait)), '[]')
     from (select l.run_id, coalesce(l.flow_name, l.flow_slug) as flow, s.step_slug,
             d.spec -> 'wait' as wait, s.wakes_at
           from (select x.* from live x limit 1000) l
           join pgflow.steps d on d.flow_slug = l.flow_slug and d.action = 'wait'
             and d.spec -> 'wait' ? 'event'
           join pgflow.step_states s
             on s.run_id = l.run_id and s.step_slug = d.step_slug and s.status = 'started'
           order by s.started_at, l.run_id, d.step_index limit 5) w)
  from (
    select c.parent_step,
      jsonb_agg(c.run_id order by c.parent_index, c.started_at, c.run_id) as ids,
      array_agg(c.run_id) filter (where c.status = 'started') as live,
      (array_agg(c.run_id order by c.status = 'started' desc, c.status = 'failed' desc,
                                   c.started_at desc, c.run_id))[1] as shown
    from pgflow.runs c where c.parent_run_id = p_run_id and c.parent_run_id is not null
    group by c.parent_step
  ) k
$$;

-- The signal that ended a wait for an event, or that came before it; null for one that came after
-- the wait had failed by itself.
create or replace function pgflow._answer(
  p_run_id uuid, p_step text, p_wait jsonb, p_failed_at timestamptz
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select jsonb_build_object('kind', e.kind, 'by', e.sent_by, 'at', e.created_at,
    'approved', case e.kind when 'decision' then e.data -> 'approved' end,
    'comment', case e.kind when 'decision' then e.data -> 'comment' end)
    || case when e.kind = 'decision' and e.data ? 'data'
      then jsonb_build_object('data', e.data -> 'data') else '{}' end
  from pgflow._find_signal(p_run_id, p_step, p_wait, p_failed_at) e where e.kind is not null
$$;

-- The tasks of a run that a worker has claimed but cannot have begun: it has fewer slots, and
-- begins tasks in the order of its claims. Views count them as queued.
create or replace function pgflow._tasks_behind_slots(p_run_id uuid)
returns table (step_slug text, task_index int)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select x.step_slug, x.task_index
  from (
    select t.step_slug, t.task_index, t.last_worker_id,
      row_number() over (partition by t.last_worker_id order by t.started_at, t.message_id) as place
    from pgflow.step_tasks t
    where t.run_id = p_run_id and t.status = 'started' and t.lease is not null) x
  join pgflow.workers w on w.worker_id = x.last_worker_id
  where x.place > (w.info ->> 'concurrency')::int
$$;

-- The steps of a run as a snapshot shows them, in their order; each part is read once for the whole
-- run. Tasks of a large map that are not made yet count as queued.
create or replace function pgflow._step_snapshots(
  p_run pgflow.runs, p_items boolean, p_outputs boolean
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with behind as materialized (
    select b.* from pgflow._tasks_behind_slots(p_run.run_id) b
  ), tasks as materialized (
    select k.step_slug, max(k.attempts_count - k.uncounted) as attempts,
      sum(k.crashes_count) as crashes, count(*) filter (where k.status = 'queued') as queued,
      count(*) filter (where k.status = 'started') as started,
      count(*) filter (where k.status = 'completed') as completed,
      count(*) filter (where k.status = 'failed') as failed,
      count(*) filter (where k.status in ('cancelled', 'skipped')) as cancelled,
      case when p_items then jsonb_agg(
        case
          when k.status = 'started' and (k.step_slug, k.task_index)
            in (select b.step_slug, b.task_index from behind b) then 'queued'
          else k.status end order by k.task_index) end as items,
      max(k.iteration) as iteration,
      min(k.message_id) filter (where k.status = 'queued' and k.iteration > 0) as next_call,
      min(k.queued_at) filter (where k.status = 'queued') as queued_at
    from pgflow.step_tasks k where k.run_id = p_run.run_id group by k.step_slug
  ), states as materialized (
    select s.*, d.step_index, d.handler, d.step_type, d.when_exhausted, d.spec, d.action,
      d.is_finally, d.handles, d.queue_name, d.max_parallel,
      greatest(coalesce(d.opt_max_attempts, f.opt_max_attempts), 1) as max_attempts
    from pgflow.flows f
    join pgflow.steps d on d.flow_slug = f.flow_slug
    join pgflow.step_states s on s.run_id = p_run.run_id and s.step_slug = d.step_slug
    where f.flow_slug = p_run.flow_slug
  ), edges as materialized (
    select d.step_slug, jsonb_agg(d.dep_slug order by x.step_index) as depends_on,
      jsonb_object_agg(d.dep_slug, d.edge) as edges,
      jsonb_agg(d.dep_slug order by x.step_index)
        filter (where x.status in ('created', 'started')) as waiting_for
    from pgflow.deps d join states x on x.step_slug = d.dep_slug
    where d.flow_slug = p_run.flow_slug group by d.step_slug
  ), latest as materialized (
    select distinct on (l.step_slug) l.step_slug, l.retry_at,
      jsonb_build_object('type', l.type, 'message', l.message, 'attempts', l.attempt) as error
    from pgflow.task_errors l where l.run_id = p_run.run_id and not l.past
    order by l.step_slug, l.id desc
  ), children as materialized (
    select c.* from pgflow._child_snapshots(p_run.run_id) c
  ), progress as materialized (
    select g.* from pgflow._progress(p_run.run_id) g
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'slug', s.step_slug, 'index', s.step_index, 'status', w.status, 'skip_reason', s.skip_reason,
    'handler', split_part(s.handler, ' ', 1), 'action', s.action, 'flow', s.spec -> 'flow',
    'finally', s.is_finally,
    'handles', s.handles,
    'waits', w.waits, 'map', s.step_type = 'map', 'when_exhausted', s.when_exhausted,
    'max_attempts', s.max_attempts, 'max_parallel', s.max_parallel,
    'tolerate', s.spec -> 'tolerate', 'repeat', (s.spec -> 'repeat') - 'until',
    'queue', case s.action when 'handler' then s.queue_name end,
    'depends_on', coalesce(e.depends_on, '[]'), 'edges', coalesce(e.edges, '{}'),
    'waiting_for', case s.status when 'created' then coalesce(e.waiting_for, '[]') else '[]' end,
    'attempts', coalesce(t.attempts, 0), 'crashes', coalesce(t.crashes, 0),
    'iteration', coalesce(t.iteration, 0), 'started_at', s.started_at,
    'ended_at', coalesce(s.completed_at, s.failed_at, s.skipped_at, s.cancelled_at),
    'output', case when p_outputs then s.output end,
    'error', coalesce(s.error, case s.status when 'started' then l.error end),
    'retry_at', case when s.status = 'started' and t.queued > 0 then n.due_at end,
    'refused_at', (
      select greatest(m.since, t.queued_at) from pgflow.missing_handlers m
      where m.handler = s.handler and t.queued > 0),
    'tasks', jsonb_build_object('total', coalesce(s.initial_tasks, 0),
      'queued', coalesce(t.queued, 0) + h.tasks
        + case s.status when 'started' then s.initial_tasks - s.made else 0 end,
      'started', coalesce(t.started, 0) - h.tasks, 'completed', coalesce(t.completed, 0),
      'failed', coalesce(t.failed, 0), 'cancelled', coalesce(t.cancelled, 0)),
    'answer', case when s.action = 'wait' then
      pgflow._answer(s.run_id, s.step_slug, s.spec -> 'wait',
        coalesce(s.failed_at, s.skipped_at)) end,
    'children', coalesce(c.ids, '[]'), 'child', c.child, 'awaited', coalesce(c.awaited, '[]'),
    'progress', g.progress)
    || case
      when p_items and s.step_type = 'map'
        then jsonb_build_object('items', coalesce(t.items, '[]'))
      else '{}' end
    order by s.step_index), '[]')
  from states s
  left join tasks t on t.step_slug = s.step_slug
  left join edges e on e.step_slug = s.step_slug
  left join latest l on l.step_slug = s.step_slug
  left join progress g on g.step_slug = s.step_slug
  left join children c on c.parent_step = s.step_slug and s.action = 'flow'
  cross join lateral (
    select count(*) as tasks from behind b where b.step_slug = s.step_slug) h
  cross join lateral (
    select case when k.waits is null then s.status else 'waiting' end as status, k.waits
    from (select case
      when s.status <> 'started' then null
      when s.action = 'wait' then jsonb_build_object(
        'kind', case when s.spec -> 'wait' ? 'event' then 'event' else 'timer' end,
        'event', s.spec #> '{wait,event}', 'until', s.wakes_at)
        || pgflow._asked(s.spec -> 'wait')
      when s.action = 'flow' and t.started > 0
        then jsonb_build_object('kind', 'child', 'event', null, 'until', null)
    end as waits) k) w
  cross join lateral (
    select max(x.due_at) as due_at
    from (values
      (l.retry_at),
      (case when t.attempts = 0 then
        s.started_at + (s.spec ->> 'start_delay_ms')::bigint * interval '1 ms' end),
      (case when t.next_call is not null then
        pgflow._queue_due(s.queue_name, t.next_call) end)) x(due_at)
    where x.due_at > pgflow.clock()) n
$$;

-- One task of a step, as `show --step` prints it: with its item, what it was called with, which is
-- nowhere stored, and its newest errors, ten at most. Secrets are `***`. `worker` is the one of the
-- last attempt, `due_at` when the task may be claimed, of one that is queued. Null for a task that
-- is not made yet.
create or replace function pgflow.task_snapshot(p_run_id uuid, p_step text, p_index int default 0)
returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_run pgflow.runs;
  v_step pgflow.steps;
  v_task pgflow.step_tasks;
  v_input jsonb;
begin
  select t.* into v_task from pgflow.step_tasks t
  where t.run_id = p_run_id and t.step_slug = p_step and t.task_index = p_index;
  if v_task.run_id is null then
    return null;
  end if;
  select r.* into v_run from pgflow.runs r where r.run_id = p_run_id;
  select d.* into v_step from pgflow.steps d
  where d.flow_slug = v_run.flow_slug and d.step_slug = p_step;
  if v_step.step_type = 'map' and v_step.fixed_tasks is null and v_step.map_items is null then
    v_task.item := coalesce(v_task.item, pgflow._map_source(v_run, v_step) -> p_index);
  end if;
  if v_task.attempts_count > 0 then
    v_input := pgflow._task_input(v_run, v_step, v_task, (
      select coalesce(jsonb_object_agg(p.path, '***'), '{}')
      from jsonb_array_elements_text(v_step.spec -> 'with' -> 'paths') p(path)
      where starts_with(p.path, 'secrets.')));
  end if;
  return jsonb_build_object(
    'index', p_index, 'status', v_task.status,
    'attempts', v_task.attempts_count - v_task.uncounted, 'crashes', v_task.crashes_count,
    'queued_at', v_task.queued_at, 'started_at', v_task.started_at,
    'ended_at', coalesce(v_task.completed_at, v_task.failed_at, v_task.cancelled_at),
    'due_at', case when v_task.status = 'queued' and v_task.message_id is not null
      then pgflow._queue_due(v_task.queue_name, v_task.message_id) end,
    'worker', pgflow._worker_name(v_task.last_worker_id),
    'output', v_task.output,
    'progress', (
      select jsonb_build_object('index', p_index, 'done', g.done, 'text', g.words, 'at', g.at)
      from pgflow.task_progress g
      where g.run_id = p_run_id and g.step_slug = p_step and g.task_index = p_index
        and g.fence = v_task.attempts_count),
    'children', (
      select coalesce(jsonb_agg(c.run_id order by c.started_at, c.run_id), '[]')
      from pgflow.runs c
      where c.parent_run_id = p_run_id and c.parent_step = p_step and c.parent_index = p_index),
    'errors', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'id', e.id, 'step', e.step_slug, 'index', e.task_index, 'attempt', e.attempt,
        'type', e.type, 'message', e.message, 'trace', e.trace, 'began_at', e.began_at,
        'at', e.created_at, 'final', e.final, 'retry_at', e.retry_at, 'past', e.past)
        order by e.id), '[]')
      from (select x.* from pgflow.task_errors x
            where x.run_id = p_run_id and x.step_slug = p_step and x.task_index = p_index
            order by x.id desc limit 10) e))
    || case when v_step.step_type = 'map' then jsonb_build_object('item', v_task.item)
      else '{}' end
    || case
      when v_input is null then '{}'
      when v_input ? 'error' then jsonb_build_object('arguments_error', v_input -> 'error')
      else jsonb_build_object('arguments', v_input -> 'value') end;
end
$$;
