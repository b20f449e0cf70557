-- Virtual time, for databases of tests alone: their owner applies this file after `migrate`, which
-- never does. It replaces the clock of 05_time by one that a session sets and moves from one event
-- to the next. In any other database no setting moves the time.

create or replace function pgflow.now() returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('pgflow.fake_now', true), '')::timestamptz, now())
$$;

create or replace function pgflow.clock() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('pgflow.fake_now', true), '')::timestamptz,
    clock_timestamp())
$$;

-- Any lease: time moves by years here.
create or replace function pgflow._checked_lease(p_lease interval) returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select p_lease $$;

-- The time at which something next becomes visible in any queue: a retry, a delayed start, a lease,
-- a timer. Null: nothing ever will. Locks nothing; reads the head of an index of each queue.
create or replace function pgflow.next_wake() returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select min(pgflow._queue_next(q.queue_name)) from pgmq.list_queues() q
$$;

-- Sets the clock of this session, and seeds the jitter of its retries: the numbers of a test stay
-- the same.
create or replace function pgflow.set_clock(p_now timestamptz) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select setseed(0.5), set_config('pgflow.fake_now', p_now::text, false)
$$;
