-- Recovery: the steps behind an edge `failure` or `any` of a failed step, and all that follow them.
-- When an unhandled failure ends a run that has `fail_fast`, they go on. The other steps, the
-- ordinary ones, are stopped; the run fails when the last recovery step has ended. Until
-- then its `outcome` is null, and `stopping` names the steps that were stopped.

-- Stops the ordinary steps of the runs with these failures in which a recovery step is open. Later
-- failures are those of recovery steps, so the steps that follow them are known from the start.
-- Returns these runs, and the steps that were cancelled here. The caller holds the runs.
create or replace function pgflow._stop_ordinary_steps(
  p_failures pgflow._run_failure[], out recovering uuid[], out ended pgflow._ended[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[] := array(select distinct u.run_id from unnest(p_failures) u);
  v_stopping uuid[];
begin
  with recursive recovery as (
    select s.run_id, s.flow_slug, d.step_slug
    from pgflow.step_states s
    join pgflow.deps d on d.flow_slug = s.flow_slug and d.dep_slug = s.step_slug
    where s.run_id = any(v_runs) and s.status = 'failed' and d.edge <> 'success'
    union
    select y.run_id, y.flow_slug, d.step_slug
    from recovery y
    join pgflow.deps d on d.flow_slug = y.flow_slug and d.dep_slug = y.step_slug
  ), open_steps as (
    select k.run_id, k.step_slug, bool_or(k.recovers) as recovers
    from (select y.run_id, y.step_slug, true as recovers, false as is_open from recovery y
          union all
          select s.run_id, s.step_slug, false, true from pgflow.step_states s
          where s.run_id = any(v_runs) and s.status in ('created', 'started')
            and not (select d.is_finally from pgflow.steps d
                     where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug)) k
    group by 1, 2 having bool_or(k.is_open)
  ), divided as materialized (
    select o.run_id, array_agg(o.step_slug) filter (where not o.recovers) as ordinary
    from open_steps o group by 1 having bool_or(o.recovers)
  ), stopped as (
    update pgflow.runs r set stopping = coalesce(v.ordinary, '{}')
    from divided v
    where r.run_id = v.run_id and r.stopping is null
    returning r.run_id
  )
  select coalesce(array_agg(v.run_id), '{}'), array(select s.run_id from stopped s)
  into recovering, v_stopping
  from divided v;
  ended := '{}';
  if cardinality(v_stopping) > 0 then
    ended := pgflow._stop_steps(v_stopping);
  end if;
end
$$;
