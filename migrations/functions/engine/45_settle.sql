-- Settling: reported results become the state of tasks, steps and runs, a whole batch over many
-- runs at a time.
--
-- The row of a run is the lock. A function that changes a step state or ends a task holds the run
-- (`for no key update`, in the order of the ids, in a statement of its own, so that later
-- statements see the changes it waited for). Then come tasks, in order, then queue rows (R-11).
-- Step states need no lock of their own. R-1: a report changes nothing unless the task is started,
-- with that attempt, by that worker.

-- Settles the reports of a worker. Locks runs, tasks, queue rows, in that order. Returns a verdict
-- for each report, in order: as _settle, or busy, where another session holds its run.
--
-- Usually workers wait for each other a few milliseconds, in the order of the ids. But an open
-- transaction of an application may hold a run for minutes. After a quarter of a second the turn
-- therefore raises 55P03, before it has done anything; its worker sends it again with p_skip, which
-- waits for nobody. (To skip at once would make workers of one wide map send most of their results
-- twice, and to catch the error here would cost each turn a subtransaction.)
create or replace function pgflow._settle_free(p_reports pgflow._report[], p_skip boolean)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_timeout text := current_setting('lock_timeout');
  v_set text;
  v_runs uuid[] := array(select distinct p.run_id from unnest(p_reports) p);
  v_busy uuid[];
  v_calm boolean;
  v_verdicts text[];
begin
  if p_skip then
    v_busy := v_runs;
    v_runs := array(
      select r.run_id from pgflow.runs r where r.run_id = any(v_runs)
      order by r.run_id for no key update skip locked);
    v_busy := array(
      select r.run_id from pgflow.runs r where r.run_id = any(v_busy) and r.run_id <> all(v_runs));
    v_verdicts := pgflow._settle(
      array(select p from unnest(p_reports) p where p.run_id <> all(v_busy)));
    return array(
      select case when p.run_id = any(v_busy) then 'busy'
        else v_verdicts[count(*) filter (where p.run_id <> all(v_busy)) over (order by p.nr)] end
      from (select u.run_id, u.nr from unnest(p_reports) with ordinality u(
        run_id, step_slug, task_index, attempt, worker, outcome, output, error, delay_ms, nr)) p
      order by p.nr);
  end if;
  v_set := set_config('lock_timeout', '250ms', true); -- assignments cost less than `perform`
  -- the lock reads each run as it is when the wait for it is over
  select bool_and(h.calm and f.origin = 'deploy' and not f.repeats and not f.gated) into v_calm
  from (
    select r.flow_slug, r.status = 'started' and r.outcome is null and r.stopping is null as calm
    from pgflow.runs r where r.run_id = any(v_runs) order by r.run_id for no key update) h
  join pgflow.flows f on f.flow_slug = h.flow_slug;
  v_set := set_config('lock_timeout', v_timeout, true);
  return case when v_calm then pgflow._settle_calm(p_reports) else pgflow._settle(p_reports) end;
end
$$;

-- Settles what most turns report: tasks of deployed flows without gates that are completed, in runs
-- of which nothing has failed. One update ends them, without a look at each. Where a report is
-- anything else (a failure, a task that another worker has taken over), all of them go the long
-- way. The caller holds the runs. Locks and returns as _settle does.
create or replace function pgflow._settle_calm(p_reports pgflow._report[]) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_calm boolean;
  v_done pgflow._ended_task[];
  v_bytes int[];
  v_applied bigint[];
begin
  select count(*) = cardinality(p_reports) and bool_and(h.applies) into v_calm
  from (
    select (p.outcome = 'completed' and t.status = 'started' and t.attempts_count = p.attempt
      and t.last_worker_id = p.worker) is true as applies
    from unnest(p_reports) p
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
    order by t.run_id, t.step_slug, t.task_index for no key update of t) h;
  if v_calm is not true then
    return pgflow._settle(p_reports);
  end if;
  with done as (
    update pgflow.step_tasks t
    set status = 'completed', output = p.output, completed_at = greatest(v_now, t.started_at),
        lease = null
    from unnest(p_reports) with ordinality p(
      run_id, step_slug, task_index, attempt, worker, outcome, output, error, delay_ms, nr)
    where (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
    returning t.run_id, t.flow_slug, t.step_slug, t.queue_name, t.message_id, p.nr,
      pg_column_size(p.output) as bytes
  )
  select array_agg(row(d.run_id, d.flow_slug, d.step_slug, d.queue_name, d.message_id, false
           )::pgflow._ended_task),
         array_agg(d.bytes), array_agg(d.nr)
  into v_done, v_bytes, v_applied
  from done d;
  perform pgflow._apply(v_done, v_bytes, '{}', null, null, null);
  if cardinality(v_applied) = cardinality(p_reports) then
    return array_fill('applied'::text, array[cardinality(p_reports)]);
  end if;
  -- one that stands there twice: the update has seen it once
  return array(
    select case when nr = any(v_applied) then 'applied' else 'lost' end
    from generate_series(1, cardinality(p_reports)) nr order by nr);
end
$$;

-- Settles reports and advances their runs, which the caller holds. Locks tasks, then queue rows.
-- Returns a verdict for each report, in order: applied | lost | already_same | run_terminal.
create or replace function pgflow._settle(p_reports pgflow._report[]) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_verdicts text[];
  v_done pgflow._ended_task[];
  v_bytes int[];
  v_failed pgflow._report[];
  v_one_by_one uuid[];
  v_ending uuid[];
  v_gated boolean;
  v_slots pgflow._report[];
begin
  perform 1 from unnest(p_reports) p
  join pgflow.step_tasks t
    on (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
  order by t.run_id, t.step_slug, t.task_index for no key update of t;

  with judged as (
    select p.*, f.origin = 'pgflow' as archive, f.gated,
      r.outcome is not null or r.stopping is not null as ending,
      case
        when p.outcome <> 'completed' or t.status <> 'started' then null
        when f.origin = 'pgflow'
          then pgflow._type_violation(t.flow_slug, t.run_id, t.step_slug, p.output)
        when f.repeats then pgflow._repeat_verdict(r, t, p.output)
      end as violation,
      case
        when t.run_id is null then 'lost'
        when r.status <> 'started' and (f.origin = 'deploy' or r.status <> 'completed')
          then 'run_terminal'
        when t.status = 'started'
          and t.attempts_count = coalesce(p.attempt, t.attempts_count)
          and t.last_worker_id is not distinct from coalesce(p.worker, t.last_worker_id)
          and row_number() over (
            partition by p.run_id, p.step_slug, p.task_index, p.attempt order by p.nr) = 1
          then 'applied'
        when t.status = 'completed' and p.outcome = 'completed' and t.attempts_count = p.attempt
          and t.last_worker_id = p.worker and t.output = p.output then 'already_same'
        else 'lost'
      end as verdict
    from unnest(p_reports) with ordinality p(
      run_id, step_slug, task_index, attempt, worker, outcome, output, error, delay_ms, nr)
    left join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
    left join pgflow.runs r on r.run_id = p.run_id
    left join pgflow.flows f on f.flow_slug = r.flow_slug
  ), done as (
    update pgflow.step_tasks t
    set status = 'completed', output = j.output, completed_at = greatest(v_now, t.started_at),
        lease = null
    from judged j
    where (t.run_id, t.step_slug, t.task_index) = (j.run_id, j.step_slug, j.task_index)
      and j.verdict = 'applied' and j.outcome = 'completed' and j.violation is null
    returning t.run_id, t.flow_slug, t.step_slug, t.queue_name, t.message_id, j.archive,
      pg_column_size(j.output) as bytes
  )
  select
    (select array_agg(j.verdict order by j.nr) from judged j),
    (select coalesce(array_agg(
        row(j.run_id, j.step_slug, j.task_index, j.attempt, j.worker,
            case when j.violation is null then j.outcome
                 when j.violation ? 'again' then 'again' else 'fatal' end,
            j.output, coalesce(j.violation, j.error),
            coalesce((j.violation ->> 'again')::bigint, j.delay_ms))::pgflow._report
        order by j.nr), '{}')
     from judged j
     where j.verdict = 'applied' and (j.outcome <> 'completed' or j.violation is not null)),
    (select coalesce(array_agg(
        row(d.run_id, d.flow_slug, d.step_slug, d.queue_name, d.message_id, d.archive
        )::pgflow._ended_task), '{}')
     from done d),
    (select array_agg(d.bytes) from done d),
    (select array_agg(distinct j.run_id) from judged j where j.archive and j.verdict = 'applied'),
    (select array_agg(distinct j.run_id) from judged j where j.ending and j.verdict = 'applied'),
    (select bool_or(j.gated) from judged j)
  into v_verdicts, v_failed, v_done, v_bytes, v_one_by_one, v_ending, v_gated;

  if v_gated then
    v_slots := array(
      select p_reports[g] from generate_subscripts(p_reports, 1) g where v_verdicts[g] = 'applied');
  end if;
  perform pgflow._apply(v_done, v_bytes, v_failed, v_ending, v_one_by_one, v_slots);
  return v_verdicts;
end
$$;

-- Advances the runs of completed tasks (p_bytes: the sizes of their outputs) and of failed
-- attempts. p_ending: runs that are being stopped, null for none; p_one_by_one: runs of
-- create_flow, null for none; p_slots: the reports of flows with gates, null for none. The caller
-- holds the runs.
create or replace function pgflow._apply(
  p_done pgflow._ended_task[], p_bytes int[], p_failed pgflow._report[], p_ending uuid[],
  p_one_by_one uuid[], p_slots pgflow._report[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ended pgflow._ended[];
  v_windowed pgflow._step[];
  v_tolerant pgflow._step[];
  v_too_large pgflow._step_failure[];
  v_failures pgflow._run_failure[] := '{}';
  v_run uuid;
  v_more record;
begin
  select c.ended, c.windowed, c.tolerant, c.too_large
  into v_ended, v_windowed, v_tolerant, v_too_large
  from pgflow._count_down_steps(p_done, p_bytes) c;
  if cardinality(p_failed) > 0 then
    select f.ended, f.failures, f.done, f.tolerant into v_more
    from pgflow._settle_failures(p_failed) f;
    v_ended := v_ended || v_more.ended;
    v_failures := v_more.failures;
    p_done := p_done || v_more.done;
    v_tolerant := v_tolerant || v_more.tolerant;
  end if;
  if cardinality(p_slots) > 0 then
    perform pgflow._settle_slots(p_slots);
  end if;
  if cardinality(v_too_large) > 0 then
    select f.ended, f.failures, f.done into v_more from pgflow._fail_steps(v_too_large) f;
    v_ended := v_ended || v_more.ended;
    v_failures := v_failures || v_more.failures;
    p_done := p_done || v_more.done;
  end if;
  if cardinality(v_tolerant) > 0 then
    select f.ended, f.failures, f.done into v_more from pgflow._settle_tolerant(v_tolerant) f;
    v_ended := v_ended || v_more.ended;
    v_failures := v_failures || v_more.failures;
    p_done := p_done || v_more.done;
    v_windowed := v_windowed || v_tolerant;
  end if;
  perform pgflow._drop_messages(p_done);
  if cardinality(v_failures) > 0 then
    perform pgflow._fail_runs(v_failures);
    v_ended := array(
      select e from unnest(v_ended) e
      where e.run_id not in (select f.run_id from unnest(v_failures) f));
    v_windowed := array(
      select w from unnest(v_windowed) w
      where w.run_id not in (select f.run_id from unnest(v_failures) f));
  end if;
  if cardinality(v_windowed) > 0 then
    perform pgflow._send_more_tasks(v_windowed);
  end if;
  if p_ending is not null then
    v_ended := v_ended || pgflow._cancel_stopped_steps(p_ending);
  end if;
  if p_one_by_one is null then
    perform pgflow._advance(v_ended, '{}');
  else
    -- runs of create_flow go on one by one, from their rows as they stand
    perform pgflow._advance(
      array(select e from unnest(v_ended) e where e.run_id <> all(p_one_by_one)), '{}');
    foreach v_run in array p_one_by_one loop
      perform pgflow._advance_run(v_run,
        array(select e from unnest(v_ended) e where e.run_id = v_run));
    end loop;
  end if;
end
$$;

-- pgflow's rule for a single step with a dependent map of unknown size: its output must be an
-- array. Returns the error of its task, with the text of the step beside it; null for a valid
-- output.
create or replace function pgflow._type_violation(
  p_flow_slug text, p_run_id uuid, p_step_slug text, p_output jsonb
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('type', 'TypeViolation',
    'message', format('[TYPE_VIOLATION] Produced %s instead of array', k.kind),
    'step_message', format(
      '[TYPE_VIOLATION] Map step %s expects array input but dependency %s produced %s',
      m.step_slug, p_step_slug, k.kind))
  from (select coalesce(jsonb_typeof(p_output), 'null') as kind) k
  join pgflow.steps p on p.flow_slug = p_flow_slug and p.step_slug = p_step_slug
    and p.step_type = 'single'
  join pgflow.deps d on d.flow_slug = p_flow_slug and d.dep_slug = p_step_slug
  join pgflow.steps m on m.flow_slug = p_flow_slug and m.step_slug = d.step_slug
    and m.step_type = 'map'
  join pgflow.step_states s on s.run_id = p_run_id and s.step_slug = m.step_slug
    and s.initial_tasks is null
  where k.kind <> 'array'
  order by m.step_index limit 1
$$;

-- The meaning of an output of a repeated step: null, it is the output of the step; {"again": ms
-- until the next call}; or the error that ends the step without another attempt. The first call is
-- iteration 0.
create or replace function pgflow._repeat_verdict(
  p_run pgflow.runs, p_task pgflow.step_tasks, p_output jsonb
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_repeat jsonb := (
    select d.spec -> 'repeat' from pgflow.steps d
    where d.flow_slug = p_task.flow_slug and d.step_slug = p_task.step_slug);
  v_result jsonb;
begin
  if v_repeat is null then
    return null;
  end if;
  v_result := pgflow._truth(v_repeat -> 'until', pgflow._environment(
    p_run, v_repeat -> 'until' -> 'paths',
    jsonb_build_object('output', p_output, 'iteration', p_task.iteration)));
  return case
    when v_result ? 'error' then
      jsonb_build_object('type', 'ExpressionError',
        'message', 'repeat.until: ' || (v_result ->> 'error'))
    when (v_result -> 'value')::boolean then null
    when p_task.iteration + 1 >= (v_repeat ->> 'max')::bigint then
      jsonb_build_object('type', 'RepeatExhausted', 'message',
        format('repeat.until did not hold after %s calls', p_task.iteration + 1))
    else jsonb_build_object('again', v_repeat -> 'every')
  end;
end
$$;

-- Maximum size of all outputs of a map, in bytes: they become one jsonb array, which PostgreSQL
-- limits to 268,435,455 bytes with its own overhead.
create or replace function pgflow._most_output_bytes() returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 256000000 $$;

-- Lowers the counters of the steps of completed tasks. A step at 0 is completed, a map with its
-- outputs in the order of their index (I6). The caller holds the runs, so the counter and the
-- outputs read here cannot change. p_bytes: the sizes of the outputs, parallel to p_done. Returns
-- the steps that ended, the maps with tasks that are not sent yet, the tolerant maps at 0, which
-- _settle_tolerant decides, and the failures of maps whose outputs are too large.
create or replace function pgflow._count_down_steps(
  p_done pgflow._ended_task[], p_bytes int[],
  out ended pgflow._ended[], out windowed pgflow._step[], out tolerant pgflow._step[],
  out too_large pgflow._step_failure[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_most bigint := pgflow._most_output_bytes();
begin
  with fresh as materialized (
    select x.run_id, x.step_slug, x.tasks, d.step_type, not d.tolerant as may_end, d.when_exhausted,
      case d.step_type when 'map' then x.bytes end as bytes
    from (select u.run_id, u.flow_slug, u.step_slug, count(*)::int as tasks, sum(u.bytes) as bytes
          from unnest(p_done, p_bytes) u(
            run_id, flow_slug, step_slug, queue_name, message_id, archive, bytes)
          group by 1, 2, 3) x
    join pgflow.steps d on d.flow_slug = x.flow_slug and d.step_slug = x.step_slug
  ), counted as (
    update pgflow.step_states s
    set remaining_tasks = s.remaining_tasks - f.tasks,
        output_bytes = coalesce(s.output_bytes, 0) + f.bytes,
        status = case when s.remaining_tasks = f.tasks and f.may_end
            and coalesce(coalesce(s.output_bytes, 0) + f.bytes <= v_most, true)
          then 'completed' else s.status end,
        completed_at = case when s.remaining_tasks = f.tasks and f.may_end
            and coalesce(coalesce(s.output_bytes, 0) + f.bytes <= v_most, true)
          then greatest(v_now, s.started_at) end,
        output = case
          when (s.remaining_tasks = f.tasks and f.may_end
            and coalesce(coalesce(s.output_bytes, 0) + f.bytes <= v_most, true)) is not true
            then null
          when f.step_type = 'single' then (
            select t.output from pgflow.step_tasks t
            where t.run_id = s.run_id and t.step_slug = s.step_slug and t.task_index = 0)
          else (
            select jsonb_agg(t.output order by t.task_index) from pgflow.step_tasks t
            where t.run_id = s.run_id and t.step_slug = s.step_slug) end
    from fresh f
    where s.run_id = f.run_id and s.step_slug = f.step_slug and s.status = 'started'
    returning s.run_id, s.flow_slug, s.step_slug, s.status, s.sent < s.initial_tasks as windowed,
              s.remaining_tasks = 0 as at_zero, s.initial_tasks, s.remaining_tasks, s.output_bytes,
              f.when_exhausted,
              coalesce(s.output_bytes > v_most, false) as too_large
  )
  select
    coalesce(array_agg(row(c.run_id, c.flow_slug, c.step_slug, 'completed')::pgflow._ended)
             filter (where c.status = 'completed'), '{}'),
    coalesce(array_agg(row(c.run_id, c.flow_slug, c.step_slug)::pgflow._step)
             filter (where c.status = 'started' and c.windowed), '{}'),
    coalesce(array_agg(row(c.run_id, c.flow_slug, c.step_slug)::pgflow._step)
             filter (where c.status = 'started' and c.at_zero and not c.too_large), '{}'),
    array_agg(row(c.run_id, c.flow_slug, c.step_slug, null, c.when_exhausted, e.error,
        e.error ->> 'message')::pgflow._step_failure) filter (where c.too_large)
  into ended, windowed, tolerant, too_large
  from counted c
  cross join lateral (
    select case when c.too_large then pgflow._too_large(
      c.step_slug, c.initial_tasks, c.remaining_tasks, c.output_bytes) end as error) e;
end
$$;

-- The error of a map whose outputs are too large together.
create or replace function pgflow._too_large(
  p_step_slug text, p_tasks int, p_remaining int, p_bytes bigint
) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('type', 'OutputTooLarge', 'attempts', 0, 'message', format(
    'the outputs of %s are %s MB after %s of %s tasks; the limit of all outputs of a map is %s MB: '
      || 'return references', p_step_slug, round(p_bytes / 1e6, 1), p_tasks - p_remaining, p_tasks,
    pgflow._most_output_bytes() / 1000000))
$$;
