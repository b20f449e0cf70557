-- Schedules and queues for people: list, pause, resume, backfill. What is paused stays as it is.

-- The schedules of a flow that a text means: all for null, else the one with this name or the only
-- one that begins with it. Locks them. Raises PF001.
create or replace function pgflow._lock_schedules(p_flow text, p_name text)
returns setof pgflow.schedules
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[];
begin
  perform pgflow._find_definition(p_flow, null);
  v_names := array(
    select s.name from pgflow.schedules s
    where s.flow_name = p_flow and (p_name is null or s.name = p_name) order by s.nr);
  if v_names = '{}' then
    v_names := array(
      select s.name from pgflow.schedules s
      where s.flow_name = p_flow and starts_with(s.name, p_name) order by s.nr);
  end if;
  if v_names = '{}' and not exists (
    select 1 from pgflow.schedules s where s.flow_name = p_flow)
  then
    raise exception using errcode = 'PF001',
      message = format('the active version of flow "%s" has no schedule', p_flow);
  elsif v_names = '{}' or p_name is not null and cardinality(v_names) > 1 then
    raise exception using errcode = 'PF001',
      message = format('flow "%s" has %s; it has %s', p_flow, case
          when p_name = '' then 'several schedules: name one'
          when v_names = '{}' then format('no schedule "%s"', p_name)
          else format('more than one schedule that begins with "%s"', p_name) end, (
          select string_agg(format('"%s"', s.name), ', ' order by s.nr)
          from pgflow.schedules s where s.flow_name = p_flow));
  end if;
  return query
    select s.* from pgflow.schedules s
    where s.flow_name = p_flow and s.name = any(v_names) order by s.nr for no key update;
end
$$;

-- The schedules of a flow, or of all: [{flow, name, spec, next_at, last_at, last_run, last_status,
-- fired, skipped, missed, paused_at, paused_by, problem, late_seconds, served}]. late_seconds is
-- null unless the next tick should have been fired five seconds ago; served: some worker lives. An
-- unknown flow has none.
create or replace function pgflow.list_schedules(p_flow text default null) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'flow', s.flow_name, 'name', s.name, 'spec', s.spec - 'input', 'next_at', s.next_at,
    'last_at', s.last_at, 'last_run', s.last_run, 'last_status', r.status, 'fired', s.fired,
    'skipped', s.skipped, 'missed', s.missed, 'paused_at', s.paused_at, 'paused_by', s.paused_by,
    'problem', s.last_problem, 'late_seconds', k.late, 'served', k.served)
    order by s.flow_name, s.nr), '[]')
  from pgflow.schedules s
  left join pgflow.runs r on r.run_id = s.last_run
  cross join lateral (
    select case
        when s.paused_at is null and s.next_at < pgflow.clock() - interval '5 seconds'
        then floor(extract(epoch from pgflow.clock() - s.next_at))::bigint end as late,
      exists (
        select 1 from pgflow.workers w
        where w.stopped_at is null and w.last_heartbeat_at > (select pgflow._alive_since())
      ) as served) k
  where p_flow is null or s.flow_name = p_flow
$$;

-- Pauses the schedules of a flow, or one of them: no tick starts a run until they are resumed.
-- Locks them. Returns [{flow, name, paused_at, paused_by, already}]. Raises PF001.
create or replace function pgflow.pause_schedules(
  p_flow text, p_name text default null, p_by text default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_schedule pgflow.schedules;
  v_by text := coalesce(p_by, session_user);
  v_paused jsonb := '[]';
begin
  for v_schedule in select s.* from pgflow._lock_schedules(p_flow, p_name) s loop
    if v_schedule.paused_at is null then
      update pgflow.schedules s set paused_at = pgflow.now(), paused_by = v_by, message_id = null
      where s.flow_name = p_flow and s.name = v_schedule.name;
      perform pgflow._queue_drop('pgflow__timers', array[v_schedule.message_id], false);
      insert into pgflow.audit (action, subject, details, who)
      values ('pause', p_flow, jsonb_build_object('schedule', v_schedule.name), v_by);
    end if;
    v_paused := v_paused || jsonb_build_object('flow', p_flow, 'name', v_schedule.name,
      'paused_at', coalesce(v_schedule.paused_at, pgflow.now()),
      'paused_by', coalesce(v_schedule.paused_by, v_by),
      'already', v_schedule.paused_at is not null);
  end loop;
  return v_paused;
end
$$;

-- Resumes the schedules of a flow, or one of them. The next tick is the first after now, and those
-- of the pause start nothing; with p_catchup (none, last or all) they are treated as the ticks of
-- an outage. Locks them. Returns [{flow, name, resumed}]. Raises PF001, PF006.
create or replace function pgflow.resume_schedules(
  p_flow text, p_name text default null, p_catchup text default null, p_by text default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule pgflow.schedules;
  v_resumed jsonb := '[]';
begin
  if p_catchup not in ('none', 'last', 'all') then
    raise exception using errcode = 'PF006', message = 'a catchup is none, last or all';
  end if;
  for v_schedule in select s.* from pgflow._lock_schedules(p_flow, p_name) s loop
    if v_schedule.paused_at is not null then
      update pgflow.schedules s
      set paused_at = null, paused_by = null, catchup = p_catchup,
          next_at = case when p_catchup is not null then s.next_at end
      where s.flow_name = p_flow and s.name = v_schedule.name;
      perform pgflow._wake_schedule(p_flow, v_schedule.name);
      insert into pgflow.audit (action, subject, details, who)
      values ('resume', p_flow, jsonb_build_object('schedule', v_schedule.name,
        'catchup', p_catchup), coalesce(p_by, session_user));
    end if;
    v_resumed := v_resumed || jsonb_build_object('flow', p_flow, 'name', v_schedule.name,
      'resumed', v_schedule.paused_at is not null);
  end loop;
  return v_resumed;
end
$$;

-- Starts the runs of past ticks of a schedule that have none, p_at_once at a time, oldest first.
-- With p_suffix each gets another run, whose key ends with it. Locks the schedule. Returns
-- {started, existing}; with p_dry_run it only counts. Raises PF001, PF002, PF006.
create or replace function pgflow.backfill_schedule(
  p_flow text, p_name text, p_ticks timestamptz[], p_at_once int default 1,
  p_suffix text default null, p_dry_run boolean default false
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule pgflow.schedules;
  v_gate text;
  v_tick timestamptz;
  v_started int := 0;
begin
  if (pgflow._are_ticks(p_ticks) and p_at_once between 1 and 10000
      and pgflow.clock() >= all(p_ticks) and coalesce(length(p_suffix), 0) <= 100) is not true
  then
    raise exception using errcode = 'PF006', message =
      'a backfill is for at most 1000 ticks that have passed, 1 to 10000 at once';
  end if;
  select s.* into v_schedule from pgflow._lock_schedules(p_flow, coalesce(p_name, '')) s;
  v_gate := format('backfill:%s:%s', p_flow, v_schedule.name);
  if p_dry_run then
    v_started := (
      select count(*) from unnest(p_ticks) t(tick) where p_suffix is not null or not exists (
        select 1 from pgflow.runs r where r.flow_name = p_flow
          and r.run_key = pgflow._tick_key(v_schedule.name, t.tick)));
  else
    insert into pgflow.limits as l (gate, flow_name, places) values (v_gate, p_flow, p_at_once)
    on conflict (gate) do update set places = excluded.places;
    foreach v_tick in array p_ticks loop
      if pgflow._start_tick(v_schedule, v_tick, v_gate, coalesce(':' || p_suffix, ''),
        '{"backfill": "true"}') is not null
      then
        v_started := v_started + 1;
      end if;
    end loop;
    perform pgflow._note_gates(array[v_gate], array[''], array[pgflow.clock()]);
    insert into pgflow.audit (action, subject, details)
    values ('backfill', p_flow, jsonb_build_object('schedule', v_schedule.name,
      'started', v_started, 'from', p_ticks[1], 'to', p_ticks[cardinality(p_ticks)]));
  end if;
  return jsonb_build_object('started', v_started, 'existing', cardinality(p_ticks) - v_started);
end
$$;

-- Pauses a queue: within two seconds no worker claims from it. Timers go on. Returns {queue,
-- paused_at, paused_by, already}. Raises PF001 for a queue that no flow uses.
create or replace function pgflow.pause_queue(p_queue text, p_by text default null) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_paused pgflow.paused_queues;
begin
  if not exists (select 1 from pgflow.flows f where f.queue_name = p_queue)
    and not exists (
      select 1 from pgflow.steps d where d.queue_name = p_queue and d.action = 'handler')
  then
    raise exception using errcode = 'PF001',
      message = format('no flow uses a queue "%s"', p_queue);
  end if;
  insert into pgflow.paused_queues (queue_name, paused_at, paused_by)
  values (p_queue, pgflow.now(), coalesce(p_by, session_user))
  on conflict (queue_name) do nothing
  returning * into v_paused;
  if found then
    insert into pgflow.audit (action, subject, who)
    values ('pause', 'queue ' || p_queue, v_paused.paused_by);
    return jsonb_build_object('queue', p_queue, 'paused_at', v_paused.paused_at,
      'paused_by', v_paused.paused_by, 'already', false);
  end if;
  return (
    select jsonb_build_object('queue', p_queue, 'paused_at', q.paused_at,
      'paused_by', q.paused_by, 'already', true)
    from pgflow.paused_queues q where q.queue_name = p_queue);
end
$$;

-- Resumes a queue. Returns {queue, resumed}; false where it was not paused.
create or replace function pgflow.resume_queue(p_queue text, p_by text default null) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found boolean;
begin
  delete from pgflow.paused_queues q where q.queue_name = p_queue;
  v_found := found;
  if v_found then
    insert into pgflow.audit (action, subject, who)
    values ('resume', 'queue ' || p_queue, coalesce(p_by, session_user));
  end if;
  return jsonb_build_object('queue', p_queue, 'resumed', v_found);
end
$$;
