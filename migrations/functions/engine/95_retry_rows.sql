-- The rows of a run that is retried. The callers hold the run, which has ended: no task of it has a
-- message, so no claim concerns it.

-- Begins a run that has ended again: the steps of p_again, of which those of p_resumed keep their
-- tasks; with the flow of its version or of another one. The caller holds the run.
create or replace function pgflow._reopen_run(
  p_run pgflow.runs, p_flow pgflow.flows, p_input jsonb, p_again text[], p_resumed text[],
  p_retries int
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fresh text[] := array(
    select u.slug from unnest(p_again) u(slug) where u.slug <> all(p_resumed));
  v_left text[];
  v_begun boolean := exists (
    select 1 from pgflow.step_states s where s.run_id = p_run.run_id);
begin
  perform pgflow._forget_tasks(p_run, v_fresh, p_flow);
  update pgflow.task_errors e set past = true
  where e.run_id = p_run.run_id and e.step_slug = any(p_again) and not e.past;
  delete from pgflow.events e
  where e.run_id = p_run.run_id and e.kind = 'decision' and e.name = any(p_again);
  if p_flow.flow_slug <> p_run.flow_slug and v_begun then
    perform pgflow._change_version(p_run, p_flow, p_again);
  end if;
  perform pgflow._reset_states(p_run.run_id, v_fresh);
  perform pgflow._resume_states(p_run.run_id, p_resumed);
  v_left := array(
    select s.step_slug from pgflow.step_states s
    where s.run_id = p_run.run_id and s.status = 'failed');
  update pgflow.runs r
  set flow_slug = p_flow.flow_slug, input = p_input, status = 'started', outcome = null,
      error = null, output = null, completed_at = null, failed_at = null, cancelled_at = null,
      cancels = null, stopping = null, dismissed_at = null, retries = p_retries,
      retried_at = pgflow.now(), left_failed = nullif(v_left, '{}'), deadline_message_id = null,
      remaining_steps = case when v_begun then r.remaining_steps else (
        select count(*) from pgflow.steps d where d.flow_slug = p_flow.flow_slug) end
  where r.run_id = p_run.run_id;
  if p_run.trace is not null then
    perform pgflow._trace_again(p_run.run_id);
  end if;
  if v_begun and p_flow.gate is null then
    perform pgflow._go_on(p_run.run_id);
  else
    perform pgflow._admit_runs(p_flow, array[p_run.run_id]);
  end if;
end
$$;

-- Deletes the tasks of steps that run again from the start, and of steps that the other version has
-- no more. Their attempts are remembered, for the late report of one of them must not pass for that
-- of a new task (R-1); on another version by each step, since a step may come back with a third.
-- The caller holds the run.
create or replace function pgflow._forget_tasks(
  p_run pgflow.runs, p_fresh text[], p_flow pgflow.flows
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_most int;
begin
  if p_flow.flow_slug <> p_run.flow_slug then
    v_most := greatest(
      (select max(t.attempts_count) from pgflow.step_tasks t where t.run_id = p_run.run_id),
      (select max(s.past_attempts) from pgflow.step_states s where s.run_id = p_run.run_id));
    update pgflow.step_states s set past_attempts = v_most where s.run_id = p_run.run_id;
    p_fresh := p_fresh || array(
      select s.step_slug from pgflow.step_states s
      where s.run_id = p_run.run_id and not exists (
        select 1 from pgflow.steps d
        where d.flow_slug = p_flow.flow_slug and d.step_slug = s.step_slug));
  else
    update pgflow.step_states s
    set past_attempts = greatest(s.past_attempts, (
      select max(t.attempts_count) from pgflow.step_tasks t
      where t.run_id = s.run_id and t.step_slug = s.step_slug))
    where s.run_id = p_run.run_id and s.step_slug = any(p_fresh);
  end if;
  delete from pgflow.step_tasks t where t.run_id = p_run.run_id and t.step_slug = any(p_fresh);
  update pgflow.flows f set reopened = true
  where f.flow_slug = p_flow.flow_slug and not f.reopened;
end
$$;

-- Gives a run the steps of another version. The caller holds the run and has deleted the tasks of
-- the steps that are gone.
create or replace function pgflow._change_version(
  p_run pgflow.runs, p_flow pgflow.flows, p_again text[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from pgflow.step_states s
  where s.run_id = p_run.run_id and not exists (
    select 1 from pgflow.steps d
    where d.flow_slug = p_flow.flow_slug and d.step_slug = s.step_slug);
  update pgflow.step_states s set flow_slug = p_flow.flow_slug where s.run_id = p_run.run_id;
  update pgflow.step_tasks t set flow_slug = p_flow.flow_slug where t.run_id = p_run.run_id;
  insert into pgflow.step_states (flow_slug, run_id, step_slug, created_at, past_attempts)
  select d.flow_slug, p_run.run_id, d.step_slug, pgflow.now(), (
    select max(s.past_attempts) from pgflow.step_states s where s.run_id = p_run.run_id)
  from pgflow.steps d
  where d.flow_slug = p_flow.flow_slug and d.step_slug = any(p_again)
  on conflict (run_id, step_slug) do nothing;
end
$$;

-- Resets steps to what a start writes; all their dependencies are still to end, for _go_on tells
-- them of those that have. The caller holds the run.
create or replace function pgflow._reset_states(p_run_id uuid, p_fresh text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.step_states s
  set status = 'created', remaining_tasks = null,
      initial_tasks = case d.step_type when 'single' then 1 end,
      remaining_deps = d.deps_count + (d.deps_count = 0 and d.is_finally)::int,
      output = null, error_message = null, skip_reason = null, started_at = null,
      completed_at = null, failed_at = null, skipped_at = null, cancelled_at = null, error = null,
      made = 0, sent = 0, timer_message_id = null, failed_tasks = 0, wakes_at = null,
      output_bytes = null, unsent = null
  from pgflow.steps d
  where s.run_id = p_run_id and s.step_slug = any(p_fresh)
    and d.flow_slug = s.flow_slug and d.step_slug = s.step_slug;
end
$$;

-- Starts steps with the tasks that they have: those that are not completed are queued again, with
-- all their attempts before them. A task that ran a flow keeps its child run and gets another
-- message, since a turn may still hold the old one. The caller holds the run.
create or replace function pgflow._resume_states(p_run_id uuid, p_resumed text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_timers regclass := pgflow._queue_sequence('pgflow__timers');
begin
  update pgflow.step_tasks t
  set status = 'queued', queued_at = v_now, started_at = null, completed_at = null,
      failed_at = null, cancelled_at = null, error_message = null, output = null, lease = null,
      uncounted = t.attempts_count, crashes_count = 0, iteration = 0,
      message_id = case t.queue_name
        when 'pgflow__timers' then nextval(v_timers) else t.message_id end
  where t.run_id = p_run_id and t.step_slug = any(p_resumed) and t.status <> 'completed';
  update pgflow.step_states s
  set status = 'started', started_at = greatest(v_now, s.created_at), remaining_tasks = k.open,
      sent = 0, unsent = k.open, failed_tasks = 0, output = null, error = null,
      error_message = null, skip_reason = null, completed_at = null, failed_at = null,
      skipped_at = null, cancelled_at = null, timer_message_id = null
  from (
    select x.step_slug, x.initial_tasks - (
      select count(*) from pgflow.step_tasks t
      where t.run_id = x.run_id and t.step_slug = x.step_slug and t.status = 'completed') as open
    from pgflow.step_states x where x.run_id = p_run_id and x.step_slug = any(p_resumed)) k
  where s.run_id = p_run_id and s.step_slug = k.step_slug;
end
$$;

-- Lets a run go on whose states are reset: sends tasks, tells the steps that begin anew how the
-- steps before them had ended, and finishes a run without anything to do. The steps that are told
-- about are counted as open first, since _advance counts them down. The caller holds the run.
create or replace function pgflow._go_on(p_run_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fresh text[] := array(
    select s.step_slug from pgflow.step_states s
    where s.run_id = p_run_id and s.status = 'created');
  v_resumed text[] := array(
    select s.step_slug from pgflow.step_states s
    where s.run_id = p_run_id and s.status = 'started');
  v_ended pgflow._ended[];
  v_roots pgflow._start[];
begin
  v_ended := array(
    select row(s.run_id, s.flow_slug, s.step_slug, case
        when s.status <> 'skipped' then s.status
        when s.skip_reason = 'dependency_skipped'
          or s.skip_reason = 'condition_unmet' and d.when_unmet = 'skip-cascade'
          or s.skip_reason = 'handler_failed' and d.when_exhausted <> 'skip' then 'upstream'
        else 'skipped' end)::pgflow._ended
    from pgflow.step_states s
    join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
    where s.run_id = p_run_id and s.status not in ('created', 'started') and exists (
      select 1 from pgflow.deps e
      where e.flow_slug = s.flow_slug and e.dep_slug = s.step_slug and e.step_slug = any(v_fresh)));
  v_roots := array(
    select row(s.run_id, s.flow_slug, s.step_slug, null, null)::pgflow._start
    from pgflow.step_states s
    where s.run_id = p_run_id and s.status = 'created' and s.remaining_deps = 0);
  update pgflow.runs r
  set remaining_steps = cardinality(v_ended) + (
    select count(*) from pgflow.step_states s
    where s.run_id = r.run_id and s.status in ('created', 'started')),
    deadline_message_id = (
      select pgflow._queue_send_timer('pgflow__timers',
        pgflow.clock() + f.timeout_ms * interval '1 ms',
        jsonb_build_object('kind', 'deadline', 'run_id', r.run_id))
      from pgflow.flows f where f.flow_slug = r.flow_slug and f.timeout_ms is not null)
  where r.run_id = p_run_id;
  update pgflow.step_states s
  set timer_message_id = pgflow._queue_send_timer('pgflow__timers', pgflow.clock(),
    jsonb_build_object('kind', 'make', 'run_id', s.run_id, 'step_slug', s.step_slug))
  where s.run_id = p_run_id and s.step_slug = any(v_resumed) and s.made < s.initial_tasks;
  perform pgflow._send_more_tasks(array(
    select row(s.run_id, s.flow_slug, s.step_slug)::pgflow._step from pgflow.step_states s
    where s.run_id = p_run_id and s.step_slug = any(v_resumed)));
  perform pgflow._advance(v_ended, v_roots);
  if exists (
    select 1 from pgflow.runs r join pgflow.flows f on f.flow_slug = r.flow_slug
    where r.run_id = p_run_id and r.status = 'started' and r.remaining_steps <= f.finally_steps)
  then
    perform pgflow._finish_runs(array[p_run_id]);
  end if;
end
$$;

-- Copies a run that has ended, under the id of the request or a new one: it is then retried instead
-- of the other. Its tasks have messages of their own, and its steps child runs of their own. The
-- caller holds the run. Returns the copy.
create or replace function pgflow._copy_run(p_run pgflow.runs, p_id uuid) returns pgflow.runs
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs;
begin
  insert into pgflow.runs (run_id, flow_slug, input, started_at, flow_name, labels)
  values (coalesce(p_id, gen_random_uuid()), p_run.flow_slug, p_run.input, pgflow.now(),
    p_run.flow_name,
    coalesce(p_run.labels, '{}') || jsonb_build_object('retry_of', p_run.run_id))
  returning * into v_run;
  insert into pgflow.step_states (
    flow_slug, run_id, step_slug, status, remaining_tasks, initial_tasks, remaining_deps, output,
    error_message, skip_reason, created_at, started_at, completed_at, failed_at, skipped_at,
    cancelled_at, error, made, sent, failed_tasks, output_bytes)
  select s.flow_slug, v_run.run_id, s.step_slug, s.status, s.remaining_tasks, s.initial_tasks,
    s.remaining_deps, s.output, s.error_message, s.skip_reason, s.created_at, s.started_at,
    s.completed_at, s.failed_at, s.skipped_at, s.cancelled_at, s.error, s.made, s.sent,
    s.failed_tasks, s.output_bytes
  from pgflow.step_states s where s.run_id = p_run.run_id;
  insert into pgflow.step_tasks (
    flow_slug, run_id, step_slug, task_index, status, attempts_count, error_message, output,
    queued_at, started_at, completed_at, failed_at, queue_name, item, uncounted, cancelled_at,
    message_id)
  select t.flow_slug, v_run.run_id, t.step_slug, t.task_index, t.status, t.attempts_count,
    t.error_message, t.output, t.queued_at, t.started_at, t.completed_at, t.failed_at,
    t.queue_name, t.item, t.uncounted, t.cancelled_at,
    case when t.status <> 'completed' then nextval(q.seq) end
  from pgflow.step_tasks t
  join (select x.queue_name, pgflow._queue_sequence(x.queue_name) as seq
        from (select distinct y.queue_name from pgflow.step_tasks y
              where y.run_id = p_run.run_id) x) q on q.queue_name = t.queue_name
  where t.run_id = p_run.run_id;
  insert into pgflow.task_errors (
    run_id, step_slug, task_index, attempt, type, message, trace, final, retry_at, created_at, past,
    began_at)
  select v_run.run_id, e.step_slug, e.task_index, e.attempt, e.type, e.message, e.trace, e.final,
    e.retry_at, e.created_at, e.past, e.began_at
  from pgflow.task_errors e where e.run_id = p_run.run_id order by e.id;
  insert into pgflow.events (run_id, kind, name, data, sent_by, login, created_at, steps)
  select v_run.run_id, e.kind, e.name, e.data, e.sent_by, e.login, e.created_at, e.steps
  from pgflow.events e where e.run_id = p_run.run_id;
  return v_run;
end
$$;
