-- The queue, read only: for the pauses of workers, repairs, virtual time and invariants.

-- The messages of this list that do not exist; null: all exist. Called for repairs.
create or replace function pgflow._queue_missing(p_queue text, p_ids bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing bigint[];
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    return p_ids;
  end if;
  execute format($sql$
    select array_agg(m.id) from unnest($1) m(id)
    where not exists (select 1 from pgmq.%I q where q.msg_id = m.id)
    $sql$, 'q_' || lower(p_queue))
  into v_missing using p_ids;
  return v_missing;
end
$$;

-- The time at which the next message of a queue becomes visible; null: none ever will.
create or replace function pgflow._queue_next(p_queue text) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_next timestamptz;
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    return null;
  end if;
  execute format($sql$
    select min(q.vt) from pgmq.%I q where q.vt < 'infinity'
    $sql$, 'q_' || lower(p_queue))
  into v_next;
  return v_next;
end
$$;

-- The time at which the next message of these queues becomes visible, after p_after and by p_until;
-- null: none will. The bound keeps the scan from the leases of tasks that have ended, which lie
-- ahead as dead entries of the index.
create or replace function pgflow._queue_next_of(
  p_queues text[], p_after timestamptz, p_until timestamptz
) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_next timestamptz;
  v_heads text := (
    select string_agg(format(
      '(select q.vt from pgmq.%I q where q.vt > $1 and q.vt <= $2 order by q.vt limit 1)',
      'q_' || lower(u.name)), ', ')
    from unnest(p_queues) u(name)
    where to_regclass(format('pgmq.%I', 'q_' || lower(u.name))) is not null);
begin
  if v_heads is not null then
    execute 'select least(' || v_heads || ')' into v_next using p_after, p_until;
  end if;
  return v_next;
end
$$;

-- Up to 1,000 visible messages from a place on, oldest first: p_skip messages after the first that
-- became visible at p_from (null: the head of the queue). Takes no lock.
create or replace function pgflow._queue_window(
  p_queue text, p_now timestamptz, p_from timestamptz, p_skip int
)
returns table (msg_id bigint, vt timestamptz, was_read boolean, message jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_table text := format('pgmq.%I', 'q_' || lower(p_queue));
begin
  if to_regclass(v_table) is not null then
    return query execute format($sql$
      select q.msg_id, q.vt, q.read_ct > 0, q.message from %s q
      where q.vt <= $1 and q.vt >= $2 order by q.vt offset $3 limit 1000
      $sql$, v_table)
    using p_now, coalesce(p_from, '-infinity'), coalesce(p_skip, 0);
  end if;
end
$$;

-- The ids of the task messages of a queue, of its first p_limit messages. Called for invariants.
create or replace function pgflow._queue_task_ids(p_queue text, p_limit int) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is null then
    return null;
  end if;
  execute format($sql$
    select array_agg(q.msg_id)
    from (select q.msg_id, q.message from pgmq.%I q order by q.vt limit $1) q
    where q.message ->> 'kind' is null
    $sql$, 'q_' || lower(p_queue))
  into v_ids using p_limit;
  return v_ids;
end
$$;

-- The timers that are not tasks, of the first p_limit, and the runs that they name. Called for
-- invariants.
create or replace function pgflow._queue_timers(p_limit int)
returns table (msg_id bigint, run_id uuid)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if to_regclass('pgmq.q_pgflow__timers') is not null then
    return query
      select q.msg_id, (q.message ->> 'run_id')::uuid
      from (select q.* from pgmq.q_pgflow__timers q order by q.vt limit p_limit) q
      where q.message ->> 'kind' is not null and q.message ? 'run_id';
  end if;
end
$$;

-- The child runs whose end is reported by a timer. Called for invariants.
create or replace function pgflow._queue_ended_children() returns setof uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('pgmq.q_pgflow__timers') is not null then
    return query
      select (q.message ->> 'child')::uuid from pgmq.q_pgflow__timers q where q.message ? 'child';
  end if;
end
$$;

-- The number of visible messages before one in its queue, 10,000 at most.
create or replace function pgflow._queue_before(p_queue text, p_id bigint) returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before int := 0;
begin
  if to_regclass(format('pgmq.%I', 'q_' || lower(p_queue))) is not null then
    execute format($sql$
      select count(*) from (
        select 1 from pgmq.%1$I q
        where q.vt <= $2 and q.vt < (select m.vt from pgmq.%1$I m where m.msg_id = $1)
        limit 10000) x
      $sql$, 'q_' || lower(p_queue))
    into v_before using p_id, pgflow.clock();
  end if;
  return v_before;
end
$$;

-- True where a timer opens this gate. Reads the timers, so it is called for gates in doubt only.
create or replace function pgflow._queue_opens(p_gate text, p_key text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_regclass('pgmq.q_pgflow__timers') is not null and exists (
    select 1 from pgmq.q_pgflow__timers q
    where q.message ->> 'kind' = 'gate' and q.message ->> 'gate' = p_gate
      and q.message ->> 'key' = p_key);
end
$$;
