-- How many tasks of each wide step of a run ran at once: {step: {begin, end, running}}, with the
-- number in the middle of each of p_parts equal parts (500 at most) of the time from the first
-- beginning to the end. Of a task that was tried again, the last attempt counts.
create or replace function pgflow.run_densities(p_run_id uuid, p_parts int default 100)
returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with parts as (
    select least(pgflow._checked_limit(p_parts), 500) as parts
  ), tasks as materialized (
    select t.step_slug, t.started_at as begin,
      coalesce(t.completed_at, t.failed_at, t.cancelled_at, pgflow.clock()) as ended
    from pgflow.step_states s
    join pgflow.step_tasks t on t.run_id = s.run_id and t.step_slug = s.step_slug
    where s.run_id = p_run_id and s.initial_tasks > 1 and t.started_at is not null
      and t.status <> 'queued'
  ), times as (
    select k.step_slug, min(k.begin) as begin, max(k.ended) as ended,
      greatest(extract(epoch from max(k.ended) - min(k.begin)), 0.001) / p.parts as width
    from tasks k cross join parts p group by k.step_slug, p.parts
  ), changes as (
    -- The first part whose middle is not before the change; from it on, the number is another.
    select k.step_slug, c.change,
      ceil(extract(epoch from c.at - f.begin) / f.width - 0.5)::int as part
    from tasks k join times f on f.step_slug = k.step_slug
    cross join lateral (values (k.begin, 1), (k.ended, -1)) c(at, change)
  ), sums as (
    select c.step_slug, c.part, sum(c.change) as change from changes c group by 1, 2
  ), running as (
    select f.step_slug, g.part,
      sum(coalesce(s.change, 0)) over (partition by f.step_slug order by g.part) as running
    from times f cross join parts p cross join generate_series(0, p.parts - 1) g(part)
    left join sums s on s.step_slug = f.step_slug and s.part = g.part
  )
  select coalesce(jsonb_object_agg(f.step_slug, jsonb_build_object(
    'begin', f.begin, 'end', f.ended, 'running', (
      select jsonb_agg(r.running order by r.part) from running r
      where r.step_slug = f.step_slug))), '{}')
  from times f
$$;
