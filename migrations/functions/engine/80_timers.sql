-- Timers: everything that happens without a handler. All of it lies as messages in one queue,
-- pgflow__timers, which every turn reads whatever queues its worker serves:
--
--   kind        due when                            done by
--   make        a large map has tasks to be made    _make_more_tasks
--   wait        a wait ends                         _end_due_wait
--   deadline    the timeout of a run passes         _end_or_stop_runs
--   cancel      the step of a parent has ended      _end_or_stop_runs
--   child       a child run has ended               _settle_child
--   (none)      a task is to run a flow, or         _run_child_task
--               its timeout passes
--
-- Like the claim, timers never wait: a locked run is left for 50 ms. A function that ends a step or
-- a run drops its messages here, skipping those that a turn has just taken; each kind therefore
-- checks its run again.

-- Runs what is due, message by message; a timer that cannot be run is parked for a minute and
-- delays no other. At most one large map goes on in a turn (its next tasks hold its run, and this
-- turn, for a tenth of a second), after all others. Called by each turn that claims. Locks
-- messages, then runs, never waiting.
create or replace function pgflow._run_timers() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_timer record;
  v_run pgflow.runs;
begin
  for v_timer in
    select t.msg_id, t.message, t.message ->> 'kind' is not distinct from 'make' as makes
    from pgflow._queue_take('pgflow__timers', v_clock, v_clock + interval '50 ms', 50) t
    order by makes
  loop
    begin
      select r.* into v_run from pgflow.runs r
      where r.run_id = (v_timer.message ->> 'run_id')::uuid for no key update skip locked;
      if found then
        perform pgflow._run_timer(v_run, v_timer.msg_id, v_timer.message);
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
        raise warning 'timer % is parked for a minute: %', v_timer.message, sqlerrm;
        perform pgflow._queue_park('pgflow__timers', array[v_timer.msg_id],
          array[v_clock + interval '1 minute']);
    end;
  end loop;
end
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
      perform pgflow._end_due_wait(p_run, v_step);
    when 'deadline' then
      perform pgflow._end_or_stop_runs(array[p_run.run_id], 'failed', array[
        jsonb_build_object('type', 'RunTimeout', 'message', format(
          'the run has not ended within %s s', (
            select f.timeout_ms / 1000.0 from pgflow.flows f
            where f.flow_slug = p_run.flow_slug)::float8))]);
    when 'cancel' then
      perform pgflow._end_or_stop_runs(array[p_run.run_id], 'cancelled', array[
        '{"type": "Cancelled", "message": "the step of its parent run has ended"}'::jsonb]);
    when 'child' then
      perform pgflow._settle_child(p_run, v_step, (p_timer ->> 'task_index')::int,
        (p_timer ->> 'child')::uuid);
    else
      if pgflow._run_child_task(p_run, v_step, (p_timer ->> 'task_index')::int, p_id) then
        return;
      end if;
  end case;
  perform pgflow._queue_drop('pgflow__timers', array[p_id], false);
end
$$;
