-- The sweep (R-3): a backstop that repairs states which should be impossible.

-- Sends live tasks without a message again, begins ready steps, and sends missing timers of large
-- maps, waits, schedules and runs for later. (A message without a task is dropped by the claim that
-- reads it.) Any worker may call it at any time: locked rows are skipped. It checks p_limit live
-- runs from a random id on, fewer when these have large maps: 100,000 tasks and the rest of one
-- run. So its cost is bounded and all runs have their turn. Returns the number of repairs.
create or replace function pgflow.sweep(p_limit int default 1000) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from uuid := gen_random_uuid();
  v_runs uuid[];
begin
  v_runs := array(
    select r.run_id from pgflow.runs r where r.status = 'started' and r.run_id >= v_from
    order by r.run_id limit pgflow._checked_limit(p_limit));
  v_runs := v_runs || array(
    select r.run_id from pgflow.runs r where r.status = 'started' and r.run_id < v_from
    order by r.run_id
    limit p_limit - cardinality(v_runs));
  v_runs := array(
    select k.run_id
    from (
      select r.run_id, sum(t.sent) over (order by u.nr) - t.sent as before
      from unnest(v_runs) with ordinality u(run_id, nr)
      join pgflow.runs r on r.run_id = u.run_id
      cross join lateral (
        select coalesce(sum(s.sent), 0) as sent
        from pgflow.step_states s where s.run_id = r.run_id and s.status = 'started') t
      where (select f.origin from pgflow.flows f where f.flow_slug = r.flow_slug) = 'deploy') k
    where k.before < 100000);
  return pgflow._sweep_runs(v_runs) + pgflow._sweep_slots(v_runs, p_limit)
    + pgflow._sweep_schedules();
end
$$;

-- Repairs runs: all at once, or one by one where a row of one of them cannot be read. What it says
-- about that one goes to the log of the server.
create or replace function pgflow._sweep_runs(p_runs uuid[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run uuid;
  v_count int := 0;
begin
  return pgflow._sweep_tasks(p_runs) + pgflow._sweep_steps(p_runs)
    + pgflow._sweep_start_times(p_runs);
exception when others then
  if pgflow._may_pass(sqlstate) then
    raise;
  elsif cardinality(p_runs) = 1 then
    raise warning 'run % cannot be repaired: %', p_runs[1], sqlerrm;
    return 0;
  end if;
  foreach v_run in array p_runs loop
    v_count := v_count + pgflow._sweep_runs(array[v_run]);
  end loop;
  return v_count;
end
$$;

-- Sends the missing messages of live tasks. Locks tasks, skipping locked ones. Returns their
-- number.
create or replace function pgflow._sweep_tasks(p_runs uuid[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue record;
  v_sent int := 0;
  v_missing bigint[];
  v_messages pgflow._message[];
begin
  for v_queue in
    select t.queue_name, array_agg(t.message_id) as ids
    from pgflow.step_states s
    join pgflow.step_tasks t on t.run_id = s.run_id and t.step_slug = s.step_slug
    where s.run_id = any(p_runs) and s.status = 'started'
      and (t.status = 'queued' and t.task_index < s.sent and not pgflow._is_waiting(t)
           or t.status = 'started' and t.lease < pgflow.clock())
    group by 1
  loop
    -- Into a variable: inside the query it would be called for every task there is.
    v_missing := pgflow._queue_missing(v_queue.queue_name, v_queue.ids);
    continue when v_missing is null;
    select array_agg(row(k.message_id, pgflow.clock(), k.flow_slug, k.run_id, k.step_slug,
                         k.task_index)::pgflow._message)
    into v_messages
    from (
      -- the same condition again: by now a task may wait for its next attempt, or at a gate
      select t.* from pgflow.step_tasks t
      join pgflow.step_states s on s.run_id = t.run_id and s.step_slug = t.step_slug
      where t.message_id = any(v_missing) and t.queue_name = v_queue.queue_name
        and s.status = 'started'
        and (t.status = 'queued' and t.task_index < s.sent and not pgflow._is_waiting(t)
             or t.status = 'started' and t.lease < pgflow.clock())
      for no key update of t skip locked) k;
    if v_messages is not null then
      perform pgflow._queue_send_missing(v_queue.queue_name, v_messages);
      v_sent := v_sent + cardinality(v_messages);
    end if;
  end loop;
  return v_sent;
end
$$;

-- Begins ready steps and sends missing timers. Locks runs, skipping locked ones. Returns the number
-- of repairs.
create or replace function pgflow._sweep_steps(p_runs uuid[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[];
  v_ready pgflow._start[];
  v_state record;
  v_count int := 0;
begin
  v_runs := array(
    select r.run_id from pgflow.runs r
    where r.run_id = any(p_runs) and exists (
      select 1 from pgflow.step_states s
      where s.run_id = r.run_id and (
        s.status = 'created' and s.remaining_deps = 0
        or s.status = 'started' and (s.made < s.initial_tasks or s.wakes_at is not null
          or s.timer_message_id is not null)))
    order by r.run_id for no key update skip locked);
  v_runs := array( -- a retried one may wait for its slot
    select r.run_id from pgflow.runs r where r.run_id = any(v_runs) and r.waits_at is null);
  select array_agg(row(s.run_id, s.flow_slug, s.step_slug, null, null)::pgflow._start)
  into v_ready
  from pgflow.step_states s
  where s.run_id = any(v_runs) and s.status = 'created' and s.remaining_deps = 0;
  if v_ready is not null then
    v_count := cardinality(v_ready);
    perform pgflow._advance('{}', v_ready);
  end if;
  for v_state in
    select s.run_id, s.step_slug, s.made < s.initial_tasks as makes
    from pgflow.step_states s
    where s.run_id = any(v_runs) and s.status = 'started'
      and (s.made < s.initial_tasks or s.wakes_at is not null or s.timer_message_id is not null)
      and not pgflow._is_stopping(s.run_id, s.step_slug)
      and (s.timer_message_id is null
        or pgflow._queue_missing('pgflow__timers', array[s.timer_message_id]) is not null)
  loop
    update pgflow.step_states s
    set timer_message_id = pgflow._queue_send_timer(
      'pgflow__timers', pgflow.clock(),
      jsonb_build_object('kind', case when v_state.makes then 'make' else 'wait' end,
        'run_id', v_state.run_id, 'step_slug', v_state.step_slug)
      || case when v_state.makes then '{}'::jsonb else '{"tells": true}' end)
    where s.run_id = v_state.run_id and s.step_slug = v_state.step_slug;
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;
