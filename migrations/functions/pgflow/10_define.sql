-- The functions of pgflow, first part: definitions. Their names, arguments, defaults and results
-- are those that pgflow's clients call; inside they use this engine. Mistakes raise PostgreSQL's
-- own errors, with the name of the constraint, as in pgflow; the rule for maps is the only check
-- with a text of its own.

-- The delay before the next attempt after this number of claims, in seconds: base * 2^claims,
-- exact, neither capped nor jittered. For callers that compare; takes no lock.
create or replace function pgflow.calculate_retry_delay(base_delay numeric, attempts_count int)
returns int
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select floor(base_delay * 2::numeric ^ attempts_count)::int
$$;

-- Makes a flow with its queue; an existing one comes back unchanged. Null options mean 3 attempts,
-- 5 s, 60 s. Called by clients; locks the new row.
create or replace function pgflow.create_flow(
  flow_slug text, max_attempts int default null, base_delay int default null,
  timeout int default null
) returns pgflow.flows
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow pgflow.flows;
begin
  v_flow.flow_slug := flow_slug;
  v_flow.opt_max_attempts := coalesce(max_attempts, 3);
  v_flow.opt_base_delay := coalesce(base_delay, 5);
  v_flow.opt_timeout := coalesce(timeout, 60);
  v_flow.queue_name := flow_slug;
  v_flow.origin := 'pgflow';
  return pgflow._define_flow(v_flow);
end
$$;

-- Adds a step after the others; an existing one comes back unchanged, with the new dependencies.
-- Called by clients; locks the row of the flow, so that two sessions do not take one index.
create or replace function pgflow.add_step(
  flow_slug text, step_slug text, deps_slugs text[] default '{}', max_attempts int default null,
  base_delay int default null, timeout int default null, start_delay int default null,
  step_type text default 'single', required_input_pattern jsonb default null,
  forbidden_input_pattern jsonb default null, when_unmet text default 'skip',
  when_exhausted text default 'fail'
) returns pgflow.steps
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step pgflow.steps;
begin
  if step_type = 'map' and cardinality(deps_slugs) > 1 then
    raise exception 'Map step "%" can have at most one dependency, but % were provided: %',
      step_slug, cardinality(deps_slugs), array_to_string(deps_slugs, ', ');
  end if;
  v_step.flow_slug := flow_slug;
  v_step.step_slug := step_slug;
  v_step.step_type := coalesce(step_type, 'single');
  v_step.opt_max_attempts := max_attempts;
  v_step.opt_base_delay := base_delay;
  v_step.opt_timeout := timeout;
  v_step.opt_start_delay := start_delay;
  v_step.required_input_pattern := required_input_pattern;
  v_step.forbidden_input_pattern := forbidden_input_pattern;
  v_step.when_unmet := when_unmet;
  v_step.when_exhausted := when_exhausted;
  return pgflow._define_step(v_step, coalesce(deps_slugs, '{}'));
end
$$;
