-- Gates: whatever is limited waits first and is then let in; there is no second way.
--
-- A gate belongs to a flow (its runs wait before they begin) or to a step (its tasks wait before
-- they are sent: a waiting task has no message, so no claim reads it). With a key, each value of it
-- is a gate of its own. A gate has as many places as its limit says; what was let in holds a slot
-- until its run or attempt has ended. A slot of a rate is held for the time of the rate after the
-- start of the attempt instead, so a window of that time never sees more starts than the limit.
--
--   waits        _ask_to_begin, _ask_slots    _begin_runs, _reopen_run, _make_tasks,
--                                             _send_more_tasks
--   is let in    _open_gate (38)              _run_timers: a message in the timer queue
--   gives back   _free_slots, _leave_gates,   _settle, _end_tasks, _stop_steps, _release_timers
--                _settle_slots (39)
--
-- Nobody waits for a lock here. Who asks or gives back inserts or deletes its own rows, and leaves
-- a message `gate` in the timer queue: a turn that reads it opens the gate, before its claim. Each
-- change that may let somebody in leaves one, so no free place is forgotten; one message too many
-- does nothing.

-- The value of `key` as text: 1 and 1.0 are one key, 1 and "1" are two, and null is one. Long ones
-- are hashed. Empty where there is no key. A key that cannot be evaluated, or is a list or an
-- object, is chr(1) and the message: its gate lets nobody in, it fails what waits.
create or replace function pgflow._gate_key(p_run pgflow.runs, p_gate jsonb, p_extra jsonb)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_result jsonb;
  v_value jsonb;
  v_key text;
begin
  if not p_gate ? 'key' then
    return '';
  end if;
  v_result := pgflow.evaluate(p_gate -> 'key' -> 'ast',
    pgflow._environment(p_run, p_gate -> 'key' -> 'paths', p_extra));
  v_value := v_result -> 'value';
  if v_result ? 'error' then
    return chr(1) || (v_result ->> 'error');
  elsif jsonb_typeof(v_value) in ('array', 'object') then
    return chr(1) || format('the key must be a text, a number or a boolean, not an %s',
      jsonb_typeof(v_value));
  end if;
  v_key := case jsonb_typeof(v_value)
    when 'number' then trim_scale((v_value #>> '{}')::numeric)::text else v_value::text end;
  return case when length(v_key) > 200 then 'md5:' || md5(v_key) else v_key end;
end
$$;

-- Leaves messages in the timer queue that open gates, one for each of them. Arrays are parallel.
create or replace function pgflow._note_gates(p_gates text[], p_keys text[], p_at timestamptz[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._queue_send_timer('pgflow__timers', g.at,
    jsonb_build_object('kind', 'gate', 'gate', g.gate, 'key', g.key))
  from (select distinct u.gate, u.key, u.at from unnest(p_gates, p_keys, p_at) u(gate, key, at)
        order by u.gate, u.key) g;
end
$$;

-- Runs ask for a slot of their flow: they have neither steps nor a deadline until they are let in.
-- The caller holds the runs, or has made them.
create or replace function pgflow._ask_to_begin(p_flow pgflow.flows, p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_limit pgflow.limits;
  v_gates text[];
  v_keys text[];
  v_at timestamptz[];
begin
  update pgflow.runs r set waits_at = p_flow.gate ->> 'gate' where r.run_id = any(p_runs);
  with asked as (
    insert into pgflow.slots (gate, key, run_id, order_at, not_before)
    select r.waits_at, pgflow._gate_key(r, p_flow.gate, null), r.run_id,
      v_clock - p_flow.priority * interval '1 minute', v_clock
    from unnest(p_runs) with ordinality u(id, nr)
    join pgflow.runs r on r.run_id = u.id
    order by u.nr
    returning gate, key
  )
  select array_agg(a.gate), array_agg(a.key), array_agg(v_clock) into v_gates, v_keys, v_at
  from asked a;
  perform pgflow._note_gates(v_gates, v_keys, v_at);
  select l.* into v_limit from pgflow.limits l where l.gate = p_flow.gate ->> 'gate';
  if v_limit.when_full = 'skip' then
    -- most are known to find no place, so their start says so; the others are decided by the gate
    perform pgflow._skip_runs(array(
      select s.run_id from pgflow.slots s
      where s.run_id = any(p_runs) and s.gate = v_limit.gate and v_limit.places <= (
        select count(*) from pgflow.slots o
        where o.gate = s.gate and o.key = s.key and o.nr < s.nr)), v_limit);
  end if;
end
$$;

-- Tasks ask for a slot of the first gate of their step, instead of being sent; the time of a
-- message is when its task may go, and its place. The caller holds the runs.
create or replace function pgflow._ask_slots(p_messages pgflow._message[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_gates text[];
  v_keys text[];
  v_at timestamptz[];
begin
  with asked as (
    insert into pgflow.slots (gate, key, run_id, step_slug, task_index, order_at, not_before)
    select g.first ->> 'gate', pgflow._task_key(t, g.first), t.run_id, t.step_slug, t.task_index,
      m.vt, m.vt
    from unnest(p_messages) m
    join pgflow.steps d on d.flow_slug = m.flow_slug and d.step_slug = m.step_slug
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (m.run_id, m.step_slug, m.task_index)
    cross join lateral (select coalesce(d.gate -> 'concurrency', d.gate -> 'rate') as first) g
    order by m.id
    returning gate, key, not_before
  )
  select array_agg(a.gate), array_agg(a.key), array_agg(a.not_before)
  into v_gates, v_keys, v_at
  from (select distinct x.gate, x.key, x.not_before from asked x) a;
  perform pgflow._note_gates(v_gates, v_keys, v_at);
end
$$;

-- The key of a task at a gate of its step.
create or replace function pgflow._task_key(p_task pgflow.step_tasks, p_gate jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not p_gate ? 'key' then
    return '';
  end if;
  return pgflow._gate_key(r, p_gate,
    jsonb_build_object('item', p_task.item, 'index', p_task.task_index))
  from pgflow.runs r where r.run_id = p_task.run_id;
end
$$;

-- True for a queued task that has no message, since it has not been let in at the last gate of its
-- step.
create or replace function pgflow._is_waiting(p_task pgflow.step_tasks) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select 1 from pgflow.steps d
    where d.flow_slug = p_task.flow_slug and d.step_slug = p_task.step_slug
      and d.gate is not null and not exists (
        select 1 from pgflow.slots s
        where s.run_id = p_task.run_id and s.step_slug = p_task.step_slug
          and s.task_index = p_task.task_index and s.held and s.until is null
          and s.gate = coalesce(d.gate #>> '{rate,gate}', d.gate #>> '{concurrency,gate}')));
end
$$;
