-- Timers: everything that happens without a handler. All of it lies as messages in one queue,
-- pgflow__timers, which every turn reads whatever queues its worker serves:
--
--   kind        due when                            done by
--   make        a large map has tasks to be made    _make_more_tasks
--   wait        a wait ends, or is to be told of    _end_due_wait, _tell_wait
--   deadline    the timeout of a run passes         _end_or_stop_runs
--   cancel      the step of a parent has ended, or  _end_or_stop_runs
--               a newer run takes its place
--   child       a child run has ended               _settle_child, _finish_runs
--   after       a run has ended that flows hear of  _start_listeners
--   gate        somebody may be let in at a gate    _run_gate_timer
--   schedule    a flow is to be started             the worker, by fire_schedule
--   enter       a run is to begin (`start --at`)    _begin_in_time
--   (none)      a task is to run a flow, or         _run_child_task
--               its timeout passes
--
-- They do not depend on free slots: a worker without room calls wind instead of turn.
--
-- Like the claim, timers never wait: a locked run is left for 50 ms. A function that ends a step or
-- a run drops its messages here, skipping those that a turn has just taken; each kind therefore
-- checks its run again.

-- Runs what is due, message by message; one that fails delays no other. At most one large map goes
-- on in a call (its next tasks hold its run, and this call, for a tenth of a second), after all
-- others. Called by each turn that claims and by wind. Locks messages, then runs, never waiting.
-- Returns {timers: how many were run, timer_errors: [{timer, error, tries, pause_ms}], schedules:
-- [see _due_schedule]}, each where there are any. The message of a schedule rests for ten seconds,
-- in which the worker fires it.
create or replace function pgflow._run_timers() returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_timer record;
  v_run pgflow.runs;
  v_ran int := 0;
  v_errors jsonb := '[]';
  v_opened jsonb[] := '{}';
  v_due jsonb;
  v_schedules jsonb := '[]';
begin
  if not pgflow._is_timer_due(v_clock) then
    return '{}';
  end if;
  for v_timer in
    select t.msg_id, t.message, t.message ->> 'kind' is not distinct from 'make' as makes
    from pgflow._take_timers(v_clock, v_clock + interval '50 ms', 50) t
    -- gates last: they lock tasks, for which the others may wait
    order by makes, t.message ->> 'kind' is not distinct from 'gate'
  loop
    begin
      perform pgflow._check_timer(v_timer.message);
      if v_timer.message ->> 'kind' = 'gate' then
        -- all messages were there before the gate was opened, so once is enough
        if v_timer.message = any(v_opened) then
          perform pgflow._queue_drop('pgflow__timers', array[v_timer.msg_id], false);
        else
          perform pgflow._run_gate_timer(v_timer.msg_id, v_timer.message);
          v_opened := v_opened || v_timer.message;
        end if;
        v_ran := v_ran + 1;
        continue;
      elsif v_timer.message ->> 'kind' = 'schedule' then
        v_due := pgflow._due_schedule(v_timer.message);
        if v_due is null then
          perform pgflow._queue_drop('pgflow__timers', array[v_timer.msg_id], false);
        else
          perform pgflow._queue_park('pgflow__timers', array[v_timer.msg_id],
            array[v_clock + interval '10 seconds']);
          v_schedules := v_schedules || v_due;
        end if;
        continue;
      end if;
      select r.* into v_run from pgflow.runs r
      where r.run_id = (v_timer.message ->> 'run_id')::uuid for no key update skip locked;
      if found then
        perform pgflow._run_timer(v_run, v_timer.msg_id, v_timer.message);
        v_ran := v_ran + 1;
        if v_timer.message ? 'tries' then
          perform pgflow._queue_rewrite(
            'pgflow__timers', v_timer.msg_id, v_timer.message - 'tries');
        end if;
        exit when v_timer.makes;
      elsif not exists (
        select 1 from pgflow.runs r where r.run_id = (v_timer.message ->> 'run_id')::uuid)
      then
        perform pgflow._queue_drop('pgflow__timers', array[v_timer.msg_id], false);
      end if;
    exception
      when serialization_failure or deadlock_detected then
        raise;
      when others then
        v_errors := v_errors || pgflow._put_off_timer(v_timer.msg_id, v_timer.message, sqlerrm);
    end;
  end loop;
  return jsonb_strip_nulls(jsonb_build_object('timers', nullif(v_ran, 0),
      'timer_errors', nullif(v_errors, '[]')))
    || case when v_schedules = '[]' then '{}'
         else jsonb_build_object('schedules', v_schedules) end;
end
$$;

-- Raises 22023 for a timer of a kind that this release does not know: it is kept for one that does,
-- whether it names a run or not. Only the tasks that run a flow have no kind.
create or replace function pgflow._check_timer(p_timer jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (case when p_timer ? 'kind'
        then p_timer ->> 'kind' in ('make', 'wait', 'deadline', 'cancel', 'child', 'after', 'gate',
          'schedule', 'enter')
        else p_timer ? 'task_index' end) is not true
  then
    raise exception using errcode = 'invalid_parameter_value',
      message = format('this release has no timers of the kind "%s"', p_timer ->> 'kind');
  end if;
end
$$;

-- Puts a timer that failed off: for 100 ms the first time, then twice as long each time, 30 s at
-- most. Its message counts the tries: pgmq's own count grows also when the run is locked. Returns
-- the line of the reply. The caller has taken the message.
create or replace function pgflow._put_off_timer(p_id bigint, p_timer jsonb, p_error text)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  -- whatever somebody has inserted by hand: no message may end a turn
  v_timer jsonb := case jsonb_typeof(p_timer) when 'object' then p_timer
    else jsonb_build_object('message', p_timer) end;
  v_tries int := 1 + case jsonb_typeof(v_timer -> 'tries') when 'number'
    then least(greatest((v_timer ->> 'tries')::numeric, 0), 1000000) else 0 end;
  v_pause int := least(100 * 2 ^ least(v_tries - 1, 20), 30000);
begin
  perform pgflow._queue_rewrite(
    'pgflow__timers', p_id, v_timer || jsonb_build_object('tries', v_tries));
  perform pgflow._queue_park('pgflow__timers', array[p_id],
    array[pgflow.clock() + v_pause * interval '1 ms']);
  return jsonb_build_object('timer', v_timer - 'tries', 'error', p_error, 'tries', v_tries,
    'pause_ms', v_pause);
end
$$;

-- Runs what is due in the timer queue, and claims nothing: for a worker that has had no room for a
-- moment. Returns what _run_timers does, and {ended, next_ms}: as turn does, all ends, and the time
-- of the timer queue alone.
create or replace function pgflow.wind(p_worker uuid) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_set text := set_config('pgflow.ended', 'all', true);
  v_reply jsonb;
begin
  v_reply := pgflow._run_timers();
  return v_reply || jsonb_strip_nulls(jsonb_build_object('ended', pgflow._noted_ends(p_worker)))
    || jsonb_build_object('next_ms', pgflow._next_ms('{}', v_clock, v_reply));
end
$$;

-- The milliseconds until the next message of these queues or of the timer queue becomes visible;
-- null: none will within ten seconds, in which each worker asks again anyway. What was visible at
-- p_since does not count: it was taken, or it could not be. 0 where p_reply, that of _run_timers,
-- says that as many timers have run as one call takes: more may be due.
create or replace function pgflow._next_ms(
  p_queues text[], p_since timestamptz, p_reply jsonb
) returns int
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select 0 where (p_reply ->> 'timers')::int >= 50
  union all
  select greatest(0, ceil(extract(epoch from n.due - pgflow.clock()) * 1000))::int
  from pgflow._queue_next_of(
    p_queues || 'pgflow__timers'::text, p_since, p_since + interval '10 seconds') n(due)
  where n.due is not null
$$;

-- Runs one timer. The caller holds the message and the run.
create or replace function pgflow._run_timer(p_run pgflow.runs, p_id bigint, p_timer jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step text := p_timer ->> 'step_slug';
begin
  case p_timer ->> 'kind'
    when 'make' then
      if pgflow._make_more_tasks(p_run.run_id, v_step) then
        perform pgflow._queue_park('pgflow__timers', array[p_id], array[pgflow.clock()]);
        return;
      end if;
    when 'wait' then
      -- one that was locked when its step ended may be read after the step was retried
      if p_id = (
        select s.timer_message_id from pgflow.step_states s
        where s.run_id = p_run.run_id and s.step_slug = v_step)
      then
        if p_timer ? 'tells' and pgflow._tell_wait(p_run, v_step) then
          return;
        end if;
        perform pgflow._end_due_wait(p_run, v_step);
      end if;
    when 'deadline' then
      perform pgflow._end_or_stop_runs(array[p_run.run_id], 'failed', array[
        jsonb_build_object('type', 'RunTimeout', 'message', format(
          'the run has not ended within %s s', (
            select f.timeout_ms / 1000.0 from pgflow.flows f
            where f.flow_slug = p_run.flow_slug)::float8))])
      where p_id = p_run.deadline_message_id;
    when 'cancel' then
      perform pgflow._end_or_stop_runs(array[p_run.run_id], 'cancelled', array[
        coalesce(p_timer -> 'error',
          '{"type": "Cancelled", "message": "the step of its parent run has ended"}')])
      where coalesce((p_timer ->> 'retries')::int >= p_run.retries, true);
    when 'child' then
      perform pgflow._settle_child(p_run, v_step, (p_timer ->> 'task_index')::int,
        (p_timer ->> 'child')::uuid);
    when 'enter' then
      perform pgflow._begin_in_time(p_run, p_id);
    when 'after' then
      perform pgflow._start_listeners(p_run, p_timer -> 'flows');
    else
      if pgflow._run_child_task(p_run, v_step, (p_timer ->> 'task_index')::int, p_id) then
        return;
      end if;
  end case;
  perform pgflow._queue_drop('pgflow__timers', array[p_id], false);
end
$$;
