-- Opening gates: the run or task that has waited longest is let in, as long as there are places.
-- Called by turns only, for messages in the timer queue; two turns never open one gate at the same
-- time.

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

-- Lets in as many as there are places. Returns when to open the gate again; null where the end of
-- one that was let in leaves a message. Waits for no lock: a try lock of the gate, then slots, then
-- runs or tasks, skipping locked ones.
create or replace function pgflow._open_gate(p_gate text, p_key text) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_limit pgflow.limits;
  v_free int;
  v_slots pgflow.slots[];
  v_dealt int;
  v_again timestamptz;
begin
  if not pg_try_advisory_xact_lock(hashtextextended(p_gate || '/' || p_key, 7)) then
    return v_clock + interval '20 ms';
  end if;
  select l.* into v_limit from pgflow.limits l where l.gate = p_gate;
  if v_limit.per is not null then
    perform pgflow._count_starts(v_limit, p_key);
  end if;
  v_free := least(1000, coalesce(v_limit.places - (
    select count(*) from pgflow.slots s where s.gate = p_gate and s.key = p_key and s.held), 1000));
  if v_free > 0 then
    v_slots := array(
      select s from pgflow.slots s
      where s.gate = p_gate and s.key = p_key and not s.held and s.not_before <= v_clock
      order by s.order_at, s.nr limit v_free for update skip locked);
    if cardinality(v_slots) > 0 then
      v_dealt := case
        when starts_with(p_key, chr(1)) then pgflow._fail_waiting(v_slots, substr(p_key, 2))
        when v_slots[1].step_slug is null then pgflow._let_runs_in(p_gate, v_slots)
        else pgflow._let_tasks_in(v_slots) end;
      v_again := case
        when v_dealt < cardinality(v_slots) then v_clock + interval '50 ms'
        when v_dealt = 1000 then v_clock end;
    end if;
  end if;
  if v_limit.per is not null then
    v_again := coalesce(v_again, pgflow._next_start(v_limit, p_key));
  elsif v_limit.when_full <> 'queue' then
    v_again := coalesce(v_again, pgflow._turn_away(v_limit, p_key));
  end if;
  return v_again;
end
$$;

-- Lets waiting runs begin, or go on after a retry. A slot whose run waits no more is deleted.
-- Returns the number of slots that are dealt with: the others have locked runs. The caller holds
-- the slots and the gate.
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
    update pgflow.runs r
    set waits_at = null, started_at = case r.retries when 0 then v_now else r.started_at end,
        retried_at = case when r.retries > 0 then v_now end
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
    select f as flow, array_agg(r.run_id order by u.nr) filter (where not k.again) as runs,
      array_agg(r.run_id order by u.nr) filter (where k.again) as again
    from unnest(p_slots) u
    join pgflow.runs r on r.run_id = u.run_id and r.run_id = any(v_runs)
    join pgflow.flows f on f.flow_slug = r.flow_slug
    cross join lateral (
      select exists (
        select 1 from pgflow.step_states s where s.run_id = r.run_id) as again) k
    group by f
  loop
    if v_flow.runs is not null and p_gate = (v_flow.flow).gate ->> 'gate' then
      perform pgflow._enter_runs(v_flow.flow, v_flow.runs);
    elsif v_flow.runs is not null then -- that of a schedule, before the one of the flow
      perform pgflow._admit_runs(v_flow.flow, v_flow.runs);
    end if;
    perform pgflow._go_on(u.id) from unnest(v_flow.again) u(id);
  end loop;
  return cardinality(v_locked);
end
$$;

-- Lets waiting tasks go on: to the second gate of their step where it has one, or into their queue.
-- A slot whose task waits no more is deleted. Returns the number of slots that are dealt with: the
-- others have locked tasks. The caller holds the slots and the gate.
create or replace function pgflow._let_tasks_in(p_slots pgflow.slots[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_dealt bigint[];
  v_let_in bigint[];
  v_next record;
  v_queue record;
begin
  v_dealt := array(
    select s.nr from unnest(p_slots) s
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (s.run_id, s.step_slug, s.task_index)
    for no key update of t skip locked)
  || array( -- of a task that was deleted
    select s.nr from unnest(p_slots) s where not exists (
      select 1 from pgflow.step_tasks t
      where (t.run_id, t.step_slug, t.task_index) = (s.run_id, s.step_slug, s.task_index)));
  v_let_in := array( -- a statement of its own, which sees the tasks as they are now
    select s.nr from unnest(p_slots) s
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (s.run_id, s.step_slug, s.task_index)
    where s.nr = any(v_dealt) and t.status = 'queued');
  update pgflow.slots s set held = true, until = null where s.nr = any(v_let_in);
  delete from pgflow.slots s where s.nr = any(v_dealt) and s.nr <> all(v_let_in);
  for v_next in with further as (
    insert into pgflow.slots (gate, key, run_id, step_slug, task_index, order_at, not_before)
    select d.gate #>> '{rate,gate}', pgflow._task_key(t, d.gate -> 'rate'), t.run_id, t.step_slug,
      t.task_index, s.order_at, v_clock
    from unnest(p_slots) s
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (s.run_id, s.step_slug, s.task_index)
    join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
    where s.nr = any(v_let_in) and d.gate ? 'rate' and s.gate = d.gate #>> '{concurrency,gate}'
    order by s.order_at, s.nr
    returning gate, key
  )
  select distinct f.gate, f.key from further f order by 1, 2 loop
    perform pgflow._note_gates(array[v_next.gate], array[v_next.key], array[o.again])
    from pgflow._open_gate(v_next.gate, v_next.key) o(again) where o.again is not null;
  end loop;
  for v_queue in
    select t.queue_name, array_agg(
      row(t.message_id, v_clock - pgflow._lead(d), t.flow_slug, t.run_id, t.step_slug, t.task_index
      )::pgflow._message order by s.order_at, s.nr) as messages,
      array_agg(t.message_id order by s.order_at, s.nr) as ids,
      array_agg(v_clock - pgflow._lead(d) order by s.order_at, s.nr) as vts
    from unnest(p_slots) s
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (s.run_id, s.step_slug, s.task_index)
    join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
    where s.nr = any(v_let_in)
      and s.gate = coalesce(d.gate #>> '{rate,gate}', d.gate #>> '{concurrency,gate}')
    group by 1
  loop
    perform pgflow._queue_send_missing(v_queue.queue_name, v_queue.messages);
    if v_queue.queue_name = 'pgflow__timers' then
      -- that of the last attempt may be left, where it was locked when that ended
      perform pgflow._queue_park(v_queue.queue_name, v_queue.ids, v_queue.vts);
    end if;
  end loop;
  return cardinality(v_dealt);
end
$$;

-- Fails runs and tasks whose key has no value. Returns the number of slots that are dealt with. The
-- caller holds the slots and the gate.
create or replace function pgflow._fail_waiting(p_slots pgflow.slots[], p_error text) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slot pgflow.slots;
  v_error jsonb;
  v_dealt int := 0;
begin
  foreach v_slot in array p_slots loop
    v_error := jsonb_build_object('type', 'ExpressionError', 'message',
      case when starts_with(v_slot.gate, 'rate:') then 'rate_limit.key: ' else 'concurrency.key: '
        end || p_error);
    if v_slot.step_slug is not null then
      v_dealt := v_dealt + pgflow._fail_unreported(
        v_slot.run_id, v_slot.step_slug, v_slot.task_index, v_error)::int;
      continue;
    end if;
    perform 1 from pgflow.runs r
    where r.run_id = v_slot.run_id for no key update skip locked;
    if found then
      perform pgflow._end_or_stop_runs(array[v_slot.run_id], 'failed', array[v_error]);
      v_dealt := v_dealt + 1;
    end if;
  end loop;
  return v_dealt;
end
$$;

-- Of a flow whose runs do not wait (`when_full`): ends waiting runs of a full gate (skip), or all
-- but the newest, for which it asks the older ones that go on to stop (replace). Returns when to
-- look again, where a run is locked. The caller holds the gate.
create or replace function pgflow._turn_away(p_limit pgflow.limits, p_key text)
returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_away uuid[];
  v_holders uuid[];
  v_newest uuid;
  v_locked uuid[];
begin
  select array_agg(k.run_id) filter (where not k.held and k.nth > p_limit.places),
         array_agg(k.run_id) filter (where k.held), max(k.run_id::text) filter (where k.nth = 1)
  into v_away, v_holders, v_newest
  from (
    select s.run_id, s.held, row_number() over (order by case p_limit.when_full
        when 'skip' then not s.held end, s.nr * case p_limit.when_full
        when 'skip' then 1 else -1 end) as nth
    from pgflow.slots s where s.gate = p_limit.gate and s.key = p_key) k
  where k.nth > p_limit.places or k.nth = 1;
  v_locked := array(
    select r.run_id from pgflow.runs r
    where r.run_id = any(v_away) and r.waits_at = p_limit.gate
    order by r.run_id for no key update skip locked);
  if p_limit.when_full = 'skip' then
    perform pgflow._skip_runs(v_locked, p_limit);
    return case when cardinality(v_locked) < cardinality(v_away)
      then v_clock + interval '50 ms' end;
  end if;
  perform pgflow._end_or_stop_runs(v_locked, 'cancelled',
    array_fill(pgflow._replaced_by(v_newest, p_limit.gate), array[cardinality(v_locked)]));
  perform pgflow._queue_send_timer('pgflow__timers', v_clock, jsonb_build_object('kind', 'cancel',
    'run_id', r.run_id, 'retries', r.retries, 'error',
    pgflow._replaced_by(v_newest, p_limit.gate)))
  from pgflow.runs r
  where r.run_id = any(v_holders) and r.run_id <> v_newest and r.outcome is null
    and r.status = 'started';
  return case when cardinality(v_locked) < cardinality(v_away)
    then v_clock + interval '50 ms' end;
end
$$;

-- The error of a run that makes room for a newer one.
create or replace function pgflow._replaced_by(p_run_id uuid, p_gate text) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('type', 'LimitReached',
    'message', format('run %s has taken its place (%s: replace)', p_run_id,
      case when starts_with(p_gate, 'schedule:') then 'overlap' else 'when_full' end))
$$;

-- Ends runs that do not wait for a place; says who holds it. The caller holds the runs.
create or replace function pgflow._skip_runs(p_runs uuid[], p_limit pgflow.limits) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._end_or_stop_runs(p_runs, 'cancelled', array(
    select jsonb_build_object('type', 'LimitReached', 'message', format(
      'flow %s goes on %s, the maximum: run %s holds the place (when_full: skip)',
      p_limit.flow_name, case p_limit.places when 1 then 'once' else p_limit.places || ' times' end,
      (select o.run_id from pgflow.slots o
       where o.gate = s.gate and o.key = s.key and o.run_id <> u.id
       order by o.held desc, o.nr limit 1)))
    from unnest(p_runs) with ordinality u(id, nr)
    left join pgflow.slots s on s.run_id = u.id and s.gate = p_limit.gate
    order by u.nr));
end
$$;
