-- Numbers for what starts and stops workers: KEDA, a script, an alert. Nothing here locks, and each
-- read is bounded.

-- The tasks that a worker could begin now in these queues of deployed flows (null: in all), and the
-- timers that are due, p_most at most. Timers always count, for with no worker nothing fires them.
-- A paused queue and one that no deployed flow has count nothing. Raises PF006.
create or replace function pgflow.work_waiting(
  p_queues text[] default null, p_most int default 10000
) returns int
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._queues_visible(array(
    select q.name from pgflow._deployed_queues() q(name)
    where p_queues is null or q.name = any(p_queues)
    union all
    select 'pgflow__timers'), pgflow._checked_limit(p_most))
$$;

-- Every queue as a row, in numbers of at most 10,000: messages that are visible, since how many
-- seconds the first of them has been (0: none), tasks that workers hold, messages that become
-- visible later; the living workers that serve it and their slots. A worker that serves several
-- queues counts at each.
create or replace function pgflow.queue_stats()
returns table (
  queue text, visible int, oldest_seconds int, leased int, parked int, workers int, slots int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select q.queue, q.visible,
    coalesce(extract(epoch from (select pgflow.clock()) - q.oldest_at), 0)::int,
    q.leased, q.parked, q.workers, q.slots
  from jsonb_to_recordset(pgflow.list_queues()) q(queue text, visible int, oldest_at timestamptz,
    leased int, parked int, workers int, slots int)
  order by q.queue
$$;
