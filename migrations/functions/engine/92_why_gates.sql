-- Why somebody waits at a gate: the place in the queue, and who is inside.

-- A slot that waits as a reason: of the kind run_limit, step_limit or rate; what any worker does
-- with its next turn, where there is a free place.
create or replace function pgflow._why_slot(p_slot pgflow.slots) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit pgflow.limits;
  v_held bigint := (
    select count(*) from pgflow.slots s
    where s.gate = p_slot.gate and s.key = p_slot.key and s.held);
  v_before bigint := (
    select count(*) from (
      select 1 from pgflow.slots s
      where s.gate = p_slot.gate and s.key = p_slot.key and not s.held
        and (s.order_at, s.nr) < (p_slot.order_at, p_slot.nr) limit 10000) k);
begin
  select l.* into v_limit from pgflow.limits l where l.gate = p_slot.gate;
  if coalesce(v_held < v_limit.places, true) and v_before = 0 then
    return pgflow._why_due(p_slot.not_before);
  end if;
  return jsonb_build_object('kind', case
      when v_limit.per is not null then 'rate'
      when p_slot.step_slug is null then 'run_limit' else 'step_limit' end,
    'flow', v_limit.flow_name, 'step', v_limit.step_slug, 'limit', v_limit.places,
    'key', nullif(p_slot.key, ''), 'place', v_before + 1,
    'of', (
      select count(*) from (
        select 1 from pgflow.slots s
        where s.gate = p_slot.gate and s.key = p_slot.key and not s.held limit 10000) k),
    'per_ms', (extract(epoch from v_limit.per) * 1000)::bigint,
    'until', case when v_limit.per is not null then (
      select min(s.until) from pgflow.slots s
      where s.gate = p_slot.gate and s.key = p_slot.key and s.held) end,
    'held_by', case when p_slot.step_slug is null then (
      select jsonb_agg(jsonb_build_object('run', r.run_id,
        'since', coalesce(r.retried_at, r.started_at)) order by h.nr)
      from (select x.* from pgflow.slots x
            where x.gate = p_slot.gate and x.key = p_slot.key and x.held
            order by x.nr limit 3) h
      join pgflow.runs r on r.run_id = h.run_id) end);
end
$$;

-- The reason of a run that has not begun; null for others.
create or replace function pgflow._why_run_waits(p_run pgflow.runs) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slot pgflow.slots;
begin
  if p_run.waits_at is null then
    return null;
  end if;
  select s.* into v_slot from pgflow.slots s
  where s.run_id = p_run.run_id and s.step_slug is null and not s.held
  order by s.nr limit 1;
  return coalesce(pgflow._why_not_entered(p_run), case
    when v_slot.nr is null then '{"kind": "missing_slot"}'
    else pgflow._why_slot(v_slot) end);
end
$$;

-- The reason of tasks that wait at a gate of their step: of the first in line. Null for others.
create or replace function pgflow._why_gate(p_state pgflow.step_states, p_step pgflow.steps)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slot pgflow.slots;
begin
  if p_step.gate is null then
    return null;
  end if;
  select s.* into v_slot from pgflow.slots s
  where s.run_id = p_state.run_id and s.step_slug = p_state.step_slug and not s.held
    and s.not_before <= pgflow.clock()
  order by s.order_at, s.nr limit 1;
  return case when v_slot.nr is not null then pgflow._why_slot(v_slot) end;
end
$$;
