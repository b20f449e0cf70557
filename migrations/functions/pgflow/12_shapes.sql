-- Shapes: a whole flow as one JSON value, which a worker compares with the stored flow.

-- The steps of a shape; none where the key is missing or null.
create or replace function pgflow._shape_steps(p_shape jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(p_shape -> 'steps', 'null'), '[]')
$$;

-- The dependencies of one step in a shape, sorted; none where the key is missing or null.
create or replace function pgflow._shape_dependencies(p_step jsonb) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(d.slug order by d.slug collate "C"), '{}')
  from jsonb_array_elements_text(coalesce(nullif(p_step -> 'dependencies', 'null'), '[]')) d(slug)
$$;

-- A pattern from its object in a shape, {"defined": true, "value": …}; null where none is defined.
create or replace function pgflow._shape_pattern(p_pattern jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when (p_pattern ->> 'defined')::boolean then p_pattern -> 'value' end
$$;

-- The object that holds a pattern in a shape.
create or replace function pgflow._pattern_shape(p_pattern jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_pattern is null then jsonb_build_object('defined', false)
              else jsonb_build_object('defined', true, 'value', p_pattern) end
$$;

-- Makes a flow and its steps from a shape; missing keys mean add_step's defaults and no pattern.
-- Called by ensure_flow_compiled.
create or replace function pgflow._create_flow_from_shape(p_flow_slug text, p_shape jsonb)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_options jsonb := p_shape -> 'options';
  v_step jsonb;
begin
  perform pgflow.create_flow(p_flow_slug, (v_options ->> 'maxAttempts')::int,
                             (v_options ->> 'baseDelay')::int, (v_options ->> 'timeout')::int);
  for v_step in
    select s.step
    from jsonb_array_elements(pgflow._shape_steps(p_shape)) with ordinality s(step, nr)
    order by s.nr
  loop
    v_options := v_step -> 'options';
    perform pgflow.add_step(
      flow_slug => p_flow_slug,
      step_slug => v_step ->> 'slug',
      deps_slugs => pgflow._shape_dependencies(v_step),
      max_attempts => (v_options ->> 'maxAttempts')::int,
      base_delay => (v_options ->> 'baseDelay')::int,
      timeout => (v_options ->> 'timeout')::int,
      start_delay => (v_options ->> 'startDelay')::int,
      step_type => coalesce(v_step ->> 'stepType', 'single'),
      required_input_pattern => pgflow._shape_pattern(v_step -> 'requiredInputPattern'),
      forbidden_input_pattern => pgflow._shape_pattern(v_step -> 'forbiddenInputPattern'),
      when_unmet => coalesce(v_step ->> 'whenUnmet', 'skip'),
      when_exhausted => coalesce(v_step ->> 'whenExhausted', 'fail'));
  end loop;
end
$$;

-- The shape of a stored flow, without options: those may be tuned by hand. Called by
-- ensure_flow_compiled.
create or replace function pgflow._get_flow_shape(p_flow_slug text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('steps', coalesce(jsonb_agg(jsonb_build_object(
    'slug', s.step_slug,
    'stepType', s.step_type,
    'dependencies', (
      select coalesce(jsonb_agg(d.dep_slug order by d.dep_slug collate "C"), '[]')
      from pgflow.deps d
      where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug),
    'whenUnmet', s.when_unmet,
    'whenExhausted', s.when_exhausted,
    'requiredInputPattern', pgflow._pattern_shape(s.required_input_pattern),
    'forbiddenInputPattern', pgflow._pattern_shape(s.forbidden_input_pattern))
      order by s.step_index), '[]'))
  from pgflow.steps s where s.flow_slug = p_flow_slug
$$;

-- The differences between two shapes, one text each, step by step in their order. Options are not
-- compared; a policy that one side leaves out is equal to any, a missing pattern object is a
-- difference. Called by ensure_flow_compiled.
create or replace function pgflow._compare_flow_shapes(p_local jsonb, p_db jsonb) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(d.difference order by x.at, d.nr), '{}')
  from (
    select g as at, pgflow._shape_steps(p_local) -> g as ours,
      pgflow._shape_steps(p_db) -> g as theirs
    from generate_series(0, greatest(jsonb_array_length(pgflow._shape_steps(p_local)),
                                     jsonb_array_length(pgflow._shape_steps(p_db))) - 1) g
  ) x
  cross join lateral (
    select 0 as nr,
      format('step %s: "%s" is not in the database', x.at, x.ours ->> 'slug') as difference
    where x.theirs is null
    union all
    select 0, format('step %s: "%s" is only in the database', x.at, x.theirs ->> 'slug')
    where x.ours is null
    union all
    select k.nr, format('step %s: %s is %s, in the database %s', x.at, k.key,
                        coalesce(x.ours ->> k.key, 'missing'),
                        coalesce(x.theirs ->> k.key, 'missing'))
    from (values (1, 'slug', false), (2, 'stepType', true), (4, 'whenUnmet', true),
                 (5, 'whenExhausted', true), (6, 'requiredInputPattern', false),
                 (7, 'forbiddenInputPattern', false)) k(nr, key, optional)
    where x.ours is not null and x.theirs is not null
      and x.ours -> k.key is distinct from x.theirs -> k.key
      and not (k.optional
        and (nullif(x.ours -> k.key, 'null') is null or nullif(x.theirs -> k.key, 'null') is null))
    union all
    select 3, format('step %s: dependencies are [%s], in the database [%s]', x.at, o.ours, o.theirs)
    from (select array_to_string(pgflow._shape_dependencies(x.ours), ', '),
                 array_to_string(pgflow._shape_dependencies(x.theirs), ', ')) o(ours, theirs)
    where x.ours is not null and x.theirs is not null and o.ours <> o.theirs
  ) d
$$;

-- Makes the stored flow agree with a shape, if that is allowed: a different flow is replaced, with
-- all its runs, only where the caller allows it or the database is a local one. Called by workers
-- as they start. Holds a lock of the slug until the end of the transaction. Returns {status:
-- compiled | verified | recompiled | mismatch, differences}.
create or replace function pgflow.ensure_flow_compiled(
  flow_slug text, shape jsonb, allow_data_loss boolean default false
) returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_differences text[] := '{}';
  v_local boolean := false;
  v_status text;
begin
  perform pg_advisory_xact_lock(1, hashtext(ensure_flow_compiled.flow_slug));
  if not exists (select 1 from pgflow.flows f where f.flow_slug = ensure_flow_compiled.flow_slug)
  then
    perform pgflow._create_flow_from_shape(ensure_flow_compiled.flow_slug, shape);
    v_status := 'compiled';
  else
    v_differences := pgflow._compare_flow_shapes(shape,
      pgflow._get_flow_shape(ensure_flow_compiled.flow_slug));
    -- is_local belongs to Supabase: where it does not exist, no database is local
    if to_regprocedure('pgflow.is_local()') is not null then
      execute 'select pgflow.is_local()' into v_local;
    end if;
    if cardinality(v_differences) = 0 then
      v_status := 'verified';
    elsif allow_data_loss or v_local then
      perform pgflow.delete_flow_and_data(ensure_flow_compiled.flow_slug);
      perform pgflow._create_flow_from_shape(ensure_flow_compiled.flow_slug, shape);
      v_status := 'recompiled';
    else
      v_status := 'mismatch';
    end if;
  end if;
  return jsonb_build_object('status', v_status, 'differences', to_jsonb(v_differences));
end
$$;
