-- Retention: ended runs are deleted in small commits beside all other work.
--
-- Deleted are whole trees: a run without a parent, with its child runs and all their rows, when it
-- ended long enough ago; child runs end before their parent. A tree is deleted in one commit where
-- it fits (200 runs, 5,000 rows). A larger one is marked (runs.pruned_at) and then emptied from
-- below over several commits; a marked run is deleted whatever happens, so no retry may begin it.
--
-- Nothing here waits for a lock: what somebody holds is left to the next pass.

-- True for what flows.retention may hold: null, or milliseconds for `completed` and `failed`, of
-- which null is for ever, and the one that is missing the default.
create or replace function pgflow._is_retention(p_retention jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case coalesce(jsonb_typeof(p_retention), 'null')
    when 'null' then true
    when 'object' then not exists (
      select 1 from jsonb_each(p_retention) k
      where k.key not in ('completed', 'failed')
        or case jsonb_typeof(k.value)
          when 'null' then false
          when 'number' then k.value::numeric not between 0 and 1e13
          else true end)
    else false end
$$;

-- For each stored version, or those of one name, the times before which a run must have ended to be
-- deleted; null = never. A name has the retention of its active version, or else of its newest.
-- With p_older, every run goes that is as old; what is kept for ever only where the flow is named.
create or replace function pgflow._prune_limits(p_flow text, p_older interval)
returns table (flow_slug text, completed_before timestamptz, failed_before timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select d.flow_slug, k.clock - k.completed, k.clock - k.failed
  from pgflow.definitions d
  join lateral (
    select '{"completed": 2592000000, "failed": 2592000000}' || coalesce(f.retention, '{}') as kept
    from pgflow.definitions x join pgflow.flows f on f.flow_slug = x.flow_slug
    where x.name = d.name order by x.active desc, x.created_at desc, x.version limit 1) c on true
  cross join lateral (
    select pgflow.clock() as clock,
      case when c.kept ->> 'completed' is not null or p_flow is not null
        then coalesce(p_older, (c.kept ->> 'completed')::bigint * interval '1 ms') end as completed,
      case when c.kept ->> 'failed' is not null or p_flow is not null
        then coalesce(p_older, (c.kept ->> 'failed')::bigint * interval '1 ms') end as failed) k
  where (p_flow is null or d.name = p_flow) and coalesce(k.completed, k.failed) is not null
$$;

-- A run with all its descendants, or the first 201 of these. Null where one of them goes on.
create or replace function pgflow._prune_tree(p_run_id uuid) returns uuid[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tree uuid[] := array[p_run_id];
  v_level uuid[] := array[p_run_id];
  v_goes_on boolean;
begin
  while cardinality(v_level) > 0 and cardinality(v_tree) <= 200 loop
    select coalesce(array_agg(c.run_id), '{}'), coalesce(bool_or(c.status = 'started'), false)
    into v_level, v_goes_on
    from (
      select r.run_id, r.status from pgflow.runs r
      where r.parent_run_id = any(v_level) and r.parent_run_id is not null limit 201) c;
    if v_goes_on then
      return null;
    end if;
    v_tree := v_tree || v_level;
  end loop;
  return v_tree;
end
$$;

-- True where a descendant of a run goes on, however many there are.
create or replace function pgflow._has_live_descendant(p_run_id uuid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive below as (
    select r.run_id, r.status from pgflow.runs r
    where r.parent_run_id = p_run_id and r.parent_run_id is not null
    union all
    select r.run_id, r.status
    from below b
    cross join lateral (
      select x.run_id, x.status from pgflow.runs x
      where x.parent_run_id = b.run_id and x.parent_run_id is not null offset 0) r
  )
  select exists (select 1 from below b where b.status = 'started')
$$;

-- The number of rows that runs have beside their own, at most p_limit of each kind.
create or replace function pgflow._prune_rows(p_runs uuid[], p_limit bigint) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select (select count(*) from (
      select 1 from pgflow.step_tasks t where t.run_id = any(p_runs) limit p_limit) k)
    + (select count(*) from (
      select 1 from pgflow.step_states s where s.run_id = any(p_runs) limit p_limit) k)
    + (select count(*) from (
      select 1 from pgflow.task_errors e where e.run_id = any(p_runs) limit p_limit) k)
    + (select count(*) from (
      select 1 from pgflow.task_logs l where l.run_id = any(p_runs) limit p_limit) k)
$$;

-- Deletes up to 5,000 rows of a run that has more. The caller holds the run. Returns the number of
-- its tasks among them.
create or replace function pgflow._prune_part(p_run_id uuid) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_logs bigint;
  v_tasks bigint;
  v_errors bigint;
begin
  delete from pgflow.task_logs l where l.ctid = any(array(
    select x.ctid from pgflow.task_logs x where x.run_id = p_run_id limit 5000));
  get diagnostics v_logs = row_count;
  delete from pgflow.step_tasks t where t.ctid = any(array(
    select x.ctid from pgflow.step_tasks x where x.run_id = p_run_id limit 5000 - v_logs));
  get diagnostics v_tasks = row_count;
  delete from pgflow.task_errors e where e.ctid = any(array(
    select x.ctid from pgflow.task_errors x
    where x.run_id = p_run_id limit 5000 - v_logs - v_tasks));
  get diagnostics v_errors = row_count;
  delete from pgflow.step_states s where s.ctid = any(array(
    select x.ctid from pgflow.step_states x
    where x.run_id = p_run_id limit 5000 - v_logs - v_tasks - v_errors));
  return v_tasks;
end
$$;

-- Deletes runs with all their rows; a trigger deletes their logs. The caller holds the runs.
-- Returns {runs: {flow: number}, tasks}.
create or replace function pgflow._prune_whole(p_runs uuid[]) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tasks bigint;
  v_runs jsonb;
begin
  delete from pgflow.step_tasks t where t.run_id = any(p_runs);
  get diagnostics v_tasks = row_count;
  delete from pgflow.task_errors e where e.run_id = any(p_runs);
  delete from pgflow.events e where e.run_id = any(p_runs);
  delete from pgflow.step_states s where s.run_id = any(p_runs);
  with gone as (
    delete from pgflow.runs r where r.run_id = any(p_runs)
    returning coalesce(r.flow_name, r.flow_slug) as flow
  )
  select jsonb_object_agg(k.flow, k.runs) into v_runs
  from (select g.flow, count(*) as runs from gone g group by g.flow) k;
  return jsonb_build_object('tasks', v_tasks, 'runs', v_runs);
end
$$;

-- Deletes as many of the trees below these runs as fit into one commit, or a part of the first that
-- fits into none. The caller holds the runs. Returns {runs, tasks}; null where nothing could go.
create or replace function pgflow._prune_trees(p_runs uuid[]) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_candidates uuid[] := p_runs;
  v_run uuid;
  v_tree uuid[];
  v_rows bigint;
  v_all_rows bigint;
  v_all uuid[];
  v_wide uuid;
  v_inside boolean := false;
begin
  loop
    v_all := '{}';
    v_all_rows := 0;
    v_wide := null;
    foreach v_run in array v_candidates loop
      v_tree := pgflow._prune_tree(v_run);
      continue when v_tree is null or cardinality(v_tree) > 1 and cardinality(v_tree) > (
        select count(*) from (
          select 1 from pgflow.runs r where r.run_id = any(v_tree) for update skip locked) k);
      v_rows := pgflow._prune_rows(v_tree, 5001);
      if cardinality(v_all || v_tree) > 200 or v_all_rows + v_rows > 5000 then
        exit when cardinality(v_all) > 0;
        continue when not v_inside and pgflow._has_live_descendant(v_run);
        v_wide := v_run;
        exit;
      end if;
      v_all := v_all || v_tree;
      v_all_rows := v_all_rows + v_rows;
    end loop;
    if cardinality(v_all) > 0 then
      return pgflow._prune_whole(v_all);
    elsif v_wide is null then
      return null;
    end if;
    update pgflow.runs r set pruned_at = pgflow.clock()
    where r.run_id = v_wide and r.pruned_at is null;
    if not exists (select 1 from pgflow.runs r
                   where r.parent_run_id = v_wide and r.parent_run_id is not null)
    then
      return jsonb_build_object('runs', '{}'::jsonb, 'tasks', pgflow._prune_part(v_wide));
    end if;
    v_inside := true;
    v_candidates := array(
      select r.run_id from pgflow.runs r
      where r.parent_run_id = v_wide and r.parent_run_id is not null limit 200
      for update skip locked);
  end loop;
end
$$;

-- The next runs of a version that are to be deleted, 200 at most, with their starts, among the next
-- 1,000 after a place in the order of starts; and the place of the last that was looked at, null at
-- the end. Runs that one commit has started have the same time, and are all sorted. (The parent is
-- selected, for `not exists` would be a hash over all runs.)
create or replace function pgflow._prune_window(
  p_slug text, p_completed timestamptz, p_failed timestamptz, p_at timestamptz, p_id uuid,
  out runs uuid[], out starts timestamptz[], out last_at timestamptz, out last_id uuid
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(w.run_id order by w.started_at, w.run_id) filter (where w.goes), '{}'),
    array_agg(w.started_at order by w.started_at, w.run_id) filter (where w.goes),
    (array_agg(w.started_at order by w.started_at desc, w.run_id desc))[1],
    (array_agg(w.run_id order by w.started_at desc, w.run_id desc))[1]
  from (
    select k.*, count(*) filter (where k.goes) over (order by k.started_at, k.run_id) as nth
    from (
      select r.run_id, r.started_at,
        r.pruned_at is null and r.status <> 'started'
        and (coalesce(r.completed_at, r.failed_at, r.cancelled_at)
          < case r.status when 'failed' then p_failed else p_completed end) is true
        and (select p.run_id from pgflow.runs p where p.run_id = r.parent_run_id) is null as goes
      from pgflow.runs r
      where r.flow_slug = p_slug and r.started_at < greatest(p_completed, p_failed)
        and (r.started_at, r.run_id) > (p_at, p_id)
      order by r.started_at, r.run_id limit 1000) k) w
  where w.nth <= 200
$$;

-- What a dry run says of trees: as if they had been deleted.
create or replace function pgflow._count_trees(p_runs uuid[]) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive tree as (
    select r.run_id, coalesce(r.flow_name, r.flow_slug) as flow
    from pgflow.runs r where r.run_id = any(p_runs)
    union
    select r.run_id, r.flow
    from tree t
    cross join lateral (
      select x.run_id, coalesce(x.flow_name, x.flow_slug) as flow from pgflow.runs x
      where x.parent_run_id = t.run_id and x.parent_run_id is not null offset 0) r
  )
  select jsonb_build_object('tasks', coalesce(sum(k.tasks), 0),
    'runs', coalesce(jsonb_object_agg(k.flow, k.runs), '{}'))
  from (
    select t.flow, count(*) as runs,
      sum((select count(*) from pgflow.step_tasks x where x.run_id = t.run_id)) as tasks
    from tree t group by t.flow) k
$$;

-- One commit of a pass over the runs. The cursor is {flow_slug, at, id}, the place from which to
-- look on. Returns {cursor: null after the last, runs: {flow: number}, tasks}.
create or replace function pgflow._prune_runs(
  p_cursor jsonb, p_flow text, p_older interval, p_dry_run boolean
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow record;
  v_window record;
  v_done jsonb;
  v_looked int := 0;
  v_last int;
  v_slug text := coalesce(p_cursor ->> 'flow_slug', '');
  v_at timestamptz := coalesce(p_cursor ->> 'at', '-infinity');
  v_id uuid := coalesce(p_cursor ->> 'id', '00000000-0000-0000-0000-000000000000');
begin
  if not p_dry_run then
    v_done := pgflow._prune_trees(array(
      select r.run_id from pgflow.runs r
      where r.pruned_at is not null and (p_flow is null or r.flow_name = p_flow)
      limit 200 for update skip locked));
  elsif p_cursor is null then
    v_done := pgflow._count_trees(array(
      select r.run_id from pgflow.runs r
      where r.pruned_at is not null and (p_flow is null or r.flow_name = p_flow)));
  end if;
  if v_done is not null then
    return v_done || jsonb_build_object('cursor', coalesce(p_cursor, '{}'));
  end if;
  for v_flow in
    select l.* from pgflow._prune_limits(p_flow, p_older) l
    where l.flow_slug >= v_slug order by l.flow_slug
  loop
    if v_flow.flow_slug <> v_slug then
      v_slug := v_flow.flow_slug;
      v_at := '-infinity';
      v_id := '00000000-0000-0000-0000-000000000000';
    end if;
    loop
      v_window := pgflow._prune_window(v_slug, v_flow.completed_before, v_flow.failed_before,
        v_at, v_id);
      exit when v_window.last_at is null;
      v_looked := v_looked + 1;
      if v_window.runs = '{}' then
        v_done := null;
      elsif p_dry_run then
        v_done := pgflow._count_trees(v_window.runs);
      else
        v_done := pgflow._prune_trees(array(
          select r.run_id from pgflow.runs r where r.run_id = any(v_window.runs)
          order by r.started_at, r.run_id for update skip locked));
      end if;
      if v_done is null or p_dry_run then
        v_at := v_window.last_at;
        v_id := v_window.last_id;
      else -- behind the last that has gone: an open transaction may keep the dead in the index
        select max(u.nr) into v_last from unnest(v_window.runs) with ordinality u(run_id, nr)
        where not exists (select 1 from pgflow.runs r where r.run_id = u.run_id);
        v_at := coalesce(v_window.starts[v_last], v_at);
        v_id := coalesce(v_window.runs[v_last], v_id);
      end if;
      if v_done is not null or v_looked >= 10 then
        return coalesce(v_done, '{"runs": {}, "tasks": 0}') || jsonb_build_object('cursor',
          jsonb_build_object('flow_slug', v_slug, 'at', v_at, 'id', v_id));
      end if;
    end loop;
  end loop;
  return '{"runs": {}, "tasks": 0, "cursor": null}';
end
$$;
