-- Definitions as rows of flows, steps and deps, made once and never changed.
--
-- `_define_flow` serves both origins; `_define_step` serves add_step, `_define_steps` serves
-- deploy.

-- Inserts one row of flows and makes its queue. Idempotent: an existing flow stays as it is. Locks
-- the new row.
create or replace function pgflow._define_flow(p_flow pgflow.flows) returns pgflow.flows
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow pgflow.flows;
begin
  if lower(coalesce(p_flow.queue_name, p_flow.flow_slug)) = 'pgflow__timers' then
    raise exception using errcode = 'PF004',
      message = 'the queue pgflow__timers is the engine''s own; give the flow another name';
  end if;
  insert into pgflow.flows (flow_slug, opt_max_attempts, opt_base_delay, opt_timeout, queue_name,
                            origin, input_spec, input_schema, output, labels, timeout_ms, fail_fast,
                            catches, finally_steps, repeats, runs_flows, after, retention,
                            gate, gated, priority, scheduled)
  values (p_flow.flow_slug, p_flow.opt_max_attempts, p_flow.opt_base_delay, p_flow.opt_timeout,
          p_flow.queue_name, p_flow.origin, p_flow.input_spec, p_flow.input_schema, p_flow.output,
          p_flow.labels, p_flow.timeout_ms, coalesce(p_flow.fail_fast, true),
          coalesce(p_flow.catches, false), coalesce(p_flow.finally_steps, 0),
          coalesce(p_flow.repeats, false), coalesce(p_flow.runs_flows, false), p_flow.after,
          p_flow.retention, p_flow.gate, coalesce(p_flow.gated, false),
          coalesce(p_flow.priority, 0), coalesce(p_flow.scheduled, false))
  on conflict (flow_slug) do nothing;
  select f.* into v_flow from pgflow.flows f where f.flow_slug = p_flow.flow_slug;
  perform pgflow._queue_ensure(coalesce(v_flow.queue_name, v_flow.flow_slug));
  return v_flow;
end
$$;

-- Inserts one row of steps with its edges, at the next index. Idempotent on (flow, step); new edges
-- of an existing step are added. R-12: steps of one flow are numbered under the lock of its row, so
-- two sessions cannot take one index.
create or replace function pgflow._define_step(p_step pgflow.steps, p_deps text[])
returns pgflow.steps
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step pgflow.steps;
begin
  perform 1 from pgflow.flows f where f.flow_slug = p_step.flow_slug for no key update;
  p_step.step_index := (
    select coalesce(max(s.step_index) + 1, 0) from pgflow.steps s
    where s.flow_slug = p_step.flow_slug);
  p_step.deps_count := coalesce(cardinality(p_deps), 0);
  p_step.created_at := pgflow.now();
  if not exists (
    select 1 from pgflow.steps s
    where s.flow_slug = p_step.flow_slug and s.step_slug = p_step.step_slug)
  then
    insert into pgflow.steps (
      flow_slug, step_slug, step_type, step_index, deps_count, opt_max_attempts, opt_base_delay,
      opt_timeout, opt_start_delay, required_input_pattern, forbidden_input_pattern, when_unmet,
      when_exhausted, created_at, queue_name, handler, condition, map_items, fixed_tasks, spec)
    values (
      p_step.flow_slug, p_step.step_slug, p_step.step_type, p_step.step_index, p_step.deps_count,
      p_step.opt_max_attempts, p_step.opt_base_delay, p_step.opt_timeout, p_step.opt_start_delay,
      p_step.required_input_pattern, p_step.forbidden_input_pattern, p_step.when_unmet,
      p_step.when_exhausted, p_step.created_at, p_step.queue_name, p_step.handler, p_step.condition,
      p_step.map_items, p_step.fixed_tasks, p_step.spec);
  end if;
  insert into pgflow.deps (flow_slug, dep_slug, step_slug)
  select p_step.flow_slug, d.slug, p_step.step_slug from unnest(p_deps) with ordinality d(slug, nr)
  order by d.nr
  on conflict (flow_slug, dep_slug, step_slug) do nothing;
  select s.* into v_step
  from pgflow.steps s where s.flow_slug = p_step.flow_slug and s.step_slug = p_step.step_slug;
  return v_step;
end
$$;

-- A definition as a row of flows. Its flags are computed here, at deploy time, so that runs of
-- simple flows skip the checks for rare features.
create or replace function pgflow._flow_row(p_flow_slug text, p_definition jsonb)
returns pgflow.flows
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow pgflow.flows;
  v_finally jsonb := coalesce(p_definition -> 'finally', '{}');
begin
  v_flow.flow_slug := p_flow_slug;
  v_flow.opt_max_attempts := 3;
  v_flow.opt_base_delay := 1;
  v_flow.opt_timeout := 60;
  v_flow.queue_name := p_definition ->> 'flow';
  v_flow.origin := 'deploy';
  v_flow.input_spec := p_definition -> 'input';
  v_flow.input_schema := p_definition -> 'input_schema';
  v_flow.output := p_definition -> 'output';
  v_flow.timeout_ms := (p_definition ->> 'timeout')::bigint;
  v_flow.fail_fast := coalesce((p_definition ->> 'fail_fast')::boolean, true);
  v_flow.finally_steps := (select count(*) from jsonb_object_keys(v_finally));
  v_flow.catches := exists (
    select 1 from jsonb_each(p_definition -> 'steps') s, jsonb_each_text(s.value -> 'depends_on') d
    where d.value <> 'success');
  v_flow.repeats := exists (
    select 1 from jsonb_each((p_definition -> 'steps') || v_finally) s where s.value ? 'repeat');
  v_flow.runs_flows := exists (
    select 1 from jsonb_each((p_definition -> 'steps') || v_finally) s where s.value ? 'flow');
  v_flow.after := p_definition -> 'after';
  v_flow.gate := pgflow._gate('flow:' || v_flow.queue_name, p_definition -> 'concurrency');
  v_flow.gated := v_flow.gate is not null or exists (
    select 1 from jsonb_each((p_definition -> 'steps') || v_finally) s
    where s.value ?| array['concurrency', 'rate_limit']);
  v_flow.priority := (p_definition ->> 'priority')::int;
  v_flow.scheduled := p_definition ? 'schedule';
  return v_flow;
end
$$;

-- One step of a definition as a row of steps. Milliseconds stay in spec; pgflow's columns hold
-- seconds, rounded up.
create or replace function pgflow._step_row(p_flow_slug text, p_slug text, p_body jsonb)
returns pgflow.steps
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step pgflow.steps;
  v_retry jsonb := p_body -> 'retry';
begin
  v_step.flow_slug := p_flow_slug;
  v_step.step_slug := p_slug;
  v_step.step_type := case when p_body ?| array['map', 'initial_tasks'] then 'map'
    else 'single' end;
  v_step.action := case when p_body ? 'flow' then 'flow' when p_body ? 'wait' then 'wait'
    else 'handler' end;
  v_step.opt_max_attempts := (v_retry ->> 'max_attempts')::int;
  v_step.opt_base_delay := ceil((v_retry ->> 'base_delay')::numeric / 1000)::int;
  v_step.opt_timeout := case
    when p_body ? 'timeout' then greatest(ceil((p_body ->> 'timeout')::numeric / 1000)::int, 1) end;
  v_step.opt_start_delay := ceil((p_body ->> 'start_delay')::numeric / 1000)::int;
  v_step.when_unmet := coalesce(p_body ->> 'when_unmet', 'skip');
  v_step.when_exhausted := coalesce(p_body ->> 'when_exhausted', 'fail');
  v_step.handler := pgflow._handler_key(p_body);
  v_step.condition := p_body -> 'if';
  v_step.map_items := p_body -> 'map';
  v_step.fixed_tasks := (p_body ->> 'initial_tasks')::int;
  v_step.max_parallel := (p_body ->> 'max_parallel')::int;
  v_step.handles := coalesce((p_body ->> 'handles')::boolean, true);
  v_step.gate := pgflow._step_gate(p_flow_slug, p_slug, p_body);
  v_step.tolerant := p_body ?| array['tolerate', 'fail_fast'];
  v_step.queue_name := case v_step.action when 'handler' then p_body ->> 'queue'
    else 'pgflow__timers' end;
  v_step.spec := jsonb_strip_nulls(jsonb_build_object(
    'timeout_ms', p_body -> 'timeout', 'start_delay_ms', p_body -> 'start_delay',
    'base_delay_ms', v_retry -> 'base_delay', 'max_delay_ms', v_retry -> 'max_delay',
    'backoff', v_retry -> 'backoff', 'jitter', v_retry -> 'jitter',
    'fail_fast', p_body -> 'fail_fast'));
  -- Keys without a column of their own; expressions hold nulls that must stay.
  v_step.spec := v_step.spec || (
    select coalesce(jsonb_object_agg(k.key, k.value), '{}')
    from (select e.key, e.value from jsonb_each(p_body) e
          where e.key not in (
            'handler', 'depends_on', 'if', 'when_unmet', 'when_exhausted', 'map', 'initial_tasks',
            'max_parallel', 'fail_fast', 'retry', 'queue', 'timeout', 'start_delay', 'handles',
            'concurrency', 'rate_limit')
          union all
          select 'retry_if', v_retry -> 'if' where v_retry ? 'if') k);
  return v_step;
end
$$;

-- Inserts all steps of a new flow with their edges, as sets: a flow of 1,000 steps is deployed in
-- one call. p_steps holds the steps of `steps` and of `finally`, p_finally the slugs of the latter.
create or replace function pgflow._define_steps(
  p_flow_slug text, p_steps jsonb, p_order text[], p_finally text[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into pgflow.steps (
    flow_slug, step_slug, step_type, step_index, deps_count, opt_max_attempts, opt_base_delay,
    opt_timeout, opt_start_delay, when_unmet, when_exhausted, created_at, handler, condition,
    map_items, fixed_tasks, spec, queue_name, action, max_parallel, tolerant, handles, is_finally,
    gate, priority)
  select s.flow_slug, s.step_slug, s.step_type, o.nr - 1,
    (select count(*) from jsonb_object_keys(o.body -> 'depends_on')), s.opt_max_attempts,
    s.opt_base_delay, s.opt_timeout, s.opt_start_delay, s.when_unmet, s.when_exhausted,
    pgflow.now(), s.handler, s.condition, s.map_items, s.fixed_tasks, s.spec, s.queue_name,
    s.action, s.max_parallel, s.tolerant, s.handles, o.slug = any(p_finally), s.gate, f.priority
  from (select slug, nr, p_steps -> slug
        from unnest(p_order) with ordinality u(slug, nr)) o(slug, nr, body)
  cross join lateral pgflow._step_row(p_flow_slug, o.slug, o.body) s
  join pgflow.flows f on f.flow_slug = p_flow_slug
  order by o.nr;
  insert into pgflow.deps (flow_slug, dep_slug, step_slug, edge)
  select p_flow_slug, d.slug, o.slug, d.edge
  from unnest(p_order) with ordinality o(slug, nr)
  cross join lateral jsonb_each_text(p_steps -> o.slug -> 'depends_on') d(slug, edge)
  order by o.nr, d.slug;
  perform pgflow._queue_ensure(q.queue_name)
  from (select distinct s.queue_name from pgflow.steps s where s.flow_slug = p_flow_slug) q;
end
$$;
