-- Advancing: what ended lets others begin, wave by wave, until nothing more happens inside SQL. (Runs of flows made by
-- create_flow go on in 97_pgflow_steps, with the same transitions.)
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
    set remaining_deps = greatest(s.remaining_deps - h.times, 0),
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
  v_result jsonb;
begin
  if p_step.deps_count > 0 and not exists (
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
      error := jsonb_build_object('type', 'ConditionUnmet', 'message', 'the condition of the step does not hold', 'attempts', 0);
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

-- The items of a deployed map step: {"value": array} or {"error": text}; null is no items.
create or replace function pgflow._map_items(p_run pgflow.runs, p_step pgflow.steps) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_items jsonb;
  v_result jsonb := pgflow.evaluate(p_step.map_items -> 'ast', pgflow._environment(p_run, p_step.map_items -> 'paths'));
begin
  if v_result ? 'error' then
    return v_result;
  end if;
  v_items := v_result -> 'value';
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
