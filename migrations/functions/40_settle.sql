-- Settling: what workers report becomes the state of tasks, steps and runs, a whole batch over many runs at a time.
--
-- The run's row is the lock: whoever changes a step state or ends a task holds its run (`for no key update`, in run
-- id order, in a statement of its own, so that later statements see what was waited for). Then tasks, in order, then
-- queue rows (R-11). Step states need no lock of their own. R-1: a report changes nothing unless the task is started,
-- with that attempt, by that worker.

-- Settles reports and advances what they made possible. Locks runs, tasks, queue rows, in that order. Returns a
-- verdict for each report, in order: applied | lost | already_same | run_terminal.
create or replace function pgflow._settle(p_reports pgflow._report[]) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_verdicts text[];
  v_done pgflow._done[];
  v_failed pgflow._report[];
  v_ended pgflow._ended[];
  v_wide pgflow._ended[];
  v_failures pgflow._failure[] := '{}';
  v_apart uuid[];
  v_run uuid;
  v_more record;
begin
  perform 1 from pgflow.runs r
  where r.run_id = any(array(select distinct p.run_id from unnest(p_reports) p))
  order by r.run_id for no key update;
  perform 1 from unnest(p_reports) p
  join pgflow.step_tasks t on (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
  order by t.run_id, t.step_slug, t.task_index for no key update of t;

  with judged as (
    select p.*, f.door = 'pgflow' as archive,
      case when f.door = 'pgflow' and p.outcome = 'completed'
        then pgflow._type_violation(t.flow_slug, t.run_id, t.step_slug, p.output) end as violation,
      case
        when t.run_id is null then 'lost'
        when r.status <> 'started' and (f.door = 'deploy' or r.status <> 'completed') then 'run_terminal'
        when t.status = 'started'
          and t.attempts_count = coalesce(p.attempt, t.attempts_count)
          and t.last_worker_id is not distinct from coalesce(p.worker, t.last_worker_id)
          and row_number() over (partition by p.run_id, p.step_slug, p.task_index order by p.nr) = 1
          then 'applied'
        when t.status = 'completed' and p.outcome = 'completed' and t.attempts_count = p.attempt
          and t.last_worker_id = p.worker and t.output = p.output then 'already_same'
        else 'lost'
      end as verdict
    from unnest(p_reports) with ordinality p(run_id, step_slug, task_index, attempt, worker, outcome, output, error, delay_ms, nr)
    left join pgflow.step_tasks t on (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
    left join pgflow.runs r on r.run_id = p.run_id
    left join pgflow.flows f on f.flow_slug = r.flow_slug
  ), done as (
    update pgflow.step_tasks t
    set status = 'completed', output = j.output, completed_at = greatest(v_now, t.started_at), lease = null
    from judged j
    where (t.run_id, t.step_slug, t.task_index) = (j.run_id, j.step_slug, j.task_index)
      and j.verdict = 'applied' and j.outcome = 'completed' and j.violation is null
    returning t.run_id, t.flow_slug, t.step_slug, t.queue_name, t.message_id, j.archive
  )
  select
    (select array_agg(j.verdict order by j.nr) from judged j),
    (select coalesce(array_agg(
        row(j.run_id, j.step_slug, j.task_index, j.attempt, j.worker, case when j.violation is null then j.outcome else 'fatal' end,
            j.output, coalesce(j.violation, j.error), j.delay_ms)::pgflow._report
        order by j.nr), '{}')
     from judged j where j.verdict = 'applied' and (j.outcome <> 'completed' or j.violation is not null)),
    (select coalesce(array_agg(
        row(d.run_id, d.flow_slug, d.step_slug, d.queue_name, d.message_id, d.archive)::pgflow._done), '{}') from done d),
    (select array_agg(distinct j.run_id) from judged j where j.archive and j.verdict = 'applied')
  into v_verdicts, v_failed, v_done, v_apart;

  select c.ended, c.wide into v_ended, v_wide from pgflow._count_down(v_done) c;
  if cardinality(v_failed) > 0 then
    select f.ended, f.failures, f.done into v_more from pgflow._settle_failures(v_failed) f;
    v_ended := v_ended || v_more.ended;
    v_failures := v_more.failures;
    v_done := v_done || v_more.done;
  end if;
  perform pgflow._drop_messages(v_done);
  if cardinality(v_failures) > 0 then
    perform pgflow._fail_runs(v_failures);
    v_ended := array(
      select e from unnest(v_ended) e where e.run_id not in (select f.run_id from unnest(v_failures) f));
    v_wide := array(
      select w from unnest(v_wide) w where w.run_id not in (select f.run_id from unnest(v_failures) f));
  end if;
  if cardinality(v_wide) > 0 then
    perform pgflow._send_more(v_wide);
  end if;
  if v_apart is null then
    perform pgflow._advance(v_ended, '{}');
    return v_verdicts;
  end if;
  -- runs of create_flow go on one by one, from their rows as they stand
  perform pgflow._advance(array(select e from unnest(v_ended) e where e.run_id <> all(v_apart)), '{}');
  foreach v_run in array v_apart loop
    perform pgflow._advance_run(v_run, array(select e from unnest(v_ended) e where e.run_id = v_run));
  end loop;
  return v_verdicts;
end
$$;

-- pgflow's rule for a single step on which a map hangs whose size nobody knows yet: it must give an array. Returns the
-- error of its task, with the step's own text beside it; null where all is well.
create or replace function pgflow._type_violation(p_flow_slug text, p_run_id uuid, p_step_slug text, p_output jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('type', 'TypeViolation',
    'message', format('[TYPE_VIOLATION] Produced %s instead of array', k.kind),
    'step_message', format('[TYPE_VIOLATION] Map step %s expects array input but dependency %s produced %s',
                           m.step_slug, p_step_slug, k.kind))
  from (select coalesce(jsonb_typeof(p_output), 'null') as kind) k
  join pgflow.steps p on p.flow_slug = p_flow_slug and p.step_slug = p_step_slug and p.step_type = 'single'
  join pgflow.deps d on d.flow_slug = p_flow_slug and d.dep_slug = p_step_slug
  join pgflow.steps m on m.flow_slug = p_flow_slug and m.step_slug = d.step_slug and m.step_type = 'map'
  join pgflow.step_states s on s.run_id = p_run_id and s.step_slug = m.step_slug and s.initial_tasks is null
  where k.kind <> 'array'
  order by m.step_index limit 1
$$;

-- Completed tasks lower their steps' counters; a step at 0 is completed, a map with its outputs in index order (I6).
-- The caller holds the runs, so the counter and the outputs read here cannot move. Returns the steps that ended, and
-- those maps that have tasks not sent yet.
create or replace function pgflow._count_down(
  p_done pgflow._done[], out ended pgflow._ended[], out wide pgflow._ended[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  with fresh as materialized (
    select x.*, d.step_type
    from (select u.run_id, u.flow_slug, u.step_slug, count(*)::int as tasks from unnest(p_done) u group by 1, 2, 3) x
    join pgflow.steps d on d.flow_slug = x.flow_slug and d.step_slug = x.step_slug
  ), counted as (
    update pgflow.step_states s
    set remaining_tasks = s.remaining_tasks - f.tasks,
        status = case when s.remaining_tasks = f.tasks then 'completed' else s.status end,
        completed_at = case when s.remaining_tasks = f.tasks then greatest(v_now, s.started_at) end,
        output = case
          when (s.remaining_tasks = f.tasks) is not true then null
          when f.step_type = 'single' then (
            select t.output from pgflow.step_tasks t
            where t.run_id = s.run_id and t.step_slug = s.step_slug and t.task_index = 0)
          else (
            select jsonb_agg(t.output order by t.task_index) from pgflow.step_tasks t
            where t.run_id = s.run_id and t.step_slug = s.step_slug)
        end
    from fresh f
    where s.run_id = f.run_id and s.step_slug = f.step_slug and s.status = 'started'
    returning s.run_id, s.flow_slug, s.step_slug, s.status, s.sent < s.initial_tasks as wide
  )
  select
    coalesce(array_agg(row(c.run_id, c.flow_slug, c.step_slug, 'completed')::pgflow._ended)
             filter (where c.status = 'completed'), '{}'),
    coalesce(array_agg(row(c.run_id, c.flow_slug, c.step_slug, 'started')::pgflow._ended)
             filter (where c.status = 'started' and c.wide), '{}')
  into ended, wide
  from counted c;
end
$$;

-- How long a task rests before its next attempt, in ms. pgflow's own flows: exact, no cap. Deployed: capped, full
-- jitter; p_counted is the number of failures that used up the budget, this one included.
create or replace function pgflow._backoff_ms(p_spec jsonb, p_base_seconds int, p_attempts int, p_counted int)
returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_spec is null then 1000 * least(floor(p_base_seconds * 2::float8 ^ least(p_attempts, 60)), 2147483647)::bigint
    else ceil(
      least((p_spec ->> 'max_delay_ms')::float8,
            (p_spec ->> 'base_delay_ms')::float8
              * case p_spec ->> 'backoff' when 'fixed' then 1 else 2::float8 ^ least(p_counted - 1, 60) end)
      * case when (p_spec ->> 'jitter')::boolean then random() else 1 end)::bigint
  end
$$;

-- Failed, fatal and released attempts: the task rests and goes again, or it is used up and its step's policy speaks.
-- The caller holds runs and tasks. Returns the steps that ended as skipped, those whose failure ends the run, and the
-- tasks whose messages are done with.
create or replace function pgflow._settle_failures(
  p_reports pgflow._report[],
  out ended pgflow._ended[], out failures pgflow._failure[], out done pgflow._done[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_clock timestamptz := pgflow.clock();
  v_queue record;
  v_used_up jsonb;
  v_siblings pgflow._done[];
begin
  with known as (
    select p.*, t.flow_slug, t.attempts_count, t.queue_name, t.message_id, s.when_exhausted, s.spec,
      f.door = 'pgflow' as archive, p.outcome = 'released' as released,
      p.outcome in ('failed', 'retry_later') and t.attempts_count - t.uncounted
        < greatest(coalesce(s.opt_max_attempts, f.opt_max_attempts), 1) as again,
      coalesce(p.delay_ms, pgflow._backoff_ms(
        s.spec, coalesce(s.opt_base_delay, f.opt_base_delay), t.attempts_count, t.attempts_count - t.uncounted)) as rest
    from unnest(p_reports) p
    join pgflow.step_tasks t on (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
    join pgflow.steps s on s.flow_slug = t.flow_slug and s.step_slug = t.step_slug
    join pgflow.flows f on f.flow_slug = t.flow_slug
  ), decided as (
    select k.*, k.released or k.again as lives,
      v_clock + case when k.released then interval '0' else k.rest * interval '1 ms' end as next_at
    from known k
  ), tasks as (
    update pgflow.step_tasks t
    set status = case when d.lives then 'queued' else 'failed' end,
        started_at = case when d.lives then null else t.started_at end,
        failed_at = case when d.lives then null else greatest(v_now, t.started_at) end,
        uncounted = t.uncounted + d.released::int,
        output = case when d.error ->> 'type' = 'TypeViolation' then d.output else t.output end,
        error_message = case when d.released then t.error_message else d.error ->> 'message' end,
        lease = null
    from decided d
    where (t.run_id, t.step_slug, t.task_index) = (d.run_id, d.step_slug, d.task_index)
  ), recorded as (
    insert into pgflow.task_errors (run_id, step_slug, task_index, attempt, type, message, trace, final, retry_at, created_at)
    select d.run_id, d.step_slug, d.task_index, d.attempts_count, coalesce(d.error ->> 'type', 'Error'),
      coalesce(d.error ->> 'message', ''), d.error ->> 'trace', not d.lives, case when d.lives then d.next_at end, v_now
    from decided d where not d.released
  )
  select jsonb_agg(to_jsonb(d) - 'output') into v_used_up from decided d;

  for v_queue in
    select d.queue_name, array_agg(d.message_id) as ids, array_agg(d.next_at) as vts
    from jsonb_to_recordset(v_used_up) d(queue_name text, message_id bigint, next_at timestamptz, lives boolean)
    where d.lives and d.message_id is not null group by 1
  loop
    perform pgflow._queue_park(v_queue.queue_name, v_queue.ids, v_queue.vts);
  end loop;

  select coalesce(array_agg(row(d.run_id, d.flow_slug, d.step_slug, d.queue_name, d.message_id, d.archive)::pgflow._done), '{}')
  into done
  from jsonb_to_recordset(v_used_up) d(run_id uuid, flow_slug text, step_slug text, queue_name text, message_id bigint,
                                       archive boolean, lives boolean)
  where not d.lives;
  ended := '{}';
  failures := '{}';
  if cardinality(done) > 0 then
    select e.ended, e.failures, e.done into ended, failures, v_siblings from pgflow._exhaust(v_used_up) e;
    done := done || v_siblings;
  end if;
end
$$;

-- Steps whose task is used up end by when_exhausted; what is left of a skipped step's tasks ends with it. An
-- expression that went wrong, or a map that was given no array, is a mistake in the flow: no policy softens it. The
-- caller holds the runs.
create or replace function pgflow._exhaust(
  p_decided jsonb, out ended pgflow._ended[], out failures pgflow._failure[], out done pgflow._done[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  with used_up as (
    select distinct on (d.run_id, d.step_slug) d.*,
      case when d.error ->> 'type' in ('ExpressionError', 'TypeViolation') then 'fail' else d.when_exhausted end as policy,
      jsonb_build_object('type', coalesce(d.error ->> 'type', 'Error'),
        'message', coalesce(d.error ->> 'step_message', d.error ->> 'message', ''),
        'attempts', d.attempts_count - t.uncounted) as fault
    from jsonb_to_recordset(p_decided) d(run_id uuid, flow_slug text, step_slug text, task_index int, error jsonb,
                                         when_exhausted text, attempts_count int, lives boolean)
    join pgflow.step_tasks t on (t.run_id, t.step_slug, t.task_index) = (d.run_id, d.step_slug, d.task_index)
    where not d.lives
    order by d.run_id, d.step_slug, d.task_index
  ), states as (
    update pgflow.step_states s
    set status = case u.policy when 'fail' then 'failed' else 'skipped' end,
        failed_at = case u.policy when 'fail' then greatest(v_now, s.started_at) end,
        skipped_at = case u.policy when 'fail' then null else greatest(v_now, s.created_at) end,
        skip_reason = case u.policy when 'fail' then null else 'handler_failed' end,
        remaining_tasks = case u.policy when 'fail' then s.remaining_tasks end,
        error_message = coalesce(u.error ->> 'step_message', u.error ->> 'message'),
        error = u.fault
    from used_up u
    where s.run_id = u.run_id and s.step_slug = u.step_slug and s.status = 'started'
    returning s.run_id, s.flow_slug, s.step_slug, u.policy, u.fault, u.task_index, s.initial_tasks
  )
  select
    coalesce(array_agg(row(s.run_id, s.flow_slug, s.step_slug,
        case s.policy when 'skip' then 'skipped' else 'upstream' end)::pgflow._ended) filter (where s.policy <> 'fail'), '{}'),
    coalesce(array_agg(row(s.run_id, s.step_slug, s.fault || jsonb_build_object('step', s.step_slug, 'index', s.task_index))::pgflow._failure)
        filter (where s.policy = 'fail'), '{}')
  into ended, failures
  from states s;
  done := '{}';
  if cardinality(ended) > 0 then
    done := pgflow._end_tasks(array(select e.run_id from unnest(ended) e order by e.run_id, e.step_slug),
                              array(select e.step_slug from unnest(ended) e order by e.run_id, e.step_slug), 'skipped');
  end if;
end
$$;

-- Ends the live tasks of these runs as cancelled or skipped; p_steps, parallel to p_runs, narrows each to one step,
-- null means all of them. The caller holds the runs; claims hold tasks only briefly and never wait, so waiting for them here is safe. Returns the tasks.
create or replace function pgflow._end_tasks(p_runs uuid[], p_steps text[], p_status text) returns pgflow._done[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_done pgflow._done[];
begin
  with ended as (
    update pgflow.step_tasks t
    set status = p_status, lease = null, cancelled_at = case p_status when 'cancelled' then pgflow.now() end
    from unnest(p_runs, p_steps) x(run_id, step_slug)
    where t.run_id = x.run_id and (x.step_slug is null or t.step_slug = x.step_slug)
      and t.status in ('queued', 'started')
    returning t.run_id, t.flow_slug, t.step_slug, t.queue_name, t.message_id
  ), clock as (
    -- a wide map that was still being made leaves its message in the clock queue
    update pgflow.step_states s set make_message_id = null
    from unnest(p_runs, p_steps) x(run_id, step_slug)
    join pgflow.step_states old on old.run_id = x.run_id and (x.step_slug is null or old.step_slug = x.step_slug)
    where old.make_message_id is not null and (old.run_id, old.step_slug) = (s.run_id, s.step_slug)
    returning s.run_id, s.flow_slug, s.step_slug, old.make_message_id
  )
  select coalesce(array_agg(row(a.run_id, a.flow_slug, a.step_slug, a.queue_name, a.message_id,
                                f.door = 'pgflow')::pgflow._done), '{}')
  into v_done
  from (select * from ended union all
        select c.run_id, c.flow_slug, c.step_slug, 'pgflow__clock', c.make_message_id from clock c) a
  join pgflow.flows f on f.flow_slug = a.flow_slug;
  return v_done;
end
$$;

-- Ends messages, queue by queue. The caller holds the runs.
create or replace function pgflow._drop_messages(p_done pgflow._done[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue record;
begin
  for v_queue in
    select d.queue_name, d.archive, array_agg(d.message_id) as ids
    from unnest(p_done) d where d.message_id is not null group by 1, 2
  loop
    perform pgflow._queue_drop(v_queue.queue_name, v_queue.ids, v_queue.archive);
  end loop;
end
$$;
