-- The functions of pgflow, second part: start, claim, completion and failure. They are unfenced, as
-- in pgflow: no caller names an attempt. A task with a lease belongs to a worker of ours, and
-- nothing here changes it. The differences between runs of create_flow and of deployed flows are in
-- 30_steps.

-- Starts a run; run_id is the idempotency key (a used one is a primary key violation). Called by
-- clients; locks only rows that it makes. Returns the run as it is when everything that can happen
-- without a handler has happened. Raises PF002 for an input that is too large.
create or replace function pgflow.start_flow(flow_slug text, input jsonb, run_id uuid default null)
returns setof pgflow.runs
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow pgflow.flows;
  v_run uuid;
begin
  perform pgflow._refuse_input(start_flow.flow_slug, start_flow.input);
  if jsonb_typeof(start_flow.input) is distinct from 'array' and exists (
    select 1 from pgflow.steps s
    where s.flow_slug = start_flow.flow_slug and s.step_type = 'map' and s.deps_count = 0)
  then
    if start_flow.input is null then
      raise exception 'Flow % has root map steps but input is NULL', start_flow.flow_slug;
    end if;
    raise exception 'Flow % has root map steps but input is not an array (got %)',
      start_flow.flow_slug, jsonb_typeof(start_flow.input);
  end if;
  select f.* into v_flow from pgflow.flows f where f.flow_slug = start_flow.flow_slug;
  v_flow.flow_slug := start_flow.flow_slug;
  v_run := (pgflow._begin_runs(v_flow, array[start_flow.input], array[start_flow.run_id]))[1];
  return query select r.* from pgflow.runs r where r.run_id = v_run;
end
$$;

-- {run, steps} as rows; null for an unknown run. Locks nothing. (Volatile, like its caller: a
-- stable function would not see the run that the same statement has just started.)
create or replace function pgflow.get_run_with_states(run_id uuid) returns jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('run', to_jsonb(r), 'steps', (
    select coalesce(jsonb_agg(to_jsonb(s) order by d.step_index), '[]')
    from pgflow.step_states s
    join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
    where s.run_id = r.run_id))
  from pgflow.runs r where r.run_id = get_run_with_states.run_id
$$;

-- Starts a run and returns it with its steps, as get_run_with_states does. Called by clients that
-- may do only this.
create or replace function pgflow.start_flow_with_states(
  flow_slug text, input jsonb, run_id uuid default null
) returns jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select pgflow.get_run_with_states(r.run_id)
  from pgflow.start_flow(start_flow_with_states.flow_slug, start_flow_with_states.input,
    start_flow_with_states.run_id) r
$$;

-- Claims the queued tasks of these messages and returns their input; fewer rows than ids is normal.
-- Called by clients; locks the tasks it takes and their messages, whose visibility it moves by the
-- step's timeout and two seconds, and never a run. Returns one record a task, in the order of the
-- messages.
create or replace function pgflow.start_tasks(
  flow_slug text, msg_ids bigint[], worker_id uuid, queue_name text default null
) returns setof pgflow.step_task_record
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue text := (
    select coalesce(f.queue_name, f.flow_slug) from pgflow.flows f
    where f.flow_slug = start_tasks.flow_slug);
  v_clock timestamptz := pgflow.clock();
  v_claimed bigint[];
  v_until timestamptz[];
begin
  if lower(start_tasks.queue_name) <> lower(v_queue) then
    v_queue := start_tasks.queue_name; -- the name of the flow's own queue has one spelling
  end if;
  if lower(v_queue) = 'pgflow__timers' then
    return; -- child runs: SQL starts them
  end if;
  perform pgflow._require_worker(start_tasks.worker_id);
  with taken as (
    update pgflow.step_tasks t
    set status = 'started', started_at = greatest(pgflow.now(), t.queued_at),
        attempts_count = t.attempts_count + 1, last_worker_id = start_tasks.worker_id, lease = null
    where t.message_id = any(start_tasks.msg_ids) and t.queue_name = v_queue
      and t.flow_slug = start_tasks.flow_slug and t.status = 'queued'
      and (select r.status from pgflow.runs r where r.run_id = t.run_id) = 'started'
      and (select s.status from pgflow.step_states s
        where s.run_id = t.run_id and s.step_slug = t.step_slug) = 'started'
    returning t.message_id, v_clock + interval '2 seconds' + interval '1 second' * (
      select coalesce(d.opt_timeout, f.opt_timeout)
      from pgflow.steps d join pgflow.flows f on f.flow_slug = d.flow_slug
      where d.flow_slug = t.flow_slug and d.step_slug = t.step_slug) as until
  )
  select array_agg(k.message_id), array_agg(k.until) into v_claimed, v_until from taken k;
  if v_claimed is null then
    return;
  end if;
  perform pgflow._queue_park(v_queue, v_claimed, v_until);
  return query
    select t.flow_slug, t.run_id, t.step_slug,
      case
        when k.map then coalesce(t.item, case
          when d.map_items is null then pgflow._map_source(r, d) -> t.task_index end)
        when d.deps_count = 0 then '{}'::jsonb
        else pgflow._dependency_outputs(t.run_id, d) end,
      t.message_id, t.task_index,
      case when not k.map and d.deps_count = 0 then r.input end
    from pgflow.step_tasks t
    join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
    join pgflow.runs r on r.run_id = t.run_id
    cross join lateral (select d.step_type = 'map' and d.fixed_tasks is null as map) k
    where t.message_id = any(v_claimed) and t.queue_name = v_queue
    order by t.message_id;
end
$$;

-- Completes a started task and starts the steps that it made ready. Called by clients; locks as
-- _report_unfenced does. Returns the task as it now is. Raises 54000 for an output that is too
-- large.
create or replace function pgflow.complete_task(
  run_id uuid, step_slug text, task_index int, output jsonb
) returns setof pgflow.step_tasks
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._refuse_outputs(
    case when pgflow._is_too_large(complete_task.output) then complete_task.step_slug end);
  perform pgflow._report_unfenced(row(
    run_id, step_slug, task_index, null, null, 'completed', output, null, null)::pgflow._report);
  return query select t.* from pgflow.step_tasks t
    where t.run_id = complete_task.run_id and t.step_slug = complete_task.step_slug
      and t.task_index = complete_task.task_index;
end
$$;

-- Fails a started task: another attempt follows after base_delay * 2^claims seconds, or the policy
-- of its step decides. Called by clients; locks as _report_unfenced does. Returns the task as it
-- now is.
create or replace function pgflow.fail_task(
  run_id uuid, step_slug text, task_index int, error_message text
) returns setof pgflow.step_tasks
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._report_unfenced(row(
    run_id, step_slug, task_index, null, null, 'failed', null,
    jsonb_build_object('message', pgflow._cut_text(error_message)), null)::pgflow._report);
  return query select t.* from pgflow.step_tasks t
    where t.run_id = fail_task.run_id and t.step_slug = fail_task.step_slug
      and t.task_index = fail_task.task_index;
end
$$;

-- Takes a report without an attempt. Where the run or the step has ended already, only the message
-- is dropped; else the report is settled like any other. Locks the run, then the task (a claim of a
-- worker of ours, which locks no run, either is visible here as a lease or waits).
create or replace function pgflow._report_unfenced(p_report pgflow._report) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run_status text;
  v_step_status text;
  v_archive boolean;
  v_task pgflow.step_tasks;
begin
  select r.status, f.origin = 'pgflow' into v_run_status, v_archive
  from pgflow.runs r join pgflow.flows f on f.flow_slug = r.flow_slug
  where r.run_id = p_report.run_id for no key update of r;
  select t.* into v_task from pgflow.step_tasks t
  where t.run_id = p_report.run_id and t.step_slug = p_report.step_slug
    and t.task_index = p_report.task_index for no key update;
  if not found or v_task.lease is not null then
    return;
  end if;
  select s.status into v_step_status from pgflow.step_states s
  where s.run_id = p_report.run_id and s.step_slug = p_report.step_slug;

  if v_run_status in ('failed', 'cancelled')
    or v_run_status = 'completed' and p_report.outcome = 'failed'
  then
    if p_report.outcome = 'failed' then
      perform pgflow._fail_late(v_task, p_report.error ->> 'message', v_archive);
    end if;
  elsif v_step_status <> 'started' then
    perform pgflow._queue_drop(v_task.queue_name, array[v_task.message_id], v_archive);
  elsif v_task.status = 'started' then
    perform pgflow._settle(array[p_report]);
  elsif p_report.outcome = 'completed' then
    perform pgflow.start_ready_steps(p_report.run_id);
    perform pgflow.maybe_complete_run(p_report.run_id);
  end if;
end
$$;

-- Records a failure that was reported after the end of the run: a started task fails, even if the
-- end of the run had cancelled it, and its message is dropped. The caller holds run and task.
create or replace function pgflow._fail_late(
  p_task pgflow.step_tasks, p_message text, p_archive boolean
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.step_tasks t
  set status = 'failed', failed_at = greatest(pgflow.now(), t.started_at, t.queued_at),
      error_message = p_message, cancelled_at = null
  where (t.run_id, t.step_slug, t.task_index) = (p_task.run_id, p_task.step_slug, p_task.task_index)
    and (t.status = 'started' or t.status = 'cancelled' and t.started_at is not null);
  perform pgflow._queue_drop(p_task.queue_name, array[p_task.message_id], p_archive);
end
$$;
