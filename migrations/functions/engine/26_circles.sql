-- Circles: a flow with a limit that can run itself, through its child flows, could wait for itself
-- for ever: its run holds the place that a run below it waits for.

-- Raises PF004 for a version that would close a circle through a limit: of runs, or of a step that
-- runs a flow. A step runs the active version of a flow, or the one that it names; of the flow that
-- is deployed, this one. The caller holds the lock of the name.
create or replace function pgflow._check_circles(p_name text, p_body jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_edges jsonb := '[]';
  v_known text[] := '{}';
  v_todo text[] := array[p_name];
  v_next text;
  v_body jsonb;
  v_edge jsonb;
  v_path text[];
begin
  while cardinality(v_todo) > 0 loop
    v_next := v_todo[1];
    v_known := v_known || v_next;
    v_body := case when v_next = p_name then p_body else pgflow._body_of(v_next) end;
    v_edges := v_edges || (
      select coalesce(jsonb_agg(jsonb_build_object('from', v_next, 'to', s.value ->> 'flow',
        'limited', v_body ? 'concurrency' or s.value ? 'concurrency')), '[]')
      from jsonb_each((v_body -> 'steps') || coalesce(v_body -> 'finally', '{}')) s
      where s.value ? 'flow');
    v_todo := array(
      select distinct u.child
      from (select unnest(v_todo[2:]) as child
            union all select e ->> 'to' from jsonb_array_elements(v_edges) e) u
      where u.child <> all(v_known));
  end loop;
  for v_edge in select e from jsonb_array_elements(v_edges) e where (e ->> 'limited')::boolean loop
    v_path := pgflow._path_between(
      v_edges, v_edge ->> 'to', split_part(v_edge ->> 'from', '@', 1));
    if v_path is not null then
      raise exception using errcode = 'PF004', message = format('flow "%s" is refused: with its '
        || 'limit it could wait for itself for ever: %s', p_name,
        array_to_string(array[v_edge ->> 'from'] || v_path, ' → '));
    end if;
  end loop;
end
$$;

-- The definition that a step runs: `name`, or `name@version`. Null for one that is not there yet.
create or replace function pgflow._body_of(p_flow text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select d.definition from pgflow.definitions d
  where d.name = split_part(p_flow, '@', 1) and case split_part(p_flow, '@', 2)
    when '' then d.active else starts_with(d.version, split_part(p_flow, '@', 2)) end
  limit 1
$$;

-- The shortest way from a flow to any version of another one over these edges, both ends included;
-- null without one.
create or replace function pgflow._path_between(p_edges jsonb, p_from text, p_to text)
returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_paths jsonb := jsonb_build_object(p_from, jsonb_build_array(p_from));
  v_before jsonb;
  v_end text;
begin
  loop
    select k into v_end from jsonb_object_keys(v_paths) k where split_part(k, '@', 1) = p_to;
    if found then
      return array(select jsonb_array_elements_text(v_paths -> v_end));
    end if;
    v_before := v_paths;
    v_paths := (
      select coalesce(jsonb_object_agg(e ->> 'to', v_before -> (e ->> 'from') || (e -> 'to')), '{}')
      from jsonb_array_elements(p_edges) e
      where v_before ? (e ->> 'from') and not v_before ? (e ->> 'to')) || v_before;
    if v_paths = v_before then
      return null;
    end if;
  end loop;
end
$$;
