-- Beginning steps: their states become started, tasks are made and sent. A large map of a deployed
-- flow is made and sent in windows; two counters of its state (made, sent) record its progress. The
-- callers hold the runs.

-- Starts steps, makes their tasks and sends them. The caller holds the runs.
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
      sent = case
        when k.deployed then least(k.tasks, k.max_parallel, pgflow._window_size())
        else k.tasks end
  from known k
  where s.run_id = k.run_id and s.step_slug = k.step_slug;
  perform pgflow._make_tasks(p_starts);
end
$$;

-- Maximum number of live messages of one map, so that a large one does not starve the runs behind
-- it; max_parallel of the step may lower it.
create or replace function pgflow._window_size() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 1000 $$;

-- Maximum number of tasks of one map made in one transaction: 40,000 would hold the lock of the run
-- for a second.
create or replace function pgflow._batch_size() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 5000 $$;

-- Messages are read in the order of their time. In deployed flows the message of a step with one
-- task is sent with a time that much earlier: it passes the windows of large maps, which may hold
-- 1,000 slow tasks, and no map waits longer for it.
create or replace function pgflow._head_start() returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select interval '1 minute' $$;

-- The same for each minute of a flow's `priority`, which its maps have as well.
create or replace function pgflow._lead(p_step pgflow.steps) returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_step.priority * interval '1 minute'
    + case p_step.step_type when 'single' then pgflow._head_start() else interval '0' end
$$;

-- Makes the first tasks of steps that have just begun and sends those within the window, or has
-- them wait at the gate of their step. In flows made by create_flow all are made and sent at once,
-- as pgflow does. The caller holds the runs.
create or replace function pgflow._make_tasks(p_starts pgflow._start[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_clock timestamptz := pgflow.clock();
  v_batch record;
  v_special boolean := false;
  v_large record;
begin
  for v_batch in
    with starting as materialized (
      select u.*, d.queue_name, d.gate is not null as gated,
        -- not a join: it would lead to the steps of a flow by half of their key
        (select f.reopened from pgflow.flows f where f.flow_slug = u.flow_slug) as reopened,
        case when d.spec is not null then pgflow._batch_size() end as most,
        case when d.spec is not null then least(d.max_parallel, pgflow._window_size()) end as live,
        v_clock + case
          -- _lead, written out: a call costs as much as the task
          when k.delay = 0 and d.spec is not null
            then d.priority * interval '-1 minute'
              - case d.step_type when 'single' then pgflow._head_start() else interval '0' end
          else k.delay * interval '1 ms' end as vt
      from unnest(p_starts) with ordinality u(run_id, flow_slug, step_slug, tasks, items, nr)
      join pgflow.steps d on d.flow_slug = u.flow_slug and d.step_slug = u.step_slug
      cross join lateral (
        select coalesce(
          (d.spec ->> 'start_delay_ms')::bigint, d.opt_start_delay * 1000::bigint, 0) as delay) k
    ), kinds as materialized ( -- once a step, not once a task
      select s.flow_slug, s.step_slug, bool_or(s.gated) as gated, min(s.live) as live,
        min(s.vt) as vt, bool_or(s.tasks > s.most or s.reopened) as special
      from starting s group by 1, 2
    ), queues as materialized ( -- once a queue, not once a task
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
    select m.queue_name, k.gated, bool_or(k.special) as special,
      array_agg(
        row(m.message_id, k.vt, m.flow_slug, m.run_id, m.step_slug, m.task_index)::pgflow._message
        order by m.message_id) as messages
    from made m
    join kinds k on k.flow_slug = m.flow_slug and k.step_slug = m.step_slug
    where k.live is null or m.task_index < k.live
    group by 1, 2
  loop
    if v_batch.gated then
      perform pgflow._ask_slots(v_batch.messages);
    else
      perform pgflow._queue_send(v_batch.queue_name, v_batch.messages);
    end if;
    v_special := v_special or v_batch.special is true;
  end loop;
  if not v_special then
    return;
  end if;
  for v_large in
    select b.*, f.reopened from unnest(p_starts) b
    join pgflow.flows f on f.flow_slug = b.flow_slug
    where f.origin = 'deploy' and (b.tasks > pgflow._batch_size() or f.reopened)
  loop
    if v_large.reopened then
      perform pgflow._count_on_attempts(v_large.run_id, v_large.step_slug);
      continue when v_large.tasks <= pgflow._batch_size();
    end if;
    update pgflow.step_states s
    set timer_message_id = pgflow._queue_send_timer('pgflow__timers', v_clock,
      jsonb_build_object('kind', 'make', 'run_id', v_large.run_id,
        'step_slug', v_large.step_slug))
    where s.run_id = v_large.run_id and s.step_slug = v_large.step_slug;
  end loop;
end
$$;

-- Raises the attempts of a step's new tasks above those of its tasks that a retry has deleted: the
-- late report of an old attempt must not pass for that of a new one (R-1).
create or replace function pgflow._count_on_attempts(p_run_id uuid, p_step_slug text) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update pgflow.step_tasks t set attempts_count = s.past_attempts, uncounted = s.past_attempts
  from pgflow.step_states s
  where s.run_id = p_run_id and s.step_slug = p_step_slug and s.past_attempts > 0
    and t.run_id = s.run_id and t.step_slug = s.step_slug
$$;

-- Makes the next tasks of a large map; called for its timer. The expression of the map is pure and
-- its values cannot change any more, so it is evaluated again. A run that is being stopped gets no
-- more tasks. The caller holds the run. Returns true while more tasks are to be made.
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
    flow_slug, run_id, step_slug, task_index, item, message_id, queue_name, queued_at,
    attempts_count, uncounted)
  select v_state.flow_slug, p_run_id, p_step_slug, g, v_items -> g, nextval(v_sequence),
    v_step.queue_name, v_now, coalesce(v_state.past_attempts, 0), coalesce(v_state.past_attempts, 0)
  from generate_series(v_state.made, v_to - 1) g order by g;
  update pgflow.step_states s
  set made = v_to, timer_message_id = case when v_to < s.initial_tasks then s.timer_message_id end
  where s.run_id = p_run_id and s.step_slug = p_step_slug;
  perform pgflow._send_more_tasks(
    array[row(p_run_id, v_state.flow_slug, p_step_slug)::pgflow._step]);
  return v_to < v_state.initial_tasks;
end
$$;

-- Sends the next messages of large maps as their windows have room: live = sent - ended. Of a step
-- that was retried with its tasks some of those sent had ended before; there, `unsent` counts. The
-- caller holds the runs.
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
      select w.run_id, w.step_slug, least(d.max_parallel, pgflow._window_size()) as width,
        v_clock - pgflow._lead(d) as vt, d.gate is not null as gated
      from (select distinct u.run_id, u.flow_slug, u.step_slug from unnest(p_steps) u) w
      join pgflow.steps d on d.flow_slug = w.flow_slug and d.step_slug = w.step_slug
    ), room as (
      select s.run_id, s.step_slug, s.sent as first,
        case
          when s.unsent is null then least(s.made, w.width + s.initial_tasks - s.remaining_tasks)
          else pgflow._next_reopened(s, w.width - (s.remaining_tasks - s.unsent)) end as next,
        w.vt, w.gated
      from windows w
      join pgflow.step_states s
        on s.run_id = w.run_id and s.step_slug = w.step_slug and s.status = 'started'
    ), moved as (
      update pgflow.step_states s
      set sent = r.next,
          unsent = case when s.unsent is not null then s.unsent - (
            select count(*) from pgflow.step_tasks t
            where t.run_id = s.run_id and t.step_slug = s.step_slug and t.status = 'queued'
              and t.task_index >= r.first and t.task_index < r.next) end
      from room r
      where s.run_id = r.run_id and s.step_slug = r.step_slug and r.next > s.sent
      returning s.run_id, s.step_slug, r.first, r.next, r.vt, r.gated
    )
    select t.queue_name, m.gated,
      array_agg(
        row(t.message_id, m.vt, t.flow_slug, t.run_id, t.step_slug, t.task_index
        )::pgflow._message order by t.message_id) as messages
    from moved m
    join pgflow.step_tasks t on t.run_id = m.run_id and t.step_slug = m.step_slug
      and t.task_index >= m.first and t.task_index < m.next
    where t.status = 'queued'
    group by 1, 2
  loop
    if v_batch.gated then
      perform pgflow._ask_slots(v_batch.messages);
    else
      perform pgflow._queue_send(v_batch.queue_name, v_batch.messages);
    end if;
  end loop;
end
$$;

-- Where the next messages of a step that was retried with its tasks end: behind the p_room-th
-- queued task that is not sent, or behind all that are made.
create or replace function pgflow._next_reopened(p_state pgflow.step_states, p_room int) returns int
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_room <= 0 then p_state.sent else coalesce((
    select t.task_index + 1 from pgflow.step_tasks t
    where t.run_id = p_state.run_id and t.step_slug = p_state.step_slug
      and t.task_index >= p_state.sent and t.status = 'queued'
    order by t.task_index offset p_room - 1 limit 1), p_state.made) end
$$;
