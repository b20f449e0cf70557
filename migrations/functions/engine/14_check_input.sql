-- Checks of the schemas in a definition: the vocabulary is that of definitions.fieldSchema in the
-- schema of the files. Runs could not be checked by a keyword that nothing knows, and a bound that
-- is no number would refuse each of them with an error of PostgreSQL's.

-- True when a keyword of a schema may have this value.
create or replace function pgflow._fits_keyword(p_keyword text, p_value jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind text := jsonb_typeof(p_value);
  v_types text[] := array[
    'string', 'integer', 'number', 'boolean', 'object', 'array', 'null'];
begin
  return case
    when p_keyword in ('default', 'const') then true
    when p_keyword in ('title', 'description') then v_kind = 'string'
    when p_keyword = 'type' and v_kind = 'string' then p_value #>> '{}' = any(v_types)
    when p_keyword in ('type', 'enum') and p_value = '[]' then false
    when p_keyword in ('type', 'required') and v_kind = 'array' then not exists (
      select 1 from jsonb_array_elements(p_value) e
      where jsonb_typeof(e) <> 'string' or p_keyword = 'type' and e #>> '{}' <> all(v_types))
    when p_keyword in ('enum', 'examples') then v_kind = 'array'
    when p_keyword in ('minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum')
      then v_kind = 'number'
    when p_keyword = 'multipleOf' and v_kind = 'number' then p_value::numeric > 0
    when p_keyword in ('minLength', 'maxLength', 'minItems', 'maxItems', 'minProperties',
                       'maxProperties') and v_kind = 'number'
      then p_value::numeric >= 0 and p_value::numeric % 1 = 0
    when p_keyword = 'uniqueItems' then v_kind = 'boolean'
    when p_keyword = 'properties' then v_kind = 'object'
    when p_keyword in ('items', 'additionalProperties') then v_kind in ('object', 'boolean')
    else false
  end;
end
$$;

-- The first problem with the schemas of the input: a sentence, or null. Called by
-- _check_definition.
create or replace function pgflow._input_problem(p_definition jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_problem text;
begin
  if jsonb_typeof(coalesce(p_definition -> 'input', '{}')) <> 'object' then
    return '"input" must be an object of schemas';
  end if;
  select format('input field name %s is not valid; use letters, digits and underscores, 128 at '
    || 'most', quote_literal(left(k, 200))) into v_problem
  from jsonb_object_keys(coalesce(p_definition -> 'input', '{}')) k
  where k !~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$' limit 1;
  if v_problem is not null then
    return v_problem;
  end if;
  with recursive schemas(path, value) as (
    select 'input.' || f.key, f.value from jsonb_each(p_definition -> 'input') f
    union all
    select 'input_schema', p_definition -> 'input_schema' where p_definition ? 'input_schema'
    union all
    select s.path || inner_.path, inner_.value
    from schemas s
    cross join lateral (
      select '.' || p.key as path, p.value
      from jsonb_each(case jsonb_typeof(s.value -> 'properties')
        when 'object' then s.value -> 'properties' end) p
      union all
      select '.' || k, s.value -> k from unnest(array['items', 'additionalProperties']) k
      where s.value ? k
    ) inner_
  )
  select coalesce(
    case when jsonb_typeof(s.value) not in ('object', 'boolean')
      then format('%s must be a schema, an object or a boolean', s.path) end,
    (select format('%s: "%s" of %s is not a keyword of a schema with a value that it may have',
        s.path, k.key, left(k.value::text, 100))
     from jsonb_each(case jsonb_typeof(s.value) when 'object' then s.value end) k
     where pgflow._fits_keyword(k.key, k.value) is not true limit 1)) as problem
  into v_problem
  from schemas s
  where jsonb_typeof(s.value) not in ('object', 'boolean')
    or exists (
      select 1 from jsonb_each(case jsonb_typeof(s.value) when 'object' then s.value end) k
      where pgflow._fits_keyword(k.key, k.value) is not true)
  limit 1;
  return v_problem;
end
$$;
