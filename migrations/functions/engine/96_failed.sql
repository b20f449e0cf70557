-- Failed work over all runs: what `failed` lists and drops. A failed child run fails a step of its
-- parent, which is listed.

-- The failures of one failed run: see list_failed. `items` is the number of failed items of a map,
-- `worker` the host of the worker that failed last.
create or replace function pgflow._failed_steps(p_run pgflow.runs)
returns table (
  step_slug text, step_index int, error jsonb, items int, worker text, failed_at timestamptz
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with failures as (
    select s.step_slug, d.step_index, s.error, s.failed_at, d.step_type
    from pgflow.step_states s
    join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
    where s.run_id = p_run.run_id and s.status = 'failed' and (d.is_finally or s.step_slug in (
      select u.step_slug from unnest(pgflow._unhandled_failures(array[p_run.run_id])) u))
  )
  select f.step_slug, f.step_index, f.error,
    case f.step_type when 'map' then (
      select count(*)::int from pgflow.step_tasks t
      where t.run_id = p_run.run_id and t.step_slug = f.step_slug and t.status = 'failed') end,
    (select w.info ->> 'host'
     from pgflow.step_tasks t join pgflow.workers w on w.worker_id = t.last_worker_id
     where t.run_id = p_run.run_id and t.step_slug = f.step_slug and t.status = 'failed'
     order by t.failed_at desc limit 1), f.failed_at
  from failures f
  union all
  select null, 0, p_run.error, null, null, p_run.failed_at
  where not exists (select 1 from failures)
$$;

-- The failed steps of failed runs, those that failed last first: one line for each step whose
-- failure no other step handled, or one with step null for a run that failed without any, as by its
-- timeout. Null filters match all, and mean what they mean in list_runs, but p_since and p_older go
-- by the failure of the run, and p_error by the error of the line; p_runs are the only runs to look
-- at. Runs are read by their index in the order of their failure, so that reading ends with the
-- limit or with p_since. Raises PF006 for a limit or a time back that is none.
create or replace function pgflow.list_failed(
  p_flow text default null, p_version text default null, p_labels jsonb default null,
  p_since interval default null, p_step text default null, p_error text default null,
  p_limit int default 20, p_runs uuid[] default null, p_older interval default null
) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(k.line order by k.failed_at desc, k.run_id, k.step_index), '[]')
  from (
    select r.failed_at, r.run_id, f.step_index, jsonb_build_object(
      'run_id', r.run_id, 'flow', coalesce(r.flow_name, r.flow_slug),
      'version', nullif(split_part(r.flow_slug, '__', 2), ''), 'step', f.step_slug,
      'type', f.error ->> 'type', 'message', f.error ->> 'message',
      'attempts', (f.error ->> 'attempts')::int, 'items', f.items, 'worker', f.worker,
      'failed_at', coalesce(f.failed_at, r.failed_at), 'retries', r.retries) as line
    from pgflow.runs r
    cross join lateral pgflow._failed_steps(r) f
    where r.status = 'failed' and r.dismissed_at is null and r.parent_run_id is null
      and r.pruned_at is null
      and (p_runs is null or r.run_id = any(p_runs))
      and (p_flow is null or coalesce(r.flow_name, r.flow_slug) = p_flow)
      and (p_version is null or starts_with(split_part(r.flow_slug, '__', 2), p_version))
      and (p_labels is null or r.labels @> p_labels)
      and r.failed_at >= coalesce((
        select pgflow.clock() - pgflow._checked_age(p_since)), '-infinity')
      and r.failed_at < coalesce((
        select pgflow.clock() - pgflow._checked_age(p_older)), 'infinity')
      and (p_step is null or f.step_slug = p_step)
      and (p_error is null or strpos(lower(concat_ws(': ',
        f.error ->> 'type', f.error ->> 'message')), lower(p_error)) > 0)
    order by r.failed_at desc, r.run_id, f.step_index limit pgflow._checked_limit(p_limit)) k
$$;

-- Drops a failed run from the list; it stays in the database as it is, and a retry that fails
-- brings it back. Locks the run. Returns {run_id, dropped: false for one that had been dropped}.
-- Raises PF001 for an unknown run, PF005 for one that has not failed.
create or replace function pgflow.drop_failed(p_run text, p_by text default null) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs := pgflow._lock_run_by_text(p_run);
begin
  if v_run.status <> 'failed' then
    raise exception using errcode = 'PF005', message = format(
      'run %s has not failed: it is %s', v_run.run_id, v_run.status);
  elsif v_run.dismissed_at is null then
    update pgflow.runs r set dismissed_at = pgflow.now() where r.run_id = v_run.run_id;
    insert into pgflow.audit (action, subject, who)
    values ('drop', v_run.run_id::text, coalesce(p_by, session_user));
  end if;
  return jsonb_build_object('run_id', v_run.run_id, 'dropped', v_run.dismissed_at is null);
end
$$;
