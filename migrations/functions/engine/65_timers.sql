-- The clock: what happens by itself, without a handler. Everything that SQL settles lies as a message in one queue,
-- pgflow__clock, which every turn reads whatever queues its worker serves: the next tasks of wide maps, the ends of waits,
-- the deadlines of runs, child runs to start, the ends of child runs. Messages of tasks have no "kind".
--
-- Like the claim, the clock never waits: a run that somebody holds is left for 50 ms. Whoever ends a step or a run
-- drops its messages here, skipping those that a turn has just taken; each kind therefore looks again at what it is for.

-- Reads what is due and settles it, message by message; one that cannot be settled rests for a while and hinders
-- nobody. At most one wide map goes on in a turn (its next tasks hold its run, and this turn, for a tenth of a second),
-- after all else. Called by each turn that claims. Locks messages, then runs, never waiting.
create or replace function pgflow._wind_clock() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_note record;
  v_run pgflow.runs;
begin
  for v_note in
    select t.msg_id, t.message, t.message ->> 'kind' is not distinct from 'make' as makes
    from pgflow._queue_take('pgflow__clock', v_clock, v_clock + interval '50 ms', 50) t
    order by makes
  loop
    begin
      select r.* into v_run from pgflow.runs r
      where r.run_id = (v_note.message ->> 'run_id')::uuid for no key update skip locked;
      if found then
        perform pgflow._settle_note(v_run, v_note.msg_id, v_note.message);
        exit when v_note.makes;
      elsif not exists (select 1 from pgflow.runs r where r.run_id = (v_note.message ->> 'run_id')::uuid) then
        perform pgflow._queue_drop('pgflow__clock', array[v_note.msg_id], false);
      end if;
    exception
      when serialization_failure or deadlock_detected then
        raise;
      when others then
        raise warning 'message % of the clock rests for a minute: %', v_note.message, sqlerrm;
        perform pgflow._queue_park('pgflow__clock', array[v_note.msg_id], array[v_clock + interval '1 minute']);
    end;
  end loop;
end
$$;

-- Settles one message of the clock. The caller holds the message and the run.
create or replace function pgflow._settle_note(p_run pgflow.runs, p_id bigint, p_note jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step text := p_note ->> 'step_slug';
begin
  case p_note ->> 'kind'
    when 'make' then
      if pgflow._make_more(p_run.run_id, v_step) then
        perform pgflow._queue_park('pgflow__clock', array[p_id], array[pgflow.clock()]);
        return;
      end if;
    when 'wait' then
      perform pgflow._end_wait(p_run, v_step);
    when 'deadline' then
      perform pgflow._end_or_stop(array[p_run.run_id], 'failed', array[jsonb_build_object('type', 'RunTimeout', 'message',
        format('the run has not ended within %s s', (
          select f.timeout_ms / 1000.0 from pgflow.flows f where f.flow_slug = p_run.flow_slug)::float8))]);
    when 'cancel' then
      perform pgflow._end_or_stop(array[p_run.run_id], 'cancelled', array[
        '{"type": "Cancelled", "message": "the step of its parent run has ended"}'::jsonb]);
    when 'child' then
      perform pgflow._settle_child(p_run, v_step, (p_note ->> 'task_index')::int, (p_note ->> 'child')::uuid);
    else
      if pgflow._run_child_task(p_run, v_step, (p_note ->> 'task_index')::int, p_id) then
        return;
      end if;
  end case;
  perform pgflow._queue_drop('pgflow__clock', array[p_id], false);
end
$$;

-- A wait whose time has come: a timer is completed, an event that did not come is a failure, and so is a rejection that
-- came before the wait did. The caller holds the run.
create or replace function pgflow._end_wait(p_run pgflow.runs, p_step_slug text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wait jsonb := (
    select d.spec -> 'wait' from pgflow.steps d where d.flow_slug = p_run.flow_slug and d.step_slug = p_step_slug);
  v_said pgflow.events := pgflow._said(p_run.run_id, p_step_slug, v_wait ->> 'event');
begin
  if v_said.kind is not null then
    perform pgflow._hear(p_run, p_step_slug, v_said);
  elsif v_wait ? 'event' then
    perform pgflow._fail_wait(p_run, p_step_slug, 'WaitTimeout',
      format('no event "%s" came within %s s', v_wait ->> 'event', ((v_wait ->> 'timeout')::numeric / 1000)::float8));
  else
    perform pgflow._complete_waits(p_run, array[p_step_slug], 'null');
  end if;
end
$$;

-- Ends a waiting step by what was said to it. The caller holds the run.
create or replace function pgflow._hear(p_run pgflow.runs, p_step_slug text, p_said pgflow.events) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_said.kind = 'decision' and not (p_said.data -> 'approved')::boolean then
    perform pgflow._fail_wait(p_run, p_step_slug, 'Rejected',
      format('rejected by %s', p_said.said_by) || coalesce(': ' || (p_said.data ->> 'comment'), ''));
  else
    perform pgflow._complete_waits(p_run, array[p_step_slug], pgflow._said_output(p_said));
  end if;
end
$$;

-- Completes those of these steps that wait, and goes on. The caller holds the run. Returns them.
create or replace function pgflow._complete_waits(p_run pgflow.runs, p_steps text[], p_output jsonb) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_notes bigint[];
  v_ended pgflow._ended[];
begin
  v_notes := array(
    select s.make_message_id from pgflow.step_states s
    where s.run_id = p_run.run_id and s.step_slug = any(p_steps) and s.make_message_id is not null);
  with completed as (
    update pgflow.step_states s
    set status = 'completed', completed_at = greatest(pgflow.now(), s.started_at), output = p_output, make_message_id = null
    where s.run_id = p_run.run_id and s.step_slug = any(p_steps) and s.status = 'started'
    returning s.run_id, s.flow_slug, s.step_slug
  )
  select coalesce(array_agg(row(c.run_id, c.flow_slug, c.step_slug, 'completed')::pgflow._ended order by c.step_slug), '{}')
  into v_ended from completed c;
  perform pgflow._queue_drop('pgflow__clock', v_notes, false);
  perform pgflow._advance(v_ended, '{}');
  return array(select e.step_slug from unnest(v_ended) e);
end
$$;

-- Fails a step that waits, by its policy, and goes on; its message in the clock queue goes with what is left of the step.
-- The caller holds the run.
create or replace function pgflow._fail_wait(p_run pgflow.runs, p_step_slug text, p_type text, p_message text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fault record;
begin
  select f.ended, f.failures, f.done into v_fault
  from pgflow.steps d
  cross join lateral pgflow._fail_steps(array[row(p_run.run_id, d.flow_slug, d.step_slug, null, d.when_exhausted,
    jsonb_build_object('type', p_type, 'message', p_message, 'attempts', 0), p_message)::pgflow._fault]) f
  where d.flow_slug = p_run.flow_slug and d.step_slug = p_step_slug;
  perform pgflow._drop_messages(v_fault.done);
  if cardinality(v_fault.failures) > 0 then
    perform pgflow._fail_runs(v_fault.failures);
  end if;
  perform pgflow._advance(v_fault.ended, '{}');
end
$$;

-- The message of a task that runs a flow is visible: the child run starts; or, where it runs already, the step's
-- timeout has passed. The caller holds the run and the message. Returns whether the task still needs its message.
create or replace function pgflow._run_child_task(p_run pgflow.runs, p_step_slug text, p_index int, p_id bigint)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_task pgflow.step_tasks;
  v_step pgflow.steps;
  v_error jsonb;
begin
  select t.* into v_task from pgflow.step_tasks t
  where t.run_id = p_run.run_id and t.step_slug = p_step_slug and t.task_index = p_index and t.message_id = p_id;
  select d.* into v_step from pgflow.steps d where d.flow_slug = p_run.flow_slug and d.step_slug = p_step_slug;
  if v_task.status is null or v_task.status not in ('queued', 'started') then
    return false;
  elsif v_task.status = 'started' then
    perform pgflow._tell_children(array[v_task.child_run_id]);
    perform pgflow._settle(array[row(p_run.run_id, p_step_slug, p_index, null, null, 'failed', null,
      jsonb_build_object('type', 'Timeout', 'message', format('the child run %s has not ended within %s s',
        v_task.child_run_id, ((v_step.spec ->> 'timeout_ms')::numeric / 1000)::float8)), null)::pgflow._report]);
    return true;
  end if;
  v_error := pgflow._start_child(p_run, v_step, v_task);
  if v_error is not null then
    perform pgflow._fail_unreported(p_run.run_id, p_step_slug, p_index, v_error);
  end if;
  return true;
end
$$;

-- Starts the child run of a queued task, of the version that is active now or the one that the step names; its input
-- is what `with` says, or the item, or what a handler would get. The caller holds the run, the task and the message.
-- Returns the error of a child that cannot start; null when it did.
create or replace function pgflow._start_child(p_run pgflow.runs, p_step pgflow.steps, p_task pgflow.step_tasks)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := split_part(p_step.spec ->> 'flow', '@', 1);
  v_definition pgflow.definitions;
  v_flow pgflow.flows;
  v_given jsonb := pgflow._child_input(p_run, p_step, p_task);
  v_child pgflow.runs;
  v_problems text;
begin
  if v_given ? 'error' then
    return jsonb_build_object('type', 'ExpressionError', 'message', 'with: ' || (v_given ->> 'error'));
  elsif p_run.depth >= 16 then
    return jsonb_build_object('type', 'ChildFailed', 'message', format('%s: 16 flows are nested already', v_name));
  end if;
  begin
    v_definition := pgflow._find_definition(v_name, nullif(split_part(p_step.spec ->> 'flow', '@', 2), ''));
    select f.* into v_flow from pgflow.flows f where f.flow_slug = v_definition.flow_slug;
    v_child.input := pgflow._run_input(v_name, v_flow, v_given -> 'value');
  exception when sqlstate 'PF001' or sqlstate 'PF002' then
    get stacked diagnostics v_problems = pg_exception_detail;
    return jsonb_build_object('type', 'ChildFailed', 'message', format('%s: %s', v_name, sqlerrm) || coalesce((
      select string_agg(format('; %s %s', p.path, p.message), '') from jsonb_to_recordset(nullif(v_problems, '')::jsonb) p(path text, message text)), ''));
  end;
  v_child.labels := v_flow.labels;
  v_child.parent_run_id := p_run.run_id;
  v_child.parent_step := p_step.step_slug;
  v_child.parent_index := p_task.task_index;
  v_child.depth := p_run.depth + 1;
  v_child.run_id := (pgflow._begin(v_flow, array[v_child.input], array[null::uuid], v_name, null, v_child))[1];
  update pgflow.step_tasks t
  set status = 'started', started_at = greatest(pgflow.now(), t.queued_at), attempts_count = t.attempts_count + 1,
      lease = 'infinity', last_worker_id = null, child_run_id = v_child.run_id
  where t.run_id = p_run.run_id and t.step_slug = p_step.step_slug and t.task_index = p_task.task_index;
  perform pgflow._queue_park('pgflow__clock', array[p_task.message_id], array[
    coalesce(pgflow.clock() + (p_step.spec ->> 'timeout_ms')::bigint * interval '1 ms', 'infinity')]);
  return null;
end
$$;

-- The input of a child run: {"value"} or {"error"}.
create or replace function pgflow._child_input(p_run pgflow.runs, p_step pgflow.steps, p_task pgflow.step_tasks)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_step.spec ? 'with' then pgflow.evaluate(p_step.spec -> 'with' -> 'ast',
      pgflow._environment(p_run, p_step.spec -> 'with' -> 'paths',
        jsonb_build_object('item', p_task.item, 'index', p_task.task_index)))
    else jsonb_build_object('value', case
      when p_step.step_type = 'map' and p_step.fixed_tasks is null then p_task.item
      when p_step.deps_count = 0 then p_run.input
      else pgflow._merged_outputs(p_run.run_id, p_step) end) end
$$;

-- A child run has ended: its output is the task's, its failure an attempt of the task, and so is its deletion. A
-- child that is no longer the task's changes nothing. The caller holds the parent's run.
create or replace function pgflow._settle_child(p_run pgflow.runs, p_step_slug text, p_index int, p_child uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_child pgflow.runs;
begin
  select r.* into v_child from pgflow.runs r where r.run_id = p_child;
  if v_child.status is distinct from 'started' and exists (
    select 1 from pgflow.step_tasks t
    where (t.run_id, t.step_slug, t.task_index) = (p_run.run_id, p_step_slug, p_index)
      and t.status = 'started' and t.child_run_id = p_child)
  then
    perform pgflow._settle(array[row(p_run.run_id, p_step_slug, p_index, null, null,
      case v_child.status when 'completed' then 'completed' else 'failed' end, coalesce(v_child.output, 'null'),
      jsonb_build_object('type', 'ChildFailed', 'message', format('%s %s [%s]: %s', v_child.flow_name, p_child, p_index,
        case v_child.status when 'cancelled' then 'cancelled: ' else '' end
        || coalesce(v_child.error ->> 'message', v_child.status, 'the run was deleted'))),
      null)::pgflow._report]);
  end if;
end
$$;
