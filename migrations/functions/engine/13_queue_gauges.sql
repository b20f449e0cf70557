-- The queue, read only, for metrics. Each count ends at 100,000, so that it costs the same beside
-- a million.

-- How much lies in a queue: messages that are ready, seconds since the oldest of them has been
-- (of a hundred, for single tasks are sent with a head start), tasks leased by workers, and parked
-- messages, which become ready later. A queue that was dropped is empty. (`offset 0`: each task is
-- found by its message.)
create or replace function pgflow._queue_gauges(p_queue text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table regclass := to_regclass(format('pgmq.%I', 'q_' || lower(p_queue)));
  v_gauges jsonb;
begin
  if v_table is null then
    return jsonb_build_object('queue', p_queue, 'ready', 0, 'oldest', 0, 'leased', 0, 'parked', 0);
  end if;
  execute format($sql$
    select jsonb_build_object('queue', $3, 'ready', v.ready, 'oldest', h.oldest,
      'leased', l.leased, 'parked', l.later - l.leased)
    from (select count(*) as ready from (
            select from %1$s q where q.vt <= $1 order by q.vt limit $2) q) v,
         (select coalesce(extract(epoch from $1 - min(greatest(q.vt, t.queued_at))), 0) as oldest
          from (select q.msg_id, q.vt from %1$s q
                where q.vt <= $1 order by q.vt limit 100 offset 0) q
          left join pgflow.step_tasks t on t.message_id = q.msg_id and t.queue_name = $3) h,
         (select count(*) as later,
                 count(*) filter (where t.status = 'started' and t.lease < 'infinity') as leased
          from (select q.msg_id from %1$s q
                where q.vt > $1 order by q.vt limit $2 offset 0) q
          left join pgflow.step_tasks t on t.message_id = q.msg_id and t.queue_name = $3) l
    $sql$, v_table)
  into v_gauges using pgflow.clock(), 100000, p_queue;
  return v_gauges;
end
$$;
