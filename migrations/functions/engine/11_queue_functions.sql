-- What each turn does to a queue: take, send, drop.
--
-- A statement by EXECUTE is planned at each call, which costs more than to run it for a few
-- messages. So each queue has functions of its own, made where the queue is made, with the name of
-- its table written in; their plans are kept by each session. The functions without a queue in
-- their name are the only ones that call them.

-- The names and bodies of the functions of a queue.
create or replace function pgflow._queue_functions(p_queue text)
returns table (name text, parameters text, result text, body text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $body$
  select format(f.name, lower(p_queue)), f.parameters, f.result,
    format(f.body, 'q_' || lower(p_queue))
  from (values
    -- `any(array(…))` and not a join with a limited CTE, whose generic plan scans the whole queue
    ('_q_take_%s', 'p_now timestamptz, p_until timestamptz, p_limit int', 'bigint[]', $$
declare
  v_ids bigint[];
begin
  with taken as (
    update pgmq.%1$I q set vt = p_until, read_ct = q.read_ct + 1
    where q.msg_id = any(array(
      select c.msg_id from pgmq.%1$I c where c.vt <= p_now order by c.vt limit p_limit
      for update skip locked))
    returning q.msg_id
  )
  select array_agg(t.msg_id) into v_ids from taken t;
  return v_ids;
end
$$),
    ('_q_send_%s', 'p_messages pgflow._message[]', 'void', $$
begin
  insert into pgmq.%1$I (msg_id, vt, message) overriding system value
  select m.id, m.vt, jsonb_build_object(
    'flow_slug', m.flow_slug, 'run_id', m.run_id, 'step_slug', m.step_slug,
    'task_index', m.task_index)
  from unnest(p_messages) m;
end
$$),
    ('_q_drop_%s', 'p_ids bigint[]', 'void', $$
begin
  delete from pgmq.%1$I where msg_id = any(p_ids);
end
$$)) f(name, parameters, result, body)
$body$;

-- Makes the functions of a queue where they are missing, or again where a release has changed them.
create or replace function pgflow._queue_make_functions(p_queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function record;
begin
  if not exists (
    select 1 from pgflow._queue_functions(p_queue) f
    left join pg_proc p on p.proname = f.name and p.pronamespace = 'pgflow'::regnamespace
    where p.prosrc is distinct from f.body)
  then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('pgflow._queue_make_functions'));
  for v_function in select f.* from pgflow._queue_functions(p_queue) f loop
    execute format('create or replace function pgflow.%I(%s) returns %s language plpgsql '
      || 'set search_path = pg_catalog, pg_temp as %L',
      v_function.name, v_function.parameters, v_function.result, v_function.body);
    execute format('revoke all on function pgflow.%I from public', v_function.name);
  end loop;
end
$$;

-- Drops the functions of a queue that is dropped.
create or replace function pgflow._queue_drop_functions(p_queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  for v_name in select f.name from pgflow._queue_functions(p_queue) f loop
    execute format('drop function if exists pgflow.%I', v_name);
  end loop;
end
$$;

-- The name of a function of a queue, which is made again where somebody has dropped it. p_prefix is
-- "_q_take_", for example.
create or replace function pgflow._queue_function(p_prefix text, p_queue text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := format('pgflow.%I', p_prefix || lower(p_queue));
begin
  if to_regproc(v_name) is null then
    perform pgflow._queue_make_functions(p_queue);
  end if;
  return v_name;
end
$$;

-- Takes up to p_limit visible messages, oldest first, and hides them until p_until. Never waits:
-- locked rows are skipped. Returns their ids; null: none.
create or replace function pgflow._queue_take(
  p_queue text, p_now timestamptz, p_until timestamptz, p_limit int
) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    return null;
  end if;
  execute 'select ' || pgflow._queue_function('_q_take_', p_queue) || '($1, $2, $3)'
  into v_ids using p_now, p_until, p_limit;
  return v_ids;
end
$$;

-- Sends the messages of new tasks under the ids that the tasks have already. Rows are inserted in
-- the order of the array, on which clients of pgflow rely. The caller holds the runs of the tasks.
create or replace function pgflow._queue_send(p_queue text, p_messages pgflow._message[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    perform pgflow._queue_ensure(p_queue);
  end if;
  execute 'select ' || pgflow._queue_function('_q_send_', p_queue) || '($1)' using p_messages;
end
$$;

-- Ends messages: deleted for deployed flows (their history is in the tables), archived for flows
-- made by create_flow, as pgflow does. The caller holds the runs of the tasks, or has taken the
-- messages itself.
create or replace function pgflow._queue_drop(p_queue text, p_ids bigint[], p_archive boolean)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    return;
  elsif p_archive then
    perform pgmq.archive(p_queue, p_ids);
  elsif p_queue = 'pgflow__timers' then
    -- a turn that holds one of these decides about it itself; to wait here could deadlock
    perform pgflow._queue_drop_unlocked(p_queue, p_ids);
  else
    execute 'select ' || pgflow._queue_function('_q_drop_', p_queue) || '($1)' using p_ids;
  end if;
end
$$;

-- A release makes them for all queues, or again: a start in somebody's open transaction that misses
-- them would let others wait for its end.
do $$
begin
  perform pgflow._queue_make_functions(q.name)
  from (select 'pgflow__timers' as name
        union select pg_catalog.lower(f.queue_name) from pgflow.flows f
        union select pg_catalog.lower(d.queue_name) from pgflow.steps d
        union select pg_catalog.substr(p.proname, pg_catalog.length('_q_take_') + 1)
        from pg_catalog.pg_proc p
        where p.pronamespace = 'pgflow'::regnamespace
          and pg_catalog.starts_with(p.proname, '_q_take_')) q
  where q.name is not null;
end
$$;
