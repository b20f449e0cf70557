-- Advancing: what ended lets others begin, wave by wave, until nothing more happens inside SQL.
--
-- Each wave is a few statements over all runs of the batch. A step whose dependencies are done begins at once when it
-- is plain (one task, no condition); only the others are looked at one by one. Every function here is called by
-- somebody who holds the runs' rows, which is what makes the counters safe.

-- Feeds ended steps to their dependents and begins what is ready; then counts the runs down and ends those that are
-- done. p_ready are steps without dependencies that have to be looked at. The caller holds the runs.
create or replace function pgflow._advance(p_ended pgflow._ended[], p_ready pgflow._start[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wave pgflow._ended[] := p_ended;
  v_ready pgflow._start[] := p_ready;
  v_ended pgflow._ended[] := p_ended;
  v_starts pgflow._start[] := '{}';
  v_failures pgflow._failure[] := '{}';
  v_look record;
begin
  loop
    if cardinality(v_wave) > 0 then
      select w.skipped, w.ready into v_wave, v_ready from pgflow._lower_dependents(v_wave) w;
    end if;
    if exists (select 1 from unnest(v_ready) s where s.tasks is null) then
      select l.starts, l.ended, l.failures into v_look
      from pgflow._look(array(select s from unnest(v_ready) s where s.tasks is null)) l;
      v_ready := array(select s from unnest(v_ready) s where s.tasks is not null) || v_look.starts;
      v_wave := v_wave || v_look.ended;
      v_failures := v_failures || v_look.failures;
    end if;
    v_starts := v_starts || v_ready;
    v_ready := '{}';
    v_ended := v_ended || v_wave;
    exit when cardinality(v_wave) = 0;
  end loop;

  if cardinality(v_failures) > 0 then
    perform pgflow._fail_runs(v_failures);
    v_starts := array(select s from unnest(v_starts) s where s.run_id not in (select f.run_id from unnest(v_failures) f));
    v_ended := array(select e from unnest(v_ended) e where e.run_id not in (select f.run_id from unnest(v_failures) f));
  end if;
  if cardinality(v_starts) > 0 then
    perform pgflow._start_steps(v_starts);
  end if;
  if cardinality(v_ended) > 0 then
    perform pgflow._end_steps(array_agg(e.run_id), array_agg(e.steps))
    from (select d.run_id, count(*)::int as steps from unnest(v_ended) d group by 1) e;
  end if;
end
$$;

-- One wave: the dependents of ended steps wait for fewer. One that hangs on a step skipped upstream is skipped at
-- once. Returns those skipped (the next wave) and those that wait for nothing more; `tasks` is 1 where nothing has to
-- be looked at. After a plain skip all dependencies may have been skipped, so its dependents are looked at.
create or replace function pgflow._lower_dependents(
  p_ended pgflow._ended[], out skipped pgflow._ended[], out ready pgflow._start[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  with hit as (
    select e.run_id, e.flow_slug, d.step_slug, count(*)::int as times,
      bool_or(e.kind = 'upstream') as unmet, bool_or(e.kind = 'skipped') as after_skip
    from unnest(p_ended) e
    join pgflow.deps d on d.flow_slug = e.flow_slug and d.dep_slug = e.step_slug
    group by 1, 2, 3
  ), lowered as (
    update pgflow.step_states s
    set remaining_deps = s.remaining_deps - h.times,
        status = case when h.unmet then 'skipped' else s.status end,
        skip_reason = case when h.unmet then 'dependency_skipped' end,
        skipped_at = case when h.unmet then greatest(v_now, s.created_at) end
    from hit h
    where s.run_id = h.run_id and s.step_slug = h.step_slug and s.status = 'created'
    returning s.run_id, s.flow_slug, s.step_slug, s.status, s.remaining_deps, h.after_skip
  )
  select
    coalesce(array_agg(row(l.run_id, l.flow_slug, l.step_slug, 'upstream')::pgflow._ended)
             filter (where l.status = 'skipped'), '{}'),
    coalesce(array_agg(row(l.run_id, l.flow_slug, l.step_slug, case when d.plain and not l.after_skip then 1 end, null)::pgflow._start
                       order by l.run_id, l.step_slug)
             filter (where l.status = 'created' and l.remaining_deps = 0), '{}')
  into skipped, ready
  from lowered l
  join pgflow.steps d on d.flow_slug = l.flow_slug and d.step_slug = l.step_slug;
end
$$;

-- Steps that have to be looked at: conditions, sizes of maps. Writes those that end here (skipped, empty, failed).
create or replace function pgflow._look(
  p_ready pgflow._start[],
  out starts pgflow._start[], out ended pgflow._ended[], out failures pgflow._failure[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  with looked as (
    select y.run_id, y.flow_slug, y.step_slug, v.verdict, v.tasks, v.items, v.error
    from unnest(p_ready) y
    join pgflow.runs r on r.run_id = y.run_id
    join pgflow.steps d on d.flow_slug = y.flow_slug and d.step_slug = y.step_slug
    cross join lateral pgflow._look_at(r, d) v
  ), states as (
    update pgflow.step_states s
    set status = case l.verdict when 'completed' then 'completed' when 'failed' then 'failed' else 'skipped' end,
        initial_tasks = case when l.verdict = 'completed' then 0 else s.initial_tasks end,
        remaining_tasks = case l.verdict when 'completed' then 0 end,
        output = case l.verdict when 'completed' then '[]'::jsonb end,
        started_at = case when l.verdict in ('completed', 'failed') then greatest(v_now, s.created_at) end,
        completed_at = case l.verdict when 'completed' then greatest(v_now, s.created_at) end,
        failed_at = case l.verdict when 'failed' then greatest(v_now, s.created_at) end,
        skipped_at = case when l.verdict in ('skipped', 'cascade', 'upstream') then greatest(v_now, s.created_at) end,
        skip_reason = case when l.verdict in ('skipped', 'cascade') then 'condition_unmet'
                           when l.verdict = 'upstream' then 'dependency_skipped' end,
        error = l.error,
        error_message = l.error ->> 'message'
    from looked l
    where s.run_id = l.run_id and s.step_slug = l.step_slug and s.status = 'created' and l.verdict <> 'start'
    returning s.run_id, s.flow_slug, s.step_slug, l.verdict, l.error
  )
  select
    (select coalesce(array_agg(row(l.run_id, l.flow_slug, l.step_slug, l.tasks, l.items)::pgflow._start
                               order by l.run_id, l.step_slug), '{}')
     from looked l where l.verdict = 'start'),
    coalesce(array_agg(row(s.run_id, s.flow_slug, s.step_slug,
        case when s.verdict in ('cascade', 'upstream') then 'upstream' else s.verdict end)::pgflow._ended)
      filter (where s.verdict <> 'failed'), '{}'),
    coalesce(array_agg(row(s.run_id, s.step_slug, s.error || jsonb_build_object('step', s.step_slug))::pgflow._failure)
      filter (where s.verdict = 'failed'), '{}')
  into starts, ended, failures
  from states s;
end
$$;

-- One step whose dependencies are all done: does it start, and how wide? verdict: start | skipped | cascade (its
-- condition says so) | upstream (nothing it depends on ran) | completed (a map over nothing) | failed.
create or replace function pgflow._look_at(
  p_run pgflow.runs, p_step pgflow.steps, out verdict text, out tasks int, out items jsonb, out error jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_deployed boolean := (select f.door = 'deploy' from pgflow.flows f where f.flow_slug = p_step.flow_slug);
  v_result jsonb;
begin
  if v_deployed and p_step.deps_count > 0 and not exists (
    select 1 from pgflow.deps d
    join pgflow.step_states s on s.run_id = p_run.run_id and s.step_slug = d.dep_slug
    where d.flow_slug = p_step.flow_slug and d.step_slug = p_step.step_slug and s.status = 'completed')
  then
    verdict := 'upstream';
    return;
  end if;

  v_result := pgflow._condition(p_run, p_step);
  if v_result ? 'error' then
    verdict := 'failed';
    error := jsonb_build_object('type', 'ExpressionError', 'message', 'if: ' || (v_result ->> 'error'), 'attempts', 0);
    return;
  elsif not (v_result -> 'value')::boolean then
    verdict := case p_step.when_unmet when 'skip' then 'skipped' when 'skip-cascade' then 'cascade' else 'failed' end;
    if verdict = 'failed' then
      error := case when v_deployed
        then jsonb_build_object('type', 'ConditionUnmet', 'message', 'the condition of the step does not hold', 'attempts', 0)
        else jsonb_build_object('message', 'Condition not met') end;
    end if;
    return;
  end if;

  if p_step.step_type = 'single' then
    tasks := 1;
  elsif p_step.fixed_tasks is not null then
    tasks := p_step.fixed_tasks;
  else
    v_result := pgflow._map_items(p_run, p_step);
    items := v_result -> 'value';
    if v_result ? 'error' then
      verdict := 'failed';
      error := jsonb_build_object('type', 'ExpressionError', 'message', 'map: ' || (v_result ->> 'error'), 'attempts', 0);
      return;
    end if;
    tasks := jsonb_array_length(items);
  end if;
  verdict := case tasks when 0 then 'completed' else 'start' end;
end
$$;

-- Whether the step's condition holds: {"value": boolean} or {"error": text}. A pattern is pgflow's: containment in
-- the run input (root) or in the object of the completed dependencies' outputs.
create or replace function pgflow._condition(p_run pgflow.runs, p_step pgflow.steps) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_result jsonb;
  v_value jsonb;
begin
  if p_step.condition is not null then
    v_result := pgflow.evaluate(jsonb_build_array('not', p_step.condition -> 'ast'),
                                pgflow._environment(p_run, p_step.condition -> 'paths'));
    return case when v_result ? 'error' then v_result
                else jsonb_build_object('value', not (v_result -> 'value')::boolean) end;
  end if;
  v_value := case when p_step.deps_count = 0 then p_run.input else pgflow._merged_outputs(p_run.run_id, p_step) end;
  return jsonb_build_object('value',
    (p_step.required_input_pattern is null or v_value @> p_step.required_input_pattern)
    and (p_step.forbidden_input_pattern is null or not v_value @> p_step.forbidden_input_pattern));
end
$$;

-- The items of a map step: {"value": array} or {"error": text}; null is no items.
create or replace function pgflow._map_items(p_run pgflow.runs, p_step pgflow.steps) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_items jsonb;
  v_result jsonb;
begin
  if p_step.map_items is not null then
    v_result := pgflow.evaluate(p_step.map_items -> 'ast', pgflow._environment(p_run, p_step.map_items -> 'paths'));
    if v_result ? 'error' then
      return v_result;
    end if;
    v_items := v_result -> 'value';
  elsif p_step.deps_count = 0 then
    v_items := p_run.input;
  else
    select s.output into v_items
    from pgflow.deps d
    join pgflow.step_states s on s.run_id = p_run.run_id and s.step_slug = d.dep_slug
    where d.flow_slug = p_step.flow_slug and d.step_slug = p_step.step_slug;
  end if;
  if v_items is null or v_items = 'null' then
    v_items := '[]';
  elsif jsonb_typeof(v_items) <> 'array' then
    return jsonb_build_object('error', format('a list is needed, not %s', jsonb_typeof(v_items)));
  elsif jsonb_array_length(v_items) > 100000 then
    return jsonb_build_object('error', format('%s items; 100000 at most', jsonb_array_length(v_items)));
  end if;
  return jsonb_build_object('value', v_items);
end
$$;

-- {dependency: output} of the completed dependencies of a step: what its handler receives.
create or replace function pgflow._merged_outputs(p_run_id uuid, p_step pgflow.steps) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(d.dep_slug, s.output), '{}')
  from pgflow.deps d
  join pgflow.step_states s on s.run_id = p_run_id and s.step_slug = d.dep_slug and s.status = 'completed'
  where d.flow_slug = p_step.flow_slug and d.step_slug = p_step.step_slug
$$;

-- What an expression may read: an object from each path it names ("steps.fetch.output.rows") to its value there.
-- Only the named parts leave their rows, so a condition on one field of a large output stays cheap.
create or replace function pgflow._environment(p_run pgflow.runs, p_paths jsonb) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(p.path, case p.parts[1]
    when 'input' then p_run.input #> p.parts[2:]
    when 'run' then case p.parts[2]
      when 'id' then to_jsonb(p_run.run_id)
      when 'flow' then to_jsonb(coalesce(p_run.flow_name, p_run.flow_slug))
      when 'version' then to_jsonb(nullif(split_part(p_run.flow_slug, '__', 2), ''))
      when 'started_at' then to_jsonb(to_char(p_run.started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
    end
    when 'steps' then (
      select case p.parts[3]
        when 'output' then s.output #> p.parts[4:]
        when 'status' then to_jsonb(s.status)
        when 'skip_reason' then to_jsonb(s.skip_reason)
        when 'error' then s.error #> p.parts[4:]
      end
      from pgflow.step_states s where s.run_id = p_run.run_id and s.step_slug = p.parts[2])
  end), '{}')
  from (select t.path, string_to_array(t.path, '.') as parts from jsonb_array_elements_text(p_paths) t(path)) p
$$;

-- Begins steps: their states become started, their tasks are made and sent. The caller holds the runs.
create or replace function pgflow._start_steps(p_starts pgflow._start[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  update pgflow.step_states s
  set status = 'started', started_at = greatest(v_now, s.created_at), initial_tasks = b.tasks, remaining_tasks = b.tasks,
      made = case f.door when 'deploy' then least(b.tasks, pgflow._chunk()) else b.tasks end,
      sent = case f.door when 'deploy' then least(b.tasks, pgflow._window()) else b.tasks end
  from unnest(p_starts) b
  join pgflow.flows f on f.flow_slug = b.flow_slug
  where s.run_id = b.run_id and s.step_slug = b.step_slug;
  perform pgflow._make_tasks(p_starts);
end
$$;

-- How many messages of one map are live at most, so that a wide one does not starve the runs behind it.
create or replace function pgflow._window() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 1000 $$;

-- How many tasks of one map are made in one transaction at most: 40,000 would hold the run's lock for a second.
create or replace function pgflow._chunk() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 5000 $$;

-- Makes the first tasks of steps that have just begun and sends those within the window. Of flows made by
-- create_flow all are made and sent at once, as pgflow does. The caller holds the runs.
create or replace function pgflow._make_tasks(p_starts pgflow._start[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_clock timestamptz := pgflow.clock();
  v_batch record;
  v_wide pgflow._start;
begin
  for v_batch in
    with wanted as (
      select b.run_id, b.flow_slug, b.step_slug, e.idx, e.item, b.queue_name, b.seq
      from (
        select u.*, d.queue_name, pgflow._queue_sequence(d.queue_name) as seq,
          case when d.spec is not null then pgflow._chunk() end as most
        from unnest(p_starts) with ordinality u(run_id, flow_slug, step_slug, tasks, items, nr)
        join pgflow.steps d on d.flow_slug = u.flow_slug and d.step_slug = u.step_slug
      ) b
      cross join lateral (
        select (x.nr - 1)::int as idx, x.item from jsonb_array_elements(b.items) with ordinality x(item, nr)
        where b.items is not null
        union all
        select g, null from generate_series(0, b.tasks - 1) g where b.items is null
      ) e
      where b.most is null or e.idx < b.most
      order by b.nr, e.idx
    ), made as (
      insert into pgflow.step_tasks (flow_slug, run_id, step_slug, task_index, item, message_id, queue_name, queued_at)
      select w.flow_slug, w.run_id, w.step_slug, w.idx, w.item, nextval(w.seq), w.queue_name, v_now from wanted w
      returning flow_slug, run_id, step_slug, task_index, message_id, queue_name
    )
    select m.queue_name, array_agg(row(m.message_id,
        v_clock + coalesce((d.spec ->> 'start_delay_ms')::int, d.opt_start_delay * 1000, 0) * interval '1 ms',
        m.flow_slug, m.run_id, m.step_slug, m.task_index)::pgflow._message order by m.message_id) as messages
    from made m
    join pgflow.steps d on d.flow_slug = m.flow_slug and d.step_slug = m.step_slug
    where d.spec is null or m.task_index < pgflow._window()
    group by 1
  loop
    perform pgflow._queue_send(v_batch.queue_name, v_batch.messages);
  end loop;

  for v_wide in
    select b.* from unnest(p_starts) b
    join pgflow.flows f on f.flow_slug = b.flow_slug
    where f.door = 'deploy' and b.tasks > pgflow._chunk()
  loop
    update pgflow.step_states s
    set make_message_id = pgflow._queue_send_note('pgflow__clock', v_clock,
      jsonb_build_object('kind', 'make', 'run_id', v_wide.run_id, 'step_slug', v_wide.step_slug))
    where s.run_id = v_wide.run_id and s.step_slug = v_wide.step_slug;
  end loop;
end
$$;

-- Makes the next tasks of a wide map; the clock queue's message calls for it. The map's expression is pure and what it
-- reads cannot change any more, so it is evaluated again. The caller holds the run. Returns whether more are to come.
create or replace function pgflow._make_more(p_run_id uuid, p_step_slug text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state pgflow.step_states;
  v_step pgflow.steps;
  v_run pgflow.runs;
  v_items jsonb;
  v_sequence regclass;
  v_to int;
begin
  select s.* into v_state from pgflow.step_states s where s.run_id = p_run_id and s.step_slug = p_step_slug;
  select d.* into v_step from pgflow.steps d where d.flow_slug = v_state.flow_slug and d.step_slug = p_step_slug;
  select r.* into v_run from pgflow.runs r where r.run_id = p_run_id;
  if v_state.status is distinct from 'started' or v_state.made >= v_state.initial_tasks then
    return false;
  end if;
  v_to := least(v_state.made + pgflow._chunk(), v_state.initial_tasks);
  if v_step.fixed_tasks is null then
    v_items := pgflow._map_items(v_run, v_step) -> 'value';
  end if;
  v_sequence := pgflow._queue_sequence(v_step.queue_name);
  insert into pgflow.step_tasks (flow_slug, run_id, step_slug, task_index, item, message_id, queue_name, queued_at)
  select v_state.flow_slug, p_run_id, p_step_slug, g, v_items -> g, nextval(v_sequence), v_step.queue_name, pgflow.now()
  from generate_series(v_state.made, v_to - 1) g order by g;
  update pgflow.step_states s
  set made = v_to, make_message_id = case when v_to < s.initial_tasks then s.make_message_id end
  where s.run_id = p_run_id and s.step_slug = p_step_slug;
  perform pgflow._send_more(array[row(p_run_id, v_state.flow_slug, p_step_slug, 'started')::pgflow._ended]);
  return v_to < v_state.initial_tasks;
end
$$;

-- Sends wide maps' next messages as slots of their windows come free. Two counters say where each stands: live =
-- sent - ended. The caller holds the runs.
create or replace function pgflow._send_more(p_steps pgflow._ended[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_batch record;
begin
  for v_batch in
    with room as (
      select s.run_id, s.step_slug, s.sent as first,
        least(s.made, s.sent + pgflow._window() - (s.sent - (s.initial_tasks - s.remaining_tasks))) as next
      from unnest(p_steps) w
      join pgflow.step_states s on s.run_id = w.run_id and s.step_slug = w.step_slug and s.status = 'started'
    ), moved as (
      update pgflow.step_states s set sent = r.next from room r
      where s.run_id = r.run_id and s.step_slug = r.step_slug and r.next > s.sent
      returning s.run_id, s.step_slug, r.first, r.next
    )
    select t.queue_name, array_agg(row(t.message_id, v_clock, t.flow_slug, t.run_id, t.step_slug, t.task_index)::pgflow._message
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

-- Counts runs down by the steps that ended; those at 0 are completed, with the outputs of their leaf steps. The caller
-- holds the runs and knows that they have not ended (no status in the `where`: a plan that finds the few runs it
-- wants among all live ones grows with them). Arrays are parallel.
create or replace function pgflow._end_steps(p_runs uuid[], p_steps int[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.runs r
  set remaining_steps = r.remaining_steps - e.steps,
      status = case when r.remaining_steps = e.steps then 'completed' else r.status end,
      completed_at = case when r.remaining_steps = e.steps then greatest(pgflow.now(), r.started_at) end,
      output = case when r.remaining_steps = e.steps then coalesce((
          select jsonb_object_agg(s.step_slug, s.output)
          from pgflow.step_states s
          where s.run_id = r.run_id and s.status = 'completed'
            and not exists (select 1 from pgflow.deps d where d.flow_slug = s.flow_slug and d.dep_slug = s.step_slug)),
        (select '{}'::jsonb from pgflow.flows f where f.flow_slug = r.flow_slug and f.door = 'deploy')) end
  from unnest(p_runs, p_steps) e(run_id, steps)
  where r.run_id = e.run_id;
end
$$;

-- Ends runs as failed, each by the first of its failures. The caller holds them.
create or replace function pgflow._fail_runs(p_failures pgflow._failure[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[];
  v_errors jsonb[];
begin
  select array_agg(f.run_id), array_agg(f.error) into v_runs, v_errors
  from (select distinct on (u.run_id) u.* from unnest(p_failures) with ordinality u(run_id, step_slug, error, nr)
        order by u.run_id, u.nr) f;
  perform pgflow._end_runs(v_runs, 'failed', v_errors);
end
$$;

-- Ends runs as failed or cancelled: live tasks are cancelled, their messages go, workers hear of it at their next
-- call. Steps of deployed flows that had not ended are cancelled too; those of pgflow's door stay as they are, as
-- there. The caller holds the runs; arrays are parallel.
create or replace function pgflow._end_runs(p_runs uuid[], p_status text, p_errors jsonb[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_done pgflow._done[] := pgflow._end_tasks(p_runs, null, 'cancelled');
begin
  update pgflow.step_states s
  set status = 'cancelled', cancelled_at = v_now
  from pgflow.flows f
  where s.run_id = any(p_runs) and s.status in ('created', 'started')
    and f.flow_slug = s.flow_slug and f.door = 'deploy';
  update pgflow.runs r
  set status = p_status, error = e.error,
      failed_at = case p_status when 'failed' then greatest(v_now, r.started_at) end,
      cancelled_at = case p_status when 'cancelled' then v_now end,
      remaining_steps = (select count(*) from pgflow.step_states s
                         where s.run_id = r.run_id and s.status not in ('completed', 'skipped'))
  from unnest(p_runs, p_errors) e(run_id, error)
  where r.run_id = e.run_id;
  perform pgflow._drop_messages(v_done);
end
$$;
