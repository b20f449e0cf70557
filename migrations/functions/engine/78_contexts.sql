-- The facts that a worker needs about the tasks that it has claimed.

-- The facts that the tasks of each (run, step) share, and the facts about each step; each once in a
-- reply. A large run input that the call itself does not need is left out: run_input() returns it
-- on request.
create or replace function pgflow._contexts(p_steps pgflow._step[]) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin -- not a function in SQL, whose statement versions before 18 plan at each call
  return (
    select jsonb_build_object(
      'contexts', coalesce(jsonb_object_agg(p.run_id || '/' || p.step_slug,
        case
          when k.root or pg_column_size(r.input) <= 8192
            then jsonb_build_object('run', k.run, 'run_input', r.input)
          else jsonb_build_object('run', k.run) end
        || case
          when d.spec ? 'with'
            then jsonb_build_object('env', pgflow._environment(r, d.spec -> 'with' -> 'paths'))
          when not k.map and d.deps_count > 0 then jsonb_build_object('args', (
            -- _dependency_outputs, written out: a call for each run costs as much as the claim
            select coalesce(jsonb_object_agg(e.dep_slug, o.output), '{}')
            from pgflow.deps e
            cross join lateral ( -- `offset 0`: by the whole key, not all states of the run
              select s.output from pgflow.step_states s
              where s.run_id = r.run_id and s.step_slug = e.dep_slug
                and s.status = 'completed' offset 0) o
            where e.flow_slug = d.flow_slug and e.step_slug = d.step_slug))
          else '{}' end
        || case
          when r.trace is not null then jsonb_build_object('trace',
            pgflow._step_trace(r, p.step_slug))
          else '{}' end), '{}'),
      'specs', (
        select coalesce(jsonb_object_agg(x.flow_slug || '/' || x.step_slug,
          jsonb_build_object('handler', split_part(y.handler, ' ', 1),
            'map', y.step_type = 'map' and y.fixed_tasks is null, 'deps', y.deps_count > 0,
            'timeout_ms',
            coalesce((y.spec ->> 'timeout_ms')::bigint, coalesce(y.opt_timeout, 60) * 1000),
            'max_attempts', coalesce(y.opt_max_attempts, 3))
          || case
            when y.gate ? 'rate' then coalesce((
              select jsonb_build_object(
                'begin_ms', (extract(epoch from pgflow._slack(l.per)) * 1000)::int)
              from pgflow.limits l where l.gate = y.gate #>> '{rate,gate}'), '{}')
            else '{}' end
          || case
            when y.spec ? 'resources' then jsonb_build_object(
              'resources', y.spec -> 'resources', 'key', y.handler)
            else '{}' end
          || case
            when y.spec ? 'with' then jsonb_build_object('with', y.spec -> 'with' -> 'ast')
            else '{}' end), '{}')
        from (select distinct u.flow_slug, u.step_slug from unnest(p_steps) u) x
        join pgflow.steps y on y.flow_slug = x.flow_slug and y.step_slug = x.step_slug))
    from unnest(p_steps) p
    join pgflow.runs r on r.run_id = p.run_id
    join pgflow.steps d on d.flow_slug = p.flow_slug and d.step_slug = p.step_slug
    cross join lateral (
      select d.step_type = 'map' and d.fixed_tasks is null as map,
             d.step_type = 'single' and d.deps_count = 0 and not coalesce(d.spec ? 'with', false)
               or d.fixed_tasks is not null as root,
             jsonb_build_object(
               'id', r.run_id, 'flow', coalesce(r.flow_name, r.flow_slug),
               'version', nullif(split_part(r.flow_slug, '__', 2), ''), 'started_at',
               to_char(r.started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
             || case
               when r.scheduled_at is not null then jsonb_build_object('scheduled_at',
                 pgflow._tick_text(r.scheduled_at))
               else '{}' end
             || case
               when r.retries > 0 then jsonb_build_object('retries', r.retries)
               else '{}' end as run) k);
end
$$;

-- The input of a run, for a handler that asks for it. Raises 42501 for a login that has had no task
-- of the run.
create or replace function pgflow.run_input(p_run_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._check_works_for(p_run_id, false);
  return (select r.input from pgflow.runs r where r.run_id = p_run_id);
end
$$;
