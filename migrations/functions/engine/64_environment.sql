-- The values of a run that expressions read.

-- The slugs of the steps of a run in one status, without those of `finally`, in their order.
create or replace function pgflow._steps_with_status(p_run pgflow.runs, p_status text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(s.step_slug order by d.step_index), '[]')
  from (select x.* from pgflow.step_states x
        where x.run_id = p_run.run_id and x.status = p_status offset 0) s
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
    and not d.is_finally
$$;

-- The failed items of a map: [{index, type, message, attempts}]; null where there are none.
create or replace function pgflow._item_errors(p_run_id uuid, p_step_slug text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_agg(jsonb_build_object(
    'index', e.task_index, 'type', e.type, 'message', e.message, 'attempts', e.attempt)
    order by e.task_index)
  from pgflow.task_errors e where e.run_id = p_run_id and e.step_slug = p_step_slug and e.final
    and not e.past
$$;

-- The tick of a schedule as expressions, handlers and keys have it: whole seconds, in UTC.
create or replace function pgflow._tick_text(p_tick timestamptz) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select to_char(p_tick at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') $$;

-- The value of a name under `run`. status, failed, unhandled and skipped are for `finally`, where
-- all other steps have ended.
create or replace function pgflow._run_property(p_run pgflow.runs, p_parts text[]) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (case p_parts[1]
    when 'id' then to_jsonb(p_run.run_id)
    when 'flow' then to_jsonb(coalesce(p_run.flow_name, p_run.flow_slug))
    when 'version' then to_jsonb(nullif(split_part(p_run.flow_slug, '__', 2), ''))
    when 'started_at'
      then to_jsonb(to_char(p_run.started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
    when 'scheduled_at' then to_jsonb(pgflow._tick_text(p_run.scheduled_at))
    when 'labels' then coalesce(p_run.labels, '{}')
    when 'parent' then case when p_run.parent_run_id is not null then
      jsonb_build_object('id', p_run.parent_run_id, 'step', p_run.parent_step,
        'index', p_run.parent_index) end
    when 'status' then to_jsonb(p_run.outcome)
    when 'unhandled' then (
      select coalesce(jsonb_agg(u.step_slug order by d.step_index), '[]')
      from unnest(pgflow._unhandled_failures(array[p_run.run_id])) u
      join pgflow.steps d on d.flow_slug = p_run.flow_slug and d.step_slug = u.step_slug)
    when 'failed' then pgflow._steps_with_status(p_run, 'failed')
    when 'skipped' then pgflow._steps_with_status(p_run, 'skipped')
  end) #> p_parts[2:];
end
$$;

-- The environment of an expression: an object from each path it names ("steps.fetch.output.rows")
-- to the value. Only the named parts leave their rows, so a condition on one field of a large
-- output stays cheap. p_extra holds names that depend on where the expression stands (item, index,
-- output, iteration, error, attempt). Secrets belong to the worker.
create or replace function pgflow._environment(
  p_run pgflow.runs, p_paths jsonb, p_extra jsonb default null
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(p.path, case p.parts[1]
    when 'input' then p_run.input #> p.parts[2:]
    when 'run' then pgflow._run_property(p_run, p.parts[2:])
    when 'steps' then (
      select case p.parts[3]
        when 'output' then s.output #> p.parts[4:]
        when 'status' then to_jsonb(s.status)
        when 'skip_reason' then to_jsonb(s.skip_reason)
        when 'error' then s.error #> p.parts[4:]
        when 'errors' then pgflow._item_errors(p_run.run_id, p.parts[2]) #> p.parts[4:]
      end
      from pgflow.step_states s where s.run_id = p_run.run_id and s.step_slug = p.parts[2])
    else p_extra #> p.parts
  end), '{}')
  from (
    select t.path, string_to_array(t.path, '.') as parts
    from jsonb_array_elements_text(p_paths) t(path)
    where not starts_with(t.path, 'secrets.')) p
$$;
