-- The input of a run: checked against the flow, completed with defaults.

-- True when a JSON value has this JSON Schema type; 1.0 is an integer, as in draft 7.
create or replace function pgflow._has_type(p_value jsonb, p_type text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_type
    when 'integer' then jsonb_typeof(p_value) = 'number'
      and p_value = trunc(p_value::numeric)::text::jsonb
    else jsonb_typeof(p_value) = p_type
  end
$$;

-- The first problem with one field of a run input: a sentence, or null. The keywords here are those
-- that the compiler allows at the top of a field; the client checks the nested ones.
create or replace function pgflow._field_problem(p_value jsonb, p_schema jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_types jsonb := p_schema -> 'type';
  v_kind text := jsonb_typeof(p_value);
begin
  if jsonb_typeof(v_types) = 'string' then
    v_types := jsonb_build_array(v_types);
  end if;
  if v_types is not null and not exists (
    select 1 from jsonb_array_elements_text(v_types) t where pgflow._has_type(p_value, t))
  then
    return format('must be %s, not %s',
      (select string_agg(t, ' or ') from jsonb_array_elements_text(v_types) t), v_kind);
  elsif p_schema ? 'enum'
    and not exists (select 1 from jsonb_array_elements(p_schema -> 'enum') e where e = p_value) then
    return format('must be one of %s', p_schema -> 'enum');
  elsif p_schema ? 'const' and p_schema -> 'const' <> p_value then
    return format('must be %s', p_schema -> 'const');
  elsif v_kind = 'number' then
    return case
      when (p_value::numeric) < (p_schema ->> 'minimum')::numeric
        then format('must be at least %s', p_schema ->> 'minimum')
      when (p_value::numeric) > (p_schema ->> 'maximum')::numeric
        then format('must be at most %s', p_schema ->> 'maximum')
      when (p_value::numeric) <= (p_schema ->> 'exclusiveMinimum')::numeric
        then format('must be more than %s', p_schema ->> 'exclusiveMinimum')
      when (p_value::numeric) >= (p_schema ->> 'exclusiveMaximum')::numeric
        then format('must be less than %s', p_schema ->> 'exclusiveMaximum')
    end;
  elsif v_kind = 'string' then
    return case
      when length(p_value #>> '{}') < (p_schema ->> 'minLength')::numeric
        then format('must have at least %s characters', p_schema ->> 'minLength')
      when length(p_value #>> '{}') > (p_schema ->> 'maxLength')::numeric
        then format('must have at most %s characters', p_schema ->> 'maxLength')
    end;
  elsif v_kind = 'array' then
    return case
      when jsonb_array_length(p_value) < (p_schema ->> 'minItems')::numeric
        then format('must have at least %s items', p_schema ->> 'minItems')
      when jsonb_array_length(p_value) > (p_schema ->> 'maxItems')::numeric
        then format('must have at most %s items', p_schema ->> 'maxItems')
    end;
  end if;
  return null;
end
$$;

-- The run input with defaults; raises PF002 with every problem in the detail. With p_form it is the
-- answer to the form of a step, and p_name the step.
create or replace function pgflow._checked_fields(
  p_name text, p_spec jsonb, p_input jsonb, p_form boolean default false
) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_spec jsonb := coalesce(p_spec, '{}');
  v_input jsonb := p_input;
  v_problems jsonb;
begin
  if v_input is null or jsonb_typeof(v_input) <> 'object' then
    v_problems := jsonb_build_array(jsonb_build_object('path', '', 'message',
      format('must be an object, not %s', coalesce(jsonb_typeof(v_input), 'nothing'))));
  else
    v_input := coalesce((
      select jsonb_object_agg(f.key, f.value -> 'default') from jsonb_each(v_spec) f
      where f.value ? 'default'), '{}')
      || v_input;
    select jsonb_agg(jsonb_build_object('path', p.field, 'message', p.message) order by p.field)
    into v_problems
    from (
      select f.key as field, 'is required' as message from jsonb_each(v_spec) f
      where not v_input ? f.key
      union all
      select i.key, format(case when p_form then 'is not a field of the form of step "%s"'
        else 'is not an input of flow "%s"' end, p_name)
      from jsonb_each(v_input) i
      where not v_spec ? i.key
      union all
      select f.key, pgflow._field_problem(v_input -> f.key, f.value) from jsonb_each(v_spec) f
      where v_input ? f.key
    ) p
    where p.message is not null;
  end if;
  if v_problems is not null then
    raise exception using errcode = 'PF002',
      message = format(case when p_form then 'the answer to step "%s" is refused'
        else 'the input of flow "%s" is refused' end, p_name), detail = v_problems::text;
  end if;
  return v_input;
end
$$;

-- The run input, with defaults, of a flow that has one schema for the whole input: checked by the
-- keywords of the schema, then by those of its fields. The client checks the nested ones. Raises
-- PF002 as _checked_fields does.
create or replace function pgflow._checked_value(p_name text, p_schema jsonb, p_input jsonb)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_input jsonb := coalesce(p_input, p_schema -> 'default', 'null');
  v_fields jsonb := coalesce(p_schema -> 'properties', '{}');
  v_problems jsonb;
begin
  if jsonb_typeof(v_input) = 'object' then
    v_input := coalesce((
      select jsonb_object_agg(f.key, f.value -> 'default') from jsonb_each(v_fields) f
      where f.value ? 'default'), '{}')
      || v_input;
  end if;
  select jsonb_agg(jsonb_build_object('path', p.field, 'message', p.message) order by p.field)
  into v_problems
  from (
    select '' as field, pgflow._field_problem(v_input, p_schema) as message
    union all
    select r.field, 'is required' from jsonb_array_elements_text(p_schema -> 'required') r(field)
    where jsonb_typeof(v_input) = 'object' and not v_input ? r.field
    union all
    select f.key, pgflow._field_problem(v_input -> f.key, f.value) from jsonb_each(v_fields) f
    where jsonb_typeof(v_input) = 'object' and v_input ? f.key
    union all
    select i.key, format('is not an input of flow "%s"', p_name)
    from jsonb_each(case jsonb_typeof(v_input) when 'object' then v_input else '{}' end) i
    where p_schema -> 'additionalProperties' = 'false' and not v_fields ? i.key
  ) p
  where p.message is not null;
  if v_problems is not null then
    raise exception using errcode = 'PF002',
      message = format('the input of flow "%s" is refused', p_name), detail = v_problems::text;
  end if;
  return v_input;
end
$$;

-- The input of a run of this flow, checked, with defaults; raises PF002.
create or replace function pgflow._checked_input(p_name text, p_flow pgflow.flows, p_input jsonb)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._refuse_input(p_name, p_input);
  if p_flow.input_schema is null then
    return pgflow._checked_fields(p_name, p_flow.input_spec, p_input);
  end if;
  return pgflow._checked_value(p_name, p_flow.input_schema, p_input);
end
$$;

-- Raises PF002 for labels that a file may not have either, for a key that is too long for the index
-- or empty, for the key `last`, which would mean another run than the word does, and for a key of
-- the runs that `after` and `schedule` start.
create or replace function pgflow._check_start(p_name text, p_key text, p_labels jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_path text := case
    when not pgflow._are_labels(p_labels) then 'labels'
    when octet_length(p_key) > 1000 or p_key in ('', 'last')
      or p_key ~ '^(after|schedule):' then 'key' end;
begin
  if v_path is not null then
    raise exception using errcode = 'PF002',
      message = format('the start of flow "%s" is refused', p_name),
      detail = jsonb_build_array(jsonb_build_object('path', v_path, 'message',
        case
          when v_path = 'labels' then 'must be texts of at most 256 characters, with names of '
            || 'letters, digits and _ . - /'
          when p_key = '' then 'must not be empty'
          when p_key ~ '^(after|schedule):' then format('must not begin with "%s:", as the keys '
            || 'of runs that `%1$s` starts do', split_part(p_key, ':', 1))
          when p_key = 'last' then 'must not be "last", which means the latest run'
          else 'must have at most 1000 bytes' end))::text;
  end if;
end
$$;
