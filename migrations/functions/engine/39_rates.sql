-- Rates: of `places` attempts that start in any window of the time `per`. A slot of a rate is held
-- while it is let in and not yet claimed, and for `per` after the start of its attempt.
--
-- When an attempt starts only its worker knows: `started_at` is when the claiming transaction
-- began, which may be long before it is committed and read. So the start counts from the time at
-- which a turn first sees the attempt started, and a worker that has not begun it soon after its
-- claim (_slack) gives it back.

-- The time in which a worker begins what it has claimed, and which the start counts longer.
create or replace function pgflow._slack(p_per interval) returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select greatest(interval '100 ms', p_per / 20) $$;

-- Until when the start of an attempt counts that is seen now: `per`, and the time that its worker
-- may have taken to begin it. A worker that is far from the database takes longer, and says so
-- (slack_ms of its row).
create or replace function pgflow._counts_until(p_per interval, p_worker uuid) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return pgflow.clock() + p_per + greatest(pgflow._slack(p_per), (
    select (w.info ->> 'slack_ms')::int * interval '1 ms' from pgflow.workers w
    where w.worker_id = p_worker));
end
$$;

-- Counts from now on the attempts that have started since the gate was last opened, and deletes the
-- slots whose time is over. The caller holds the gate.
create or replace function pgflow._count_starts(p_limit pgflow.limits, p_key text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
begin
  update pgflow.slots s
  set until = pgflow._counts_until(p_limit.per, (
    select t.last_worker_id from pgflow.step_tasks t
    where (t.run_id, t.step_slug, t.task_index) = (s.run_id, s.step_slug, s.task_index)))
  where s.nr = any(array(
    select x.nr from pgflow.slots x
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (x.run_id, x.step_slug, x.task_index)
    where x.gate = p_limit.gate and x.key = p_key and x.held and x.until is null
      and t.status <> 'queued'
    for update of x skip locked));
  delete from pgflow.slots s
  where s.gate = p_limit.gate and s.key = p_key and s.held and s.until <= v_clock;
end
$$;

-- When to open the gate again: the first in line notes the time, so that one message is enough.
-- Null where one lies in the timer queue already, or nobody waits. Where no started attempt is
-- known yet, a turn looks again soon. The caller holds the gate.
create or replace function pgflow._next_start(p_limit pgflow.limits, p_key text)
returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_first pgflow.slots;
  v_at timestamptz;
begin
  select s.* into v_first from pgflow.slots s
  where s.gate = p_limit.gate and s.key = p_key and not s.held and s.not_before <= v_clock
  order by s.order_at, s.nr limit 1 for update skip locked;
  if not found or v_first.until > v_clock then
    return null;
  end if;
  v_at := coalesce(
    (select min(s.until) from pgflow.slots s
     where s.gate = p_limit.gate and s.key = p_key and s.held),
    v_clock + least(greatest(p_limit.per / 10, interval '100 ms'), interval '1 s'));
  update pgflow.slots s set until = v_at where s.nr = v_first.nr;
  return v_at;
end
$$;
