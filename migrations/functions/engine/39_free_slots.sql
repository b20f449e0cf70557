-- Giving slots back. A slot belongs to a live run or task, and ends with it.

-- Deletes the slots of runs that have ended. The caller holds the runs.
create or replace function pgflow._leave_gates(p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_gates text[];
  v_keys text[];
  v_at timestamptz[];
begin
  with gone as (
    delete from pgflow.slots s where s.run_id = any(p_runs) and s.step_slug is null
    returning s.gate, s.key, s.held
  )
  select array_agg(g.gate), array_agg(g.key), array_agg(v_clock) into v_gates, v_keys, v_at
  from gone g where g.held;
  if v_gates is not null then
    perform pgflow._note_gates(v_gates, v_keys, v_at);
  end if;
end
$$;

-- Gives back the slots of tasks of these runs and steps that are live no more; null steps or
-- indexes are all of them. Arrays are parallel. The start of an attempt counts on for the time of
-- its rate. The caller holds the runs.
create or replace function pgflow._free_slots(p_runs uuid[], p_steps text[], p_indexes int[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_gates text[];
  v_keys text[];
  v_at timestamptz[];
begin
  with gone as materialized (
    select s.nr, s.gate, s.key, s.held,
      case when s.held and t.started_at is not null then
        pgflow._counts_until(l.per, t.last_worker_id) end as until
    from unnest(p_runs, p_steps, p_indexes) u(run_id, step_slug, task_index)
    join pgflow.slots s on s.run_id = u.run_id and s.step_slug is not null
      and (u.step_slug is null or s.step_slug = u.step_slug)
      and (u.task_index is null or s.task_index = u.task_index)
    left join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (s.run_id, s.step_slug, s.task_index)
    left join pgflow.limits l on l.gate = s.gate
    where (t.status in ('queued', 'started')) is not true and not (s.held and s.until is not null)
  ), counted as (
    update pgflow.slots s set until = g.until from gone g
    where s.nr = g.nr and g.until is not null
  ), deleted as (
    delete from pgflow.slots s using gone g where s.nr = g.nr and g.until is null
  )
  select array_agg(g.gate), array_agg(g.key), array_agg(v_clock) into v_gates, v_keys, v_at
  from (select distinct x.gate, x.key from gone x where x.held) g;
  if v_gates is not null then
    perform pgflow._note_gates(v_gates, v_keys, v_at);
  end if;
end
$$;

-- Settles the slots of reported attempts: those of ended tasks are given back. A task that goes
-- again has neither message nor slot until its next attempt is due; then it waits in its old place.
-- One that its worker gives back unbegun (NotBegun) keeps both: no attempt has started. The caller
-- holds the runs and the tasks.
create or replace function pgflow._settle_slots(p_reports pgflow._report[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_queue record;
  v_kept text[]; -- queue/message
  v_gates text[];
  v_keys text[];
  v_at timestamptz[];
begin
  with unbegun as (
    update pgflow.slots s set until = null
    from unnest(p_reports) p
    where p.outcome = 'released' and p.error ->> 'type' = 'NotBegun'
      and s.run_id = p.run_id and s.step_slug = p.step_slug and s.task_index = p.task_index
      and (s.until is null or s.until > v_clock) and s.nr = (
        select max(x.nr) from pgflow.slots x
        where x.run_id = p.run_id and x.step_slug = p.step_slug and x.task_index = p.task_index
          and x.held and starts_with(x.gate, 'rate:'))
    returning s.run_id, s.step_slug, s.task_index
  )
  select array_agg(t.queue_name || '/' || t.message_id) into v_kept
  from unbegun u
  join pgflow.step_tasks t
    on (t.run_id, t.step_slug, t.task_index) = (u.run_id, u.step_slug, u.task_index);
  perform pgflow._free_slots(array_agg(p.run_id), array_agg(p.step_slug), array_agg(p.task_index))
  from unnest(p_reports) p;
  for v_queue in
    select t.queue_name, array_agg(t.message_id) as ids, array_agg(t) as tasks,
      array_agg(coalesce(pgflow._queue_due(t.queue_name, t.message_id), v_clock)) as dues
    from unnest(p_reports) p
    join pgflow.step_tasks t
      on (t.run_id, t.step_slug, t.task_index) = (p.run_id, p.step_slug, p.task_index)
    join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
    where t.status = 'queued' and d.gate is not null
      and t.queue_name || '/' || t.message_id = any(v_kept) is not true
    group by 1
  loop
    with again as materialized (
      select s.nr, s.gate, s.key, l.per, q.due, t.last_worker_id as worker, s.until,
        starts_with(s.gate, 'rate:') as rated
      from unnest(v_queue.ids, v_queue.dues) q(id, due)
      join unnest(v_queue.tasks) t on t.message_id = q.id
      join pgflow.slots s on s.run_id = t.run_id and s.step_slug = t.step_slug
        and s.task_index = t.task_index and s.held
      left join pgflow.limits l on l.gate = s.gate
    ), back as (
      update pgflow.slots s set held = false, not_before = a.due from again a
      where s.nr = a.nr and not a.rated
    ), counted as (
      update pgflow.slots s set until = pgflow._counts_until(a.per, a.worker) from again a
      where s.nr = a.nr and a.rated and a.until is null and a.per is not null
    ), deleted as (
      delete from pgflow.slots s using again a
      where s.nr = a.nr and a.rated and a.until is null and a.per is null
    ), asked as ( -- the slot of an attempt that took long is over
      insert into pgflow.slots (gate, key, run_id, step_slug, task_index, order_at, not_before)
      select d.gate #>> '{rate,gate}', pgflow._task_key(t, d.gate -> 'rate'), t.run_id,
        t.step_slug, t.task_index, least(t.queued_at, v_clock) - pgflow._lead(d), q.due
      from unnest(v_queue.ids, v_queue.dues) q(id, due)
      join unnest(v_queue.tasks) t on t.message_id = q.id
      join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
      where not d.gate ? 'concurrency'
      returning gate, key, not_before
    )
    select array_agg(n.gate), array_agg(n.key), array_agg(n.at) into v_gates, v_keys, v_at
    from (select a.gate, a.key, a.due as at from again a
          union select a.gate, a.key, v_clock from again a
          union select a.gate, a.key, a.not_before from asked a) n;
    perform pgflow._queue_drop(v_queue.queue_name, v_queue.ids, false);
    perform pgflow._note_gates(v_gates, v_keys, v_at);
  end loop;
end
$$;
