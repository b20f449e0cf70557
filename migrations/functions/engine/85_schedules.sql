-- Schedules: the active version of a flow may name times at which it starts by itself.
--
-- SQL knows no cron, and the time zones of server and worker may differ: next times are reckoned by
-- workers and taken here. A message in the timer queue, due at the next tick, makes a turn of any
-- worker return the schedule; the worker reckons which ticks are due and which comes next, and
-- calls fire_schedule. The first of them moves next_at; for all others, and for a message that
-- comes twice or late, it is not the tick that they have seen, so that they do nothing. A worker
-- that dies in between leaves the message, which becomes visible again after ten seconds.
--
--   deploy, activate  _set_schedules   rows with next_at null, a message due now
--   turn, wind        _due_schedule    reads a message: is this still the next tick?
--   a worker          fire_schedule    starts runs, writes the next tick and its message
--   sweep             _sweep_schedules sends messages that are missing

-- The first problem with `schedule` of a definition: a sentence, or null. Called by
-- _check_definition.
create or replace function pgflow._schedule_problem(p_definition jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedules jsonb := p_definition -> 'schedule';
begin
  if not p_definition ? 'schedule' then
    return null;
  elsif p_definition ? 'after' then
    return 'a flow with "after" is started by the ends of others and has no "schedule"';
  elsif (jsonb_typeof(v_schedules) = 'array'
    and jsonb_array_length(v_schedules) between 1 and 20
    and not exists (
      select 1 from jsonb_array_elements(v_schedules) s
      where not pgflow._is_schedule(s))
    and (select count(distinct s ->> 'name') from jsonb_array_elements(v_schedules) s)
      = jsonb_array_length(v_schedules)) is not true
  then
    return '"schedule" must be a list of 1 to 20 objects {"name", "cron", "timezone"} or {"name", '
      || '"every"}, each with another name, and perhaps "overlap", "catchup" and "input"';
  end if;
  return null;
end
$$;

-- True for one schedule as the compiler writes it.
create or replace function pgflow._is_schedule(p_schedule jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    jsonb_typeof(p_schedule) = 'object'
    and (select bool_and(k in ('name', 'cron', 'timezone', 'every', 'overlap', 'catchup', 'input'))
         from jsonb_object_keys(p_schedule) k)
    and jsonb_typeof(p_schedule -> 'name') = 'string' and length(p_schedule ->> 'name') <= 200
    and case
      when p_schedule ? 'every' then not p_schedule ? 'cron' and not p_schedule ? 'timezone'
        and p_schedule ->> 'every' ~ '^[1-9][0-9]{0,7}000$'
      else jsonb_typeof(p_schedule -> 'cron') = 'string'
        and jsonb_typeof(p_schedule -> 'timezone') = 'string' end
    and coalesce(p_schedule ->> 'overlap', 'skip') in ('skip', 'queue', 'replace', 'allow')
    and coalesce(p_schedule ->> 'catchup', 'none') in ('none', 'last', 'all')
    and coalesce(p_schedule -> 'input' ? 'ast', true), false)
$$;

-- Writes the schedules of the version that has just become the active one (null: it has none). One
-- whose text is as before keeps how far it is, and its pause. Locks the rows. Called by _activate.
create or replace function pgflow._set_schedules(p_name text, p_schedules jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
  v_new record;
begin
  with gone as (
    delete from pgflow.schedules s
    where s.flow_name = p_name and not exists (
      select 1 from jsonb_array_elements(coalesce(p_schedules, '[]')) e
      where e ->> 'name' = s.name)
    returning s.message_id
  )
  select array_agg(g.message_id) into v_ids from gone g;
  perform pgflow._queue_drop('pgflow__timers', v_ids, false) where v_ids is not null;
  perform pgflow._reckon_overlap(p_name, p_schedules);
  for v_new in
    select e.spec, e.spec ->> 'name' as name, (e.nr - 1)::int as nr
    from jsonb_array_elements(coalesce(p_schedules, '[]')) with ordinality e(spec, nr) order by e.nr
  loop
    insert into pgflow.schedules as s (flow_name, name, spec, nr)
    values (p_name, v_new.name, v_new.spec, v_new.nr)
    on conflict (flow_name, name) do update
      set spec = excluded.spec, nr = excluded.nr, set_by = session_user;
    perform pgflow._wake_schedule(p_name, v_new.name)
    from pgflow.schedules s
    where s.flow_name = p_name and s.name = v_new.name and s.message_id is null
      and s.paused_at is null;
  end loop;
end
$$;

-- Writes the limits of the gates at which runs of schedules wait for each other, and opens those
-- that are gone. Called by _set_schedules.
create or replace function pgflow._reckon_overlap(p_name text, p_schedules jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wanted text[] := array(
    select pgflow._schedule_gate(p_name, e ->> 'name')
    from jsonb_array_elements(coalesce(p_schedules, '[]')) e
    where e ->> 'overlap' in ('queue', 'replace'));
  v_gone text[];
begin
  with gone as (
    delete from pgflow.limits l
    where l.flow_name = p_name and starts_with(l.gate, 'schedule:') and l.gate <> all(v_wanted)
    returning l.gate
  )
  select array_agg(g.gate) into v_gone from gone g;
  insert into pgflow.limits as l (gate, flow_name, places, when_full)
  select pgflow._schedule_gate(p_name, e ->> 'name'), p_name, 1, e ->> 'overlap'
  from jsonb_array_elements(coalesce(p_schedules, '[]')) e
  where e ->> 'overlap' in ('queue', 'replace')
  on conflict (gate) do update set when_full = excluded.when_full;
  if v_gone is not null then
    perform pgflow._note_gates(v_gone, array_fill(''::text, array[cardinality(v_gone)]),
      array_fill(pgflow.clock(), array[cardinality(v_gone)]));
  end if;
end
$$;

-- The gate of one place at which the runs of a schedule wait for each other.
create or replace function pgflow._schedule_gate(p_flow text, p_name text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select format('schedule:%s:%s', p_flow, p_name) $$;

-- Sends the message of a schedule, due at its next tick, in place of the one that it has. The
-- caller holds the row.
create or replace function pgflow._wake_schedule(p_flow text, p_name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule pgflow.schedules;
begin
  select s.* into v_schedule from pgflow.schedules s
  where s.flow_name = p_flow and s.name = p_name;
  if v_schedule.message_id is not null then
    perform pgflow._queue_drop('pgflow__timers', array[v_schedule.message_id], false);
  end if;
  update pgflow.schedules s
  set message_id = pgflow._queue_send_timer('pgflow__timers',
    coalesce(v_schedule.next_at, pgflow.clock()),
    jsonb_build_object('kind', 'schedule', 'flow', p_flow, 'name', p_name,
      'tick', v_schedule.next_at))
  where s.flow_name = p_flow and s.name = p_name;
end
$$;

-- What a worker needs to fire a schedule, whose message is due: {flow, name, spec, tick, catchup,
-- now}; null where the message tells of a tick that is no longer the next one. The worker reckons
-- with our clock, not with its own.
create or replace function pgflow._due_schedule(p_timer jsonb) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select jsonb_build_object('flow', s.flow_name, 'name', s.name, 'spec', s.spec - 'input',
    'tick', s.next_at, 'catchup', coalesce(s.catchup, s.spec ->> 'catchup', 'none'),
    'now', pgflow.clock())
  from pgflow.schedules s
  where s.flow_name = p_timer ->> 'flow' and s.name = p_timer ->> 'name' and s.paused_at is null
    and s.next_at is not distinct from (p_timer ->> 'tick')::timestamptz
$$;

-- True for a list of at most 1,000 times.
create or replace function pgflow._are_ticks(p_ticks timestamptz[]) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_ndims(p_ticks), 1) = 1 and cardinality(p_ticks) <= 1000
    and not exists (select 1 from unnest(p_ticks) t where isfinite(t) is not true)
$$;

-- Fires a schedule: starts a run for each of these ticks and writes the next one. Does nothing
-- unless the next tick is still p_seen (null: none was known). p_missed is the number of ticks that
-- are given up; p_problem says that the worker cannot reckon this schedule: it is kept with the
-- schedule, whose message comes again in a minute. Called by workers. Locks the schedule. Returns
-- {fired, runs, skipped, missed, problem}. Raises PF006 for ticks that make no sense.
create or replace function pgflow.fire_schedule(
  p_flow text, p_name text, p_seen timestamptz, p_ticks timestamptz[], p_missed bigint,
  p_next timestamptz, p_problem text default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before pgflow.schedules;
  v_schedule pgflow.schedules;
  v_tick timestamptz;
  v_runs uuid[] := '{}';
begin
  if (pgflow._are_ticks(p_ticks) and p_missed between 0 and 1000000000
      and (p_problem is not null or isfinite(p_next) and p_next > all(p_ticks))) is not true
  then
    raise exception using errcode = 'PF006',
      message = 'a schedule fires at most 1000 ticks, before the next one';
  end if;
  select s.* into v_before from pgflow.schedules s
  where s.flow_name = p_flow and s.name = p_name and s.paused_at is null
    and s.next_at is not distinct from p_seen
  for no key update;
  if not found then
    return '{"fired": 0, "runs": [], "skipped": 0, "missed": 0}';
  end if;
  v_schedule := v_before;
  if p_problem is not null then
    update pgflow.schedules s
    set last_problem = jsonb_build_object('message', left(p_problem, 1000), 'at', pgflow.clock())
    where s.flow_name = p_flow and s.name = p_name;
    perform pgflow._queue_park('pgflow__timers', array[v_before.message_id],
      array[pgflow.clock() + interval '1 minute']);
    return jsonb_build_object('fired', 0, 'runs', '[]'::jsonb, 'skipped', 0, 'missed', 0,
      'problem', left(p_problem, 1000));
  end if;
  v_schedule.last_problem := null;
  foreach v_tick in array p_ticks loop
    v_schedule := pgflow._fire_tick(v_schedule, v_tick);
    if v_schedule.fired > v_before.fired + cardinality(v_runs) then
      v_runs := v_runs || v_schedule.last_run;
    end if;
  end loop;
  update pgflow.schedules s
  set next_at = p_next, last_at = v_schedule.last_at, last_run = v_schedule.last_run,
      last_problem = v_schedule.last_problem, fired = v_schedule.fired,
      skipped = v_schedule.skipped, missed = v_schedule.missed + p_missed, catchup = null
  where s.flow_name = p_flow and s.name = p_name;
  perform pgflow._wake_schedule(p_flow, p_name);
  return jsonb_strip_nulls(jsonb_build_object('fired', cardinality(v_runs),
    'runs', to_jsonb(v_runs), 'skipped', v_schedule.skipped - v_before.skipped,
    'missed', v_schedule.missed - v_before.missed + p_missed,
    'problem', v_schedule.last_problem ->> 'message'));
end
$$;

-- Number of runs of a schedule that wait for the one before them, with `overlap: queue`.
create or replace function pgflow._most_queued_ticks() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 100 $$;

-- Fires one tick: starts its run, which may wait for the one before or replace it, or skips it
-- because that has not ended, or writes why there can be none. Returns the schedule as it is then.
-- The caller holds the row and writes it.
create or replace function pgflow._fire_tick(p_schedule pgflow.schedules, p_tick timestamptz)
returns pgflow.schedules
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_overlap text := coalesce(p_schedule.spec ->> 'overlap', 'skip');
  v_gate text := pgflow._schedule_gate(p_schedule.flow_name, p_schedule.name);
  v_run uuid;
  v_detail text;
begin
  p_schedule.last_at := p_tick;
  if v_overlap = 'skip' and exists (
       select 1 from pgflow.runs r where r.run_id = p_schedule.last_run and r.status = 'started')
    or v_overlap = 'queue' and pgflow._most_queued_ticks() <= (
       select count(*) from pgflow.slots s where s.gate = v_gate and s.key = '' and not s.held)
  then
    p_schedule.skipped := p_schedule.skipped + 1;
    return p_schedule;
  end if;
  v_run := pgflow._start_tick(
    p_schedule, p_tick, case when v_overlap in ('queue', 'replace') then v_gate end);
  if v_run is not null then -- else the tick has a run
    p_schedule.fired := p_schedule.fired + 1;
    p_schedule.last_run := v_run;
  end if;
  return p_schedule;
exception when others then
  if pgflow._may_pass(sqlstate) then
    raise;
  end if;
  get stacked diagnostics v_detail = pg_exception_detail;
  p_schedule.missed := p_schedule.missed + 1;
  p_schedule.last_problem := jsonb_build_object('tick', p_tick, 'at', pgflow.clock(),
    'message', left(pgflow._problem_sentence(sqlerrm, v_detail), 1000));
  return p_schedule;
end
$$;

-- A refusal as one sentence: with the fields of an input that was refused.
create or replace function pgflow._problem_sentence(p_message text, p_detail text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_message || coalesce(': ' || (
    select string_agg(concat_ws(' ', nullif(d.value ->> 'path', ''), d.value ->> 'message'), ', ')
    from jsonb_array_elements(p_detail::jsonb) d), '');
exception when data_exception then -- the detail is another text
  return p_message;
end
$$;

-- Starts the run of a tick of the active version; its key names the tick, so that no tick has two
-- runs. Returns its id; null where there is one. It waits at p_gate before it begins; p_suffix
-- makes another key, p_labels are added. Raises PF001 and PF002 as start_run does.
create or replace function pgflow._start_tick(
  p_schedule pgflow.schedules, p_tick timestamptz, p_gate text, p_suffix text default '',
  p_labels jsonb default null
) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition pgflow.definitions := pgflow._find_definition(p_schedule.flow_name, null);
  v_flow pgflow.flows;
  v_run pgflow.runs;
  v_input jsonb := '{}';
begin
  select f.* into v_flow from pgflow.flows f where f.flow_slug = v_definition.flow_slug;
  v_run.run_id := gen_random_uuid();
  v_run.flow_slug := v_flow.flow_slug;
  v_run.flow_name := p_schedule.flow_name;
  v_run.labels := nullif(coalesce(v_flow.labels, '{}') || coalesce(p_labels, '{}'), '{}');
  v_run.scheduled_at := p_tick;
  v_run.started_at := pgflow.now();
  v_run.started_by := p_schedule.set_by;
  if p_schedule.spec ? 'input' then
    v_input := pgflow.evaluate(p_schedule.spec -> 'input' -> 'ast',
      pgflow._environment(v_run, p_schedule.spec -> 'input' -> 'paths'));
    if v_input ? 'error' then
      raise exception using errcode = 'PF002',
        message = format('the input of the schedule has no value: %s', v_input ->> 'error');
    end if;
    v_input := v_input -> 'value';
  end if;
  v_input := pgflow._checked_input(p_schedule.flow_name, v_flow, v_input);
  if p_gate is not null then
    v_flow.gate := jsonb_build_object('gate', p_gate);
  end if;
  return (pgflow._begin_runs(v_flow, array[v_input], array[v_run.run_id], p_schedule.flow_name,
    pgflow._tick_key(p_schedule.name, p_tick) || p_suffix, v_run))[1];
end
$$;

-- The key of the run of a tick.
create or replace function pgflow._tick_key(p_name text, p_tick timestamptz) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('schedule:%s:%s', p_name, pgflow._tick_text(p_tick))
$$;

-- Sends the messages of schedules that have lost theirs. Called by the sweep. Locks the rows,
-- skipping locked ones. Returns their number.
create or replace function pgflow._sweep_schedules() returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule record;
  v_count int := 0;
begin
  for v_schedule in
    select s.flow_name, s.name from pgflow.schedules s
    where s.paused_at is null and (s.message_id is null
      or pgflow._queue_missing('pgflow__timers', array[s.message_id]) is not null)
    for no key update skip locked
  loop
    perform pgflow._wake_schedule(v_schedule.flow_name, v_schedule.name);
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;
