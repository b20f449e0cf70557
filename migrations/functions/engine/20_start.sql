-- Starting runs: check the input, write the run and its step states, and let `advance` begin the roots.

-- Whether a JSON value has a JSON Schema type; 1.0 is an integer, as in draft 7.
create or replace function pgflow._has_type(p_value jsonb, p_type text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_type
    when 'integer' then jsonb_typeof(p_value) = 'number' and p_value = trunc(p_value::numeric)::text::jsonb
    else jsonb_typeof(p_value) = p_type
  end
$$;

-- What is wrong with one field of a run input: a sentence, or null. The keywords here are those that the compiler
-- lets through at the top of a field; what lies deeper is checked by the client.
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
    return format('must be %s, not %s', (select string_agg(t, ' or ') from jsonb_array_elements_text(v_types) t), v_kind);
  elsif p_schema ? 'enum' and not exists (select 1 from jsonb_array_elements(p_schema -> 'enum') e where e = p_value) then
    return format('must be one of %s', p_schema -> 'enum');
  elsif p_schema ? 'const' and p_schema -> 'const' <> p_value then
    return format('must be %s', p_schema -> 'const');
  elsif v_kind = 'number' then
    return case
      when (p_value::numeric) < (p_schema ->> 'minimum')::numeric then format('must be at least %s', p_schema ->> 'minimum')
      when (p_value::numeric) > (p_schema ->> 'maximum')::numeric then format('must be at most %s', p_schema ->> 'maximum')
      when (p_value::numeric) <= (p_schema ->> 'exclusiveMinimum')::numeric then format('must be more than %s', p_schema ->> 'exclusiveMinimum')
      when (p_value::numeric) >= (p_schema ->> 'exclusiveMaximum')::numeric then format('must be less than %s', p_schema ->> 'exclusiveMaximum')
    end;
  elsif v_kind = 'string' then
    return case
      when length(p_value #>> '{}') < (p_schema ->> 'minLength')::numeric then format('must have at least %s characters', p_schema ->> 'minLength')
      when length(p_value #>> '{}') > (p_schema ->> 'maxLength')::numeric then format('must have at most %s characters', p_schema ->> 'maxLength')
    end;
  elsif v_kind = 'array' then
    return case
      when jsonb_array_length(p_value) < (p_schema ->> 'minItems')::numeric then format('must have at least %s items', p_schema ->> 'minItems')
      when jsonb_array_length(p_value) > (p_schema ->> 'maxItems')::numeric then format('must have at most %s items', p_schema ->> 'maxItems')
    end;
  end if;
  return null;
end
$$;

-- The run input with defaults put in; raises PF002 with every problem in the detail.
create or replace function pgflow._checked_input(p_name text, p_spec jsonb, p_input jsonb) returns jsonb
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
      select jsonb_object_agg(f.key, f.value -> 'default') from jsonb_each(v_spec) f where f.value ? 'default'), '{}')
      || v_input;
    select jsonb_agg(jsonb_build_object('path', p.field, 'message', p.message) order by p.field) into v_problems
    from (
      select f.key as field, 'is required' as message from jsonb_each(v_spec) f where not v_input ? f.key
      union all
      select i.key, format('is not an input of flow "%s"', p_name) from jsonb_each(v_input) i where not v_spec ? i.key
      union all
      select f.key, pgflow._field_problem(v_input -> f.key, f.value) from jsonb_each(v_spec) f where v_input ? f.key
    ) p
    where p.message is not null;
  end if;
  if v_problems is not null then
    raise exception using errcode = 'PF002', message = format('the input of flow "%s" is refused', p_name),
      detail = v_problems::text;
  end if;
  return v_input;
end
$$;

-- The run input of a flow that has one schema as a whole, with the defaults of its fields put in: checked by the
-- keywords of the schema, then by those of its fields. What lies deeper is checked by the client. Raises PF002 as
-- _checked_input does.
create or replace function pgflow._checked_whole(p_name text, p_schema jsonb, p_input jsonb) returns jsonb
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
      select jsonb_object_agg(f.key, f.value -> 'default') from jsonb_each(v_fields) f where f.value ? 'default'), '{}')
      || v_input;
  end if;
  select jsonb_agg(jsonb_build_object('path', p.field, 'message', p.message) order by p.field) into v_problems
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
    raise exception using errcode = 'PF002', message = format('the input of flow "%s" is refused', p_name),
      detail = v_problems::text;
  end if;
  return v_input;
end
$$;

-- The input of a run of this flow, checked, with defaults; raises PF002.
create or replace function pgflow._run_input(p_name text, p_flow pgflow.flows, p_input jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_flow.input_schema is null then pgflow._checked_input(p_name, p_flow.input_spec, p_input)
              else pgflow._checked_whole(p_name, p_flow.input_schema, p_input) end
$$;

-- Begins runs of one flow. Writes them and their step states, then starts what has no dependency. Arrays are
-- parallel; p_run_ids may hold nulls. A run key that is taken gives no row. p_more: what else the runs' rows say
-- (labels, parent_run_id, parent_step, parent_index, depth). A root of `finally` waits for one thing more than it
-- depends on: all other steps. Locks only rows it makes.
create or replace function pgflow._begin(
  p_flow pgflow.flows, p_inputs jsonb[], p_run_ids uuid[], p_name text default null, p_key text default null,
  p_more pgflow.runs default null
) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_runs uuid[];
  v_run uuid;
  v_plain pgflow._start[];
  v_roots pgflow._start[];
begin
  with made as (
    insert into pgflow.runs (run_id, flow_slug, input, started_at, flow_name, run_key, remaining_steps,
                             labels, parent_run_id, parent_step, parent_index, depth)
    select coalesce(p_run_ids[i.nr], gen_random_uuid()), p_flow.flow_slug, i.input, v_now, p_name, p_key,
           (select count(*) from pgflow.steps s where s.flow_slug = p_flow.flow_slug),
           p_more.labels, p_more.parent_run_id, p_more.parent_step, p_more.parent_index, coalesce(p_more.depth, 0)
    from unnest(p_inputs) with ordinality i(input, nr) order by i.nr
    on conflict (flow_name, run_key) where run_key is not null do nothing
    returning run_id
  )
  select coalesce(array_agg(m.run_id), '{}') into v_runs from made m;

  -- A plain root (no condition, no map) is written as started at once: no second version of its row.
  with states as (
    insert into pgflow.step_states (flow_slug, run_id, step_slug, status, remaining_deps, initial_tasks,
                                    remaining_tasks, started_at, created_at, made, sent)
    select p_flow.flow_slug, r.id, s.step_slug, case when k.begins then 'started' else 'created' end,
           s.deps_count + k.late::int,
           case when s.step_type = 'single' then 1
                when p_flow.door = 'pgflow' and s.deps_count = 0 then jsonb_array_length(p_inputs[r.nr]) end,
           case when k.begins then 1 end, case when k.begins then v_now end, v_now, k.begins::int, k.begins::int
    from unnest(v_runs) with ordinality r(id, nr)
    cross join pgflow.steps s
    cross join lateral (
      select s.deps_count = 0 and s.plain and p_flow.door = 'deploy' and not s.is_finally as begins,
             s.deps_count = 0 and s.is_finally as late) k
    where s.flow_slug = p_flow.flow_slug
    order by r.nr, s.step_slug
    returning run_id, step_slug, status, remaining_deps
  )
  select coalesce(array_agg(row(t.run_id, p_flow.flow_slug, t.step_slug, 1, null)::pgflow._start)
                    filter (where t.status = 'started'), '{}'),
         coalesce(array_agg(row(t.run_id, p_flow.flow_slug, t.step_slug, null, null)::pgflow._start)
                    filter (where t.status = 'created' and t.remaining_deps = 0), '{}')
  into v_plain, v_roots
  from states t;

  if p_flow.door = 'pgflow' then
    foreach v_run in array v_runs loop
      perform pgflow._tell_run(v_run);
      perform pgflow._advance_run(v_run, '{}');
    end loop;
    return v_runs;
  end if;
  if p_flow.timeout_ms is not null then
    update pgflow.runs r
    set deadline_message_id = pgflow._queue_send_note('pgflow__clock',
      pgflow.clock() + p_flow.timeout_ms * interval '1 ms', jsonb_build_object('kind', 'deadline', 'run_id', r.run_id))
    where r.run_id = any(v_runs);
  end if;
  perform pgflow._make_tasks(v_plain);
  if cardinality(v_roots) > 0 then
    perform pgflow._advance('{}', v_roots);
  end if;
  if not exists (select 1 from pgflow.steps s where s.flow_slug = p_flow.flow_slug) then
    perform pgflow._end_steps(v_runs, array_fill(0, array[cardinality(v_runs)]));
  end if;
  return v_runs;
end
$$;

-- Refuses what may not stand beside a run's input: labels that are no texts, a key that no index can hold. Raises PF002.
create or replace function pgflow._check_start(p_name text, p_key text, p_labels jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_path text := case when not pgflow._are_labels(p_labels) then 'labels' when octet_length(p_key) > 1000 then 'key' end;
begin
  if v_path is not null then
    raise exception using errcode = 'PF002', message = format('the start of flow "%s" is refused', p_name),
      detail = jsonb_build_array(jsonb_build_object('path', v_path, 'message',
        case v_path when 'key' then 'must have at most 1000 bytes' else 'must be an object of texts' end))::text;
  end if;
end
$$;

-- Starts a run of a flow's active version (or of the one named). With a key, a second start gives the first run:
-- the same input answers created = false, another input raises PF003.
create or replace function pgflow.start_run(
  p_name text, p_input jsonb default '{}', p_key text default null, p_version text default null,
  p_labels jsonb default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition pgflow.definitions := pgflow._find_definition(p_name, p_version);
  v_flow pgflow.flows;
  v_input jsonb;
  v_run pgflow.runs;
  v_made uuid[];
begin
  select f.* into v_flow from pgflow.flows f where f.flow_slug = v_definition.flow_slug;
  if p_key is not null or p_labels is not null then
    perform pgflow._check_start(p_name, p_key, p_labels);
  end if;
  v_input := pgflow._run_input(p_name, v_flow, p_input);
  v_run.labels := nullif(coalesce(v_flow.labels, '{}') || coalesce(nullif(p_labels, 'null'), '{}'), '{}');
  v_made := pgflow._begin(v_flow, array[v_input], array[null::uuid], p_name, p_key, v_run);
  if cardinality(v_made) = 1 then
    select r.* into v_run from pgflow.runs r where r.run_id = v_made[1];
  else
    select r.* into v_run from pgflow.runs r where r.flow_name = p_name and r.run_key = p_key;
    if v_run.input <> v_input then
      raise exception using errcode = 'PF003',
        message = format('key "%s" belongs to run %s, which was started with another input', p_key, v_run.run_id);
    end if;
  end if;
  return jsonb_build_object('run_id', v_run.run_id, 'flow', p_name, 'version', split_part(v_run.flow_slug, '__', 2),
    'status', v_run.status, 'created', cardinality(v_made) = 1);
end
$$;

-- Starts many runs of one flow in one commit; returns their ids in the order of the inputs.
create or replace function pgflow.start_runs(p_name text, p_inputs jsonb[], p_version text default null)
returns setof uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition pgflow.definitions := pgflow._find_definition(p_name, p_version);
  v_flow pgflow.flows;
  v_more pgflow.runs;
begin
  select f.* into v_flow from pgflow.flows f where f.flow_slug = v_definition.flow_slug;
  v_more.labels := v_flow.labels;
  return query select unnest(pgflow._begin(
    v_flow,
    array(select pgflow._run_input(p_name, v_flow, i.input)
          from unnest(p_inputs) with ordinality i(input, nr) order by i.nr),
    array_fill(null::uuid, array[coalesce(cardinality(p_inputs), 0)]), p_name, null, v_more));
end
$$;
