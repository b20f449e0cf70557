-- Opening gates: whoever has waited longest is let in, as long as there are places. Called by turns
-- only, for messages in the timer queue; two turns never open one gate at the same time.

-- The timer `gate`. A gate that another turn opens at this moment, or whose first in line is
-- locked, is opened again in a moment. The caller holds the message.
create or replace function pgflow._run_gate_timer(p_id bigint, p_timer jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_again timestamptz := pgflow._open_gate(p_timer ->> 'gate', p_timer ->> 'key');
begin
  if v_again is null then
    perform pgflow._queue_drop('pgflow__timers', array[p_id], false);
  else
    perform pgflow._queue_park('pgflow__timers', array[p_id], array[v_again]);
  end if;
end
$$;

-- Lets in whoever may go. Returns when to open the gate again; null where whatever lets the next
-- one in leaves a message itself. Waits for no lock: a try lock of the gate, then slots, then runs
-- or tasks, skipping locked ones.
create or replace function pgflow._open_gate(p_gate text, p_key text) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_limit pgflow.limits;
  v_free int;
  v_slots pgflow.slots[];
  v_let_in int;
begin
  if not pg_try_advisory_xact_lock(hashtextextended(p_gate || '/' || p_key, 7)) then
    return v_clock + interval '20 ms';
  end if;
  select l.* into v_limit from pgflow.limits l where l.gate = p_gate;
  v_free := least(1000, coalesce(v_limit.places - (
    select count(*) from pgflow.slots s where s.gate = p_gate and s.key = p_key and s.held), 1000));
  if v_free <= 0 then
    return null;
  end if;
  v_slots := array(
    select s from pgflow.slots s
    where s.gate = p_gate and s.key = p_key and not s.held and s.not_before <= v_clock
    order by s.order_at, s.nr limit v_free for update skip locked);
  if cardinality(v_slots) = 0 then
    return null;
  end if;
  v_let_in := pgflow._let_runs_in(p_gate, v_slots);
  return case
    when v_let_in < cardinality(v_slots) then v_clock + interval '50 ms'
    when v_let_in = 1000 then v_clock end;
end
$$;

-- Lets waiting runs begin. A slot whose run waits no more is deleted. Returns the number of slots
-- that are dealt with: the others have locked runs. The caller holds the slots and the gate.
create or replace function pgflow._let_runs_in(p_gate text, p_slots pgflow.slots[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_locked uuid[];
  v_runs uuid[];
  v_flow record;
begin
  v_locked := array(
    select r.run_id from pgflow.runs r
    where r.run_id = any(array(select s.run_id from unnest(p_slots) s))
    order by r.run_id for no key update skip locked);
  with let_in as (
    update pgflow.runs r set waits_at = null, started_at = v_now
    where r.run_id = any(v_locked) and r.status = 'started' and r.waits_at = p_gate
    returning r.run_id
  )
  select coalesce(array_agg(l.run_id), '{}') into v_runs from let_in l;
  update pgflow.slots s set held = true
  where s.nr = any(array(select u.nr from unnest(p_slots) u where u.run_id = any(v_runs)));
  delete from pgflow.slots s
  where s.nr = any(array(
    select u.nr from unnest(p_slots) u
    where u.run_id = any(v_locked) and u.run_id <> all(v_runs)));
  for v_flow in
    select f as flow, array_agg(r.run_id order by u.nr) as runs
    from unnest(p_slots) u
    join pgflow.runs r on r.run_id = u.run_id and r.run_id = any(v_runs)
    join pgflow.flows f on f.flow_slug = r.flow_slug
    group by f
  loop
    perform pgflow._enter_runs(v_flow.flow, v_flow.runs);
  end loop;
  return cardinality(v_locked);
end
$$;
