-- What an operator looks at: queues, workers, what nobody works on, how much history there is.
-- Nothing here locks, and each read is bounded.

-- Every queue with tasks or timers. (A name that no queue can have is left out: one bad row would
-- hide all others.)
create or replace function pgflow._all_queues() returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select distinct q.name
  from (select coalesce(f.queue_name, f.flow_slug) from pgflow.flows f
        union all
        select d.queue_name from pgflow.steps d where d.action = 'handler') q(name)
  where pgflow._are_queues(array[q.name])
  union all
  select 'pgflow__timers'
$$;

-- Where a worker is and when it was heard from.
create or replace function pgflow._worker_facts(p_worker uuid) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce((
    select jsonb_build_object('host', w.info ->> 'host', 'pid', (w.info ->> 'pid')::int,
      'heard_at', w.last_heartbeat_at,
      'alive', w.stopped_at is null and w.last_heartbeat_at > (select pgflow._alive_since()))
    from pgflow.workers w where w.worker_id = p_worker),
    '{"host": null, "pid": null, "heard_at": null, "alive": false}')
$$;

-- The workers that were heard from in the last day and have not stopped, or all (p_all), the last
-- heard of first, 1,000 at most. `status` is alive, silent or stopped; `busy` the number of tasks
-- that it holds by a lease, of `slots`; `queues` is null for all of them. `engine` runs its
-- handlers (null: the worker itself); with `engine_away` the worker waits for it.
create or replace function pgflow.list_workers(p_all boolean default false) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with held as materialized (
    select l.worker_id, count(*) as tasks
    from pgflow._all_queues() q cross join lateral pgflow._queue_leases(q) l
    where exists (select 1 from pgflow.workers w where w.stopped_at is null)
    group by l.worker_id
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'worker', w.worker_id, 'host', w.info ->> 'host', 'pid', (w.info ->> 'pid')::int,
    'release', w.info ->> 'release', 'login', w.login,
    'status', case when w.stopped_at is not null then 'stopped'
      when w.last_heartbeat_at > (select pgflow._alive_since()) then 'alive' else 'silent' end,
    'queues', case when w.queue_name <> '*' then to_jsonb(string_to_array(w.queue_name, ',')) end,
    'slots', (w.info ->> 'concurrency')::int, 'busy', coalesce(h.tasks, 0),
    'engine', w.info ->> 'engine',
    'engine_away', w.info -> 'engine_away' is not distinct from 'true',
    'heard_at', w.last_heartbeat_at, 'started_at', w.started_at, 'stopped_at', w.stopped_at)
    order by w.last_heartbeat_at desc, w.worker_id), '[]')
  from (
    select x.* from pgflow.workers x
    where x.last_heartbeat_at > case when p_all then '-infinity' else (
        select pgflow.clock() - interval '1 day') end
      and (p_all or x.stopped_at is null)
    order by x.last_heartbeat_at desc limit 1000) w
  left join held h on h.worker_id = w.worker_id
$$;

-- Every queue: messages that are visible, leased and parked until later (10,000 are counted at
-- most: `limited`), the time since when the first has been visible, the living workers that serve
-- it and their slots, dead rows. `holder` is the task that a worker has held for longest;
-- `paused_at` and `paused_by` are null unless somebody has paused it.
create or replace function pgflow.list_queues() returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with alive as materialized (
    select string_to_array(w.queue_name, ',') as queues, w.granted,
      case when jsonb_typeof(w.info -> 'concurrency') = 'number' -- a worker may say anything
        then greatest(0, least(1000, (w.info -> 'concurrency')::numeric))::int else 0 end as slots
    from pgflow.workers w
    where w.stopped_at is null and w.last_heartbeat_at > (select pgflow._alive_since())
  )
  select coalesce(jsonb_agg(jsonb_build_object('queue', q) || (d.depth - 'later')
    || jsonb_build_object('leased', l.tasks,
         'parked', greatest((d.depth ->> 'later')::bigint - l.tasks, 0),
         'holder', l.longest || pgflow._worker_facts(l.worker_id),
         'paused_at', p.paused_at, 'paused_by', p.paused_by,
         'workers', w.workers, 'slots', w.slots)
    order by q), '[]')
  from pgflow._all_queues() q
  left join pgflow.paused_queues p on p.queue_name = q
  cross join lateral (select pgflow._queue_depth(q) as depth) d
  cross join lateral (
    select count(*) as tasks, (array_agg(x.worker_id order by x.started_at))[1] as worker_id,
      (array_agg(jsonb_build_object('run_id', x.run_id, 'step', x.step_slug, 'index', x.task_index,
        'since', x.started_at, 'lease', x.lease) order by x.started_at))[1] as longest
    from pgflow._queue_leases(q) x) l
  cross join lateral (
    select count(*) as workers, coalesce(sum(a.slots), 0) as slots from alive a
    where (q = 'pgflow__timers' or '*' = any(a.queues) or q = any(a.queues))
      and (a.granted is null or q = 'pgflow__timers' or q = any(a.granted))) w
$$;

-- The handlers that workers have refused and none has had since, those missed for longest first, 20
-- at most, each with the tasks that wait for it: 1,000 are counted, three of their runs named.
create or replace function pgflow.list_missing_handlers() returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object('handler', m.handler, 'since', m.since,
    'tasks', t.tasks, 'flows', t.flows, 'runs', t.runs) order by m.since, m.handler), '[]')
  from (select x.* from pgflow.missing_handlers x order by x.since, x.handler limit 20) m
  cross join lateral (
    select count(*) as tasks, coalesce(jsonb_agg(distinct w.flow), '[]') as flows,
      coalesce(to_jsonb((array_agg(distinct w.run_id))[1:3]), '[]') as runs
    from (
      select r.run_id, coalesce(r.flow_name, r.flow_slug) as flow
      from pgflow.runs r
      join pgflow.steps d on d.flow_slug = r.flow_slug and d.handler = m.handler
      join pgflow.step_states s on s.run_id = r.run_id and s.step_slug = d.step_slug
      join pgflow.step_tasks t on t.run_id = s.run_id and t.step_slug = s.step_slug
      where r.status = 'started' and s.status = 'started' and t.status = 'queued'
      limit 1000) w) t
$$;

-- How old the history is and how fast it grows: when the oldest run that has ended did (of the
-- first 1,000 runs), the runs of the last day (100,000 are counted), and an estimate of all runs.
create or replace function pgflow.history() returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'oldest_ended_at', (
      select coalesce(r.completed_at, r.failed_at, r.cancelled_at)
      from (select x.* from pgflow.runs x order by x.started_at, x.run_id desc limit 1000) r
      where r.status <> 'started' order by r.started_at limit 1),
    'runs_a_day', (
      select count(*) from (
        select from pgflow.runs x
        where x.started_at > (select pgflow.clock() - interval '1 day') limit 100000) d),
    'runs', (select greatest(c.reltuples, 0)::bigint from pg_class c
             where c.oid = 'pgflow.runs'::regclass))
$$;

-- Names for the completion of a shell, 50 at most: flows, queues, the steps of a run (p_of), or the
-- newest runs and keys that begin with a text. An array of {value, help}.
create or replace function pgflow.complete(p_kind text, p_begun text, p_of text default null)
returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found jsonb;
begin
  select jsonb_agg(jsonb_build_object('value', k.value, 'help', k.help))
  into v_found
  from (
    select distinct on (d.name) d.name as value, d.description as help, 0 as nr
    from pgflow.definitions d where p_kind = 'flow' and starts_with(d.name, p_begun)
    union all
    select q, null, 0 from pgflow._all_queues() q
    where p_kind = 'queue' and starts_with(q, p_begun) and q <> 'pgflow__timers'
    union all
    select d.step_slug, d.handler, d.step_index
    from jsonb_array_elements_text(case p_kind when 'step' then pgflow.find_run(p_of)
      else '[]' end) f(run_id)
    join pgflow.runs r on r.run_id = f.run_id::uuid
    join pgflow.steps d on d.flow_slug = r.flow_slug and starts_with(d.step_slug, p_begun)
    union all
    select v.value, concat_ws(' ', coalesce(r.flow_name, r.flow_slug), r.status), r.nr
    from (
      select x.*, row_number() over () as nr
      from pgflow._matching_runs('{}', case p_kind when 'run' then 1000 else 0 end) x) r
    cross join lateral (
      select left(r.run_id::text, case when length(p_begun) < 8 then 8 else 36 end)
      where starts_with(r.run_id::text, lower(p_begun))
      union all
      select r.run_key where starts_with(r.run_key, p_begun) and p_begun <> '') v(value)
    order by nr, value limit 50) k;
  return coalesce(v_found, '[]');
end
$$;
