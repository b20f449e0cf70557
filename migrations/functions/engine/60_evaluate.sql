-- Evaluating ready steps: a step whose dependencies have ended starts, is skipped, completes
-- without tasks, waits or fails. Expressions are evaluated here, in the transaction that made the
-- step ready, on the rows of its run. Called by _advance; the caller holds the runs.

-- Evaluates steps with a condition, a map or a wait. Writes those that end here (skipped, empty,
-- failed, which is noted) and those that begin to wait: a wait holds nothing but its message in the
-- timer queue.
create or replace function pgflow._evaluate_ready(
  p_ready pgflow._start[],
  out starts pgflow._start[], out ended pgflow._ended[], out failures pgflow._run_failure[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  with evaluated as (
    select y.run_id, y.flow_slug, y.step_slug, v.verdict, v.tasks, v.items, v.error, v.output,
      v.due, v.tells, f.fails_at_once
    from unnest(p_ready) y
    join pgflow.runs r on r.run_id = y.run_id
    join pgflow.steps d on d.flow_slug = y.flow_slug and d.step_slug = y.step_slug
    join pgflow.flows f on f.flow_slug = y.flow_slug
    cross join lateral pgflow._evaluate_step(r, d) v
  ), states as (
    update pgflow.step_states s
    set status = case l.verdict when 'completed' then 'completed' when 'failed' then 'failed'
                                when 'wait' then 'started' else 'skipped' end,
        initial_tasks = case
          when l.verdict in ('completed', 'wait') then 0 else s.initial_tasks end,
        remaining_tasks = case when l.verdict in ('completed', 'wait') then 0 end,
        output = case l.verdict when 'completed' then coalesce(l.output, '[]') end,
        wakes_at = l.due,
        timer_message_id = case when coalesce(l.due, l.tells) is not null
          then pgflow._queue_send_timer('pgflow__timers', least(l.due, l.tells),
            jsonb_build_object('kind', 'wait', 'run_id', s.run_id, 'step_slug', s.step_slug)
            || case when l.tells is not null then '{"tells": true}'::jsonb else '{}' end) end,
        started_at = case when l.verdict in ('completed', 'failed', 'wait')
                          then greatest(v_now, s.created_at) end,
        completed_at = case l.verdict when 'completed' then greatest(v_now, s.created_at) end,
        failed_at = case l.verdict when 'failed' then greatest(v_now, s.created_at) end,
        skipped_at = case when l.verdict in ('skipped', 'cascade', 'upstream')
                          then greatest(v_now, s.created_at) end,
        skip_reason = case when l.verdict in ('skipped', 'cascade') then 'condition_unmet'
                           when l.verdict = 'upstream' then 'dependency_skipped' end,
        error = l.error,
        error_message = l.error ->> 'message'
    from evaluated l
    where s.run_id = l.run_id and s.step_slug = l.step_slug and s.status = 'created'
      and l.verdict <> 'start'
    returning s.run_id, s.flow_slug, s.step_slug, l.verdict, l.error, l.fails_at_once
  )
  select
    (select coalesce(array_agg(
        row(l.run_id, l.flow_slug, l.step_slug, l.tasks, l.items)::pgflow._start
        order by l.run_id, l.step_slug), '{}')
     from evaluated l where l.verdict = 'start'),
    coalesce(array_agg(row(s.run_id, s.flow_slug, s.step_slug,
        case when s.verdict in ('cascade', 'upstream') then 'upstream' else s.verdict end
      )::pgflow._ended)
      filter (where s.verdict <> 'wait' and not (s.verdict = 'failed' and s.fails_at_once)), '{}'),
    coalesce(array_agg(row(s.run_id, s.step_slug, s.error || jsonb_build_object('step', s.step_slug)
      )::pgflow._run_failure)
      filter (where s.verdict = 'failed' and s.fails_at_once), '{}')
  into starts, ended, failures
  from states s;
  if current_setting('pgflow.ended', true) <> '' then
    perform pgflow._note_ends(array_agg(f.run_id), array_agg(f.step_slug))
    from (select e.run_id, e.step_slug from unnest(ended) e where e.kind = 'failed'
          union all
          select u.run_id, u.step_slug from unnest(failures) u) f;
  end if;
end
$$;

-- Decides about one step whose dependencies have ended. verdict: start (with `tasks` and `items`) |
-- skipped | cascade (by its condition) | upstream (none of its dependencies ran) | completed (an
-- empty map, a wait that is over) | wait (until `due`; null: for an event alone) | failed. `tells`
-- is when other flows are first told of the wait; null: they are not.
create or replace function pgflow._evaluate_step(
  p_run pgflow.runs, p_step pgflow.steps,
  out verdict text, out tasks int, out items jsonb, out error jsonb, out output jsonb,
  out due timestamptz, out tells timestamptz
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
    where d.flow_slug = p_step.flow_slug and d.step_slug = p_step.step_slug
      and (s.status in ('completed', 'failed') or d.edge = 'any'))
  then
    verdict := 'upstream';
    return;
  end if;

  v_result := pgflow._condition(p_run, p_step);
  if v_result ? 'error' then
    verdict := 'failed';
    error := jsonb_build_object('type', 'ExpressionError',
      'message', 'if: ' || (v_result ->> 'error'), 'attempts', 0);
    return;
  elsif not (v_result -> 'value')::boolean then
    verdict := case p_step.when_unmet
      when 'skip' then 'skipped' when 'skip-cascade' then 'cascade' else 'failed' end;
    if verdict = 'failed' then
      error := jsonb_build_object('type', 'ConditionUnmet',
        'message', 'the condition of the step does not hold', 'attempts', 0);
    end if;
    return;
  end if;

  if p_step.action = 'wait' then
    select w.verdict, w.error, w.output, w.due, w.tells into verdict, error, output, due, tells
    from pgflow._evaluate_wait(p_run, p_step) w;
    return;
  elsif p_step.step_type = 'single' then
    tasks := 1;
  elsif p_step.fixed_tasks not between 0 and 100000 then
    -- deploy refuses it; a row that was changed by hand must not make tasks until the timeout
    verdict := 'failed';
    error := jsonb_build_object('type', 'ExpressionError', 'attempts', 0,
      'message', format('initial_tasks is %s; 1 to 100000 are possible', p_step.fixed_tasks));
    return;
  elsif p_step.fixed_tasks is not null then
    tasks := p_step.fixed_tasks;
  else
    v_result := pgflow._map_items(p_run, p_step);
    items := v_result -> 'value';
    if v_result ? 'error' then
      verdict := 'failed';
      error := jsonb_build_object('type', 'ExpressionError',
        'message', 'map: ' || (v_result ->> 'error'), 'attempts', 0);
      return;
    end if;
    tasks := jsonb_array_length(items);
  end if;
  verdict := case tasks when 0 then 'completed' else 'start' end;
end
$$;

-- The truth of an expression, as in Python: {"value": boolean} or {"error": text}.
create or replace function pgflow._truth(p_formula jsonb, p_env jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when e.result ? 'error' then e.result
              else jsonb_build_object('value', not (e.result -> 'value')::boolean) end
  from (select pgflow.evaluate(jsonb_build_array('not', p_formula -> 'ast'), p_env) as result) e
$$;

-- The result of the condition of a step: {"value": boolean} or {"error": text}. Patterns are
-- pgflow's: containment in the run input (root) or in the object of the completed dependencies'
-- outputs.
create or replace function pgflow._condition(p_run pgflow.runs, p_step pgflow.steps) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_value jsonb;
begin
  if p_step.condition is not null then
    return pgflow._truth(p_step.condition, pgflow._environment(p_run, p_step.condition -> 'paths'));
  end if;
  v_value := case when p_step.deps_count = 0 then p_run.input
    else pgflow._dependency_outputs(p_run.run_id, p_step) end;
  return jsonb_build_object('value',
    (p_step.required_input_pattern is null or v_value @> p_step.required_input_pattern)
    and (p_step.forbidden_input_pattern is null or not v_value @> p_step.forbidden_input_pattern));
end
$$;

-- The items of a deployed map step: {"value": array} or {"error": text}; null counts as an empty
-- array.
create or replace function pgflow._map_items(p_run pgflow.runs, p_step pgflow.steps) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_items jsonb;
  v_result jsonb := pgflow.evaluate(p_step.map_items -> 'ast',
    pgflow._environment(p_run, p_step.map_items -> 'paths'));
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
    return jsonb_build_object(
      'error', format('%s items; 100000 at most', jsonb_array_length(v_items)));
  end if;
  return jsonb_build_object('value', v_items);
end
$$;

-- {dependency: output} of the completed dependencies of a step: the input of its handler.
create or replace function pgflow._dependency_outputs(p_run_id uuid, p_step pgflow.steps)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(d.dep_slug, s.output), '{}')
  from pgflow.deps d
  cross join lateral (
    select k.output from pgflow.step_states k
    where k.run_id = p_run_id and k.step_slug = d.dep_slug and k.status = 'completed'
    offset 0) s -- apart: joined, a plan made for small runs reads all steps of the run
  where d.flow_slug = p_step.flow_slug and d.step_slug = p_step.step_slug
$$;
