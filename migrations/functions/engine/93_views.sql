-- Views for people: lists and details, the same for the command line, the API and psql. All times
-- are UTC. Nothing here locks.

-- The time since when a living worker has been heard of: a minute ago, but not before the server
-- started, for an embedded one stops after its last worker. A function of its own, to be called in
-- a subquery: a volatile function serves no index.
create or replace function pgflow._alive_since() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select greatest(pgflow.clock() - interval '1 minute', pg_postmaster_start_time())
$$;

-- One run with its steps, as `show --json` prints it. p_items adds the status of each map task;
-- p_after_error returns only errors with a greater id; p_outputs = false and p_input = false leave
-- outputs and the input out, for views that are drawn often; p_logs adds the last lines of steps
-- that fail. Null for an unknown run.
create or replace function pgflow.run_snapshot(
  p_run_id uuid, p_items boolean default false, p_after_error bigint default 0,
  p_outputs boolean default true, p_logs boolean default false, p_input boolean default true
) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'run', jsonb_build_object(
      'id', r.run_id, 'flow', coalesce(r.flow_name, r.flow_slug),
      'version', nullif(split_part(r.flow_slug, '__', 2), ''), 'status', r.status,
      'input', case when p_input then r.input end,
      'output', case when p_outputs then r.output end, 'error', r.error, 'key', r.run_key,
      'labels', coalesce(r.labels, '{}'), 'outcome', r.outcome,
      'parent', case when r.parent_run_id is not null then jsonb_build_object(
        'id', r.parent_run_id, 'step', r.parent_step, 'index', r.parent_index) end,
      'created_at', r.started_at, 'started_at', coalesce(r.retried_at, r.started_at),
      'retries', r.retries,
      'why', case when r.waits_at is not null then pgflow._why_run_waits(r) end,
      'ended_at', coalesce(r.completed_at, r.failed_at, r.cancelled_at),
      'pruned_at', r.pruned_at),
    'now', pgflow.clock(),
    'workers', (select count(*) from pgflow.workers w where w.stopped_at is null
                and w.last_heartbeat_at > (select pgflow._alive_since())),
    'steps', case
      when p_logs
        then pgflow._with_last_lines(r.run_id, pgflow._step_snapshots(r, p_items, p_outputs))
      else pgflow._step_snapshots(r, p_items, p_outputs) end,
    'errors', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'id', e.id, 'step', e.step_slug, 'index', e.task_index, 'attempt', e.attempt,
        'type', e.type, 'message', e.message, 'trace', e.trace, 'began_at', e.began_at,
        'at', e.created_at, 'final', e.final, 'retry_at', e.retry_at, 'past', e.past)
        order by e.id), '[]')
      from (select x.* from pgflow.task_errors x where x.run_id = r.run_id and x.id > p_after_error
            order by x.id limit 200) e))
  from pgflow.runs r
  where r.run_id = p_run_id
$$;

-- The seconds that a run of this flow usually took before a run: the median of the last 50 that
-- completed, among the 2,000 runs of all flows before it. Null for fewer than three.
create or replace function pgflow.usual_seconds(p_run_id uuid) returns double precision
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) >= 3 then percentile_cont(0.5) within group (order by k.seconds) end
  from (
    select extract(epoch from c.completed_at - c.started_at)::double precision as seconds
    from (
      select x.flow_slug, x.flow_name, x.status, x.started_at, x.completed_at, x.retries
      from pgflow.runs x
      where x.started_at < (select r.started_at from pgflow.runs r where r.run_id = p_run_id)
      order by x.started_at desc, x.run_id limit 2000) c
    where c.status = 'completed' and c.retries = 0 and coalesce(c.flow_name, c.flow_slug)
      = (select coalesce(r.flow_name, r.flow_slug) from pgflow.runs r where r.run_id = p_run_id)
    limit 50) k
$$;

-- A run as lists show it.
create or replace function pgflow._run_summary(p_run pgflow.runs) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'id', p_run.run_id, 'flow', coalesce(p_run.flow_name, p_run.flow_slug),
    'version', nullif(split_part(p_run.flow_slug, '__', 2), ''), 'status', p_run.status,
    'key', p_run.run_key, 'labels', coalesce(p_run.labels, '{}'), 'created_at', p_run.started_at,
    'started_at', coalesce(p_run.retried_at, p_run.started_at), 'retries', p_run.retries,
    'outcome', p_run.outcome,
    'parent', case when p_run.parent_run_id is not null then jsonb_build_object(
      'id', p_run.parent_run_id, 'step', p_run.parent_step, 'index', p_run.parent_index) end,
    'ended_at', coalesce(p_run.completed_at, p_run.failed_at, p_run.cancelled_at),
    'error', p_run.error, 'pruned_at', p_run.pruned_at, 'gate', p_run.waits_at,
    'steps', (
      select jsonb_build_object(
        'total', count(*), 'completed', count(*) filter (where s.status = 'completed'),
        'failed', count(*) filter (where s.status = 'failed'),
        'done', count(*) filter (where pgflow._is_done(s.status, p_run)))
      from pgflow.step_states s where s.run_id = p_run.run_id))
$$;

-- Runs, newest first; null filters match all. p_labels matches runs that have all of them, p_error
-- those whose error has this text in its type or message; _matching_runs has the others. Child
-- runs, of which a run may have thousands, are among them with p_children or p_parent. Reads until
-- it has found the limit, through all runs if need be. Raises PF006 for a limit or a time back that
-- is none.
create or replace function pgflow.list_runs(
  p_flow text default null, p_status text default null, p_since interval default null,
  p_limit int default 20, p_labels jsonb default null, p_children boolean default false,
  p_older interval default null, p_parent uuid default null, p_error text default null,
  p_version text default null, p_schedule text default null
) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(pgflow._run_summary(r) order by r.started_at desc, r.run_id), '[]')
  from pgflow._matching_runs(jsonb_build_object(
    'flow', p_flow, 'status', p_status, 'labels', p_labels, 'children', p_children,
    'since', extract(epoch from pgflow._checked_age(p_since)),
    'older', extract(epoch from pgflow._checked_age(p_older)), 'parent', p_parent,
    'error', p_error, 'version', p_version, 'schedule', p_schedule), p_limit) r
$$;

-- The runs that a text means: the one with this id; for `last`, the latest one without a parent;
-- the ones with this key, of which each flow may have one; else those whose id begins with it (four
-- digits at least). At most five. A beginning is a range of ids, so the primary key serves it.
create or replace function pgflow.find_run(p_text text) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_digits text := replace(lower(p_text), '-', '');
  v_is_id boolean := v_digits ~ '^[0-9a-f]{4,32}$';
  v_runs uuid[] := '{}';
begin
  if v_is_id and length(v_digits) = 32 then
    v_runs := array(select r.run_id from pgflow.runs r where r.run_id = v_digits::uuid);
  elsif p_text = 'last' then
    v_runs := array(
      select r.run_id from pgflow.runs r where r.parent_run_id is null
      order by r.started_at desc, r.run_id limit 1);
  end if;
  if v_runs = '{}' then
    v_runs := array(
      select r.run_id from pgflow.runs r where r.run_key = p_text order by r.run_id limit 5);
  end if;
  if v_runs = '{}' and v_is_id then
    v_runs := array(
      select r.run_id from pgflow.runs r
      where r.run_id between rpad(v_digits, 32, '0')::uuid and rpad(v_digits, 32, 'f')::uuid
      limit 5);
  end if;
  return to_jsonb(v_runs);
end
$$;

-- The number of runs of versions in each status. Live runs are all counted, ended ones among the
-- last 10,000 runs of all these versions; `more`: there are older runs. (A count of all reads all
-- of them, and a list of flows must not take longer the longer the flows are in use.)
create or replace function pgflow._run_counts(p_slugs text[], p_live bigint) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'started', coalesce(p_live, 0),
    'completed', count(*) filter (where k.status = 'completed' and k.nth <= 10000),
    'failed', count(*) filter (where k.status = 'failed' and k.nth <= 10000),
    'cancelled', count(*) filter (where k.status = 'cancelled' and k.nth <= 10000),
    'more', count(*) > 10000)
  from (
    select r.status, row_number() over () as nth from unnest(p_slugs) s(slug)
    cross join lateral (
      select x.status from pgflow.runs x where x.flow_slug = s.slug
      order by x.started_at desc limit 10001) r
    limit 10001) k
$$;

-- The number of live runs of each version that has some. Reads all live runs.
create or replace function pgflow._live_counts() returns table (flow_slug text, live bigint)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select r.flow_slug, count(*) from pgflow.runs r where r.status = 'started' group by r.flow_slug
$$;

-- Flows with their active version and, unless p_counts is false, their counts of runs, which cost
-- most of it; else `runs` is {}.
create or replace function pgflow.list_flows(p_counts boolean default true) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'name', f.name, 'version', f.active, 'versions', f.versions, 'description', f.description,
    'deployed_at', f.deployed_at, 'runs', case
      when p_counts then pgflow._run_counts(f.slugs, f.live) else '{}' end) order by f.name), '[]')
  from (
    select d.name, max(d.version) filter (where d.active) as active, count(*) as versions,
      (array_agg(d.description order by d.active desc, d.created_at desc))[1] as description,
      max(d.created_at) as deployed_at,
      array_agg(d.flow_slug order by d.created_at desc, d.version) as slugs,
      sum(l.live)::bigint as live
    from pgflow.definitions d
    left join (select c.* from pgflow._live_counts() c where p_counts) l
      on l.flow_slug = d.flow_slug
    group by d.name
  ) f
$$;

-- The versions of a flow, newest first; raises PF001 for an unknown name.
create or replace function pgflow.list_versions(p_name text) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  if not exists (select 1 from pgflow.definitions d where d.name = p_name) then
    raise exception using errcode = 'PF001',
      message = format('there is no flow "%s" in this database', p_name);
  end if;
  return (
    select jsonb_agg(jsonb_build_object(
      'version', d.version, 'active', d.active, 'created_at', d.created_at,
      'created_by', d.created_by, 'git', d.git, 'live', coalesce(l.live, 0),
      'runs', pgflow._run_counts(array[d.flow_slug], l.live))
      order by d.created_at desc, d.version)
    from pgflow.definitions d
    left join pgflow._live_counts() l on l.flow_slug = d.flow_slug
    where d.name = p_name);
end
$$;
