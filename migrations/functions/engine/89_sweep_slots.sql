-- The sweep of slots: a backstop, as _sweep_runs is for runs. What the rows of runs and tasks say
-- is the truth; slots that do not fit are deleted, and missing ones are written.

-- Deletes what is over or left, p_limit rows at most, writes the missing slots of these runs, and
-- opens gates that nothing else opens. Locks slots, then runs, skipping locked ones. Returns the
-- number of repairs; to delete what is over is none.
create or replace function pgflow._sweep_slots(p_runs uuid[], p_limit int) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_from uuid := gen_random_uuid();
  v_left bigint[];
  v_count int;
begin
  if not exists (select 1 from pgflow.slots) and not exists (select 1 from pgflow.limits) then
    return 0;
  end if;
  delete from pgflow.slots s where s.nr = any(array(
    select x.nr from pgflow.slots x where x.held and x.until <= v_clock
    limit p_limit for update skip locked));
  v_left := array(
    select s.nr
    from ((select x.* from pgflow.slots x where x.run_id >= v_from order by x.run_id limit p_limit)
          union all
          (select x.* from pgflow.slots x where x.run_id < v_from order by x.run_id limit p_limit)
         ) s
    where pgflow._is_left(row(s.*)::pgflow.slots));
  v_left := array(
    select s.nr from pgflow.slots s where s.nr = any(v_left) for update skip locked);
  delete from pgflow.slots s where s.nr = any(v_left);
  v_count := cardinality(v_left) + pgflow._write_missing_slots(array(
    select distinct v.run_id from pgflow._slot_violations(p_runs) v));
  with opened as (
    select g.gate, g.key from pgflow._stuck_gates(p_limit) g
  ), noted as (
    select pgflow._note_gates(array_agg(o.gate), array_agg(o.key), array_agg(v_clock))
    from opened o having count(*) > 0
  )
  select v_count + count(*) into v_count from opened, (select count(*) from noted) n;
  return v_count;
end
$$;

-- Writes the missing slots of runs and of their tasks: held ones for what has begun, even where
-- there are then more than the limit. Returns their number. Locks the runs, skipping locked ones.
create or replace function pgflow._write_missing_slots(p_runs uuid[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_runs uuid[];
  v_written int;
  v_more int;
begin
  if cardinality(p_runs) = 0 then
    return 0;
  end if;
  v_runs := array(
    select r.run_id from pgflow.runs r
    where r.run_id = any(p_runs) and r.status = 'started'
    order by r.run_id for no key update skip locked);
  insert into pgflow.slots (gate, key, run_id, held, order_at, not_before)
  select f.gate ->> 'gate', pgflow._gate_key(r, f.gate, null), r.run_id, r.waits_at is null,
    r.started_at - f.priority * interval '1 minute', v_clock
  from pgflow.runs r
  join pgflow.flows f on f.flow_slug = r.flow_slug and f.gate is not null
  where r.run_id = any(v_runs) and coalesce(r.waits_at, f.gate ->> 'gate') = f.gate ->> 'gate'
    and not exists (
      select 1 from pgflow.slots s
      where s.run_id = r.run_id and s.gate = f.gate ->> 'gate');
  get diagnostics v_written = row_count;
  insert into pgflow.slots (gate, key, run_id, step_slug, task_index, held, order_at, not_before)
  select g.first ->> 'gate', pgflow._task_key(t, g.first), t.run_id, t.step_slug, t.task_index,
    t.status = 'started' or pgflow._queue_missing(t.queue_name, array[t.message_id]) is null
      or exists (
        select 1 from pgflow.slots s
        where s.run_id = t.run_id and s.step_slug = t.step_slug and s.task_index = t.task_index
          and (s.until is null or not s.held)),
    t.queued_at - pgflow._lead(d), v_clock
  from pgflow._slot_violations(v_runs) v
  join pgflow.step_states k on k.run_id = v.run_id and k.step_slug = v.step_slug
  join pgflow.steps d on d.flow_slug = k.flow_slug and d.step_slug = k.step_slug
  join pgflow.step_tasks t on t.run_id = k.run_id and t.step_slug = k.step_slug
  cross join lateral (select coalesce(d.gate -> 'concurrency', d.gate -> 'rate') as first) g
  where v.details = format('task %s is %s without a slot', t.task_index, t.status);
  get diagnostics v_more = row_count;
  return v_written + v_more;
end
$$;
