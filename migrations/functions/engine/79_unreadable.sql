-- Claims beside rows that somebody has changed by hand: only after a usual claim was refused, for a
-- subtransaction for each message is too dear for the usual one.

-- Claims one task of a queue in which some row cannot be read: the run of such a task fails, once,
-- with the reason (S-20). For the worker whose claim was refused. Returns what _claim does and
-- unreadable: [{run, step, index, error, failed}].
create or replace function pgflow._claim_readable(
  p_worker uuid, p_queue text, p_lease interval, p_refused text[], p_options jsonb
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reply jsonb := '{"tasks": [], "contexts": {}, "specs": {}}';
  v_unreadable jsonb := '[]';
begin
  if p_options ->> 'crashed' = 'first' then
    p_options := p_options - 'crashed'; -- _set_aside finds the message by its place in the queue
  end if;
  for n in 1..100 loop
    begin
      v_reply := pgflow._claim(p_worker, array[p_queue], 1, p_lease, p_refused, p_options);
      exit;
    exception
      when program_limit_exceeded or foreign_key_violation then
        raise;
      when others then
        if pgflow._may_pass(sqlstate) then
          raise;
        end if;
        v_unreadable := v_unreadable
          || pgflow._set_aside(p_queue, sqlerrm, p_refused, p_options -> 'places' -> p_queue);
    end;
  end loop;
  return v_reply || jsonb_build_object('unreadable', v_unreadable);
end
$$;

-- Takes the message that the next claim would take, whose task cannot be claimed, and fails its
-- run. Where not even that is possible it comes back after five minutes, behind the others. Returns
-- the element of `unreadable`.
create or replace function pgflow._set_aside(
  p_queue text, p_error text, p_refused text[], p_place jsonb
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_until timestamptz := v_clock + interval '5 minutes';
  v_ids bigint[];
  v_task pgflow.step_tasks;
  v_failed boolean := false;
begin
  if cardinality(p_refused) > 0 then
    v_ids := pgflow._queue_take_these(p_queue, v_clock, v_until, (
      select c.ids from pgflow._choose_messages(p_queue, v_clock, 1, p_refused, p_place) c));
  else
    v_ids := pgflow._queue_take(p_queue, v_clock, v_until, 1);
  end if;
  if cardinality(v_ids) > 0 is not true then
    raise exception using errcode = 'data_exception', message = p_error;
  end if;
  select t.* into v_task from pgflow.step_tasks t
  where t.message_id = v_ids[1] and t.queue_name = p_queue;
  begin
    v_failed := pgflow._fail_live_run(v_task.run_id, jsonb_build_object('type', 'RowUnreadable',
      'message', 'a row of this run cannot be read: ' || p_error, 'step', v_task.step_slug));
  exception when others then
    if pgflow._may_pass(sqlstate) then
      raise;
    end if; -- else the caller logs the first error, of which this is another
  end;
  return jsonb_build_object('run', v_task.run_id, 'step', v_task.step_slug,
    'index', v_task.task_index, 'error', p_error, 'failed', v_failed);
end
$$;
