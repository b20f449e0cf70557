-- How functions here are written. Each pins its search_path (S-14). Each door that works on sets pins its planner as
-- well: one generic plan, of nested loops over indexes. Sets are small beside the tables they meet, and a plan made
-- when the tables were small must still be right when they are large; what a hash join over all live runs costs is
-- not seen in a test and is seen in production. For the same reason a large table is joined with one set only, which
-- carries what is needed of the definition: with two, the planner may reach the table by half of its key. (jit: its
-- compile time alone is more than a turn.)
--
-- Time. The engine reads no other clock: a test sets `pgflow.fake_now` and moves it (`select set_config(…)`).

-- Transaction time, for stamps. Called by everything that stamps a row; takes no lock.
create or replace function pgflow.now() returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('pgflow.fake_now', true), '')::timestamptz, now())
$$;

-- The real clock, for visibility: it moves on within a transaction.
create or replace function pgflow.clock() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('pgflow.fake_now', true), '')::timestamptz, clock_timestamp())
$$;
