-- pgflow's door: the functions that its clients call, with their names, defaults and results, over the internals of
-- this engine. Here: definition, start, claim, completion and failure. They are unfenced, as there: nobody gives an
-- attempt. A task with a lease belongs to a worker of ours, and nothing here changes it.

-- Makes a flow with its queue; an existing one comes back unchanged. Null options mean 3 attempts, 5 s, 60 s.
create or replace function pgflow.create_flow(
  flow_slug text, max_attempts int default null, base_delay int default null, timeout int default null
) returns pgflow.flows
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow pgflow.flows;
begin
  v_flow.flow_slug := flow_slug;
  v_flow.opt_max_attempts := coalesce(max_attempts, 3);
  v_flow.opt_base_delay := coalesce(base_delay, 5);
  v_flow.opt_timeout := coalesce(timeout, 60);
  v_flow.queue_name := flow_slug;
  v_flow.door := 'pgflow';
  return pgflow._define_flow(v_flow);
end
$$;

-- Adds a step after the others; an existing one comes back unchanged.
create or replace function pgflow.add_step(
  flow_slug text, step_slug text, deps_slugs text[] default '{}', max_attempts int default null,
  base_delay int default null, timeout int default null, start_delay int default null, step_type text default 'single',
  required_input_pattern jsonb default null, forbidden_input_pattern jsonb default null,
  when_unmet text default 'skip', when_exhausted text default 'fail'
) returns pgflow.steps
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step pgflow.steps;
begin
  if step_type = 'map' and cardinality(deps_slugs) > 1 then
    raise exception 'Map step "%" can have at most one dependency, but % were provided: %',
      step_slug, cardinality(deps_slugs), array_to_string(deps_slugs, ', ');
  end if;
  v_step.flow_slug := flow_slug;
  v_step.step_slug := step_slug;
  v_step.step_type := coalesce(step_type, 'single');
  v_step.opt_max_attempts := max_attempts;
  v_step.opt_base_delay := base_delay;
  v_step.opt_timeout := timeout;
  v_step.opt_start_delay := start_delay;
  v_step.required_input_pattern := required_input_pattern;
  v_step.forbidden_input_pattern := forbidden_input_pattern;
  v_step.when_unmet := when_unmet;
  v_step.when_exhausted := when_exhausted;
  return pgflow._define_step(v_step, coalesce(deps_slugs, '{}'));
end
$$;

-- Starts a run; the id given is the idempotency key (a used one is a primary key violation).
create or replace function pgflow.start_flow(flow_slug text, input jsonb, run_id uuid default null)
returns setof pgflow.runs
language plpgsql volatile
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
  v_flow pgflow.flows;
  v_run uuid;
begin
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
  v_run := (pgflow._begin(v_flow, array[start_flow.input], array[start_flow.run_id]))[1];
  return query select r.* from pgflow.runs r where r.run_id = v_run;
end
$$;

-- Claims the queued tasks of these messages and hands out their input; fewer rows than ids is normal. Locks the tasks
-- it takes and their messages, whose visibility it moves to the step's timeout and two seconds.
create or replace function pgflow.start_tasks(
  flow_slug text, msg_ids bigint[], worker_id uuid, queue_name text default null
) returns setof pgflow.step_task_record
language plpgsql volatile
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
  v_queue text := coalesce(start_tasks.queue_name, (
    select coalesce(f.queue_name, f.flow_slug) from pgflow.flows f where f.flow_slug = start_tasks.flow_slug));
  v_clock timestamptz := pgflow.clock();
  v_claimed bigint[];
  v_until timestamptz[];
begin
  with taken as (
    update pgflow.step_tasks t
    set status = 'started', started_at = greatest(pgflow.now(), t.queued_at), attempts_count = t.attempts_count + 1,
        last_worker_id = start_tasks.worker_id
    where t.message_id = any(start_tasks.msg_ids) and t.queue_name = v_queue and t.flow_slug = start_tasks.flow_slug
      and t.status = 'queued'
      and (select r.status from pgflow.runs r where r.run_id = t.run_id) = 'started'
      and (select s.status from pgflow.step_states s where s.run_id = t.run_id and s.step_slug = t.step_slug) = 'started'
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
      case when d.step_type = 'map' then t.item
           when d.deps_count = 0 then '{}'::jsonb
           else pgflow._merged_outputs(t.run_id, d) end,
      t.message_id, t.task_index,
      case when d.step_type = 'single' and d.deps_count = 0 then r.input end
    from pgflow.step_tasks t
    join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
    join pgflow.runs r on r.run_id = t.run_id
    where t.message_id = any(v_claimed) and t.queue_name = v_queue
    order by t.message_id;
end
$$;

-- Completes a started task. What is not started any more is left alone, but for its message where its step has ended.
create or replace function pgflow.complete_task(run_id uuid, step_slug text, task_index int, output jsonb)
returns setof pgflow.step_tasks
language plpgsql volatile
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
  return query select t.* from pgflow._report_unfenced(
    row(run_id, step_slug, task_index, null, null, 'completed', output, null, null)::pgflow._report) t;
end
$$;

-- Fails a started task: it goes again after base_delay * 2^claims seconds, or its step's policy speaks.
create or replace function pgflow.fail_task(run_id uuid, step_slug text, task_index int, error_message text)
returns setof pgflow.step_tasks
language plpgsql volatile
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
  return query select t.* from pgflow._report_unfenced(
    row(run_id, step_slug, task_index, null, null, 'failed', null,
        jsonb_build_object('message', error_message), null)::pgflow._report) t;
end
$$;

-- Settles a report that names no attempt and returns the task's row. Locks the run first.
create or replace function pgflow._report_unfenced(p_report pgflow._report) returns setof pgflow.step_tasks
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_task pgflow.step_tasks;
  v_step_status text;
begin
  perform 1 from pgflow.runs r where r.run_id = p_report.run_id for no key update;
  select t.* into v_task from pgflow.step_tasks t
  where (t.run_id, t.step_slug, t.task_index) = (p_report.run_id, p_report.step_slug, p_report.task_index);
  if v_task.lease is null then
    select s.status into v_step_status from pgflow.step_states s
    where s.run_id = p_report.run_id and s.step_slug = p_report.step_slug;
    perform pgflow._settle(array[p_report]);
    if v_step_status <> 'started' and v_task.message_id is not null then
      perform pgflow._queue_drop(v_task.queue_name, array[v_task.message_id], true);
    end if;
  end if;
  return query select t.* from pgflow.step_tasks t
    where (t.run_id, t.step_slug, t.task_index) = (p_report.run_id, p_report.step_slug, p_report.task_index);
end
$$;
