-- The invariants of the engine as queries, for tests and for operators in doubt.

-- The violations of the invariants I1 to I9 that the rows of some runs alone can show, and rows
-- that the engine cannot have written, one line each; no line when all is well. (A run whose steps
-- have ended goes on while a child run does, or while a timer is to tell it that the child has
-- ended.)
create or replace function pgflow._violations(p_runs uuid[])
returns table (invariant text, run_id uuid, step_slug text, details text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'I1', t.run_id, t.step_slug,
    format('task %s is %s in a run that has ended', t.task_index, t.status)
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where t.run_id = any(p_runs)
    and r.status <> 'started' and t.status in ('queued', 'started')
  union all
  select 'I1', s.run_id, s.step_slug, format('step is %s in a run that has ended', s.status)
  from pgflow.step_states s join pgflow.runs r on r.run_id = s.run_id
  join pgflow.flows f on f.flow_slug = r.flow_slug
  where r.run_id = any(p_runs)
    and r.status <> 'started' and f.origin = 'deploy' and s.status in ('created', 'started')
  union all
  select 'I1', c.run_id, null, 'goes on, but its parent has ended'
  from pgflow.runs c join pgflow.runs r on r.run_id = c.parent_run_id
  where c.run_id = any(p_runs) and c.status = 'started' and r.status <> 'started'
  union all
  select 'I3', s.run_id, s.step_slug,
    format('remaining_tasks is %s, %s are open', s.remaining_tasks, o.open)
  from pgflow.step_states s
  cross join lateral (
    select s.initial_tasks - count(*) filter (
        where t.status = 'completed' or t.status = 'failed' and d.tolerant) as open
    from pgflow.step_tasks t
    join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
    where t.run_id = s.run_id and t.step_slug = s.step_slug) o
  where s.run_id = any(p_runs)
    and s.status in ('started', 'completed') and s.remaining_tasks <> o.open
  union all
  select 'I3', s.run_id, s.step_slug,
    format('remaining_deps is %s, %s are open', s.remaining_deps, o.open)
  from pgflow.step_states s
  cross join lateral (
    select count(*) filter (
        where x.status not in ('completed', 'skipped', 'failed', 'cancelled')) as open
    from pgflow.deps d join pgflow.step_states x on x.run_id = s.run_id and x.step_slug = d.dep_slug
    where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug) o
  join pgflow.runs r on r.run_id = s.run_id and r.status = 'started' and r.waits_at is null
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  where s.run_id = any(p_runs) and s.status = 'created'
    and s.remaining_deps <> o.open + (d.is_finally and d.deps_count = 0)::int
  union all
  select 'I3', r.run_id, null,
    format('remaining_steps is %s, %s are open', r.remaining_steps, o.open)
  from pgflow.runs r
  cross join lateral (
    select count(*) filter (where s.status in ('created', 'started')) as open
    from pgflow.step_states s where s.run_id = r.run_id) o
  where r.run_id = any(p_runs) and r.waits_at is null
    and r.status in ('started', 'completed') and r.remaining_steps <> o.open
  union all
  select 'I3', s.run_id, s.step_slug,
    'started, but nothing of it is live, waits or is still to be made'
  from pgflow.step_states s
  join pgflow.runs r on r.run_id = s.run_id and r.status = 'started'
  join pgflow.flows f on f.flow_slug = r.flow_slug and f.origin = 'deploy'
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
    and d.action <> 'wait'
  where r.run_id = any(p_runs) and s.status = 'started'
    and (s.made >= s.initial_tasks or pgflow._is_stopping(s.run_id, s.step_slug))
    and not exists (
      select 1 from pgflow.step_tasks t
      where t.run_id = s.run_id and t.step_slug = s.step_slug and t.status in ('queued', 'started'))
  union all
  select 'I3', r.run_id, null, 'goes on, but no step of it is started'
  from pgflow.runs r join pgflow.flows f on f.flow_slug = r.flow_slug and f.origin = 'deploy'
  where r.run_id = any(p_runs) and r.status = 'started' and r.waits_at is null
    and not exists (
      select 1 from pgflow.step_states s where s.run_id = r.run_id and s.status = 'started')
    and not exists (
      select 1 from pgflow.runs c
      where c.parent_run_id = r.run_id and (
        c.status = 'started' or c.run_id in (select n from pgflow._queue_ended_children() n)))
  union all
  select 'I5', s.run_id, s.step_slug, format('started before %s had ended', x.step_slug)
  from pgflow.step_states s
  join pgflow.deps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  join pgflow.step_states x on x.run_id = s.run_id and x.step_slug = d.dep_slug
  where s.run_id = any(p_runs)
    and s.status in ('started', 'completed', 'failed') and x.status in ('created', 'started')
  union all
  select 'I6', s.run_id, s.step_slug,
    format('%s items, but another number of outputs', s.initial_tasks)
  from pgflow.step_states s
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  where s.run_id = any(p_runs) and s.status = 'completed' and d.step_type = 'map'
    and case jsonb_typeof(s.output) when 'array' then jsonb_array_length(s.output) end
      is distinct from s.initial_tasks
  union all
  select 'rows', r.run_id, null, format('the run is "%s", its flow is "%s"', r.status, r.flow_slug)
  from pgflow.runs r
  where r.run_id = any(p_runs) and (
    (r.status in ('started', 'completed', 'failed', 'cancelled')) is not true
    or r.remaining_steps is null
    or not exists (select 1 from pgflow.flows f where f.flow_slug = r.flow_slug))
  union all
  select 'rows', s.run_id, s.step_slug,
    format('the step is "%s", or not of the flow of its run', s.status)
  from pgflow.step_states s join pgflow.runs r on r.run_id = s.run_id
  where s.run_id = any(p_runs) and (
    (s.status in ('created', 'started', 'completed', 'failed', 'skipped', 'cancelled'))
      is not true
    or s.flow_slug is distinct from r.flow_slug or s.remaining_deps is null
    or s.status = 'started' and s.remaining_tasks is null)
  union all
  select 'rows', t.run_id, t.step_slug, format('task %s is "%s", in queue "%s"', t.task_index,
    t.status, t.queue_name)
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where t.run_id = any(p_runs) and (
    (t.status in ('queued', 'started', 'completed', 'failed', 'cancelled', 'skipped'))
      is not true
    or t.flow_slug is distinct from r.flow_slug
    or t.status in ('queued', 'started') and r.flow_name is not null and (
      (t.message_id > 0 and t.attempts_count >= 0 and t.crashes_count >= 0) is not true
      or t.queue_name is distinct from (
        select d.queue_name from pgflow.steps d
        where d.flow_slug = t.flow_slug and d.step_slug = t.step_slug)))
  union all
  select 'rows', r.run_id, d.step_slug, 'the step, or the definition of its flow, was changed'
  from pgflow.steps d join pgflow.runs r on r.flow_slug = d.flow_slug and r.status = 'started'
  join pgflow.flows f on f.flow_slug = d.flow_slug and f.origin = 'deploy'
  left join pgflow.definitions n on n.flow_slug = d.flow_slug
  cross join lateral (
    select n.definition -> case when d.is_finally then 'finally' else 'steps' end -> d.step_slug
      as body) b
  where r.run_id = any(p_runs)
    and ((d.step_type in ('single', 'map') and d.action in ('handler', 'flow', 'wait')
      and d.when_unmet in ('fail', 'skip', 'skip-cascade')
      and d.when_exhausted in ('fail', 'skip', 'skip-cascade') and d.deps_count >= 0
      and d.queue_name <> '' and d.is_finally is not null and d.tolerant is not null
      and (d.action <> 'handler' or d.handler <> '') and jsonb_typeof(d.spec) = 'object'
      and coalesce(d.max_parallel, 1) > 0) is not true
    or row(d.handler, d.condition, d.map_items,
        d.spec -> 'with', d.spec -> 'wait', d.spec -> 'flow')
      is distinct from row(pgflow._handler_key(b.body), b.body -> 'if', b.body -> 'map',
        b.body -> 'with', b.body -> 'wait', b.body -> 'flow'))
  union all
  select 'I7', t.run_id, t.step_slug,
    format('task %s: %s attempts counted, %s crashes',
           t.task_index, t.attempts_count - t.uncounted, t.crashes_count)
  from pgflow.step_tasks t
  join pgflow.flows f on f.flow_slug = t.flow_slug and f.origin = 'deploy'
  join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
  where t.run_id = any(p_runs) and (
    t.attempts_count - t.uncounted > greatest(d.opt_max_attempts, 1) or t.crashes_count > 5)
  union all
  select v.* from pgflow._slot_violations(p_runs) v
$$;

-- The violations of all runs, read a thousand runs at a time. What is left of a run that is being
-- pruned says nothing.
create or replace function pgflow.violations()
returns table (invariant text, run_id uuid, step_slug text, details text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_runs uuid[];
  v_last uuid := '00000000-0000-0000-0000-000000000000';
begin
  loop
    v_runs := array(
      select r.run_id from pgflow.runs r where r.run_id > v_last order by r.run_id limit 1000);
    exit when v_runs = '{}';
    return query select v.* from pgflow._violations(array(
      select r.run_id from pgflow.runs r where r.run_id = any(v_runs) and r.pruned_at is null)) v;
    v_last := v_runs[cardinality(v_runs)];
  end loop;
end
$$;

-- I2 and I8, which need the queues: live tasks of these runs without their message, and messages
-- without a live task, of each queue the first p_messages (null: all). (`offset 0`: tasks are found
-- by their runs, not by their queue, which may have millions.)
create or replace function pgflow._queue_violations(p_runs uuid[], p_messages int)
returns table (invariant text, queue_name text, message_id bigint, details text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue text;
begin
  for v_queue in
    select distinct d.queue_name from pgflow.flows f
    join pgflow.steps d on d.flow_slug = f.flow_slug
    where f.origin = 'deploy' and d.queue_name <> '' -- else violations() says so
  loop
    return query
      select 'I2', v_queue, m.id, 'live task without a message'::text
      from unnest(pgflow._queue_missing(v_queue, array(
        select t.message_id
        from (select x.* from pgflow.step_tasks x where x.run_id = any(p_runs) offset 0) t
        join pgflow.step_states s on s.run_id = t.run_id and s.step_slug = t.step_slug
        where t.queue_name = v_queue and t.status in ('queued', 'started')
          and t.task_index < s.sent and not pgflow._is_waiting(t)))) m(id)
      union all
      select 'I8', v_queue, m.id, 'message without a live task'::text
      from unnest(pgflow._queue_task_ids(v_queue, p_messages)) m(id)
      where not exists (
        select 1 from pgflow.step_tasks t
        where t.queue_name = v_queue and t.message_id = m.id
          and t.status in ('queued', 'started'));
  end loop;
  return query
    select 'I2', t.queue_name, t.message_id,
      'child run has ended, but its step is not notified'::text
    from (select x.* from pgflow.step_tasks x where x.run_id = any(p_runs) offset 0) t
    join pgflow.runs p on p.run_id = t.run_id and p.status = 'started'
    left join pgflow.runs c on c.run_id = t.child_run_id
    where t.queue_name = 'pgflow__timers' and t.status = 'started'
      and c.status is distinct from 'started'
      and t.child_run_id not in (select n from pgflow._queue_ended_children() n);
  return query
    select 'I8', 'pgflow__timers', n.msg_id, 'message of a run that is not there'::text
    from pgflow._queue_timers(p_messages) n
    where not exists (select 1 from pgflow.runs r where r.run_id = n.run_id);
  return query
    select 'I9', s.gate, s.nr, 'slot of a run that is not there'::text
    from (select x.* from pgflow.slots x where not (x.held and x.until is not null)
          order by x.nr limit p_messages) s
    where not exists (select 1 from pgflow.runs r where r.run_id = s.run_id);
  return query
    select 'I9', g.gate, null::bigint, format('key %s: a place is free, somebody waits, and no '
      || 'message opens the gate', g.key)
    from pgflow._stuck_gates(coalesce(p_messages, 1000)) g where p_messages is distinct from 0;
end
$$;

-- I2 and I8 of all live runs and of all messages.
create or replace function pgflow.queue_violations()
returns table (invariant text, queue_name text, message_id bigint, details text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select v.* from pgflow._queue_violations(
    array(select r.run_id from pgflow.runs r where r.status = 'started'), null) v
$$;

-- The invariants as far as they can be checked within some seconds: of live runs from a random id
-- on, then of the newest 1,000 that have ended, and of the first 1,000 messages of each queue.
-- Called in a transaction with one snapshot, or what workers change meanwhile would look wrong.
-- Returns {runs: number checked, whole: no live run was left out, count, violations: 20 at most}.
create or replace function pgflow.check_invariants(p_seconds double precision default 3)
returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_until timestamptz := clock_timestamp()
    + make_interval(secs => least(greatest(coalesce(p_seconds, 0), 0), 3600));
  v_from uuid := gen_random_uuid();
  v_live uuid[] := array(
    select r.run_id from pgflow.runs r where r.status = 'started'
    order by r.run_id < v_from, r.run_id limit 100001);
  v_all uuid[] := v_live[:100000] || array(
    select k.run_id
    from (select r.run_id, r.status, r.pruned_at from pgflow.runs r
          order by r.started_at desc, r.run_id limit 2000) k
    where k.status <> 'started' and k.pruned_at is null limit 1000);
  v_runs uuid[];
  v_done int := 0;
  v_found jsonb := '[]';
begin
  loop
    v_runs := v_all[v_done + 1 : v_done + 50];
    exit when v_runs = '{}' or v_done > 0 and clock_timestamp() > v_until;
    v_found := v_found
      || coalesce((select jsonb_agg(to_jsonb(v)) from pgflow._violations(v_runs) v), '[]')
      || coalesce((select jsonb_agg(to_jsonb(v)) from pgflow._queue_violations(
           v_runs, case v_done when 0 then 1000 else 0 end) v), '[]');
    v_done := v_done + cardinality(v_runs);
  end loop;
  return jsonb_build_object('runs', v_done, 'whole', v_done >= cardinality(v_live),
    'count', jsonb_array_length(v_found),
    'violations', jsonb_path_query_array(v_found, '$[0 to 19]'));
end
$$;
