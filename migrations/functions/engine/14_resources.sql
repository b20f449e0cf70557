-- What the tasks of a step need of their worker: {name: amount}, memory in bytes.

-- The handler of a step, followed by its needs, if any: `app.fit gpus=1 memory=8000000000`. It is
-- the text by which workers refuse what they do not have (R-6).
create or replace function pgflow._handler_key(p_body jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select (p_body ->> 'handler') || coalesce((
    select string_agg(' ' || e.key || '=' || e.value, '' order by e.key collate "C")
    from jsonb_each_text(p_body -> 'resources') e), '')
$$;

-- The first thing that is wrong about the resources of a definition's steps; null: nothing.
create or replace function pgflow._resources_problem(p_definition jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('resources of step "%s" are not an object of 1 to 16 positive numbers, each with a '
    || 'name in lower-case letters, digits and underscores', s.key)
  from jsonb_each((p_definition -> 'steps') || coalesce(p_definition -> 'finally', '{}')) s
  where s.value ? 'resources' and case
    when jsonb_typeof(s.value -> 'resources') <> 'object' or not s.value ? 'handler' then true
    else (
      select count(*) not between 1 and 16 or bool_or(
        e.key !~ '^[a-z_][a-z0-9_]{0,46}$' or jsonb_typeof(e.value) <> 'number'
        or (e.value #>> '{}')::numeric not between 0.000001 and 1000000000000000)
      from jsonb_each(s.value -> 'resources') e) end
  limit 1
$$;
