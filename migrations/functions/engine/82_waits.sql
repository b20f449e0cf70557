-- The ends of waits, by time, by an event or by a decision. The caller holds the run.

-- Ends a wait whose time has come: a timed one is completed; a missing event is a failure, and so
-- is a rejection that came before the wait did. The caller holds the run.
create or replace function pgflow._end_due_wait(p_run pgflow.runs, p_step_slug text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wait jsonb := (
    select d.spec -> 'wait' from pgflow.steps d
    where d.flow_slug = p_run.flow_slug and d.step_slug = p_step_slug);
  v_signal pgflow.events := pgflow._find_signal(p_run.run_id, p_step_slug, v_wait);
begin
  if v_signal.kind is not null then
    perform pgflow._apply_signal(p_run, p_step_slug, v_signal);
  elsif v_wait ? 'event' then
    perform pgflow._fail_wait(p_run, p_step_slug, 'WaitTimeout',
      format('no event "%s" came within %s s', v_wait ->> 'event',
        ((v_wait ->> 'timeout')::numeric / 1000)::float8));
  else
    perform pgflow._complete_waits(p_run, array[p_step_slug], 'null');
  end if;
end
$$;

-- Ends a waiting step by an event or a decision. The caller holds the run.
create or replace function pgflow._apply_signal(
  p_run pgflow.runs, p_step_slug text, p_signal pgflow.events
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_signal.kind = 'decision' and not (p_signal.data -> 'approved')::boolean then
    perform pgflow._fail_wait(p_run, p_step_slug, 'Rejected',
      format('rejected by %s', p_signal.sent_by)
        || coalesce(': ' || (p_signal.data ->> 'comment'), ''));
  else
    perform pgflow._complete_waits(p_run, array[p_step_slug], pgflow._signal_output(p_signal));
  end if;
end
$$;

-- Completes those of these steps that wait, and advances. The caller holds the run. Returns them.
create or replace function pgflow._complete_waits(p_run pgflow.runs, p_steps text[], p_output jsonb)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_timer_ids bigint[];
  v_waiting pgflow._transition[];
  v_ended pgflow._ended[];
begin
  v_timer_ids := array(
    select s.timer_message_id from pgflow.step_states s
    where s.run_id = p_run.run_id and s.step_slug = any(p_steps)
      and s.timer_message_id is not null);
  v_waiting := array(
    select row(s.run_id, s.step_slug, 'completed', null, p_output, null, null)::pgflow._transition
    from pgflow.step_states s
    where s.run_id = p_run.run_id and s.step_slug = any(p_steps) and s.status = 'started');
  v_ended := array(
    select row(e.run_id, e.flow_slug, e.step_slug, 'completed')::pgflow._ended
    from unnest(pgflow._end_states(v_waiting)) e);
  perform pgflow._queue_drop('pgflow__timers', v_timer_ids, false);
  perform pgflow._advance(v_ended, '{}');
  return array(select e.step_slug from unnest(v_ended) e);
end
$$;

-- Fails a step that waits, by its policy, and advances; its message in the timer queue is dropped
-- with the step. The caller holds the run.
create or replace function pgflow._fail_wait(
  p_run pgflow.runs, p_step_slug text, p_type text, p_message text
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_result record;
begin
  select f.ended, f.failures, f.done into v_result
  from pgflow.steps d
  cross join lateral pgflow._fail_steps(array[
    row(p_run.run_id, d.flow_slug, d.step_slug, null, d.when_exhausted,
        jsonb_build_object('type', p_type, 'message', p_message, 'attempts', 0), p_message
    )::pgflow._step_failure]) f
  where d.flow_slug = p_run.flow_slug and d.step_slug = p_step_slug;
  perform pgflow._drop_messages(v_result.done);
  if cardinality(v_result.failures) > 0 then
    perform pgflow._fail_runs(v_result.failures);
  end if;
  perform pgflow._advance(v_result.ended, '{}');
end
$$;
