-- The functions of pgflow, fourth part: workers, stalled tasks, and calls on a queue.

-- Records the function of a worker, or that it still exists. Called by workers as they start; adds
-- no worker.
create or replace function pgflow.track_worker_function(function_name text) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into pgflow.worker_functions (function_name, updated_at)
  values (track_worker_function.function_name, pgflow.clock())
  on conflict on constraint worker_functions_pkey do update set updated_at = excluded.updated_at
$$;

-- Records that a worker has stopped; an unknown one is no error.
create or replace function pgflow.mark_worker_stopped(worker_id uuid) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select pgflow.stop_worker(mark_worker_stopped.worker_id)
$$;

-- Deprecated in pgflow as well: read with pgmq.read_with_poll, then claim with start_tasks. Always
-- empty.
create or replace function pgflow.poll_for_tasks(
  queue_name text, vt int, qty int, max_poll_seconds int default 5, poll_interval_ms int default 100
) returns setof pgflow.step_task_record
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  raise notice using message = 'pgflow.poll_for_tasks is deprecated and returns nothing; '
    || 'call pgmq.read_with_poll, then pgflow.start_tasks';
  return;
end
$$;

-- Puts stalled tasks back into their queue, three times; then the message is archived and the task
-- stays started for good. A task is stalled that a client of pgflow claimed and did not report
-- within the step's timeout and 30 s. A stall uses up no attempt by itself. Tasks with a lease
-- belong to workers of ours and are left alone. A task of a run that is being stopped gets an
-- expired lease: the next claim cancels it. Meant to be called every 15 s. Locks the tasks it
-- takes, skipping locked ones, then their messages. Returns the number put back.
create or replace function pgflow.requeue_stalled_tasks() returns int
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_count int := 0;
  v_queue record;
begin
  for v_queue in
    with stalled as (
      select t.run_id, t.step_slug, t.task_index, t.requeued_count < 3 or k.stops as again, k.stops,
        f.origin = 'pgflow' as archive
      from pgflow.runs r
      join pgflow.flows f on f.flow_slug = r.flow_slug
      join pgflow.step_states s on s.run_id = r.run_id and s.status = 'started'
      join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
      join pgflow.step_tasks t on t.run_id = s.run_id and t.step_slug = s.step_slug
      cross join lateral (select pgflow._is_stopping(r.run_id, s.step_slug) as stops) k
      where r.status = 'started' and t.status = 'started' and t.lease is null
        and t.permanently_stalled_at is null
        and t.started_at < v_now - interval '30 seconds'
          - interval '1 second' * coalesce(d.opt_timeout, f.opt_timeout)
      order by t.run_id, t.step_slug, t.task_index
      for no key update of t skip locked
    ), moved as (
      update pgflow.step_tasks t
      set status = case when k.again and not k.stops then 'queued' else t.status end,
          started_at = case when not k.again or k.stops then t.started_at end,
          lease = case when k.stops then pgflow.clock() end,
          last_worker_id = case when not k.again then t.last_worker_id end,
          requeued_count = t.requeued_count + k.again::int,
          last_requeued_at = case when k.again then v_now else t.last_requeued_at end,
          permanently_stalled_at = case when not k.again then v_now end
      from stalled k
      where (t.run_id, t.step_slug, t.task_index) = (k.run_id, k.step_slug, k.task_index)
      returning t.queue_name, t.message_id, k.again, k.archive
    )
    select m.queue_name, m.again, m.archive, count(*)::int as tasks,
      coalesce(array_agg(m.message_id order by m.message_id)
               filter (where m.message_id is not null), '{}') as ids
    from moved m group by 1, 2, 3 order by 1, 2
  loop
    if v_queue.again then
      v_count := v_count + v_queue.tasks;
      perform pgflow._queue_park(v_queue.queue_name, v_queue.ids,
                                 array_fill(pgflow.clock(), array[cardinality(v_queue.ids)]));
    else
      perform pgflow._queue_drop(v_queue.queue_name, v_queue.ids, v_queue.archive);
    end if;
  end loop;
  return v_count;
end
$$;

-- Makes a queue where it is missing, under the name that the first users of this engine know.
create or replace function pgflow.ensure_workflow_queue(queue_name text) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._queue_ensure(ensure_workflow_queue.queue_name)
$$;

-- Reads messages, waiting up to max_poll_seconds for the first: pgmq's own function, under the name
-- that the first users of this engine know. Hides the messages for vt seconds.
create or replace function pgflow.read_with_poll(
  queue_name text, vt int, qty int, max_poll_seconds int default 5, poll_interval_ms int default 100
) returns setof pgmq.message_record
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select m.* from pgmq.read_with_poll(
    read_with_poll.queue_name, read_with_poll.vt, read_with_poll.qty,
    read_with_poll.max_poll_seconds, read_with_poll.poll_interval_ms) m;
end
$$;

-- Moves the visibility of each message to now plus its own offset in seconds. Null arrays change
-- nothing. Locks the rows of the queue. Returns them as they now are.
create or replace function pgflow.set_vt_batch(queue_name text, msg_ids bigint[], vt_offsets int[])
returns table (
  msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if msg_ids is null or vt_offsets is null then
    return;
  elsif cardinality(msg_ids) <> cardinality(vt_offsets) then
    raise exception 'msg_ids length (%) must equal vt_offsets length (%)',
      cardinality(msg_ids), cardinality(vt_offsets);
  elsif cardinality(msg_ids) > 0 then
    return query select m.* from pgflow._queue_delay(queue_name, msg_ids, vt_offsets) m;
  end if;
end
$$;
