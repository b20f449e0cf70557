-- Settling failed attempts. A failed task gets another attempt while `retry` allows it; without an
-- attempt left, it ends its step by the policies of the step: `tolerate` and `fail_fast` of a map
-- (a tolerant one outlives failed items), then `when_exhausted`. Called by _settle and by functions
-- that end a step by a failure; the callers hold the runs.

-- The result of `retry.if` after a failed attempt: null for another attempt, else the error that is
-- the last one.
create or replace function pgflow._retry_refusal(
  p_run pgflow.runs, p_retry_if jsonb, p_error jsonb, p_attempt int
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_result jsonb := pgflow._truth(p_retry_if, pgflow._environment(p_run, p_retry_if -> 'paths',
    jsonb_build_object('error', p_error, 'attempt', p_attempt)));
begin
  return case
    when v_result ? 'error' then
      jsonb_build_object('type', 'ExpressionError',
        'message', 'retry.if: ' || (v_result ->> 'error'))
    when (v_result -> 'value')::boolean then null
    else p_error
  end;
end
$$;

-- The delay before the next attempt, in ms. Flows of create_flow: exact, no cap. Deployed flows:
-- capped, full jitter; p_counted is the number of failures that used up the budget, this one
-- included.
create or replace function pgflow._backoff_ms(
  p_spec jsonb, p_base_seconds int, p_attempts int, p_counted int
) returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_spec is null
      then 1000 * least(
        floor(p_base_seconds * 2::float8 ^ least(p_attempts, 60)), 2147483647)::bigint
    else ceil(
      least((p_spec ->> 'max_delay_ms')::float8,
            (p_spec ->> 'base_delay_ms')::float8
              * case p_spec ->> 'backoff' when 'fixed' then 1
                else 2::float8 ^ least(p_counted - 1, 60) end)
      * case when (p_spec ->> 'jitter')::boolean then random() else 1 end)::bigint
  end
$$;

-- Settles failed, fatal, released, crashed and repeated attempts: the task is parked for its next
-- attempt, or it has failed and the policy of its step decides. A crash is counted as the claim
-- counts that of a worker (R-4): it takes no attempt of the budget, and the fifth ends the task. A
-- task that was told to stop, since its run is ending, is cancelled whatever its outcome. The
-- caller holds runs and tasks. Returns the steps that ended, those whose failure ends the run at
-- once, the tasks whose messages are to be dropped, and the tolerant maps that lost items, which
-- _settle_tolerant decides.
create or replace function pgflow._settle_failures(
  p_reports pgflow._report[],
  out ended pgflow._ended[], out failures pgflow._run_failure[], out done pgflow._ended_task[],
  out tolerant pgflow._step[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_clock timestamptz := pgflow.clock();
  v_queue record;
  v_decided jsonb;
  v_siblings pgflow._ended_task[];
begin
  with reported as materialized (
    select p.*, t.flow_slug, t.attempts_count, t.uncounted, t.queue_name, t.message_id, t.queued_at,
      t.started_at, t.crashes_count, p.outcome = 'crashed' as crashed
    from unnest(p_reports) p
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
  ), known as (
    select p.run_id, p.step_slug, p.task_index, p.output, p.flow_slug, p.attempts_count,
      p.uncounted, p.queue_name, p.message_id, p.started_at, s.when_exhausted, s.tolerant,
      f.origin = 'pgflow' as archive,
      p.outcome = 'again' as repeated, p.outcome in ('released', 'again') as released, p.crashed,
      (r.outcome is not null or coalesce(p.step_slug = any(r.stopping), false))
        and not s.is_finally as stopped,
      case when p.crashed and p.crashes_count >= 4 then jsonb_build_object('type', 'Crashed',
          'message', format('it crashed 5 times, the last time in attempt %s: %s',
            p.attempts_count - p.uncounted, p.error ->> 'message'))
        else coalesce(w.refused, p.error) end as error,
      p.crashed and p.crashes_count < 4
        or p.outcome in ('failed', 'retry_later') and w.refused is null
        and p.attempts_count - p.uncounted
        < greatest(coalesce(s.opt_max_attempts, f.opt_max_attempts), 1) as again,
      coalesce(p.delay_ms, case when p.outcome = 'released' then 0 else pgflow._backoff_ms(
        s.spec, coalesce(s.opt_base_delay, f.opt_base_delay),
        case when p.crashed then p.crashes_count + 1 else p.attempts_count end,
        case when p.crashed then p.crashes_count + 1
          else p.attempts_count - p.uncounted end) end) as rest,
      -- what a worker gives back returns to its old place, before what came after it
      case when p.outcome = 'released' and p.delay_ms is null then least(v_clock, p.queued_at - case
        when f.origin = 'deploy' then pgflow._lead(s) else interval '0' end) end as old_place
    from reported p
    join pgflow.steps s on s.flow_slug = p.flow_slug and s.step_slug = p.step_slug
    join pgflow.flows f on f.flow_slug = p.flow_slug
    join pgflow.runs r on r.run_id = p.run_id
    cross join lateral (
      select case when p.outcome = 'failed' and s.spec ? 'retry_if' then
        pgflow._retry_refusal(r, s.spec -> 'retry_if', coalesce(p.error, '{}'),
          p.attempts_count - p.uncounted) end as refused) w
  ), decided as (
    select k.*, (k.released or k.again) and not k.stopped as lives,
      coalesce(k.old_place, v_clock + k.rest * interval '1 ms') as next_at
    from known k
  ), tasks as (
    update pgflow.step_tasks t
    set status = case when d.lives then 'queued' when d.stopped then 'cancelled' else 'failed' end,
        started_at = case when d.lives then null else t.started_at end,
        failed_at = case when d.lives or d.stopped then null else greatest(v_now, t.started_at) end,
        cancelled_at = case when d.stopped then v_now end,
        uncounted = t.uncounted + (d.released or d.crashed)::int,
        iteration = t.iteration + (d.repeated and d.lives)::int,
        -- a repeated call that has ended did not crash its worker
        crashes_count = case when d.repeated and d.lives then 0
          else t.crashes_count + (d.crashed and not d.stopped)::int end,
        child_run_id = case when d.lives then null else t.child_run_id end,
        output = case when d.error ->> 'type' = 'TypeViolation' then d.output else t.output end,
        error_message = case when d.released then t.error_message else d.error ->> 'message' end,
        lease = null
    from decided d
    where (t.run_id, t.step_slug, t.task_index) = (d.run_id, d.step_slug, d.task_index)
  ), recorded as (
    insert into pgflow.task_errors (
      run_id, step_slug, task_index, attempt, type, message, trace, final, retry_at, created_at,
      began_at)
    select d.run_id, d.step_slug, d.task_index, d.attempts_count - d.uncounted,
      coalesce(d.error ->> 'type', 'Error'), coalesce(d.error ->> 'message', ''),
      d.error ->> 'trace', not d.lives, case when d.lives then d.next_at end, v_now,
      d.started_at
    from decided d where not d.released and not d.stopped and not (d.crashed and d.lives)
  )
  select jsonb_agg(to_jsonb(d) - 'output') into v_decided from decided d;

  for v_queue in
    select d.queue_name, array_agg(d.message_id) as ids, array_agg(d.next_at) as vts
    from jsonb_to_recordset(v_decided) d(
      queue_name text, message_id bigint, next_at timestamptz, lives boolean)
    where d.lives and d.message_id is not null group by 1
  loop
    perform pgflow._queue_park(v_queue.queue_name, v_queue.ids, v_queue.vts);
  end loop;

  select coalesce(array_agg(
    row(d.run_id, d.flow_slug, d.step_slug, d.queue_name, d.message_id, d.archive
    )::pgflow._ended_task), '{}')
  into done
  from jsonb_to_recordset(v_decided) d(
    run_id uuid, flow_slug text, step_slug text, queue_name text, message_id bigint,
    archive boolean, lives boolean)
  where not d.lives;
  ended := '{}';
  failures := '{}';
  tolerant := '{}';
  if cardinality(done) > 0 then
    tolerant := pgflow._count_failed_items(v_decided);
    select e.ended, e.failures, e.done into ended, failures, v_siblings
    from pgflow._exhaust_steps(v_decided) e;
    done := done || v_siblings;
  end if;
end
$$;

-- Ends the steps of failed tasks by when_exhausted. An expression error, or a map that was given no
-- array, is a mistake in the flow: no policy applies. The caller holds the runs. Returns as
-- _fail_steps does.
create or replace function pgflow._exhaust_steps(
  p_decided jsonb, out ended pgflow._ended[], out failures pgflow._run_failure[],
  out done pgflow._ended_task[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_failures pgflow._step_failure[];
begin
  select coalesce(array_agg(row(d.run_id, d.flow_slug, d.step_slug, d.task_index,
      case when d.error ->> 'type' in ('ExpressionError', 'TypeViolation') then 'fail'
        else d.when_exhausted end,
      jsonb_build_object('type', coalesce(d.error ->> 'type', 'Error'),
        'message', coalesce(d.error ->> 'step_message', d.error ->> 'message', ''),
        'attempts', d.attempts_count - t.uncounted),
      coalesce(d.error ->> 'step_message', d.error ->> 'message'))::pgflow._step_failure), '{}')
  into v_failures
  from jsonb_to_recordset(p_decided) d(
    run_id uuid, flow_slug text, step_slug text, task_index int, error jsonb,
    when_exhausted text, attempts_count int, lives boolean, tolerant boolean, stopped boolean)
  join pgflow.step_tasks t
    on (t.run_id, t.step_slug, t.task_index) = (d.run_id, d.step_slug, d.task_index)
  where not d.lives and not d.tolerant and not d.stopped;
  select f.ended, f.failures, f.done into ended, failures, done
  from pgflow._fail_steps(v_failures) f;
end
$$;

-- Ends started steps by a failure, each by its policy; of several failures of one step the one with
-- the lowest index counts. Its other live tasks end with it. The caller holds the runs. Returns the
-- steps that ended (a failed one only where its run may go on), those whose failure ends the run at
-- once, and the tasks whose messages are to be dropped.
create or replace function pgflow._fail_steps(
  p_failures pgflow._step_failure[], out ended pgflow._ended[], out failures pgflow._run_failure[],
  out done pgflow._ended_task[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_failures pgflow._step_failure[];
  v_cancel pgflow._ended[];
  v_skip pgflow._ended[];
begin
  v_failures := array(
    select u.failure
    from (select distinct on (x.run_id, x.step_slug) x as failure, x.run_id, x.step_slug
          from unnest(p_failures) x order by x.run_id, x.step_slug, x.task_index) u
    join pgflow.step_states s on s.run_id = u.run_id and s.step_slug = u.step_slug
    where s.status = 'started');
  perform pgflow._end_states(array(
    select row(u.run_id, u.step_slug, case u.policy when 'fail' then 'failed' else 'skipped' end,
               case u.policy when 'fail' then null else 'handler_failed' end,
               null, u.error, u.message)::pgflow._transition
    from unnest(v_failures) u));
  select
    coalesce(array_agg(row(u.run_id, u.flow_slug, u.step_slug, case u.policy
        when 'skip' then 'skipped' when 'fail' then 'failed' else 'upstream' end)::pgflow._ended)
      filter (where u.policy <> 'fail' or not f.fails_at_once), '{}'),
    coalesce(array_agg(row(u.run_id, u.step_slug, u.error || jsonb_strip_nulls(
        jsonb_build_object('step', u.step_slug, 'index', u.task_index)))::pgflow._run_failure)
      filter (where u.policy = 'fail' and f.fails_at_once), '{}')
  into ended, failures
  from unnest(v_failures) u
  join pgflow.flows f on f.flow_slug = u.flow_slug;
  v_skip := array(
    select e from unnest(ended) e where e.kind <> 'failed' order by e.run_id, e.step_slug);
  v_cancel := array(
    select e from unnest(ended) e where e.kind = 'failed' order by e.run_id, e.step_slug);
  done := '{}';
  if cardinality(v_skip) > 0 then
    done := pgflow._end_tasks(
      array(select e.run_id from unnest(v_skip) e),
      array(select e.step_slug from unnest(v_skip) e), 'skipped');
  end if;
  if cardinality(v_cancel) > 0 then
    done := done || pgflow._end_tasks(
      array(select e.run_id from unnest(v_cancel) e),
      array(select e.step_slug from unnest(v_cancel) e), 'cancelled');
  end if;
end
$$;
