-- Checks of a definition. The compiler writes none that fails; a caller from SQL may.

-- The first problem with the shape of a definition: a sentence, or null. A cycle, a map of width 0
-- or an unknown edge would leave runs that never end. Called by _check_definition.
create or replace function pgflow._shape_problem(p_definition jsonb, p_order text[]) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_steps jsonb := p_definition -> 'steps';
  v_finally jsonb := coalesce(p_definition -> 'finally', '{}');
  v_problem text;
begin
  if jsonb_typeof(v_steps) is distinct from 'object' or jsonb_typeof(v_finally) <> 'object' then
    return '"steps" and "finally" must be objects of steps';
  end if;
  select format(
    'step "%s" must be an object with a valid name and an object as "depends_on"', s.key)
  into v_problem
  from jsonb_each(v_steps || v_finally) s
  where not pgflow.is_valid_slug(s.key) or jsonb_typeof(s.value) <> 'object'
    or jsonb_typeof(coalesce(s.value -> 'depends_on', '{}')) <> 'object' limit 1;
  if v_problem is not null then
    return v_problem;
  end if;
  -- where each step comes after its dependencies there is no cycle
  with positions as materialized (
    select u.slug, min(u.nr) as nr, v_finally ? u.slug as late
    from unnest(p_order) with ordinality u(slug, nr) group by u.slug
  ), edges as materialized (
    select s.key as step, d.key as dep, d.value as edge
    from jsonb_each(v_steps || v_finally) s
    cross join lateral jsonb_each_text(s.value -> 'depends_on') d
  )
  select format('step "%s" cannot depend on "%s" as "%s": it must be a step of the same part that '
      || 'comes before it, and the edge success, failure or any', e.step, e.dep, e.edge)
  into v_problem
  from edges e
  left join positions a on a.slug = e.step
  left join positions b on b.slug = e.dep
  where e.edge is null or e.edge not in ('success', 'failure', 'any')
    or (b.nr < a.nr and a.late = b.late) is not true
  limit 1;
  if v_problem is not null then
    return v_problem;
  end if;
  select format('step "%s": %s must be a whole number from %s to %s',
                s.key, array_to_string(n.path, '.'), n.low, n.high)
  into v_problem
  from jsonb_each(v_steps || v_finally) s
  cross join (values
    (array['timeout'], 1, 2e12), (array['start_delay'], 0, 2e12),
    (array['initial_tasks'], 1, 100000), (array['max_parallel'], 1, 2e9),
    (array['retry', 'max_attempts'], 1, 2e9), (array['retry', 'base_delay'], 0, 2e12),
    (array['retry', 'max_delay'], 0, 2e12), (array['repeat', 'every'], 0, 2e12),
    (array['wait', 'timeout'], 0, 2e12), (array['wait', 'remind'], 60000, 2e12)) n(path, low, high)
  where case jsonb_typeof(s.value #> n.path)
    when 'number' then (s.value #>> n.path)::numeric not between n.low and n.high
      or (s.value #>> n.path)::numeric % 1 <> 0
    else s.value #> n.path is not null end limit 1;
  if v_problem is null then
    select format('step "%s": when_unmet and when_exhausted are fail, skip or skip-cascade', s.key)
    into v_problem
    from jsonb_each(v_steps || v_finally) s
    where not array[coalesce(s.value ->> 'when_unmet', 'skip'),
                    coalesce(s.value ->> 'when_exhausted', 'skip')]
      <@ array['fail', 'skip', 'skip-cascade'] limit 1;
  end if;
  return v_problem;
end
$$;

-- The problem with "webhook", or null. Called by _check_definition.
create or replace function pgflow._webhook_problem(p_definition jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when w.hook is null then null
    when p_definition ? 'after' then
      'a flow with "after" is started by the ends of others and has no "webhook"'
    when (jsonb_typeof(w.hook) = 'object'
      and w.hook - array['secret', 'key', 'input'] = '{}'
      and jsonb_typeof(w.hook -> 'secret') = 'string'
      and w.hook ->> 'secret' ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$'
      and coalesce(w.hook -> 'key' ?& array['ast', 'paths'], true)
      and coalesce(w.hook -> 'input' ?& array['ast', 'paths'], true)) is not true then
      '"webhook" must be an object with the name of a "secret", and perhaps "key" and "input" '
        || 'with {"ast", "paths"}'
    end
  from (select p_definition -> 'webhook' as hook) w
$$;

-- The first problem with what waits ask for and whom: a sentence, or null. Called by
-- _check_definition.
create or replace function pgflow._asking_problem(p_definition jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select x.problem
  from jsonb_each((p_definition -> 'steps') || coalesce(p_definition -> 'finally', '{}')) s
  cross join lateral (
    select case
      when not s.value -> 'wait' ? 'event' then format(
        'step "%s": form, by and remind of a wait need an event', s.key)
      when s.value -> 'wait' ? 'form' then format('form of step "%s": ', s.key)
        || pgflow._input_problem(jsonb_build_object('input', s.value #> '{wait,form}'))
      end as problem
    union all
    select format('step "%s": by must be a list of names', s.key)
    where s.value -> 'wait' ? 'by' and (
      jsonb_typeof(s.value #> '{wait,by}') = 'array' and s.value #> '{wait,by}' <> '[]'
      and not exists (select 1 from jsonb_array_elements(s.value #> '{wait,by}') b
                      where jsonb_typeof(b) <> 'string')) is not true) x
  where s.value -> 'wait' ?| array['form', 'by', 'remind'] and x.problem is not null limit 1
$$;

-- Raises PF004 for a definition that must not be stored (S-13, S-19). Called by deploy.
create or replace function pgflow._check_definition(
  p_definition jsonb, p_version text, p_order text[]
) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := p_definition ->> 'flow';
  v_problem text := coalesce(
    pgflow._shape_problem(p_definition, p_order), pgflow._input_problem(p_definition),
    pgflow._after_problem(p_definition), pgflow._limits_problem(p_definition),
    pgflow._schedule_problem(p_definition), pgflow._webhook_problem(p_definition),
    pgflow._asking_problem(p_definition), pgflow._resources_problem(p_definition));
  v_steps jsonb;
begin
  if v_name is null or v_name !~ '^[a-z_][a-z0-9_]{0,46}$' or position('__' in v_name) > 0 then
    raise exception using errcode = 'PF004',
      message = format('flow name %s is not valid; use lower-case letters, digits and single '
        || 'underscores, 47 at most', coalesce(quote_literal(v_name), 'null'));
  elsif p_version is null or p_version !~ '^[0-9a-f]{12}$' then
    raise exception using errcode = 'PF004', message = 'a version is twelve hexadecimal digits';
  elsif cardinality(p_order) > 2000 then
    raise exception using errcode = 'PF004',
      message = format('flow "%s" has %s steps; 2000 at most', v_name, cardinality(p_order));
  elsif v_problem is not null then
    raise exception using errcode = 'PF004',
      message = format('flow "%s" is refused: ', v_name) || v_problem;
  end if;
  v_steps := (p_definition -> 'steps') || coalesce(p_definition -> 'finally', '{}');
  if (select array_agg(k order by k) from jsonb_object_keys(v_steps) k)
    is distinct from (select array_agg(s order by s) from unnest(p_order) s)
  then
    raise exception using errcode = 'PF004',
      message = format('the order given for flow "%s" does not name exactly its steps', v_name);
  end if;
  select x.text into v_problem
  from (
    select format('unknown key "%s" of the flow', k) as text from jsonb_object_keys(p_definition) k
    where k not in ('flow', 'input', 'input_schema', 'output', 'timeout', 'fail_fast', 'steps',
                    'finally', 'after', 'concurrency', 'priority', 'schedule', 'webhook')
    union all
    select format('step "%s": unknown key "%s"', s.key, k)
    from jsonb_each(v_steps) s, jsonb_object_keys(s.value) k
    where k not in ('handler', 'flow', 'wait', 'depends_on', 'with', 'if', 'when_unmet', 'map',
                    'initial_tasks', 'max_parallel', 'fail_fast', 'tolerate', 'retry', 'repeat',
                    'queue', 'timeout', 'start_delay', 'when_exhausted', 'handles',
                    'concurrency', 'rate_limit', 'resources')
  ) x limit 1;
  if v_problem is not null then
    raise exception using errcode = 'PF004',
      message = v_problem
        || ' is not supported by this database''s release; run pgflow-yaml migrate';
  end if;
  select s.key into v_problem from jsonb_each(v_steps) s
  where (s.value ? 'handler')::int + (s.value ? 'flow')::int + (s.value ? 'wait')::int <> 1 limit 1;
  if v_problem is not null then
    raise exception using errcode = 'PF004',
      message = format('step "%s" must have exactly one of handler, flow and wait', v_problem);
  end if;
  select q.name into v_problem
  from (select s.value ->> 'queue' as name from jsonb_each(v_steps) s) q
  where q.name !~ '^[a-z_][a-z0-9_]{0,46}$' or position('__' in q.name) > 0 limit 1;
  if v_problem is not null then
    raise exception using errcode = 'PF004',
      message = format('queue name %s is not valid; use lower-case letters, digits and single '
        || 'underscores, 47 at most', quote_literal(v_problem));
  end if;
end
$$;

-- True for labels as a file may have them (definitions.labelName of the schema), or null.
create or replace function pgflow._are_labels(p_labels jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case coalesce(jsonb_typeof(p_labels), 'null')
    when 'null' then true
    when 'object' then not exists (
      select 1 from jsonb_each(p_labels) with ordinality as l (name, value, number)
      where jsonb_typeof(l.value) <> 'string' or length(l.value #>> '{}') > 256
        or l.name !~ '^[A-Za-z_][A-Za-z0-9_./-]{0,62}$' or l.number > 64)
    else false end
$$;
