-- The queue, read only, for people and metrics: how much lies in it, how old it is, who holds it.
-- Each read ends after p_most messages, so that it costs the same beside a million.

-- The number of messages that the reads for people go on to.
create or replace function pgflow._counted() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 10000 $$;

-- The tasks that a worker holds by a lease, of the next messages of a queue. (`offset 0`: each task
-- is found by its message.)
create or replace function pgflow._queue_leases(
  p_queue text, p_most int default pgflow._counted()
)
returns table (
  run_id uuid, step_slug text, task_index int, worker_id uuid, started_at timestamptz,
  lease timestamptz
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    return;
  end if;
  return query execute format($sql$
    select t.run_id, t.step_slug, t.task_index, t.last_worker_id, t.started_at, t.lease
    from (select q.msg_id from pgmq.%I q where q.vt > $1 order by q.vt limit $2 offset 0) m
    join pgflow.step_tasks t on t.message_id = m.msg_id and t.queue_name = $3
    where t.status = 'started' and t.lease is not null
    $sql$, 'q_' || lower(p_queue))
  using pgflow.clock(), p_most, p_queue;
end
$$;

-- How much lies in a queue: visible messages and the time since when the first has been (of a
-- hundred, for single tasks are sent with a head start), messages that become visible later, dead
-- rows as the last statistics have them. `limited`: a count has ended at p_most. A queue that was
-- dropped is {exists: false}.
create or replace function pgflow._queue_depth(
  p_queue text, p_most int default pgflow._counted()
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_table regclass := to_regclass(format('pgmq.%I', 'q_' || lower(p_queue)));
  v_depth jsonb;
begin
  if v_table is null then
    return '{"exists": false, "visible": 0, "later": 0, "oldest_at": null, "dead_rows": 0,
      "limited": false}';
  end if;
  execute format($sql$
    select jsonb_build_object('exists', true, 'visible', least(v.n, $2), 'later', least(l.n, $2),
      'oldest_at', h.oldest, 'limited', v.n > $2 or l.n > $2,
      'dead_rows', pg_stat_get_dead_tuples($3))
    from (select count(*) as n from (
            select from %1$s q where q.vt <= $1 order by q.vt limit $2 + 1) q) v,
         (select min(greatest(q.vt, t.queued_at)) as oldest
          from (select q.msg_id, q.vt from %1$s q
                where q.vt <= $1 order by q.vt limit 100 offset 0) q
          left join pgflow.step_tasks t on t.message_id = q.msg_id and t.queue_name = $4) h,
         (select count(*) as n from (
            select from %1$s q where q.vt > $1 order by q.vt limit $2 + 1) q) l
    $sql$, v_table)
  into v_depth using pgflow.clock(), p_most, v_table, p_queue;
  return v_depth;
end
$$;

-- The number of visible messages of these queues together, p_most at most: not more are read. A
-- queue that was dropped has none.
create or replace function pgflow._queues_visible(p_queues text[], p_most int) returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_visible int := 0;
  v_heads text := (
    select string_agg(format(
      '(select 1 from pgmq.%I q where q.vt <= $1 order by q.vt limit $2)',
      'q_' || lower(u.name)), ' union all ')
    from unnest(p_queues) u(name)
    where to_regclass(format('pgmq.%I', 'q_' || lower(u.name))) is not null);
begin
  if v_heads is not null then
    execute 'select count(*) from (select 1 from (' || v_heads || ') h limit $2) x'
    into v_visible using pgflow.clock(), p_most;
  end if;
  return v_visible;
end
$$;
