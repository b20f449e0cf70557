-- Pages of runs: each is read in a bounded time, however many runs there are.

-- A page of the runs that these filters match (93_matching_runs), newest first, and the place at
-- which the next page begins, to be added to the filters: {runs, next: {before, before_id},
-- looked}. `next` is null on the last page. Runs that start meanwhile come before the first page:
-- none is seen twice. A page also ends when p_look runs were looked at: then `looked` is their
-- number, else null. Where only child runs are passed over, it is 20 times as many. Raises PF006 as
-- list_runs does.
create or replace function pgflow.run_page(
  p_filters jsonb default '{}', p_limit int default 50, p_look int default 5000
) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_filters jsonb := jsonb_strip_nulls(coalesce(p_filters, '{}'));
  v_limit int := least(pgflow._checked_limit(p_limit), 10000);
  v_look int := least(pgflow._checked_limit(p_look), 1000000) * case
    when v_filters - array['since', 'older', 'before', 'before_id', 'children'] = '{}' then 20
    else 1 end;
  v_runs pgflow.runs[] := array(
    select r from pgflow._matching_runs(v_filters, v_limit + 1, v_look) r);
  v_last pgflow.runs;
  v_looked int;
begin
  if cardinality(v_runs) > v_limit then
    v_last := v_runs[v_limit];
    v_runs := v_runs[1:v_limit];
  else
    select r.* into v_last from pgflow._matching_runs(v_filters, 1, v_look, true) r;
    v_looked := case when v_last.run_id is not null then v_look end;
  end if;
  return jsonb_build_object(
    'runs', (
      select coalesce(jsonb_agg(pgflow._run_summary(r) order by r.started_at desc, r.run_id), '[]')
      from unnest(v_runs) r),
    'next', case when v_last.run_id is not null then jsonb_build_object(
      'before', v_last.started_at, 'before_id', v_last.run_id) end,
    'looked', v_looked);
end
$$;

-- The newest runs of versions of one flow, 200 at most: of the five versions that ran last, and 30
-- of each of the 25 before them, so that the first 30 are all there however often it is deployed.
create or replace function pgflow._newest_runs(p_slugs text[]) returns setof pgflow.runs
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select r.*
  from (
    select s.slug, row_number() over (order by l.started_at desc) as nr from unnest(p_slugs) s(slug)
    cross join lateral (
      select x.started_at from pgflow.runs x where x.flow_slug = s.slug
      order by x.started_at desc limit 1) l
    order by l.started_at desc limit 30) v
  cross join lateral (
    select x.* from pgflow.runs x where x.flow_slug = v.slug
    order by x.started_at desc limit case when v.nr <= 5 then 200 else 30 end) r
  order by r.started_at desc, r.run_id limit 200
$$;

-- The number of runs of versions in the last day, by status: 2,000 are counted at most, then `more`
-- is true.
create or replace function pgflow._runs_of_a_day(p_slugs text[]) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'started', count(*) filter (where k.status = 'started'),
    'completed', count(*) filter (where k.status = 'completed'),
    'failed', count(*) filter (where k.status = 'failed'),
    'cancelled', count(*) filter (where k.status = 'cancelled'), 'more', count(*) >= 2000)
  from (
    select r.status from unnest(p_slugs) s(slug)
    cross join lateral (
      select x.status from pgflow.runs x
      where x.flow_slug = s.slug
        and x.started_at > (select pgflow.clock() - interval '1 day')
      order by x.started_at desc limit 2000) r
    limit 2000) k
$$;

-- How flows have fared lately, those of p_flows or all, by name: {flow, last: the results of the 30
-- newest runs, oldest first, [{id, status, outcome, seconds}]; median and p95: the seconds of the
-- completed runs among the 200 newest, null for fewer than three; live: the runs that go on, among
-- 100,000; day: the runs of the last day by status}. Child runs count. A run that was retried has
-- no usual time.
create or replace function pgflow.flow_strips(p_flows text[] default null) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with live as materialized (
    select k.flow_slug, count(*) as runs
    from (select x.flow_slug from pgflow.runs x where x.status = 'started' limit 100000) k
    group by k.flow_slug
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'flow', f.name, 'last', t.last, 'median', t.median, 'p95', t.p95, 'live', coalesce((
      select sum(l.runs) from live l where l.flow_slug = any(f.slugs)), 0),
    'day', pgflow._runs_of_a_day(f.slugs)) order by f.name), '[]')
  from (
    select d.name, array_agg(d.flow_slug) as slugs from pgflow.definitions d
    where p_flows is null or d.name = any(p_flows) group by d.name) f
  cross join lateral (
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', r.run_id, 'status', r.status, 'outcome', r.outcome,
        'seconds', extract(epoch from r.ended_at - r.began_at)::float8)
      order by r.nth desc) filter (where r.nth <= 30), '[]') as last,
      case when count(r.usual) >= 3 then percentile_cont(0.5) within group (order by r.usual) end
        as median,
      case when count(r.usual) >= 3 then percentile_cont(0.95) within group (order by r.usual) end
        as p95
    from (
      select x.*, coalesce(x.completed_at, x.failed_at, x.cancelled_at) as ended_at,
        coalesce(x.retried_at, x.started_at) as began_at,
        case when x.status = 'completed' and x.retries = 0
          then extract(epoch from x.completed_at - x.started_at)::float8 end as usual,
        row_number() over (order by x.started_at desc, x.run_id) as nth
      from pgflow._newest_runs(f.slugs) x) r) t
$$;
