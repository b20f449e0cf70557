-- Steps that run a flow: their child runs start, end and fail. A task that runs a flow ends, and
-- its next attempt begins, when its child run has ended. The caller holds the parent run.

-- Runs the task of a step that runs a flow: starts the child run; or, where it runs already, tells
-- it to stop, for the timeout of the step has passed. A task that a retry has kept has a child run
-- already, which is retried in its turn. The caller holds the run and the message. Returns true
-- while the task still needs its message.
create or replace function pgflow._run_child_task(
  p_run pgflow.runs, p_step_slug text, p_index int, p_id bigint
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_task pgflow.step_tasks;
  v_step pgflow.steps;
  v_error jsonb;
begin
  select t.* into v_task from pgflow.step_tasks t
  where t.run_id = p_run.run_id and t.step_slug = p_step_slug and t.task_index = p_index
    and t.message_id = p_id;
  if v_task.status is null or v_task.status not in ('queued', 'started') then
    return false;
  elsif v_task.status = 'queued' and pgflow._is_waiting(v_task) then
    return false; -- a message of its last attempt, which was locked when that ended
  elsif v_task.status = 'started' then
    perform pgflow._cancel_children(array[v_task.child_run_id]);
    perform pgflow._queue_park('pgflow__timers', array[p_id], array['infinity'::timestamptz]);
    return true;
  end if;
  select d.* into v_step from pgflow.steps d
  where d.flow_slug = p_run.flow_slug and d.step_slug = p_step_slug;
  if v_task.child_run_id is not null and exists (
    select 1 from pgflow.runs r where r.run_id = v_task.child_run_id)
  then
    return pgflow._reopen_child(p_run, v_step, v_task);
  end if;
  v_error := pgflow._start_child(p_run, v_step, v_task);
  if v_error is not null then
    perform pgflow._fail_unreported(p_run.run_id, p_step_slug, p_index, v_error);
  end if;
  return true;
end
$$;

-- Starts the child run of a queued task, of the version that is active now or the one that the step
-- names; its input is `with`, or the item, or the input of a handler. The caller holds the run, the
-- task and the message. Returns the error of a child that cannot start; null when it did.
create or replace function pgflow._start_child(
  p_run pgflow.runs, p_step pgflow.steps, p_task pgflow.step_tasks
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := split_part(p_step.spec ->> 'flow', '@', 1);
  v_definition pgflow.definitions;
  v_flow pgflow.flows;
  v_input jsonb := pgflow._task_input(p_run, p_step, p_task);
  v_child pgflow.runs;
  v_problems text;
begin
  if v_input ? 'error' then
    return jsonb_build_object('type', 'ExpressionError',
      'message', 'with: ' || (v_input ->> 'error'));
  elsif p_run.depth >= 16 then
    return jsonb_build_object('type', 'ChildFailed',
      'message', format('%s: 16 flows are nested already', v_name));
  end if;
  begin
    v_definition := pgflow._find_definition(v_name,
      nullif(split_part(p_step.spec ->> 'flow', '@', 2), ''));
    select f.* into v_flow from pgflow.flows f where f.flow_slug = v_definition.flow_slug;
    v_child.input := pgflow._checked_input(v_name, v_flow, v_input -> 'value');
  exception when sqlstate 'PF001' or sqlstate 'PF002' then
    get stacked diagnostics v_problems = pg_exception_detail;
    return jsonb_build_object('type', 'ChildFailed',
      'message', format('%s: %s', v_name, sqlerrm) || coalesce((
        select string_agg(format('; %s %s', p.path, p.message), '')
        from jsonb_to_recordset(nullif(v_problems, '')::jsonb) p(path text, message text)), ''));
  end;
  v_child.labels := v_flow.labels;
  v_child.parent_run_id := p_run.run_id;
  v_child.parent_step := p_step.step_slug;
  v_child.parent_index := p_task.task_index;
  v_child.depth := p_run.depth + 1;
  v_child.started_by := p_run.started_by;
  v_child.trace := pgflow._step_trace(p_run, p_step.step_slug);
  v_child.run_id :=
    (pgflow._begin_runs(v_flow, array[v_child.input], array[null::uuid], v_name, null, v_child))[1];
  perform pgflow._wait_for_child(p_step, p_task, v_child.run_id);
  return null;
end
$$;

-- Starts a task whose child run goes on from now: its message is due at the timeout of the step.
-- The caller holds the run, the task and the message.
create or replace function pgflow._wait_for_child(
  p_step pgflow.steps, p_task pgflow.step_tasks, p_child uuid
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.step_tasks t
  set status = 'started', started_at = greatest(pgflow.now(), t.queued_at),
      attempts_count = t.attempts_count + 1, lease = 'infinity', last_worker_id = null,
      child_run_id = p_child
  where t.run_id = p_task.run_id and t.step_slug = p_task.step_slug
    and t.task_index = p_task.task_index;
  perform pgflow._queue_park('pgflow__timers', array[p_task.message_id], array[coalesce(
    pgflow.clock() + (p_step.spec ->> 'timeout_ms')::bigint * interval '1 ms', 'infinity')]);
end
$$;

-- Retries the child run of a task that a retry of its parent has kept, with the number of the
-- parent's retries; one that has completed is settled. Parent and child change in one transaction:
-- between two, a late message about the end of the child's first life would end the task. Waits for
-- no lock: where another session holds the child, the message comes again in 50 ms. The caller
-- holds the parent run, the task and the message. Returns true.
create or replace function pgflow._reopen_child(
  p_run pgflow.runs, p_step pgflow.steps, p_task pgflow.step_tasks
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_child pgflow.runs;
begin
  select r.* into v_child from pgflow.runs r
  where r.run_id = p_task.child_run_id for no key update skip locked;
  if found then
    perform pgflow._wait_for_child(p_step, p_task, v_child.run_id);
    if v_child.status = 'completed' then
      perform pgflow._settle_child(p_run, p_step.step_slug, p_task.task_index, v_child.run_id);
    elsif v_child.status <> 'started' then
      perform pgflow._retry_child(v_child, p_run.retries);
    end if;
  end if;
  return true;
end
$$;

-- What a task is given: the input of its child run, or the arguments of its handler, in which
-- p_secrets stand for what the worker alone knows. {"value"} or {"error"}.
create or replace function pgflow._task_input(
  p_run pgflow.runs, p_step pgflow.steps, p_task pgflow.step_tasks, p_secrets jsonb default '{}'
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_step.spec ? 'with' then pgflow.evaluate(p_step.spec -> 'with' -> 'ast',
      p_secrets || pgflow._environment(p_run, p_step.spec -> 'with' -> 'paths',
        jsonb_build_object('item', p_task.item, 'index', p_task.task_index)))
    else jsonb_build_object('value', case
      when p_step.step_type = 'map' and p_step.fixed_tasks is null then p_task.item
      when p_step.deps_count = 0 then p_run.input
      else pgflow._dependency_outputs(p_run.run_id, p_step) end) end
$$;

-- Settles the task of an ended child run: its output is that of the task, its failure an attempt of
-- the task, and so is its deletion. A child of a task that ended before it changes nothing, but the
-- run may have waited for it. The caller holds the parent run.
create or replace function pgflow._settle_child(
  p_run pgflow.runs, p_step_slug text, p_index int, p_child uuid
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_child pgflow.runs;
  v_task pgflow.step_tasks;
  v_error jsonb;
begin
  select r.* into v_child from pgflow.runs r where r.run_id = p_child;
  if v_child.status = 'started' then
    return;
  end if;
  select t.* into v_task from pgflow.step_tasks t
  where (t.run_id, t.step_slug, t.task_index) = (p_run.run_id, p_step_slug, p_index)
    and t.status = 'started' and t.child_run_id = p_child;
  if found then
    v_error := pgflow._child_error(p_run.flow_slug, v_task, v_child);
    perform pgflow._settle(array[row(p_run.run_id, p_step_slug, p_index, null, null,
      case when v_error is null then 'completed'
        when v_error ->> 'type' = 'OutputTooLarge' then 'fatal' else 'failed' end,
      coalesce(v_child.output, 'null'), v_error, null)::pgflow._report]);
  elsif p_run.status = 'started' and p_run.remaining_steps <= (
    select f.finally_steps from pgflow.flows f where f.flow_slug = p_run.flow_slug)
  then
    perform pgflow._finish_runs(array[p_run.run_id]);
  end if;
end
$$;

-- The error of a task whose child run has ended; null when it did what it should. A child that was
-- longer at it than the step allows is a timeout, however it ended. The output of a run has no
-- limit of its own: it holds those of several steps. In its parent it is the output of one.
create or replace function pgflow._child_error(
  p_flow_slug text, p_task pgflow.step_tasks, p_child pgflow.runs
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when coalesce(p_child.completed_at, p_child.failed_at, p_child.cancelled_at)
        >= p_task.started_at + k.timeout_ms * interval '1 ms'
      then jsonb_build_object('type', 'Timeout', 'message', format(
        'the child run %s has not ended within %s s', p_task.child_run_id,
        (k.timeout_ms / 1000.0)::float8))
    when p_child.status is distinct from 'completed'
      then jsonb_build_object('type', 'ChildFailed', 'message', format(
        '%s %s [%s]: %s', p_child.flow_name, p_task.child_run_id, p_task.task_index,
        case p_child.status when 'cancelled' then 'cancelled: ' else '' end
          || coalesce(p_child.error ->> 'message', p_child.status, 'the run was deleted')))
    when pgflow._is_too_large(p_child.output)
      then jsonb_build_object('type', 'OutputTooLarge', 'message', format(
        'the output of %s %s has more than 2 MiB of JSON: let its `output` return a reference',
        p_child.flow_name, p_task.child_run_id))
    end
  from (
    select (d.spec ->> 'timeout_ms')::bigint as timeout_ms from pgflow.steps d
    where d.flow_slug = p_flow_slug and d.step_slug = p_task.step_slug) k
$$;
