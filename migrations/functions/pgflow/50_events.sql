-- The events of pgflow: one for each transition of a run or step of a flow made by create_flow,
-- through realtime.send. The functions here run as the owner of the schema, so they call that
-- function only if it belongs to the role for which the owner has registered it (S-14): any role
-- that may make a schema could make one of this name.

-- Registers realtime.send as it is in this database now; called by the owner, who trusts the role
-- that owns it. Raises PF001 where there is none.
create or replace function pgflow.register_realtime() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into pgflow.realtime (owner)
  select pg_get_userbyid(p.proowner) from pg_proc p
  where p.oid = to_regprocedure('realtime.send(jsonb, text, text, boolean)')
  on conflict do nothing;
  if not exists (select 1 from pgflow.realtime) then
    raise exception using errcode = 'PF001',
      message = 'there is no function realtime.send(jsonb, text, text, boolean) in this database';
  end if;
end
$$;

-- True where realtime.send exists and is registered.
create or replace function pgflow._has_realtime() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select 1 from pgflow.realtime r
    join pg_proc p on p.oid = to_regprocedure('realtime.send(jsonb, text, text, boolean)')
      and pg_get_userbyid(p.proowner) = r.owner)
$$;

-- Sends one event about a run; does nothing without a registered realtime.send.
create or replace function pgflow._emit(p_run_id uuid, p_event text, p_payload jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if pgflow._has_realtime() then
    execute 'select realtime.send($1, $2, $3, false)'
    using p_payload, p_event, 'pgflow:run:' || p_run_id;
  end if;
end
$$;

-- Sends the events of steps of a run that have just changed, in the order of the flow; started ones
-- in the order of their slugs. Called right after each transition; locks nothing.
create or replace function pgflow._emit_steps(p_run_id uuid, p_steps text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if cardinality(p_steps) = 0 or not pgflow._has_realtime() then
    return;
  end if;
  perform pgflow._emit(p_run_id, format('step:%s:%s', s.step_slug, s.status), jsonb_build_object(
      'event_type', 'step:' || s.status, 'run_id', s.run_id, 'step_slug', s.step_slug,
      'status', s.status)
    || case s.status
      when 'started' then jsonb_build_object('started_at', s.started_at,
        'remaining_tasks', s.remaining_tasks, 'remaining_deps', s.remaining_deps)
      when 'completed' then jsonb_build_object('output', s.output, 'completed_at', s.completed_at)
        || case s.initial_tasks
          when 0 then jsonb_build_object(
            'started_at', s.started_at, 'remaining_tasks', 0, 'remaining_deps', 0)
          else '{}' end
      when 'failed' then jsonb_build_object('error_message', s.error_message,
        'failed_at', s.failed_at)
      when 'skipped' then jsonb_build_object('skip_reason', s.skip_reason,
        'skipped_at', s.skipped_at)
        || case s.skip_reason
          when 'handler_failed' then jsonb_build_object('error_message', s.error_message)
          else jsonb_build_object('flow_slug', s.flow_slug) end
    end)
  from (
    select x.* from pgflow.step_states x
    join pgflow.steps d on d.flow_slug = x.flow_slug and d.step_slug = x.step_slug
    where x.run_id = p_run_id and x.step_slug = any(p_steps)
    order by case x.status when 'started' then x.step_slug end, d.step_index
  ) s;
end
$$;

-- Sends the event of a run that has just changed. Called right after the transition; locks nothing.
create or replace function pgflow._emit_run(p_run_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pgflow._has_realtime() then
    return;
  end if;
  perform pgflow._emit(p_run_id, 'run:' || r.status, jsonb_build_object(
      'event_type', 'run:' || r.status, 'run_id', r.run_id, 'flow_slug', r.flow_slug,
      'status', r.status)
    || case r.status
      when 'started' then jsonb_build_object('input', r.input, 'remaining_steps', r.remaining_steps,
        'started_at', r.started_at)
      when 'completed' then jsonb_build_object('output', r.output, 'completed_at', r.completed_at)
      else jsonb_build_object('failed_at', r.failed_at)
        || case r.error ->> 'type' when 'TypeViolation' then '{}'
             else jsonb_build_object('error_message', r.error ->> 'message') end
    end)
  from pgflow.runs r where r.run_id = p_run_id;
end
$$;

-- Sends the events of failures that have just ended runs: the step first, then the run; of a type
-- violation the run first. Called by _fail_runs; locks nothing.
create or replace function pgflow._emit_failures(p_failures pgflow._run_failure[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_failure record;
begin
  for v_failure in
    select distinct on (f.run_id) f.run_id, f.step_slug,
      f.error ->> 'type' = 'TypeViolation' as run_first
    from unnest(p_failures) f
    join pgflow.runs r on r.run_id = f.run_id
    join pgflow.flows w on w.flow_slug = r.flow_slug and w.origin = 'pgflow'
    order by f.run_id
  loop
    if v_failure.run_first then
      perform pgflow._emit_run(v_failure.run_id);
    end if;
    perform pgflow._emit_steps(v_failure.run_id, array[v_failure.step_slug]);
    if v_failure.run_first is not true then
      perform pgflow._emit_run(v_failure.run_id);
    end if;
  end loop;
end
$$;
