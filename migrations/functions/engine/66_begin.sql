-- Beginning steps: states become started, tasks are made and sent. A wide map of a deployed flow is
-- made and sent in windows; two counters of its state (made, sent) say where it stands. Called by
-- somebody who holds the runs.

-- Begins steps: their states become started, their tasks are made and sent. The caller holds the
-- runs.
create or replace function pgflow._start_steps(p_starts pgflow._start[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  with known as materialized (
    select b.run_id, b.step_slug, b.tasks, d.max_parallel, d.spec is not null as deployed
    from unnest(p_starts) b
    join pgflow.steps d on d.flow_slug = b.flow_slug and d.step_slug = b.step_slug
  )
  update pgflow.step_states s
  set status = 'started', started_at = greatest(v_now, s.created_at), initial_tasks = k.tasks,
      remaining_tasks = k.tasks,
      made = case when k.deployed then least(k.tasks, pgflow._batch_size()) else k.tasks end,
      sent = case when k.deployed then least(k.tasks, k.max_parallel, pgflow._window_size())
        else k.tasks end
  from known k
  where s.run_id = k.run_id and s.step_slug = k.step_slug;
  perform pgflow._make_tasks(p_starts);
end
$$;

-- How many messages of one map are live at most, so that a wide one does not starve the runs behind
-- it; fewer where the step says max_parallel.
create or replace function pgflow._window_size() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 1000 $$;

-- How many tasks of one map are made in one transaction at most: 40,000 would hold the run's lock
-- for a second.
create or replace function pgflow._batch_size() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 5000 $$;

-- Messages come out by their time. Of deployed flows, that of a step with one task goes in as if it
-- had been sent this much earlier: it passes the windows of wide maps, which may hold 1,000 slow
-- tasks; and no map waits longer for it.
create or replace function pgflow._head_start() returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select interval '1 minute' $$;

-- Makes the first tasks of steps that have just begun and sends those within the window. Of flows
-- made by create_flow all are made and sent at once, as pgflow does. The caller holds the runs.
create or replace function pgflow._make_tasks(p_starts pgflow._start[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_clock timestamptz := pgflow.clock();
  v_batch record;
  v_windowed pgflow._start;
begin
  for v_batch in
    with starting as materialized (
      select u.*, d.queue_name, case when d.spec is not null then pgflow._batch_size() end as most,
        case when d.spec is not null then least(d.max_parallel, pgflow._window_size()) end as live,
        v_clock + case
          when k.delay = 0 and d.spec is not null and d.step_type = 'single'
            then - pgflow._head_start()
          else k.delay * interval '1 ms' end as vt
      from unnest(p_starts) with ordinality u(run_id, flow_slug, step_slug, tasks, items, nr)
      join pgflow.steps d on d.flow_slug = u.flow_slug and d.step_slug = u.step_slug
      cross join lateral (
        select coalesce((d.spec ->> 'start_delay_ms')::bigint, d.opt_start_delay * 1000::bigint,
          0) as delay) k
    -- what the tasks of a step share: no look at the steps for each task
    ), kinds as materialized (
      select s.flow_slug, s.step_slug, min(s.live) as live, min(s.vt) as vt from starting s
      group by 1, 2
    ), queues as materialized (  -- once a queue, not once a task
      select q.queue_name, pgflow._queue_sequence(q.queue_name) as seq
      from (select distinct s.queue_name from starting s) q
    ), wanted as (
      select b.run_id, b.flow_slug, b.step_slug, e.idx, e.item, b.queue_name, q.seq
      from starting b
      join queues q on q.queue_name = b.queue_name
      cross join lateral (
        select (x.nr - 1)::int as idx, x.item
        from jsonb_array_elements(b.items) with ordinality x(item, nr)
        where b.items is not null
        union all
        select g, null from generate_series(0, b.tasks - 1) g where b.items is null
      ) e
      where b.most is null or e.idx < b.most
      order by b.nr, e.idx
    ), made as (
      insert into pgflow.step_tasks (
        flow_slug, run_id, step_slug, task_index, item, message_id, queue_name, queued_at)
      select w.flow_slug, w.run_id, w.step_slug, w.idx, w.item, nextval(w.seq), w.queue_name, v_now
      from wanted w
      returning flow_slug, run_id, step_slug, task_index, message_id, queue_name
    )
    select m.queue_name,
      array_agg(row(m.message_id, k.vt, m.flow_slug, m.run_id, m.step_slug,
        m.task_index)::pgflow._message
                                   order by m.message_id) as messages
    from made m
    join kinds k on k.flow_slug = m.flow_slug and k.step_slug = m.step_slug
    where k.live is null or m.task_index < k.live
    group by 1
  loop
    perform pgflow._queue_send(v_batch.queue_name, v_batch.messages);
  end loop;

  for v_windowed in
    select b.* from unnest(p_starts) b
    join pgflow.flows f on f.flow_slug = b.flow_slug
    where f.origin = 'deploy' and b.tasks > pgflow._batch_size()
  loop
    update pgflow.step_states s
    set timer_message_id = pgflow._queue_send_timer('pgflow__timers', v_clock,
      jsonb_build_object('kind', 'make', 'run_id', v_windowed.run_id,
        'step_slug', v_windowed.step_slug))
    where s.run_id = v_windowed.run_id and s.step_slug = v_windowed.step_slug;
  end loop;
end
$$;

-- Makes the next tasks of a wide map; the clock queue's message calls for it. The map's expression
-- is pure and what it reads cannot change any more, so it is evaluated again. A run that is being
-- stopped gets no more. The caller holds the run. Returns whether more are to come.
create or replace function pgflow._make_more_tasks(p_run_id uuid, p_step_slug text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state pgflow.step_states;
  v_step pgflow.steps;
  v_run pgflow.runs;
  v_now timestamptz := pgflow.now(); -- here: a call for each task costs a tenth of making it
  v_items jsonb;
  v_sequence regclass;
  v_to int;
begin
  select s.* into v_state from pgflow.step_states s
  where s.run_id = p_run_id and s.step_slug = p_step_slug;
  select d.* into v_step from pgflow.steps d
  where d.flow_slug = v_state.flow_slug and d.step_slug = p_step_slug;
  select r.* into v_run from pgflow.runs r where r.run_id = p_run_id;
  if v_state.status is distinct from 'started' or v_state.made >= v_state.initial_tasks
    or pgflow._is_stopping(p_run_id, p_step_slug)
  then
    return false;
  end if;
  v_to := least(v_state.made + pgflow._batch_size(), v_state.initial_tasks);
  if v_step.fixed_tasks is null then
    v_items := pgflow._map_items(v_run, v_step) -> 'value';
  end if;
  v_sequence := pgflow._queue_sequence(v_step.queue_name);
  insert into pgflow.step_tasks (
    flow_slug, run_id, step_slug, task_index, item, message_id, queue_name, queued_at)
  select v_state.flow_slug, p_run_id, p_step_slug, g, v_items -> g, nextval(v_sequence),
    v_step.queue_name, v_now
  from generate_series(v_state.made, v_to - 1) g order by g;
  update pgflow.step_states s
  set made = v_to, timer_message_id = case when v_to < s.initial_tasks then s.timer_message_id end
  where s.run_id = p_run_id and s.step_slug = p_step_slug;
  perform pgflow._send_more_tasks(
    array[row(p_run_id, v_state.flow_slug, p_step_slug)::pgflow._step]);
  return v_to < v_state.initial_tasks;
end
$$;

-- Sends wide maps' next messages as slots of their windows come free. Two counters say where each
-- stands: live = sent - ended. The caller holds the runs.
create or replace function pgflow._send_more_tasks(p_steps pgflow._step[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_batch record;
begin
  for v_batch in
    with windows as materialized (
      select w.run_id, w.step_slug, least(d.max_parallel, pgflow._window_size()) as width
      from (select distinct u.run_id, u.flow_slug, u.step_slug from unnest(p_steps) u) w
      join pgflow.steps d on d.flow_slug = w.flow_slug and d.step_slug = w.step_slug
    ), room as (
      select s.run_id, s.step_slug, s.sent as first,
        least(s.made, w.width + s.initial_tasks - s.remaining_tasks) as next
      from windows w
      join pgflow.step_states s on s.run_id = w.run_id and s.step_slug = w.step_slug
        and s.status = 'started'
    ), moved as (
      update pgflow.step_states s set sent = r.next from room r
      where s.run_id = r.run_id and s.step_slug = r.step_slug and r.next > s.sent
      returning s.run_id, s.step_slug, r.first, r.next
    )
    select t.queue_name,
      array_agg(row(t.message_id, v_clock, t.flow_slug, t.run_id, t.step_slug,
        t.task_index)::pgflow._message
                                   order by t.message_id) as messages
    from moved m
    join pgflow.step_tasks t on t.run_id = m.run_id and t.step_slug = m.step_slug
      and t.task_index >= m.first and t.task_index < m.next
    where t.status = 'queued'
    group by 1
  loop
    perform pgflow._queue_send(v_batch.queue_name, v_batch.messages);
  end loop;
end
$$;
