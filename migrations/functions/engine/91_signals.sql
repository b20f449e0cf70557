-- Signals to runs: events by name here, decisions by step in 91_decisions. The first signal of each
-- name stands, may come before the step waits, and is kept with its sender and time. All of it can
-- be part of the caller's own transaction.

-- The run with this id or this key of its start, locked. A text that is an id means that run first,
-- whatever keys other runs have. Raises PF001.
create or replace function pgflow._lock_run_by_text(p_run text) returns pgflow.runs
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[];
  v_run pgflow.runs;
begin
  if p_run ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' then
    v_runs := array(select r.run_id from pgflow.runs r where r.run_id = p_run::uuid);
  end if;
  if cardinality(v_runs) > 0 is not true then
    v_runs := array(
      select r.run_id from pgflow.runs r where r.run_key = p_run order by r.run_id limit 2);
  end if;
  if cardinality(v_runs) = 2 then
    raise exception using errcode = 'PF001',
      message = format('more than one run was started with the key "%s"; give an id', p_run);
  end if;
  select r.* into v_run from pgflow.runs r where r.run_id = v_runs[1] for no key update;
  if not found then
    raise exception using errcode = 'PF001',
      message = format('there is no run %s in this database', p_run);
  end if;
  return v_run;
end
$$;

-- Sends an event to a run: completes each step that waits for it, now or later, but for those that
-- a decision alone ends. Called by clients and from SQL. Locks the run. Returns {run_id, event,
-- steps: completed now, stored: no step waits yet, already: an earlier event of this name stands
-- and nothing changed}. Raises PF001 for an unknown run, PF002 for data that is too large, PF005
-- for a name that is not valid, for a run that has ended, and for an event that only steps with a
-- decision wait for. p_request is the id of the request: a repeat of it gets the same answer.
create or replace function pgflow.send_event(
  p_run text, p_event text, p_data jsonb default null, p_by text default null,
  p_request uuid default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs := pgflow._lock_run_by_text(p_run);
  v_steps text[] := '{}';
  v_event pgflow.events;
  v_already boolean := false;
  v_decided text;
begin
  if p_event is null or p_event !~ '^[A-Za-z_][A-Za-z0-9_.]{0,127}$' then
    raise exception using errcode = 'PF005',
      message = format(
        'event name %s is not valid; use letters, digits, underscores and dots, 128 at most',
        coalesce(quote_literal(left(p_event, 200)), 'null'));
  elsif pgflow._is_too_large(p_data) then
    raise exception using errcode = 'PF002', message = format('event "%s" is refused', p_event),
      detail = '[{"path": "data", "message": "must have at most 2 MiB"}]';
  end if;
  select min(d.step_slug) into v_decided from pgflow.steps d
  where d.flow_slug = v_run.flow_slug and d.action = 'wait'
    and d.spec #>> '{wait,event}' = p_event
  having bool_and(pgflow._is_decided(d.spec -> 'wait'));
  if v_decided is not null and v_run.status = 'started' then
    raise exception using errcode = 'PF005', message = format(
      'step "%s" asks for a decision, which no event is: pgflow-yaml approve %s %1$s',
      v_decided, left(v_run.run_id::text, 8));
  end if;
  insert into pgflow.events (run_id, kind, name, data, sent_by, created_at, request)
  select v_run.run_id, 'event', p_event, coalesce(p_data, 'null'), coalesce(p_by, session_user),
    pgflow.clock(), p_request
  where v_run.status = 'started'
  on conflict (run_id, kind, name) do nothing;
  if not found then
    select e.* into v_event from pgflow.events e
    where (e.run_id, e.kind, e.name) = (v_run.run_id, 'event', p_event);
    if not found then
      raise exception using errcode = 'PF005',
        message = format('run %s has ended: it is %s', v_run.run_id, v_run.status);
    end if;
    v_already := (v_event.request = p_request) is not true;
    v_steps := case when v_already then '{}' else coalesce(v_event.steps, '{}') end;
  else
    v_steps := pgflow._complete_waits(v_run, array(
      select d.step_slug from pgflow.steps d
      where d.flow_slug = v_run.flow_slug and d.action = 'wait'
        and d.spec #>> '{wait,event}' = p_event and not pgflow._is_decided(d.spec -> 'wait')
        and not exists ( -- a rejection that came before: the timers are about to end the step
          select 1 from pgflow.events e
          where (e.run_id, e.kind, e.name) = (v_run.run_id, 'decision', d.step_slug))),
      coalesce(p_data, 'null'));
    if p_request is not null and cardinality(v_steps) > 0 then
      update pgflow.events e set steps = v_steps
      where (e.run_id, e.kind, e.name) = (v_run.run_id, 'event', p_event);
    end if;
  end if;
  return jsonb_build_object('run_id', v_run.run_id, 'event', p_event, 'steps', to_jsonb(v_steps),
    'already', v_already, 'stored', not v_already and cardinality(v_steps) = 0);
end
$$;
