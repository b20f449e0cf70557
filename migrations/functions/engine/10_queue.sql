-- The queue: with 12_queue_reads and 13_queue_facts, the only file that touches pgmq's tables.
--
-- pgmq.read compares with a clock that no index can serve, so it walks every parked message. The
-- engine reads with the time in a variable (`vt <= $1 order by vt limit n`), which costs the same
-- beside a million parked messages.
--
-- A task's message has its id before it is sent: the id comes from the queue's own sequence when
-- the task row is made. Sending the next window of a map therefore inserts messages and touches no
-- task.
--
-- Queue names are data, so nearly everything here is EXECUTE with %I, which is planned at each
-- call. What each turn does to a queue (take, send, drop) is in functions of that queue instead,
-- whose statements are planned once (11_queue_functions). A queue that was dropped by hand counts
-- as empty, and is made again by the next message; the sweep sends those that it held.

-- Makes the queue where it is missing. A queue that was dropped continues its numbers, for two
-- tasks must never share a message. Called when steps are defined and before a timer is sent, whose
-- queue is made with the tables: this finds it missing only after somebody dropped it.
create or replace function pgflow._queue_ensure(p_queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last bigint;
begin
  perform pgflow._queue_make_functions(p_queue);
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is not null
    and exists (select 1 from pgmq.list_queues() q where q.queue_name = p_queue)
  then
    return;
  end if;
  perform pgmq.create(p_queue);
  perform pgflow._queue_tune(p_queue);
  if p_queue = 'pgflow__timers' then
    v_last := greatest((select max(s.timer_message_id) from pgflow.step_states s),
                       (select max(r.deadline_message_id) from pgflow.runs r),
                       (select max(s.message_id) from pgflow.schedules s));
  end if;
  v_last := greatest(v_last, (
    select t.message_id from pgflow.step_tasks t
    where t.queue_name = p_queue and t.message_id is not null order by t.message_id desc limit 1));
  if v_last > coalesce(pg_sequence_last_value(pgflow._queue_sequence(p_queue)), 0) then
    perform setval(pgflow._queue_sequence(p_queue), v_last);
  end if;
end
$$;

-- Has a queue and its archive vacuumed after 1,000 dead rows, at full speed: each task leaves some,
-- and a claim passes over those that are dead but not yet removed. A page of the queue keeps room
-- for the version that a claim writes.
create or replace function pgflow._queue_tune(p_queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_prefix text;
begin
  foreach v_prefix in array array['q_', 'a_'] loop
    execute format('alter table pgmq.%I set (autovacuum_vacuum_scale_factor = 0, '
      || 'autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0)',
      v_prefix || lower(p_queue));
  end loop;
  execute format('alter table pgmq.%I set (fillfactor = 45)', 'q_' || lower(p_queue));
end
$$;

-- The sequence that numbers the messages of a queue, which is made again where it was dropped.
create or replace function pgflow._queue_sequence(p_queue text) returns regclass
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table text := format('pgmq.%I', 'q_' || lower(p_queue));
begin
  if to_regclass(v_table) is null then
    perform pgflow._queue_ensure(p_queue);
  end if;
  return pg_get_serial_sequence(v_table, 'msg_id')::regclass;
end
$$;

-- Sends the messages of tasks again: one that exists stays as it is. Called for repairs. The caller
-- holds the tasks.
create or replace function pgflow._queue_send_missing(
  p_queue text, p_messages pgflow._message[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._queue_ensure(p_queue);
  execute format($sql$
    insert into pgmq.%I (msg_id, vt, message) overriding system value
    select m.id, m.vt, jsonb_build_object(
      'flow_slug', m.flow_slug, 'run_id', m.run_id, 'step_slug', m.step_slug,
      'task_index', m.task_index)
    from unnest($1) m
    on conflict (msg_id) do nothing
    $sql$, 'q_' || lower(p_queue))
  using p_messages;
end
$$;

-- Sends a message to the timer queue; returns its id.
create or replace function pgflow._queue_send_timer(p_queue text, p_vt timestamptz, p_message jsonb)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  perform pgflow._queue_ensure(p_queue);
  execute format('insert into pgmq.%I (vt, message) values ($1, $2) returning msg_id',
    'q_' || lower(p_queue))
  into v_id using p_vt, p_message;
  return v_id;
end
$$;

-- True where a timer is due. Each turn asks, and most have none: unlike the other statements here,
-- this one is not planned anew at each call.
create or replace function pgflow._is_timer_due(p_now timestamptz) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('pgmq.q_pgflow__timers') is null then
    return false;
  end if;
  return exists (select 1 from pgmq.q_pgflow__timers q where q.vt <= p_now);
end
$$;

-- Takes up to p_limit timers that are due, as _queue_take does, and returns them. Where somebody
-- has dropped their queue, there are none.
create or replace function pgflow._take_timers(
  p_now timestamptz, p_until timestamptz, p_limit int
)
returns table (msg_id bigint, message jsonb)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if to_regclass('pgmq.q_pgflow__timers') is null then
    return;
  end if;
  return query
    update pgmq.q_pgflow__timers q set vt = p_until, read_ct = q.read_ct + 1
    where q.msg_id = any(array(
      select c.msg_id from pgmq.q_pgflow__timers c where c.vt <= p_now order by c.vt limit p_limit
      for update skip locked))
    returning q.msg_id, q.message;
end
$$;

-- Takes those of these messages that are visible and not locked, as _queue_take does. Returns them.
create or replace function pgflow._queue_take_these(
  p_queue text, p_now timestamptz, p_until timestamptz, p_ids bigint[]
) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  execute format($sql$
    with taken as (
      update pgmq.%1$I q set vt = $2, read_ct = q.read_ct + 1
      where q.msg_id = any(array(
        select c.msg_id from pgmq.%1$I c where c.msg_id = any($3) and c.vt <= $1
        order by c.vt for update skip locked))
      returning q.msg_id
    )
    select coalesce(array_agg(t.msg_id), '{}') from taken t
    $sql$, 'q_' || lower(p_queue))
  into v_ids using p_now, p_until, p_ids;
  return v_ids;
end
$$;

-- Sets the visibility of messages one by one. The caller holds the runs of the tasks, or has taken
-- the messages itself.
create or replace function pgflow._queue_park(p_queue text, p_ids bigint[], p_vts timestamptz[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is not null then
    execute format($sql$
      update pgmq.%I q set vt = m.vt from unnest($1, $2) m(id, vt) where q.msg_id = m.id
      $sql$, 'q_' || lower(p_queue))
    using p_ids, p_vts;
  end if;
end
$$;

-- Replaces the text of a message. The caller has taken it.
create or replace function pgflow._queue_rewrite(p_queue text, p_id bigint, p_message jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    return;
  end if;
  execute format('update pgmq.%I q set message = $2 where q.msg_id = $1', 'q_' || lower(p_queue))
  using p_id, p_message;
end
$$;

-- The time at which a message becomes visible; null where it is gone.
create or replace function pgflow._queue_due(p_queue text, p_id bigint) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due timestamptz;
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is not null then
    execute format('select q.vt from pgmq.%I q where q.msg_id = $1', 'q_' || lower(p_queue))
    into v_due using p_id;
  end if;
  return v_due;
end
$$;

-- Extends leases for a heartbeat: as _queue_park, but locked rows are skipped, for a heartbeat must
-- not wait.
create or replace function pgflow._queue_extend(p_queue text, p_ids bigint[], p_vts timestamptz[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    return;
  end if;
  execute format($sql$
    with held as (
      select q.msg_id from pgmq.%1$I q where q.msg_id = any($1)
      order by q.msg_id for update skip locked
    )
    update pgmq.%1$I q set vt = m.vt
    from unnest($1, $2) m(id, vt) where q.msg_id = m.id and m.id in (select h.msg_id from held h)
    $sql$, 'q_' || lower(p_queue))
  using p_ids, p_vts;
end
$$;

-- Deletes messages, but waits for no locked one: its holder will find that there is nothing to do.
-- Called for timers, and for all messages of a flow that is being deleted.
create or replace function pgflow._queue_drop_unlocked(p_queue text, p_ids bigint[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is not null then
    execute format($sql$
      delete from pgmq.%1$I q where q.msg_id = any(array(
        select c.msg_id from pgmq.%1$I c where c.msg_id = any($1) for update skip locked))
      $sql$, 'q_' || lower(p_queue))
    using p_ids;
  end if;
end
$$;

-- Moves the visibility of messages to now plus a number of seconds each; an unknown queue is 42P01.
-- Called by set_vt_batch. Returns the rows as they now are. (The oldest supported pgmq has no
-- column headers, hence to_jsonb.)
create or replace function pgflow._queue_delay(p_queue text, p_ids bigint[], p_seconds int[])
returns table (
  msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return query execute format($sql$
    update pgmq.%I q set vt = $3 + m.seconds * interval '1 second'
    from unnest($1, $2) m(id, seconds) where q.msg_id = m.id
    returning q.msg_id, q.read_ct::int, q.enqueued_at, q.vt, q.message,
      nullif(to_jsonb(q) -> 'headers', 'null')
    $sql$, 'q_' || lower(p_queue))
  using p_ids, p_seconds, pgflow.clock();
end
$$;

-- Locks a queue that is about to be dropped. Does nothing for null or a missing queue.
create or replace function pgflow._queue_lock(p_queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_queue is null then
    return;
  elsif to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is not null then
    execute format('lock table pgmq.%I in access exclusive mode', 'q_' || lower(p_queue));
  end if;
end
$$;

-- Deletes up to 5,000 messages that were archived before p_before, or counts all of them. Returns
-- their number.
create or replace function pgflow._queue_prune_archive(
  p_queue text, p_before timestamptz, p_dry_run boolean
) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table text := format('pgmq.%I', 'a_' || lower(p_queue));
  v_messages bigint := 0;
begin
  if to_regclass(v_table) is null then
    return 0;
  elsif p_dry_run then
    execute format('select count(*) from %s a where a.archived_at < $1', v_table)
    into v_messages using p_before;
  else
    execute format('delete from %1$s a where a.ctid = any(array('
      || 'select x.ctid from %1$s x where x.archived_at < $1 limit 5000))', v_table)
    using p_before;
    get diagnostics v_messages = row_count;
  end if;
  return v_messages;
end
$$;
