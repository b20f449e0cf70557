-- Time. The engine reads no other clock: a test sets `pgflow.fake_now` and moves it
-- (95_virtual_time).
--
-- Every function of these folders sets its own search_path (S-14); planner settings are in
-- 98_planner.sql.

-- Transaction time, for the columns that record when something happened. Takes no lock.
create or replace function pgflow.now() returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('pgflow.fake_now', true), '')::timestamptz, now())
$$;

-- The current time, for visibility and leases: it moves on within a transaction.
create or replace function pgflow.clock() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('pgflow.fake_now', true), '')::timestamptz,
    clock_timestamp())
$$;
