-- Maps that tolerate failed items: the failures are counted, and the last task decides.

-- Counts the failed items of tolerant maps; they no longer remain. The caller holds the runs.
-- Returns the maps.
create or replace function pgflow._count_failed_items(p_decided jsonb) returns pgflow._step[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tolerant pgflow._step[];
begin
  with lost as materialized (
    select d.run_id, d.step_slug, count(*)::int as items
    from jsonb_to_recordset(p_decided) d(
      run_id uuid, step_slug text, tolerant boolean, lives boolean, stopped boolean)
    where d.tolerant and not d.lives and not d.stopped group by 1, 2
  ), lowered as (
    update pgflow.step_states s
    set failed_tasks = s.failed_tasks + l.items, remaining_tasks = s.remaining_tasks - l.items
    from lost l
    where s.run_id = l.run_id and s.step_slug = l.step_slug and s.status = 'started'
    returning s.run_id, s.flow_slug, s.step_slug
  )
  select coalesce(array_agg(row(w.run_id, w.flow_slug, w.step_slug)::pgflow._step), '{}')
  into v_tolerant from lowered w;
  return v_tolerant;
end
$$;

-- Decides about tolerant maps that lost items or have none left. A map fails by its policy when
-- more items failed than it tolerates, at once (`fail_fast`) or when none is left; it is completed
-- when none is left, with null for each failed item; otherwise it goes on. The caller holds the
-- runs. Returns as _fail_steps does.
create or replace function pgflow._settle_tolerant(
  p_steps pgflow._step[], out ended pgflow._ended[], out failures pgflow._run_failure[],
  out done pgflow._ended_task[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_failures pgflow._step_failure[];
  v_completed pgflow._ended[];
begin
  with policies as materialized (
    select k.run_id, k.step_slug, d.when_exhausted, d.spec
    from (select distinct u.run_id, u.flow_slug, u.step_slug from unnest(p_steps) u) k
    join pgflow.steps d on d.flow_slug = k.flow_slug and d.step_slug = k.step_slug
  ), numbers as (
    select s.*, p.when_exhausted, w.tolerated,
      s.failed_tasks > w.tolerated
        and (coalesce((p.spec ->> 'fail_fast')::boolean, true) or s.remaining_tasks = 0) as fails
    from policies p
    join pgflow.step_states s on s.run_id = p.run_id and s.step_slug = p.step_slug
    cross join lateral (
      select case jsonb_typeof(p.spec -> 'tolerate')
        when 'number' then (p.spec ->> 'tolerate')::int
        when 'object'
          then floor((p.spec #>> '{tolerate,percent}')::numeric * s.initial_tasks / 100)::int
        else 0 end as tolerated) w
    where s.status = 'started'
  )
  select
    array_agg(row(n.run_id, n.flow_slug, n.step_slug, e.task_index, n.when_exhausted,
      jsonb_build_object('type', e.type, 'attempts', e.attempt,
        'message', case when n.tolerated = 0 and n.failed_tasks = 1 then e.message
          else format('%s of %s items failed (%s may), the last: %s',
                      n.failed_tasks, n.initial_tasks, n.tolerated, e.message) end),
      e.message)::pgflow._step_failure) filter (where n.fails),
    array_agg(row(n.run_id, n.flow_slug, n.step_slug, 'completed')::pgflow._ended)
      filter (where not n.fails and n.remaining_tasks = 0)
  into v_failures, v_completed
  from numbers n
  left join lateral (
    select x.task_index, x.type, x.message, x.attempt from pgflow.task_errors x
    where x.run_id = n.run_id and x.step_slug = n.step_slug and x.final
      and not x.past
    order by x.id desc limit 1) e on n.fails;

  perform pgflow._end_states(array(
    select row(c.run_id, c.step_slug, 'completed', null, (
      select jsonb_agg(t.output order by t.task_index) from pgflow.step_tasks t
      where t.run_id = c.run_id and t.step_slug = c.step_slug), null, null)::pgflow._transition
    from unnest(v_completed) c));
  select f.ended, f.failures, f.done into ended, failures, done
  from pgflow._fail_steps(coalesce(v_failures, '{}')) f;
  ended := ended || coalesce(v_completed, '{}');
end
$$;
