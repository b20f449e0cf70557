-- Workers and leases. The lease is the visibility of a task's message, on the database's clock (R-2): a heartbeat
-- pushes it on, a dead worker's message becomes visible and the next claim takes over. No leader, no cron.

-- Every queue that deployed flows use: what a worker serves that was not told otherwise.
create or replace function pgflow.served_queues() returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(distinct q.name), '{}')
  from (select f.queue_name from pgflow.flows f where f.door = 'deploy'
        union all
        select d.queue_name from pgflow.flows f
        join pgflow.steps d on d.flow_slug = f.flow_slug
        where f.door = 'deploy' and d.action = 'handler') q(name)
$$;

-- The queues in which the tasks of a flow lie, and of the flows that its steps run: what a worker serves that works for
-- this flow alone. Raises PF001.
create or replace function pgflow.queues_of(p_name text, p_version text default null) returns text[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slug text := (pgflow._find_definition(p_name, p_version)).flow_slug;
begin
  return array(
    with recursive used as (
      select v_slug as flow_slug
      union
      select d.flow_slug from used u
      join pgflow.steps s on s.flow_slug = u.flow_slug and s.action = 'flow'
      join pgflow.definitions d on d.name = split_part(s.spec ->> 'flow', '@', 1)
        and case when s.spec ->> 'flow' like '%@%' then starts_with(d.version, split_part(s.spec ->> 'flow', '@', 2))
                 else d.active end
    )
    select distinct s.queue_name from used u
    join pgflow.steps s on s.flow_slug = u.flow_slug and s.action = 'handler' order by 1);
end
$$;

-- Makes a worker known. Its id is fresh for each process: nothing is ever taken back by name. Locks one row.
create or replace function pgflow.register_worker(p_worker uuid, p_queues text[], p_info jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into pgflow.workers (worker_id, queue_name, function_name, started_at, last_heartbeat_at, info)
  values (p_worker, coalesce(array_to_string(p_queues, ','), '*'), 'pgflow-yaml', pgflow.now(), pgflow.clock(), p_info)
  on conflict (worker_id) do update set last_heartbeat_at = excluded.last_heartbeat_at, stopped_at = null;
end
$$;

-- Raises 23503 for a worker that nobody registered: its tasks would have no owner. Called once a claim.
create or replace function pgflow._expect_worker(p_worker uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_worker is not null and not exists (select 1 from pgflow.workers w where w.worker_id = p_worker) then
    raise exception using errcode = 'foreign_key_violation', table = 'step_tasks', schema = 'pgflow',
      message = 'insert or update on table "step_tasks" violates foreign key constraint "step_tasks_last_worker_id_fkey"',
      detail = format('Key (last_worker_id)=(%s) is not present in table "workers".', p_worker),
      constraint = 'step_tasks_last_worker_id_fkey';
  end if;
end
$$;

-- Says that a worker has gone, in order. Locks its row only; its tasks are others' when their leases end.
create or replace function pgflow.stop_worker(p_worker uuid) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  update pgflow.workers w set stopped_at = pgflow.clock() where w.worker_id = p_worker
$$;

-- Pushes on the leases of a worker's running tasks: to now + lease, but never past the attempt's own deadline and a
-- little. p_tasks: [{run, step, index, attempt}]. Returns {lost: those that are somebody else's by now, stop: those
-- whose run or step has ended}. Locks tasks and queue rows, skipping what somebody holds: it never waits.
create or replace function pgflow.heartbeat(p_worker uuid, p_lease interval, p_tasks jsonb) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_held pgflow._done[];
  v_queue record;
begin
  update pgflow.workers w set last_heartbeat_at = v_clock where w.worker_id = p_worker;
  if jsonb_array_length(p_tasks) = 0 then
    return '{"lost": [], "stop": []}';
  end if;
  v_held := array(
    select row(t.run_id, t.flow_slug, t.step_slug, t.queue_name, t.message_id, false)::pgflow._done
    from jsonb_to_recordset(p_tasks) a(run uuid, step text, index int, attempt int)
    join pgflow.step_tasks t on (t.run_id, t.step_slug, t.task_index) = (a.run, a.step, a.index)
    where t.status = 'started' and t.attempts_count = a.attempt and t.last_worker_id = p_worker
    for no key update of t skip locked);
  for v_queue in
    with pushed as (
      update pgflow.step_tasks t
      set lease = least(v_clock + p_lease, t.started_at + interval '5 seconds' + coalesce(
            (select (d.spec ->> 'timeout_ms')::bigint * interval '1 ms' from pgflow.steps d
             where d.flow_slug = t.flow_slug and d.step_slug = t.step_slug), interval '1 minute'))
      from unnest(v_held) h
      where t.queue_name = h.queue_name and t.message_id = h.message_id
      returning t.queue_name, t.message_id, t.lease
    )
    select p.queue_name, array_agg(p.message_id) as ids, array_agg(p.lease) as vts from pushed p group by 1
  loop
    perform pgflow._queue_extend(v_queue.queue_name, v_queue.ids, v_queue.vts);
  end loop;
  return (
    select jsonb_build_object(
      'lost', coalesce(jsonb_agg(to_jsonb(a) - 'nr') filter (where x.verdict = 'lost'), '[]'),
      'stop', coalesce(jsonb_agg(to_jsonb(a) - 'nr') filter (where x.verdict = 'stop'), '[]'))
    from jsonb_to_recordset(p_tasks) a(run uuid, step text, index int, attempt int)
    left join pgflow.step_tasks t on (t.run_id, t.step_slug, t.task_index) = (a.run, a.step, a.index)
    cross join lateral (
      select case
        when t.status in ('cancelled', 'skipped') then 'stop'
        when t.status = 'started' and t.attempts_count = a.attempt and pgflow._is_stopping(t.run_id, t.step_slug) then 'stop'
        when t.status = 'started' and t.attempts_count = a.attempt and t.last_worker_id = p_worker then 'held'
        else 'lost' end as verdict) x);
end
$$;

-- R-3, the backstop: what should be impossible is put right. Live tasks without a message are sent again, ready steps
-- are begun, wide maps that nobody makes and waits that nobody would end are called for. (A message without a task is
-- dropped by the claim that reads it.) Any worker may call it at any time: rows that somebody holds are skipped. It
-- looks at p_limit live runs from a random place on, at fewer when theirs are wide maps: 100,000 tasks and the rest
-- of one run. So its cost is bounded and all runs have their turn. Returns the number of repairs.
create or replace function pgflow.sweep(p_limit int default 1000) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from uuid := gen_random_uuid();
  v_runs uuid[];
begin
  v_runs := array(
    select r.run_id from pgflow.runs r where r.status = 'started' and r.run_id >= v_from order by r.run_id limit p_limit);
  v_runs := v_runs || array(
    select r.run_id from pgflow.runs r where r.status = 'started' and r.run_id < v_from order by r.run_id
    limit p_limit - cardinality(v_runs));
  v_runs := array(
    select k.run_id
    from (
      select r.run_id, sum(t.sent) over (order by u.nr) - t.sent as before
      from unnest(v_runs) with ordinality u(run_id, nr)
      join pgflow.runs r on r.run_id = u.run_id
      cross join lateral (
        select coalesce(sum(s.sent), 0) as sent
        from pgflow.step_states s where s.run_id = r.run_id and s.status = 'started') t
      where (select f.door from pgflow.flows f where f.flow_slug = r.flow_slug) = 'deploy') k
    where k.before < 100000);
  return pgflow._sweep_tasks(v_runs) + pgflow._sweep_steps(v_runs);
end
$$;

-- The half of the sweep that looks at tasks: what is live has its message. Locks tasks, skipping those held.
create or replace function pgflow._sweep_tasks(p_runs uuid[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue record;
  v_sent int := 0;
  v_missing bigint[];
  v_messages pgflow._message[];
begin
  for v_queue in
    select t.queue_name, array_agg(t.message_id) as ids
    from pgflow.step_states s
    join pgflow.step_tasks t on t.run_id = s.run_id and t.step_slug = s.step_slug
    where s.run_id = any(p_runs) and s.status = 'started'
      and (t.status = 'queued' and t.task_index < s.sent or t.status = 'started' and t.lease < pgflow.clock())
    group by 1
  loop
    -- Into a variable: written inside the query it would be asked again for every task there is.
    v_missing := pgflow._queue_missing(v_queue.queue_name, v_queue.ids);
    continue when v_missing is null;
    select array_agg(row(k.message_id, pgflow.clock(), k.flow_slug, k.run_id, k.step_slug, k.task_index)::pgflow._message)
    into v_messages
    from (
      select t.* from pgflow.step_tasks t
      where t.message_id = any(v_missing)
        and t.queue_name = v_queue.queue_name and t.status in ('queued', 'started')
      for no key update skip locked) k;
    if v_messages is not null then
      perform pgflow._queue_ensure(v_queue.queue_name);
      perform pgflow._queue_send(v_queue.queue_name, v_messages);
      v_sent := v_sent + cardinality(v_messages);
    end if;
  end loop;
  return v_sent;
end
$$;

-- The half of the sweep that looks at steps. Locks runs, skipping those that somebody holds.
create or replace function pgflow._sweep_steps(p_runs uuid[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[];
  v_ready pgflow._start[];
  v_state record;
  v_count int := 0;
begin
  v_runs := array(
    select r.run_id from pgflow.runs r
    where r.run_id = any(p_runs) and exists (
      select 1 from pgflow.step_states s
      where s.run_id = r.run_id and (s.status = 'created' and s.remaining_deps = 0
                                     or s.status = 'started' and (s.made < s.initial_tasks or s.wakes_at is not null)))
    order by r.run_id for no key update skip locked);
  select array_agg(row(s.run_id, s.flow_slug, s.step_slug, null, null)::pgflow._start) into v_ready
  from pgflow.step_states s where s.run_id = any(v_runs) and s.status = 'created' and s.remaining_deps = 0;
  if v_ready is not null then
    v_count := cardinality(v_ready);
    perform pgflow._advance('{}', v_ready);
  end if;
  for v_state in
    select s.run_id, s.step_slug, s.wakes_at from pgflow.step_states s
    where s.run_id = any(v_runs) and s.status = 'started' and (s.made < s.initial_tasks or s.wakes_at is not null)
      and not pgflow._is_stopping(s.run_id, s.step_slug)
      and (s.make_message_id is null or pgflow._queue_missing('pgflow__clock', array[s.make_message_id]) is not null)
  loop
    update pgflow.step_states s
    set make_message_id = pgflow._queue_send_note('pgflow__clock', coalesce(v_state.wakes_at, pgflow.clock()),
      jsonb_build_object('kind', case when v_state.wakes_at is null then 'make' else 'wait' end,
        'run_id', v_state.run_id, 'step_slug', v_state.step_slug))
    where s.run_id = v_state.run_id and s.step_slug = v_state.step_slug;
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;
