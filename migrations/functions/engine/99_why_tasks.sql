-- The reason why the tasks of a started step have not ended. Continues 98_why.

-- Of the tasks that run, the one that may be lost is told about, else the one that runs longest.
create or replace function pgflow._why_tasks(
  p_run pgflow.runs, p_state pgflow.step_states, p_step pgflow.steps
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_running bigint;
  v_queued bigint;
  v_task pgflow.step_tasks;
  v_first pgflow.step_tasks;
begin
  select count(*) filter (where t.status = 'started'), count(*) filter (where t.status = 'queued')
  into v_running, v_queued
  from pgflow.step_tasks t where t.run_id = p_state.run_id and t.step_slug = p_state.step_slug;
  v_running := v_running - (
    select count(*) from pgflow._tasks_behind_slots(p_state.run_id) b
    where b.step_slug = p_state.step_slug);
  select t.* into v_task from pgflow.step_tasks t
  where t.run_id = p_state.run_id and t.step_slug = p_state.step_slug and t.status = 'started'
  order by t.lease < v_clock + interval '2 seconds' desc, t.started_at limit 1;
  if v_running = 0 then
    select t.* into v_first from pgflow.step_tasks t
    where t.run_id = p_state.run_id and t.step_slug = p_state.step_slug and t.status = 'queued'
      and t.task_index < greatest(p_state.sent, 1)
    order by pgflow._queue_due(t.queue_name, t.message_id), t.task_index limit 1;
    return coalesce(
      pgflow._why_gate(p_state, p_step),
      pgflow._why_later(p_run, p_state, p_step, v_first),
      case when p_state.made < p_state.initial_tasks and v_queued = 0
        then jsonb_build_object('kind', 'making', 'made', p_state.made,
          'tasks', p_state.initial_tasks) end,
      pgflow._why_not_taken(p_step, coalesce(v_first, v_task)));
  end if;
  return coalesce(
    pgflow._why_gate(p_state, p_step),
    case when v_queued > 0 and v_running >= p_step.max_parallel
      then jsonb_build_object('kind', 'max_parallel', 'running', v_running) end,
    case when p_state.made < p_state.initial_tasks
      then jsonb_build_object('kind', 'making', 'made', p_state.made,
        'tasks', p_state.initial_tasks) end,
    pgflow._why_running(p_run, p_state, v_task, v_running, v_queued));
end
$$;

-- A call that is not due yet: its start delay, the pause after a failure, or that of `repeat`.
create or replace function pgflow._why_later(
  p_run pgflow.runs, p_state pgflow.step_states, p_step pgflow.steps, p_task pgflow.step_tasks
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due timestamptz := coalesce(
    pgflow._queue_due(p_task.queue_name, p_task.message_id),
    (select s.not_before from pgflow.slots s
     where s.run_id = p_task.run_id and s.step_slug = p_task.step_slug
       and s.task_index = p_task.task_index and not s.held limit 1));
  v_error pgflow.task_errors;
begin
  if (v_due > pgflow.clock()) is not true then
    return null;
  end if;
  select e.* into v_error from pgflow.task_errors e
  where e.run_id = p_run.run_id and e.step_slug = p_state.step_slug
    and e.task_index = p_task.task_index and e.retry_at > pgflow.clock() and not e.past
  order by e.id desc limit 1;
  return case
    when v_error.id is not null then jsonb_build_object('kind', 'back_off', 'until', v_due,
      'attempt', p_task.attempts_count - p_task.uncounted + 1, 'error', v_error.type,
      'attempts', (
        select greatest(coalesce(p_step.opt_max_attempts, f.opt_max_attempts), 1)
        from pgflow.flows f where f.flow_slug = p_step.flow_slug))
    when p_task.iteration > 0 then jsonb_build_object('kind', 'repeat', 'until', v_due,
      'call', p_task.iteration + 1, 'calls', p_step.spec #> '{repeat,max}')
    else jsonb_build_object('kind', 'start_delay', 'until', v_due) end;
end
$$;

-- A task that is due, and that no worker has taken.
create or replace function pgflow._why_not_taken(p_step pgflow.steps, p_task pgflow.step_tasks)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since timestamptz;
  v_workers int;
  v_slots bigint;
  v_busy record;
begin
  if p_step.action = 'flow' then
    return pgflow._why_due(p_task.queued_at);
  end if;
  if exists (select 1 from pgflow.paused_queues q where q.queue_name = p_step.queue_name) then
    return (
      select jsonb_build_object('kind', 'paused', 'queue', q.queue_name, 'by', q.paused_by,
        'since', q.paused_at)
      from pgflow.paused_queues q where q.queue_name = p_step.queue_name);
  end if;
  select count(*), sum((w.info ->> 'concurrency')::int) into v_workers, v_slots
  from pgflow.workers w
  where w.stopped_at is null and w.last_heartbeat_at > (select pgflow._alive_since())
    and (w.queue_name = '*' or p_step.queue_name = any(string_to_array(w.queue_name, ',')));
  if v_workers = 0 then
    return jsonb_build_object('kind', 'no_worker', 'queue', p_step.queue_name);
  end if;
  select greatest(m.since, p_task.queued_at) into v_since
  from pgflow.missing_handlers m where m.handler = p_step.handler;
  if v_since is not null then
    return jsonb_build_object('kind', 'no_handler', 'handler', split_part(p_step.handler, ' ', 1),
      'resources', p_step.spec -> 'resources', 'since', v_since,
      'until', v_since + interval '24 hours');
  elsif pgflow._queue_missing(p_step.queue_name, array[p_task.message_id]) is not null then
    return '{"kind": "missing"}';
  end if;
  select t.step_slug, min(t.started_at) as since, count(*) as tasks into v_busy
  from pgflow.runs r
  join pgflow.step_tasks t on t.run_id = r.run_id
  where r.status = 'started' and t.status = 'started' and t.queue_name = p_step.queue_name
  group by t.step_slug order by 2 limit 1;
  return jsonb_build_object('kind', 'no_room', 'workers', v_workers, 'slots', v_slots,
    'handler', split_part(p_step.handler, ' ', 1),
    'busy_with', v_busy.step_slug, 'busy_since', v_busy.since,
    'before', pgflow._queue_before(p_step.queue_name, p_task.message_id));
end
$$;

-- A handler that runs, or that ran until its worker fell silent or the database restarted. A worker
-- extends a lease about three times in its length: silence for more than half of it is a sign of
-- death. `usual` and `p95` are seconds, of the last 100 runs of the same version.
create or replace function pgflow._why_running(
  p_run pgflow.runs, p_state pgflow.step_states, p_task pgflow.step_tasks, p_running bigint,
  p_queued bigint
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_started timestamptz := pg_postmaster_start_time();
  v_worker pgflow.workers;
  v_length interval;
  v_usual record;
begin
  select w.* into v_worker from pgflow.workers w where w.worker_id = p_task.last_worker_id;
  v_length := p_task.lease - greatest(p_task.started_at, v_worker.last_heartbeat_at);
  if p_task.lease < v_clock and p_task.lease >= v_started and v_clock < v_started + v_length then
    return jsonb_build_object('kind', 'restarted', 'since', v_started,
      'until', v_started + v_length);
  elsif v_worker.stopped_at is not null or p_task.lease - v_clock < v_length / 2 then
    return jsonb_build_object('kind', 'lost_worker', 'until', p_task.lease,
      'worker', pgflow._worker_name(p_task.last_worker_id),
      'since', coalesce(v_worker.last_heartbeat_at, p_task.started_at));
  end if;
  select percentile_cont(0.5) within group (order by k.seconds) as median,
    percentile_cont(0.95) within group (order by k.seconds) as p95, count(*) as runs
  into v_usual
  from (
    select extract(epoch from s.completed_at - s.started_at)::double precision as seconds
    from (select r.run_id from pgflow.runs r where r.started_at < p_run.started_at
            and r.flow_slug = p_run.flow_slug
          order by r.started_at desc, r.run_id limit 100) c
    join pgflow.step_states s on s.run_id = c.run_id and s.step_slug = p_state.step_slug
    where s.status = 'completed') k;
  return jsonb_build_object('kind', 'running', 'since', p_task.started_at,
    'attempt', p_task.attempts_count - p_task.uncounted, 'running', p_running,
    'queued', p_queued + p_state.initial_tasks - p_state.made,
    'worker', pgflow._worker_name(p_task.last_worker_id),
    'usual', case when v_usual.runs >= 3 then v_usual.median end,
    'p95', case when v_usual.runs >= 3 then v_usual.p95 end);
end
$$;
