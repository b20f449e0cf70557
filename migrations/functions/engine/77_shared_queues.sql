-- What a worker may claim from a queue that it shares with tasks it must leave alone.

-- Chooses up to p_limit messages for a worker that lacks handlers: what it could not run it leaves
-- untouched, so that it slows down no worker that can. Chosen as well are messages that any worker
-- settles: of a task that is gone, has ended or is being stopped, or whose handler nobody has had
-- for a day.
--
-- It looks at 1,000 messages from the head of the queue, and at 1,000 more, from p_place on: so the
-- cost of a claim is bounded, and the worker reaches its own tasks behind any number of others.
-- place is where the next call is to go on, {vt, skip}; null: all has been seen. (A time is not
-- enough: thousands of messages may become visible at the same one.)
create or replace function pgflow._choose_messages(
  p_queue text, p_clock timestamptz, p_limit int, p_refused text[], p_place jsonb,
  out ids bigint[], out place jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_more bigint[];
begin
  select w.ids, w.place into ids, place
  from pgflow._choose_in_window(p_queue, p_clock, p_limit, p_refused, null, null) w;
  if place is null or cardinality(ids) = p_limit then
    place := case when place is not null then p_place end;
    return;
  end if;
  place := coalesce(p_place, place);
  select w.ids, w.place into v_more, place
  from pgflow._choose_in_window(p_queue, p_clock, p_limit - cardinality(ids), p_refused,
    (place ->> 'vt')::timestamptz, (place ->> 'skip')::int) w;
  ids := ids || v_more;
end
$$;

-- Chooses messages in one window of a queue, and records the handlers that are missing here as
-- missing everywhere, until a worker claims a task of theirs. Returns place as _choose_messages
-- does; null where the window has reached the end.
create or replace function pgflow._choose_in_window(
  p_queue text, p_clock timestamptz, p_limit int, p_refused text[], p_from timestamptz, p_skip int,
  out ids bigint[], out place jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing text[];
begin
  with seen as materialized (
    select w.msg_id, w.vt, w.nr, d.handler, m.since,
      d.handler = any(p_refused) is not true
        or m.since is not null and greatest(w.vt, m.since) < p_clock - interval '24 hours'
        or w.was_read and not exists (
          select 1 from pgflow.step_tasks t
          where t.queue_name = p_queue and t.message_id = w.msg_id
            and (t.status = 'queued' or t.status = 'started'
              and (t.lease is null or not pgflow._is_stopping(t.run_id, t.step_slug)))) as wanted
    from pgflow._queue_window(p_queue, p_clock, p_from, p_skip)
      with ordinality w(msg_id, vt, was_read, message, nr)
    left join pgflow.steps d on d.flow_slug = w.message ->> 'flow_slug'
      and d.step_slug = w.message ->> 'step_slug'
    left join pgflow.missing_handlers m on m.handler = d.handler
  ), picked as materialized (
    select s.msg_id, s.nr from seen s where s.wanted order by s.nr limit p_limit
  ), final as ( -- the last message that was decided upon
    select s.vt, s.nr from seen s
    where s.nr <= (select max(p.nr) from picked p having count(*) = p_limit)
      or (select count(*) from picked) < p_limit
    order by s.nr desc limit 1
  )
  select array(select p.msg_id from picked p order by p.nr),
    case when l.nr < (select count(*) from seen) or l.nr >= 1000 then jsonb_build_object(
      'vt', l.vt, 'skip', case when l.vt = p_from then p_skip else 0 end + (
        select count(*) from seen s where s.vt = l.vt and s.nr <= l.nr and not s.wanted)) end,
    (select array_agg(distinct s.handler) from seen s where not s.wanted and s.since is null)
  into ids, place, v_missing
  from (select) one left join final l on true;
  if v_missing is not null then
    insert into pgflow.missing_handlers (handler, since)
    select u.handler, p_clock from unnest(v_missing) u(handler)
    where pg_try_advisory_xact_lock(hashtext('pgflow.missing_handlers'), hashtext(u.handler))
    on conflict do nothing;
  end if;
end
$$;

-- The first message at the head of a queue whose task is to run alone: a worker has died of it
-- before. Null: there is none. Takes no lock.
create or replace function pgflow._find_crashed(
  p_queue text, p_clock timestamptz, p_refused text[]
) returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array[w.msg_id]
  from pgflow._queue_window(p_queue, p_clock, null, null)
    with ordinality w(msg_id, vt, was_read, message, nr)
  join pgflow.step_tasks t on t.message_id = w.msg_id and t.queue_name = p_queue
  join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
  where w.was_read and d.handler = any(p_refused) is not true
    and t.crashes_count > 0
    and (t.status = 'queued' or t.status = 'started' and t.lease is not null)
  order by w.nr limit 1
$$;

-- Raises 42501 for a queue that no flow has: its messages belong to another program (S-14).
create or replace function pgflow._check_queue(p_queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
      select 1 from pgflow.flows f where coalesce(f.queue_name, f.flow_slug) = p_queue)
    and not exists (select 1 from pgflow.steps s where s.queue_name = p_queue)
  then
    raise exception using errcode = 'insufficient_privilege', message = format(
      'the messages of the queue "%s" are not tasks: no flow has this queue', p_queue);
  end if;
end
$$;
