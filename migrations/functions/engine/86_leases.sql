-- Workers and leases. The lease is the visibility of a task's message, on the clock of the database
-- (R-2): a heartbeat extends it; the message of a dead worker becomes visible and the next claim
-- takes over. No leader, no cron.

-- The queues that queue_grants leaves a login, by its own name or a role that it is a member of;
-- null: every queue. Called when a worker registers and when grants change.
create or replace function pgflow._granted_queues(p_login text) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select 1 from pgflow.queue_grants) then
    return null; -- the common case: planning the rest would cost each start a millisecond
  end if;
  return (
    select case when '*' = any(g.queues) then null else g.queues end
    from (
      select coalesce(array_agg(distinct q.queue_name), '{}') as queues
      from pgflow.queue_grants q
      join pg_roles r on r.rolname = q.role_name
      join pg_roles l on l.rolname = p_login
      where pg_has_role(l.oid, r.oid, 'member')) g);
end
$$;

-- Every queue that deployed flows use and that is not paused.
create or replace function pgflow._deployed_queues() returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select distinct q.name
  from (select f.queue_name from pgflow.flows f where f.origin = 'deploy'
        union all
        select d.queue_name from pgflow.flows f
        join pgflow.steps d on d.flow_slug = f.flow_slug
        where f.origin = 'deploy' and d.action = 'handler') q(name)
  where pgflow._are_queues(array[q.name]) -- or one bad row would end every turn
    and not exists (select 1 from pgflow.paused_queues p where p.queue_name = q.name)
$$;

-- These queues, of those that the caller's login may serve: the queues of a worker without further
-- options.
create or replace function pgflow.served_queues() returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(q.name), '{}')
  from pgflow._deployed_queues() q(name), pgflow._granted_queues(session_user::text) g(granted)
  where g.granted is null or q.name = any(g.granted)
$$;

-- The queues named, or all that deployed flows use, without those that are paused, and the handlers
-- of their steps, so that a worker knows in advance which of them it lacks. p_since: `until` of the
-- last call, for the new steps alone; a transaction that deploys may have begun a minute before it
-- is seen. Called by each worker every two seconds. Returns {queues, handlers, until}.
create or replace function pgflow.served_since(p_queues text[], p_since timestamptz) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'queues', case when p_queues is null then pgflow.served_queues() else array(
      select u.name from unnest(p_queues) with ordinality u(name, nr)
      where not exists (select 1 from pgflow.paused_queues p where p.queue_name = u.name)
      order by u.nr) end,
    'handlers', (
      select coalesce(jsonb_agg(distinct d.handler), '[]') from pgflow.steps d
      where d.handler is not null and (p_queues is null or d.queue_name = any(p_queues))
        and d.created_at > coalesce(p_since - interval '1 minute', '-infinity')),
    'until', clock_timestamp());
end
$$;

-- The queues with the tasks of a flow and of the flows that its steps run: the queues of a worker
-- for this flow alone. Raises PF001.
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
        and case
          when s.spec ->> 'flow' like '%@%'
            then starts_with(d.version, split_part(s.spec ->> 'flow', '@', 2))
          else d.active end
    )
    select distinct s.queue_name from used u
    join pgflow.steps s on s.flow_slug = u.flow_slug and s.action = 'handler'
    where pgflow._are_queues(array[s.queue_name]) order by 1);
end
$$;

-- The queues of a run, of its live child runs and of the flows that their steps run: the queues of
-- a worker for this run alone. The versions are those of the runs, active or not.
create or replace function pgflow.run_queues(p_run_id uuid) returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select array(
    with recursive family as (
      select r.run_id, r.flow_slug from pgflow.runs r where r.run_id = p_run_id
      union
      select c.run_id, c.flow_slug from family f
      join pgflow.runs c on c.parent_run_id = f.run_id and c.status = 'started'
    )
    select distinct q.name
    from (select distinct f.flow_slug from family f) f
    join pgflow.definitions d on d.flow_slug = f.flow_slug
    cross join unnest(pgflow.queues_of(d.name, d.version)) q(name) order by 1)
$$;

-- Registers a worker for the login of the caller. Its id is new for each process: nothing is ever
-- taken back by name. Locks one row. Raises 42501 for the worker of another login, deleted or not,
-- and for a queue that is not granted.
create or replace function pgflow.register_worker(p_worker uuid, p_queues text[], p_info jsonb)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_worker is null then
    raise exception using errcode = 'PF006', message = 'a worker has an id, not null';
  end if;
  insert into pgflow.workers as w (
    worker_id, queue_name, function_name, started_at, last_heartbeat_at, info, login, granted)
  values (p_worker, coalesce(array_to_string(p_queues, ','), '*'), 'pgflow-yaml', pgflow.now(),
          pgflow.clock(), p_info, session_user, pgflow._granted_queues(session_user::text))
  on conflict (worker_id) do update
  set last_heartbeat_at = excluded.last_heartbeat_at, stopped_at = null,
      granted = excluded.granted, info = excluded.info
  where w.login = session_user;
  if exists (select 1 from pgflow.former_workers w where w.worker_id = p_worker) then
    perform pgflow._refuse_stranger(p_worker);
    delete from pgflow.former_workers w where w.worker_id = p_worker;
  end if;
  perform pgflow._check_login(p_worker, coalesce(p_queues, '{}'));
end
$$;

-- Raises 42501 for the id of a worker that another login registered, even if it was deleted since.
-- Not called by turns, which need a row of the caller's own.
create or replace function pgflow._refuse_stranger(p_worker uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select 1 from pgflow.workers w
    where w.worker_id = p_worker and w.login is distinct from session_user
    union all
    select 1 from pgflow.former_workers w
    where w.worker_id = p_worker and w.login is distinct from session_user)
  then
    raise exception using errcode = 'insufficient_privilege',
      message = format('worker %s was registered by another login than "%s"',
        p_worker, session_user);
  end if;
end
$$;

-- Raises 23503 for a worker that is not registered (its tasks would have no owner), 42501 for one
-- that another login registered and for queues that its login may not serve (S-14).
-- Called once by each turn.
create or replace function pgflow._check_login(p_worker uuid, p_queues text[] default '{}')
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_worker record;
begin
  select w.login = session_user as mine, w.granted into v_worker
  from pgflow.workers w where w.worker_id = p_worker;
  if not found then
    perform pgflow._deny_unknown_worker(p_worker);
  elsif v_worker.mine is not true then
    perform pgflow._refuse_stranger(p_worker);
  elsif not p_queues <@ v_worker.granted then
    raise exception using errcode = 'insufficient_privilege',
      message = format('login "%s" may not serve the queues %s: pgflow.queue_grants grants it %s',
        session_user, array_to_string(p_queues, ', '),
        coalesce(nullif(array_to_string(v_worker.granted, ', '), ''), 'none'));
  end if;
end
$$;

-- Raises 23503 for a worker that is not registered, as pgflow's foreign key would. Null is none.
-- Called once by each claim of a client of pgflow.
create or replace function pgflow._require_worker(p_worker uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_worker is not null
    and not exists (select 1 from pgflow.workers w where w.worker_id = p_worker)
  then
    perform pgflow._deny_unknown_worker(p_worker);
  end if;
end
$$;

create or replace function pgflow._deny_unknown_worker(p_worker uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'foreign_key_violation', table = 'step_tasks',
    schema = 'pgflow', constraint = 'step_tasks_last_worker_id_fkey',
    message = 'insert or update on table "step_tasks" violates foreign key constraint '
      || '"step_tasks_last_worker_id_fkey"',
    detail = format('Key (last_worker_id)=(%s) is not present in table "workers".',
      coalesce(p_worker::text, 'null'));
end
$$;

-- Raises 42501 unless a worker of the caller's login has claimed a task of this run, and holds it
-- still where p_holds; the owner passes. Called when a handler asks for a large input, and before a
-- worker fails a run.
create or replace function pgflow._check_works_for(p_run_id uuid, p_holds boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- current_user is the owner here: the functions that call this are SECURITY DEFINER
  if not pg_has_role(session_user, current_user, 'member') and not exists (
    select 1 from pgflow.step_tasks t
    join pgflow.workers w on w.worker_id = t.last_worker_id and w.login = session_user
    where t.run_id = p_run_id and (t.status = 'started' or not p_holds))
  then
    raise exception using errcode = 'insufficient_privilege',
      message = format('login "%s" has no task of run %s', session_user, p_run_id);
  end if;
end
$$;

-- Records that a worker has stopped. Locks its row only; its tasks are claimed by others when their
-- leases end. Raises 42501 for the worker of another login.
create or replace function pgflow.stop_worker(p_worker uuid) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.workers w set stopped_at = pgflow.clock()
  where w.worker_id = p_worker and w.login = session_user;
  if not found then
    perform pgflow._refuse_stranger(p_worker);
  end if;
end
$$;

-- Returns the tasks that a worker has claimed and not yet reported, [{run, step, index, attempt}]:
-- those that it does not know are from a claim whose reply was lost. Reads the tasks of live runs;
-- called after a reconnection only.
create or replace function pgflow.owned_tasks(p_worker uuid) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(jsonb_build_object('run', t.run_id, 'step', t.step_slug,
      'index', t.task_index, 'attempt', t.attempts_count)), '[]')
  from pgflow.runs r
  join pgflow.step_tasks t on t.run_id = r.run_id
  where r.status = 'started' and t.status = 'started' and t.lease is not null
    and t.last_worker_id = p_worker
    and (select w.login from pgflow.workers w where w.worker_id = p_worker) = session_user
$$;

-- Extends the leases of a worker's tasks: to now + lease, but not much beyond the timeout of an
-- attempt that runs. p_tasks: [{run, step, index, attempt, ran_ms: since when its handler runs,
-- else it counts from the claim; waits: true, where it has not begun; ended: true, where its result
-- waits to be settled}]. Returns {lost: tasks that another worker has taken over, stop: tasks whose
-- run or step has ended}. Raises PF006 for an argument that makes no sense. Locks tasks and queue
-- rows, skipping locked ones: it never waits.
create or replace function pgflow.heartbeat(p_worker uuid, p_lease interval, p_tasks jsonb)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_until timestamptz := v_clock + pgflow._checked_lease(p_lease);
  v_rows tid[];
  v_since timestamptz[];
  v_queue record;
begin
  if jsonb_typeof(p_tasks) is distinct from 'array' then
    raise exception using errcode = 'PF006', message = 'a heartbeat takes an array of tasks';
  end if;
  update pgflow.workers w set last_heartbeat_at = v_clock
  where w.worker_id = p_worker and w.login = session_user;
  if not found then
    perform pgflow._refuse_stranger(p_worker);
  end if;
  if jsonb_array_length(p_tasks) = 0 then
    return '{"lost": [], "stop": []}';
  end if;
  begin
    perform 1 from jsonb_to_recordset(p_tasks) a(
      run uuid, step text, index int, attempt int, ended boolean, ran_ms bigint, waits boolean);
  exception when data_exception then
    raise exception using errcode = 'PF006', message = 'a task cannot be read: ' || sqlerrm;
  end;
  -- Each task is looked up on its own, whatever the planner knows of the table. `since`: the time
  -- from which the timeout counts; null where it does not.
  select array_agg(h.place), array_agg(case
    when a.ended or a.waits then null
    when a.ran_ms is null then h.started_at
    else v_clock - least(greatest(a.ran_ms, 0), 31536000000) * interval '1 ms' end)
  into v_rows, v_since
  from jsonb_to_recordset(p_tasks) a(
    run uuid, step text, index int, attempt int, ended boolean, ran_ms bigint, waits boolean)
  cross join lateral (
    select t.ctid as place, t.started_at from pgflow.step_tasks t
    where (t.run_id, t.step_slug, t.task_index) = (a.run, a.step, a.index)
      and t.status = 'started' and t.attempts_count = a.attempt and t.last_worker_id = p_worker
    for no key update skip locked) h;
  for v_queue in
    with pushed as (
      update pgflow.step_tasks t
      set lease = least(v_until, h.since + interval '5 seconds' + coalesce(
            (select (d.spec ->> 'timeout_ms')::bigint * interval '1 ms' from pgflow.steps d
             where d.flow_slug = t.flow_slug and d.step_slug = t.step_slug),
            interval '1 minute'))
      from unnest(v_rows, v_since) h(place, since)
      where t.ctid = h.place
      returning t.queue_name, t.message_id, t.lease
    )
    select p.queue_name, array_agg(p.message_id) as ids, array_agg(p.lease) as vts from pushed p
    group by 1
  loop
    perform pgflow._queue_extend(v_queue.queue_name, v_queue.ids, v_queue.vts);
  end loop;
  return (
    select jsonb_build_object(
      'lost', coalesce(jsonb_agg(to_jsonb(a) - 'nr') filter (where x.verdict = 'lost'), '[]'),
      'stop', coalesce(jsonb_agg(to_jsonb(a) - 'nr') filter (where x.verdict = 'stop'), '[]'))
    from jsonb_to_recordset(p_tasks) a(run uuid, step text, index int, attempt int)
    left join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (a.run, a.step, a.index)
    cross join lateral (
      select case
        when t.status in ('cancelled', 'skipped') then 'stop'
        when t.status = 'started' and t.attempts_count = a.attempt
          and pgflow._is_stopping(t.run_id, t.step_slug)
          then 'stop'
        when t.status = 'started' and t.attempts_count = a.attempt and t.last_worker_id = p_worker
          then 'held'
        else 'lost' end as verdict) x);
end
$$;
