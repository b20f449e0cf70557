-- The tasks of one step: all of them in short, or some with what became of them.

-- The letter of a task's status, as a grid shows it: q queued, r running, c completed, f failed,
-- x cancelled, s skipped.
create or replace function pgflow._status_letter(p_status text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_status when 'started' then 'r' when 'cancelled' then 'x' else left(p_status, 1) end
$$;

-- The tasks of a step from index p_from on, 10,000 at most, two letters each: the status, `-` for
-- a task that is not made yet, and the number of attempts, `+` for ten and more. Returns {status,
-- first, total: the number of all its tasks, items}. Null for a step that the run does not have.
create or replace function pgflow.step_items(
  p_run_id uuid, p_step text, p_from int default 0, p_count int default 10000
) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  with behind as materialized (
    select b.task_index from pgflow._tasks_behind_slots(p_run_id) b where b.step_slug = p_step
  ), tasks as materialized (
    select t.task_index, case
        when t.status = 'started' and t.task_index in (select b.task_index from behind b) then 'q'
        else pgflow._status_letter(t.status) end
      || case when t.attempts_count - t.uncounted > 9 then '+'
        else (t.attempts_count - t.uncounted)::text end as letters
    from pgflow.step_tasks t
    where t.run_id = p_run_id and t.step_slug = p_step and t.task_index >= p_from
    order by t.task_index limit least(pgflow._checked_limit(p_count), 10000)
  )
  select jsonb_build_object('status', s.status, 'first', p_from,
    'total', coalesce(s.initial_tasks, 0), 'items', (
      select coalesce(string_agg(coalesce(t.letters, '-0'), '' order by g.index), '')
      from generate_series(p_from, least(coalesce(s.initial_tasks, 0),
        p_from::bigint + least(pgflow._checked_limit(p_count), 10000)) - 1) g(index)
      left join tasks t on t.task_index = g.index))
  from pgflow.step_states s
  where s.run_id = p_run_id and s.step_slug = p_step and p_from >= 0
$$;

-- Tasks of a step with these statuses (null: all), from index p_from on, in the order of their
-- index, 1,000 at most: [{index, status, attempts, crashes, queued_at, started_at, ended_at, child:
-- the run that it started, error: {type, message} of the last failure}].
create or replace function pgflow.list_items(
  p_run_id uuid, p_step text, p_statuses text[] default null, p_from int default 0,
  p_limit int default 100
) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with tasks as materialized (
    select t.* from pgflow.step_tasks t
    where t.run_id = p_run_id and t.step_slug = p_step and t.task_index >= p_from
      and (p_statuses is null or t.status = any(p_statuses))
    order by t.task_index limit least(pgflow._checked_limit(p_limit), 1000)
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'index', k.task_index, 'status', k.status, 'attempts', k.attempts_count - k.uncounted,
    'crashes', k.crashes_count, 'queued_at', k.queued_at, 'started_at', k.started_at,
    'ended_at', coalesce(k.completed_at, k.failed_at, k.cancelled_at),
    'child', k.child_run_id, 'error', e.error) order by k.task_index), '[]')
  from tasks k
  left join lateral (
    select jsonb_build_object('type', x.type, 'message', x.message) as error
    from pgflow.task_errors x
    where x.run_id = p_run_id and x.step_slug = p_step and x.task_index = k.task_index
    order by x.id desc limit 1) e on true
$$;
