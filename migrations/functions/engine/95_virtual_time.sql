-- Virtual time, for tests of flows: a test that has a database to itself moves its clock (05_time)
-- from one event to the next.

-- The time at which something next becomes visible in any queue: a retry, a delayed start, a lease,
-- a timer. Null: nothing ever will. Locks nothing; reads the head of an index of each queue.
create or replace function pgflow.next_wake() returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select min(pgflow._queue_next(q.queue_name)) from pgmq.list_queues() q
$$;

-- Sets the clock of this session, and seeds the jitter of its retries: the numbers of a test stay
-- the same.
create or replace function pgflow.set_clock(p_now timestamptz) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select setseed(0.5), set_config('pgflow.fake_now', p_now::text, false)
$$;
