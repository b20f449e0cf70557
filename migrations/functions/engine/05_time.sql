-- Time. The engine reads no other clock, and no session can set this one: tests replace these
-- functions in databases of their own (pgflow_yaml/testing/virtual_time.sql).
--
-- Every function of these folders sets its own search_path (S-14); planner settings are in
-- 98_planner.sql.

-- The time of the statement, for the columns that record when something happened. Takes no lock.
-- (Not that of the transaction: a completion may commit in one that began with its handler.)
create or replace function pgflow.now() returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select statement_timestamp() $$;

-- The current time, for visibility and leases: it moves on within a transaction.
create or replace function pgflow.clock() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
as $$ select clock_timestamp() $$;

-- A lease, if it is from one second to one day; else raises PF006. A shorter one expires under a
-- living worker, a longer one keeps the tasks of a dead worker from the others.
create or replace function pgflow._checked_lease(p_lease interval) returns interval
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_lease between interval '1 second' and interval '1 day') is not true then
    raise exception using errcode = 'PF006',
      message = format('a lease is from 1 second to 1 day, not %s',
        coalesce(p_lease::text, 'null'));
  end if;
  return p_lease;
end
$$;

-- A number of rows to return or to check, if it is one; else raises PF006.
create or replace function pgflow._checked_limit(p_limit int) returns int
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_limit >= 0) is not true then
    raise exception using errcode = 'PF006',
      message = format('a limit is at least 0, not %s', coalesce(p_limit::text, 'null'));
  end if;
  return p_limit;
end
$$;

-- How far back to look, if it is a time between now and 1,000 years ago, or null; else raises
-- PF006.
create or replace function pgflow._checked_age(p_age interval) returns interval
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_age not between interval '0' and interval '1000 years' then
    raise exception using errcode = 'PF006',
      message = format('a time back is from 0 to 1000 years, not %s', p_age);
  end if;
  return p_age;
end
$$;
