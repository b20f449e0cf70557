-- Starts for a later time: the run is there at once, with its input and its key, and begins then.
-- Until it does it has neither steps nor a deadline; runs.waits_at is start_time, and
-- deadline_message_id is the message in the timer queue that lets it begin.

-- A time for which a run may be started, in whole seconds; raises PF002.
create or replace function pgflow._checked_start_time(p_at timestamptz) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (isfinite(p_at) and p_at < pgflow.now() + interval '10 years') is not true then
    raise exception using errcode = 'PF002', message = 'the start is refused',
      detail = '[{"path": "at", "message": "must be a time within ten years"}]';
  end if;
  return date_trunc('second', p_at);
end
$$;

-- Runs wait until a time. The caller has made them.
create or replace function pgflow._wait_to_begin(p_runs uuid[], p_at timestamptz) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update pgflow.runs r
  set waits_at = 'start_time', deadline_message_id = pgflow._queue_send_timer('pgflow__timers',
    greatest(p_at, pgflow.clock()), jsonb_build_object('kind', 'enter', 'run_id', r.run_id))
  where r.run_id = any(p_runs)
$$;

-- The timer `enter`: lets a run begin whose time has come, or to the gate of its flow. The caller
-- holds the run.
create or replace function pgflow._begin_in_time(p_run pgflow.runs, p_id bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_run.status <> 'started' or p_run.waits_at is distinct from 'start_time'
    or p_run.deadline_message_id is distinct from p_id
  then
    return;
  end if;
  update pgflow.runs r
  set waits_at = null, deadline_message_id = null, started_at = pgflow.now()
  where r.run_id = p_run.run_id;
  perform pgflow._admit_runs(f, array[p_run.run_id])
  from pgflow.flows f where f.flow_slug = p_run.flow_slug;
end
$$;

-- Sends the missing messages of runs that wait for their time, and writes the missing slots of
-- those that wait at the gate of a schedule. Locks runs, skipping locked ones. Returns the number
-- of repairs.
create or replace function pgflow._sweep_start_times(p_runs uuid[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs pgflow.runs[] := array(
    select r from pgflow.runs r
    where r.run_id = any(p_runs) and r.status = 'started' and r.waits_at = 'start_time'
      and (r.deadline_message_id is null
        or pgflow._queue_missing('pgflow__timers', array[r.deadline_message_id]) is not null)
    order by r.run_id for no key update skip locked);
  v_slots int;
begin
  perform pgflow._wait_to_begin(array[r.run_id], r.scheduled_at) from unnest(v_runs) r;
  with lost as (
    select r.run_id, r.waits_at, r.started_at from pgflow.runs r
    where r.run_id = any(p_runs) and r.status = 'started' and r.waits_at ~ '^(schedule|backfill):'
      and not exists (select 1 from pgflow.slots s where s.run_id = r.run_id)
    order by r.run_id for no key update skip locked
  ), written as (
    insert into pgflow.slots (gate, key, run_id, order_at, not_before)
    select l.waits_at, '', l.run_id, l.started_at, pgflow.clock() from lost l returning gate
  ), noted as (
    select pgflow._note_gates(array_agg(w.gate), array_agg(''::text), array_agg(pgflow.clock()))
    from written w having count(*) > 0
  )
  select count(*) into v_slots from written, (select count(*) from noted) n;
  return cardinality(v_runs) + v_slots;
end
$$;
