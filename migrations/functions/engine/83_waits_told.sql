-- Waits that people are told of: the flows with `after: {status: waiting}` start when a step begins
-- to wait for an event, and at each reminder (`remind`) until it is decided. The message of the
-- wait in the timer queue serves both: while the wait lasts it is due at the next telling.

-- How many reminders of a wait were due since it began.
create or replace function pgflow._reminders(p_since timestamptz, p_wait jsonb) returns int
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_wait ? 'remind' then greatest(0, floor(
    extract(epoch from pgflow.clock() - p_since) * 1000 / (p_wait ->> 'remind')::bigint))::int
    else 0 end
$$;

-- The time of the next reminder; null without reminders, and if the wait ends before it.
create or replace function pgflow._next_reminder(
  p_since timestamptz, p_wait jsonb, p_reminders int, p_until timestamptz
) returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select n.at from (
    select p_since + (p_reminders + 1) * (p_wait ->> 'remind')::bigint * interval '1 ms' as at) n
  where (n.at >= p_until) is not true
$$;

-- What the runs of a listener are told of a wait, besides the facts of its run: the fields that the
-- compiler declares (language/listening.py).
create or replace function pgflow._facts_of_wait(
  p_wait jsonb, p_until timestamptz, p_reminder int
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('event', p_wait -> 'event', 'form', p_wait -> 'form',
    'by', p_wait -> 'by', 'reminder', p_reminder, 'until',
    to_char(p_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
$$;

-- Says in the audit that nobody is told of this wait, since a chain of listeners ends at its run:
-- once for a step, not at each reminder.
create or replace function pgflow._note_untold_wait(
  p_run pgflow.runs, p_step_slug text, p_names jsonb
) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into pgflow.audit (action, subject, details)
  select 'after', p_run.run_id::text,
    pgflow._end_of_chain(p_run.flow_name, 'waiting', p_names, p_run.chain)
      || jsonb_build_object('step', p_step_slug)
  where not exists (
    select 1 from pgflow.audit a
    where a.subject = p_run.run_id::text and a.action = 'after'
      and a.details ->> 'status' = 'waiting' and a.details ->> 'step' = p_step_slug)
$$;

-- Tells the flows that hear of this wait, and parks its message until the next telling or the end
-- of the wait. What is told twice starts nothing twice: the number of the reminder, reckoned from
-- the time, is in the key of the run. False when the time of the wait has come. The caller holds
-- the run and the message.
create or replace function pgflow._tell_wait(p_run pgflow.runs, p_step_slug text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state pgflow.step_states;
  v_wait jsonb := (
    select d.spec -> 'wait' from pgflow.steps d
    where d.flow_slug = p_run.flow_slug and d.step_slug = p_step_slug);
  v_heard jsonb := (
    select f.heard -> 'waiting' from pgflow.flows f where f.flow_slug = p_run.flow_slug);
  v_number int;
  v_next timestamptz;
begin
  select s.* into v_state from pgflow.step_states s
  where s.run_id = p_run.run_id and s.step_slug = p_step_slug;
  if v_state.wakes_at <= pgflow.clock() then
    return false;
  end if;
  v_number := pgflow._reminders(v_state.started_at, v_wait);
  if v_heard is not null and v_wait ? 'event' and p_run.chain < pgflow._longest_chain() then
    perform pgflow._start_each_listener(p_run, v_heard, 'waiting',
      pgflow._end_of_run(p_run)
        || jsonb_build_object('status', 'waiting', 'step', p_step_slug, 'error', null)
        || pgflow._facts_of_wait(v_wait, v_state.wakes_at, v_number),
      format('after:%s:%s:%s:%s', p_run.run_id, p_run.retries, p_step_slug, v_number));
  elsif v_heard is not null and v_wait ? 'event' then
    perform pgflow._note_untold_wait(p_run, p_step_slug, v_heard);
  end if;
  v_next := coalesce(
    pgflow._next_reminder(v_state.started_at, v_wait, v_number, v_state.wakes_at),
    v_state.wakes_at);
  if v_next is null then
    perform pgflow._queue_drop('pgflow__timers', array[v_state.timer_message_id], false);
    update pgflow.step_states s set timer_message_id = null
    where s.run_id = p_run.run_id and s.step_slug = p_step_slug;
  else
    perform pgflow._queue_park(
      'pgflow__timers', array[v_state.timer_message_id], array[v_next]);
  end if;
  return true;
end
$$;

-- The live steps that wait for an event, which people may decide, the longest wait first: run,
-- flow, step, what it asks for and whom, and the time of the next reminder. Called by people who
-- look. Reads all live runs, each with the steps of its version. Nothing here locks.
create or replace function pgflow.waiting_events(p_limit int default 100) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'run_id', w.run_id, 'flow', coalesce(w.flow_name, w.flow_slug), 'key', w.run_key,
    'version', nullif(split_part(w.flow_slug, '__', 2), ''), 'step', w.step_slug,
    'event', w.wait -> 'event', 'since', w.started_at, 'until', w.wakes_at,
    'form', w.wait -> 'form', 'by', w.wait -> 'by', 'retries', w.retries,
    'remind_at', pgflow._next_reminder(
      w.started_at, w.wait, pgflow._reminders(w.started_at, w.wait), w.wakes_at))
    order by w.started_at, w.run_id, w.step_slug), '[]')
  from (
    select r.run_id, r.flow_name, r.flow_slug, r.run_key, r.retries, s.step_slug, s.started_at,
      s.wakes_at, k.wait
    from pgflow.runs r
    cross join lateral ( -- `offset 0`: or the runs may be read by flow, those that ended too
      select d.step_slug, d.spec -> 'wait' as wait from pgflow.steps d
      where d.flow_slug = r.flow_slug and d.action = 'wait' and d.spec -> 'wait' ? 'event'
      offset 0) k
    join pgflow.step_states s
      on s.run_id = r.run_id and s.step_slug = k.step_slug and s.status = 'started'
    where r.status = 'started'
    order by s.started_at, r.run_id, s.step_slug limit pgflow._checked_limit(p_limit)) w
$$;
