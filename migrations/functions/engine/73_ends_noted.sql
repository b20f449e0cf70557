-- What has ended in a turn, for the worker that logs it: runs, and steps that failed. The functions
-- that end them note it in the setting pgflow.ended of the transaction, which is empty unless the
-- worker has asked: a return value would have to pass through all callers, and to look for what
-- has ended would cost each turn a statement. Its text is "all", or "failed" for a worker that logs
-- failures only, then a comma and a JSON object for each end.

-- Adds JSON objects, apart by commas; null adds nothing.
create or replace function pgflow._note(p_ends text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_set text;
begin
  if p_ends is not null then
    v_set := set_config('pgflow.ended', current_setting('pgflow.ended') || ',' || p_ends, true);
  end if;
end
$$;

-- Notes runs that have ended, or steps of them that have failed; p_steps is parallel, or null.
-- Called only where the setting is not empty. (_end_steps notes runs itself, without reading them
-- again.)
create or replace function pgflow._note_ends(p_runs uuid[], p_steps text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if cardinality(p_runs) > 0 then
    perform pgflow._note(string_agg(jsonb_strip_nulls(jsonb_build_object('run', r.run_id,
      'flow', coalesce(r.flow_name, r.flow_slug), 'step', e.step_slug,
      'status', coalesce(s.status, r.status),
      'error', case when e.step_slug is null then r.error else s.error end))::text, ','
      order by e.nr))
    from unnest(p_runs, p_steps) with ordinality e(run_id, step_slug, nr)
    join pgflow.runs r on r.run_id = e.run_id
    left join pgflow.step_states s on s.run_id = e.run_id and s.step_slug = e.step_slug
    where e.step_slug is not null or r.status = 'failed'
      or starts_with(current_setting('pgflow.ended'), 'all');
  end if;
end
$$;

-- Returns what was noted, in its order: [{run, flow, step, status, error}], `step` for steps only;
-- null where there is nothing. Timers end runs of all flows: a worker whose login
-- is limited to some queues is told of the flows that have steps in these.
create or replace function pgflow._noted_ends(p_worker uuid) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_noted text := current_setting('pgflow.ended');
  v_ends jsonb;
  v_worker record;
begin
  if position(',' in v_noted) = 0 then
    return null;
  end if;
  v_ends := ('[' || substr(v_noted, position(',' in v_noted) + 1) || ']')::jsonb;
  select w.granted into v_worker
  from pgflow.workers w where w.worker_id = p_worker and w.login = session_user;
  if not found then
    return null;
  elsif v_worker.granted is null then
    return v_ends;
  end if;
  return (
    select jsonb_agg(e.value order by e.nr)
    from jsonb_array_elements(v_ends) with ordinality e(value, nr)
    join pgflow.runs r on r.run_id = (e.value ->> 'run')::uuid
    where exists (
      select 1 from pgflow.steps d
      where d.flow_slug = r.flow_slug and d.queue_name = any(v_worker.granted)));
end
$$;
