-- What people do to runs.

-- Ends a run as cancelled; one that has ended already stays as it is. Locks the run, its tasks, their messages.
-- Returns {run_id, status, cancelled}.
create or replace function pgflow.cancel_run(p_run_id uuid, p_reason text default null) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_status text;
begin
  select r.status into v_status from pgflow.runs r where r.run_id = p_run_id for no key update;
  if not found then
    raise exception using errcode = 'PF001', message = format('there is no run %s in this database', p_run_id);
  end if;
  if v_status = 'started' then
    perform pgflow._end_runs(array[p_run_id], 'cancelled', array[jsonb_build_object(
      'type', 'Cancelled', 'message', coalesce(p_reason, 'cancelled'))]);
    insert into pgflow.audit (action, subject, details)
    values ('cancel', p_run_id::text, jsonb_build_object('reason', p_reason));
  end if;
  return jsonb_build_object('run_id', p_run_id, 'cancelled', v_status = 'started',
    'status', case v_status when 'started' then 'cancelled' else v_status end);
end
$$;

-- Ends a run as failed: the last resort of a worker whose report the engine cannot take. Locks as cancel_run does.
create or replace function pgflow.fail_run(p_run_id uuid, p_error jsonb) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
  perform 1 from pgflow.runs r where r.run_id = p_run_id and r.status = 'started' for no key update;
  if found then
    perform pgflow._fail_runs(array[row(p_run_id, null, p_error)::pgflow._failure]);
  end if;
  return found;
end
$$;
