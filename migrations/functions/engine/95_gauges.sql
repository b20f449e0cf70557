-- What the metrics of a worker say about the database. Nothing here locks, each count ends at
-- 100,000.

-- The gauges, for the first of the living workers of a host that export metrics; null for the
-- others, so that each host asks once. A login that is limited to some queues gets the numbers of
-- these, and of the flows that have steps in them. Returns {queues: as _queue_gauges, the timer
-- queue too; runs: [{flow, live, waiting, failed}], workers, oldest_transaction}.
create or replace function pgflow.gauges(p_worker uuid) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_granted text[];
begin
  perform pgflow._check_login(p_worker);
  if p_worker is distinct from pgflow._gauging_worker(p_worker) then
    return null;
  end if;
  select w.granted into v_granted from pgflow.workers w where w.worker_id = p_worker;
  return jsonb_build_object(
    'queues', (
      select jsonb_agg(pgflow._queue_gauges(q.name) order by q.name)
      from (select coalesce(f.queue_name, f.flow_slug) from pgflow.flows f
            union
            select d.queue_name from pgflow.steps d where d.action = 'handler'
            union
            select 'pgflow__timers') q(name)
      where q.name = 'pgflow__timers' or pgflow._are_queues(array[q.name])
        and (v_granted is null or q.name = any(v_granted))),
    'runs', pgflow._run_gauges(v_granted),
    'workers', (
      select count(*) from pgflow.workers w
      where w.stopped_at is null and w.last_heartbeat_at > (select pgflow._alive_since())),
    'oldest_transaction', pgflow._oldest_transaction());
end
$$;

-- How much lies in a queue: messages that are ready, seconds since the oldest of them has been,
-- tasks leased by workers, and parked messages, which become ready later. (A task that runs a flow
-- is leased by nobody.)
create or replace function pgflow._queue_gauges(p_queue text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('queue', p_queue, 'ready', d.depth -> 'visible',
    'oldest', coalesce(
      extract(epoch from pgflow.clock() - (d.depth ->> 'oldest_at')::timestamptz), 0),
    'leased', l.leased, 'parked', (d.depth ->> 'later')::bigint - l.leased)
  from (select pgflow._queue_depth(p_queue, 100000) as depth offset 0) d
  cross join (
    select count(*) as leased from pgflow._queue_leases(p_queue, 100000) x
    where x.lease < 'infinity') l
$$;

-- The worker that is to read the gauges for the host of this one: the first that began, of those
-- that see the same queues.
create or replace function pgflow._gauging_worker(p_worker uuid) returns uuid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select w.worker_id
  from pgflow.workers me
  join pgflow.workers w on w.info ->> 'host' = me.info ->> 'host'
    and w.granted is not distinct from me.granted
  where me.worker_id = p_worker and w.info @> '{"metrics": true}' and w.stopped_at is null
    and (w.worker_id = p_worker or w.last_heartbeat_at > (select pgflow._alive_since()))
  order by w.started_at, w.worker_id limit 1
$$;

-- Runs by flow: live ones; those of them that wait, which have no step with tasks for workers; and
-- failed ones among the runs that were started in the last 24 hours. p_granted: only of flows with
-- steps in these queues.
create or replace function pgflow._run_gauges(p_granted text[]) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with counted as (
    select coalesce(r.flow_name, r.flow_slug) as flow, r.flow_slug, true as live, not exists (
        select 1 from pgflow.step_states s
        join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
        where s.run_id = r.run_id and s.status = 'started' and d.action = 'handler') as waits
    from (select x.* from pgflow.runs x where x.status = 'started' limit 100000) r
    union all
    select coalesce(r.flow_name, r.flow_slug), r.flow_slug, false, false
    from (select x.* from pgflow.runs x
          where x.started_at > (select pgflow.clock()) - interval '24 hours'
          order by x.started_at desc limit 100000) r
    where r.status = 'failed'
  ), flows as (
    select c.flow, count(*) filter (where c.live) as live,
      count(*) filter (where c.waits) as waiting, count(*) filter (where not c.live) as failed
    from counted c
    where p_granted is null or c.flow_slug in (
      select d.flow_slug from pgflow.steps d where d.queue_name = any(p_granted))
    group by c.flow
  )
  select coalesce(jsonb_agg(to_jsonb(f) order by f.flow), '[]') from flows f
$$;

-- The age of the oldest open transaction of this database, in seconds, prepared ones too: while it
-- is open, nothing that was deleted since can be vacuumed. Of other logins only as far as the owner
-- of this schema sees them (pg_read_all_stats).
create or replace function pgflow._oldest_transaction() returns float8
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(extract(epoch from clock_timestamp() - min(x.began)), 0)::float8
  from (select a.xact_start from pg_stat_activity a
        where a.datname = current_database() and a.backend_type = 'client backend'
          and a.pid <> pg_backend_pid()
        union all
        select p.prepared from pg_prepared_xacts p
        where p.database = current_database()) x(began)
$$;
