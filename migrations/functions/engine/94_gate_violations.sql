-- I9: each slot belongs to a live run or task of that gate, and each of those that are limited has
-- one. What does not fit is mended by the sweep (89_sweep_slots).

-- True for a slot whose run or task is not live. The slot of a start that counts on is not left.
create or replace function pgflow._is_left(p_slot pgflow.slots) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not (p_slot.held and p_slot.until is not null) and case
    when p_slot.step_slug is null then not exists (
      select 1 from pgflow.runs r
      where r.run_id = p_slot.run_id and r.status = 'started'
        -- one that was let in at one gate may wait at the next
        and (r.waits_at is not distinct from p_slot.gate) <> p_slot.held)
    else not exists (
      select 1 from pgflow.step_tasks t
      join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
      where t.run_id = p_slot.run_id and t.step_slug = p_slot.step_slug
        and t.task_index = p_slot.task_index and t.status in ('queued', 'started')
        and p_slot.gate in (d.gate #>> '{concurrency,gate}', d.gate #>> '{rate,gate}')) end
$$;

-- The violations of I9 that the rows of some runs can show.
create or replace function pgflow._slot_violations(p_runs uuid[])
returns table (invariant text, run_id uuid, step_slug text, details text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'I9', s.run_id, s.step_slug, format('slot %s of %s belongs to nothing that is live',
    s.nr, s.gate)
  from pgflow.slots s
  where s.run_id = any(p_runs) and pgflow._is_left(s)
  union all
  select 'I9', r.run_id, null, format('%s without a slot of %s',
    case when r.waits_at is null then 'goes on' else 'waits' end, f.gate ->> 'gate')
  from (select x.* from pgflow.runs x where x.run_id = any(p_runs) offset 0) r
  join pgflow.flows f on f.flow_slug = r.flow_slug and f.gate is not null
  where r.status = 'started' and coalesce(r.waits_at, f.gate ->> 'gate') = f.gate ->> 'gate'
    and not exists (
      select 1 from pgflow.slots s
      where s.run_id = r.run_id and s.step_slug is null and s.gate = f.gate ->> 'gate'
        and s.held = (r.waits_at is null))
  union all
  select 'I9', t.run_id, t.step_slug, format('task %s is %s without a slot', t.task_index, t.status)
  from (select x.* from pgflow.runs x where x.run_id = any(p_runs) offset 0) r
  join pgflow.flows f on f.flow_slug = r.flow_slug and f.gated
  join pgflow.steps d on d.flow_slug = r.flow_slug and d.gate is not null
  join pgflow.step_states k on k.run_id = r.run_id and k.step_slug = d.step_slug
    and k.status = 'started'
  join pgflow.step_tasks t on t.run_id = r.run_id and t.step_slug = d.step_slug
  where r.status = 'started' and (
      t.status = 'queued' and t.task_index < k.sent
      or t.status = 'started' and d.gate ? 'concurrency')
    and not exists (
      select 1 from pgflow.slots s
      where s.run_id = t.run_id and s.step_slug = t.step_slug and s.task_index = t.task_index
        and (s.until is null or not s.held) and (s.held or t.status = 'queued')
        and s.gate = coalesce(d.gate #>> '{concurrency,gate}', d.gate #>> '{rate,gate}'))
$$;

-- The gates with somebody in line who may go, a free place or a time to reckon, and no message that
-- opens them; of the first p_limit who wait.
create or replace function pgflow._stuck_gates(p_limit int)
returns table (gate text, key text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_clock timestamptz := pgflow.clock();
begin
  return query
  select g.gate, g.key
  from (select distinct s.gate, s.key
        from (select x.gate, x.key, x.not_before from pgflow.slots x
              where not x.held order by x.gate, x.key, x.order_at, x.nr limit p_limit) s
        where s.not_before <= v_clock) g
  left join pgflow.limits l on l.gate = g.gate
  where (l.per is not null or l.places > (
      select count(*) from pgflow.slots h where h.gate = g.gate and h.key = g.key and h.held
    )) is not false
    and not pgflow._queue_opens(g.gate, g.key);
end
$$;
