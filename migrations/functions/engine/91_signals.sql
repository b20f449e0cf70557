-- Signals to runs: events by name, decisions by step. The first signal of each name stands, may
-- come before the step waits, and is kept with its sender and time. All of it can be part of the
-- caller's own transaction.

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

-- Sends an event to a run: completes each step that waits for it, now or later. Called by clients
-- and from SQL. Locks the run. Returns {run_id, event, steps: completed now, stored: no step waits
-- yet, already: an earlier event of this name stands and nothing changed}. Raises PF001 for an
-- unknown run, PF002 for data that is too large, PF005 for a name that is not valid and for a run
-- that has ended. p_request is the id of the request: a repeat of it gets the same answer.
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
        and d.spec #>> '{wait,event}' = p_event), coalesce(p_data, 'null'));
    if p_request is not null and cardinality(v_steps) > 0 then
      update pgflow.events e set steps = v_steps
      where (e.run_id, e.kind, e.name) = (v_run.run_id, 'event', p_event);
    end if;
  end if;
  return jsonb_build_object('run_id', v_run.run_id, 'event', p_event, 'steps', to_jsonb(v_steps),
    'already', v_already, 'stored', not v_already and cardinality(v_steps) = 0);
end
$$;

-- Serves approve_step and reject_step. Locks the run before it reads its state.
create or replace function pgflow._decide(
  p_run text, p_step text, p_approved boolean, p_comment text, p_by text, p_request uuid
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs := pgflow._lock_run_by_text(p_run);
  v_status text := (
    select s.status from pgflow.step_states s
    where s.run_id = v_run.run_id and s.step_slug = p_step);
  v_waits boolean := (
    select d.action = 'wait' and d.spec -> 'wait' ? 'event' from pgflow.steps d
    where d.flow_slug = v_run.flow_slug and d.step_slug = p_step);
  v_signal pgflow.events;
  v_applied boolean := false;
  v_comment text := pgflow._cut_text(p_comment); -- the error of a rejected step
begin
  if v_waits is null then
    raise exception using errcode = 'PF001',
      message = format('run %s has no step "%s"', v_run.run_id, p_step);
  elsif not v_waits then
    raise exception using errcode = 'PF005',
      message = format(
        'step "%s" waits for no event, so there is nothing to approve or reject', p_step);
  end if;
  select e.* into v_signal from pgflow.events e
  where (e.run_id, e.kind, e.name) = (v_run.run_id, 'decision', p_step);
  if found then
    v_applied := (v_signal.request = p_request) is true;
  else
    if v_status not in ('created', 'started') or v_run.status <> 'started' then
      raise exception using errcode = 'PF005',
        message = format('step "%s" of run %s waits no more: it is %s',
                         p_step, v_run.run_id, v_status);
    end if;
    v_applied := true;
    insert into pgflow.events (run_id, kind, name, data, sent_by, created_at, request)
    values (v_run.run_id, 'decision', p_step,
            jsonb_build_object('approved', p_approved, 'comment', v_comment),
            coalesce(p_by, session_user), pgflow.clock(), p_request)
    returning * into v_signal;
    insert into pgflow.audit (action, subject, details, who)
    values (case when p_approved then 'approve' else 'reject' end, v_run.run_id::text,
            jsonb_build_object('step', p_step, 'comment', v_comment), v_signal.sent_by);
    if v_status = 'started' then
      perform pgflow._apply_signal(v_run, p_step, v_signal);
    end if;
  end if;
  return jsonb_build_object('run_id', v_run.run_id, 'step', p_step, 'applied', v_applied,
    'by', v_signal.sent_by, 'at', v_signal.created_at,
    'status', case when (v_signal.data -> 'approved')::boolean then 'approved' else 'rejected' end);
end
$$;

-- Approves a step that waits for an event: completes it with {"by", "comment"}, now or when it is
-- reached. Locks the run. Returns {run_id, step, status: the decision that stands, applied: true
-- when it is this one, by, at}; p_request is the id of the request, a repeat of it gets the same
-- answer. Raises PF001 for an unknown run or step, PF005 for a step without a decision.
create or replace function pgflow.approve_step(
  p_run text, p_step text, p_comment text default null, p_by text default null,
  p_request uuid default null
) returns jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$ select pgflow._decide(p_run, p_step, true, p_comment, p_by, p_request) $$;

-- Rejects a step that waits for an event: it fails with the error type Rejected, without another
-- attempt. Otherwise as approve_step.
create or replace function pgflow.reject_step(
  p_run text, p_step text, p_comment text default null, p_by text default null,
  p_request uuid default null
) returns jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$ select pgflow._decide(p_run, p_step, false, p_comment, p_by, p_request) $$;
