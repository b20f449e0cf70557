-- Starting runs: the input is checked, the run is written; then it begins (its step states are
-- written, and the roots start), or waits for a slot of its flow.

-- Writes runs of one flow and lets them begin, or wait at the gate of the flow. Arrays are
-- parallel; p_run_ids may hold nulls. A run key that is in use gives no row. p_more holds further
-- columns of the runs (labels, parent_run_id, parent_step, parent_index, depth, started_by, chain,
-- trace, scheduled_at). Locks only rows that it makes.
create or replace function pgflow._begin_runs(
  p_flow pgflow.flows, p_inputs jsonb[], p_run_ids uuid[], p_name text default null,
  p_key text default null, p_more pgflow.runs default null
) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_runs uuid[];
begin
  with made as (
    insert into pgflow.runs (run_id, flow_slug, input, started_at, flow_name, run_key,
                             remaining_steps, labels, parent_run_id, parent_step, parent_index,
                             depth, started_by, chain, trace, scheduled_at)
    select coalesce(p_run_ids[i.nr], gen_random_uuid()), p_flow.flow_slug, i.input, v_now, p_name,
           p_key, (select count(*) from pgflow.steps s where s.flow_slug = p_flow.flow_slug),
           p_more.labels, p_more.parent_run_id, p_more.parent_step, p_more.parent_index,
           coalesce(p_more.depth, 0), coalesce(p_more.started_by, session_user),
           coalesce(p_more.chain, 0), p_more.trace, p_more.scheduled_at
    from unnest(p_inputs) with ordinality i(input, nr) order by i.nr
    on conflict (flow_name, run_key) where run_key is not null do nothing
    returning run_id
  )
  select coalesce(array_agg(m.run_id), '{}') into v_runs from made m;
  if p_more.trace is not null then
    insert into pgflow.traces (run_id) select u.id from unnest(v_runs) u(id);
  end if;
  perform pgflow._admit_runs(p_flow, v_runs);
  return v_runs;
end
$$;

-- Lets runs begin that have not begun, or wait at the gate of their flow, or until a time: that is
-- `at` in place of a gate. The caller holds the runs, or has made them.
create or replace function pgflow._admit_runs(p_flow pgflow.flows, p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_flow.gate is null then
    perform pgflow._enter_runs(p_flow, p_runs);
  elsif p_flow.gate ? 'at' then
    perform pgflow._wait_to_begin(p_runs, (p_flow.gate ->> 'at')::timestamptz);
  else
    perform pgflow._ask_to_begin(p_flow, p_runs);
  end if;
end
$$;

-- Begins runs of one flow: writes their step states, then starts the steps without dependencies. A
-- root of `finally` waits for one thing more than its dependencies: all other steps. The caller
-- holds the runs, or has made them.
create or replace function pgflow._enter_runs(p_flow pgflow.flows, p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_run uuid;
  v_simple pgflow._start[];
  v_roots pgflow._start[];
begin
  -- A simple root (no condition, no map) is written as started at once: its row needs no second
  -- version.
  with states as (
    insert into pgflow.step_states (flow_slug, run_id, step_slug, status, remaining_deps,
                                    initial_tasks, remaining_tasks, started_at, created_at, made,
                                    sent)
    select p_flow.flow_slug, r.id, s.step_slug,
           case when k.begins then 'started' else 'created' end, s.deps_count + k.late::int,
           case when s.step_type = 'single' then 1
                when p_flow.origin = 'pgflow' and s.deps_count = 0
                  then (select jsonb_array_length(x.input) from pgflow.runs x
                        where x.run_id = r.id) end,
           case when k.begins then 1 end, case when k.begins then v_now end, v_now,
           k.begins::int, k.begins::int
    from unnest(p_runs) with ordinality r(id, nr)
    cross join pgflow.steps s
    cross join lateral (
      select s.deps_count = 0 and s.starts_simply and p_flow.origin = 'deploy'
               and not s.is_finally as begins,
             s.deps_count = 0 and s.is_finally as late) k
    where s.flow_slug = p_flow.flow_slug
    order by r.nr, s.step_slug
    returning run_id, step_slug, status, remaining_deps
  )
  select coalesce(array_agg(row(t.run_id, p_flow.flow_slug, t.step_slug, 1, null)::pgflow._start)
                    filter (where t.status = 'started'), '{}'),
         coalesce(array_agg(row(t.run_id, p_flow.flow_slug, t.step_slug, null, null)::pgflow._start)
                    filter (where t.status = 'created' and t.remaining_deps = 0), '{}')
  into v_simple, v_roots
  from states t;

  if p_flow.origin = 'pgflow' then
    foreach v_run in array p_runs loop
      perform pgflow._emit_run(v_run);
      perform pgflow._advance_run(v_run, '{}');
    end loop;
    return;
  end if;
  if p_flow.timeout_ms is not null then
    update pgflow.runs r
    set deadline_message_id = pgflow._queue_send_timer('pgflow__timers',
      pgflow.clock() + p_flow.timeout_ms * interval '1 ms',
      jsonb_build_object('kind', 'deadline', 'run_id', r.run_id))
    where r.run_id = any(p_runs);
  end if;
  perform pgflow._make_tasks(v_simple);
  if cardinality(v_roots) > 0 then
    perform pgflow._advance('{}', v_roots);
  end if;
  if not exists (select 1 from pgflow.steps s where s.flow_slug = p_flow.flow_slug) then
    perform pgflow._end_steps(p_runs, array_fill(0, array[cardinality(p_runs)]));
  end if;
end
$$;

-- Starts a run of a flow's active version (or of p_version). With a key, a second start gives the
-- first run: the same input answers created = false, another input raises PF003. p_trace is the
-- traceparent of the span that starts it (32_spans). With p_at the run is made now and begins then.
create or replace function pgflow.start_run(
  p_name text, p_input jsonb default '{}', p_key text default null, p_version text default null,
  p_labels jsonb default null, p_trace text default null, p_at timestamptz default null,
  p_by text default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition pgflow.definitions := pgflow._find_definition(p_name, p_version);
  v_flow pgflow.flows;
  v_input jsonb;
  v_run pgflow.runs;
  v_first pgflow.runs;
  v_made uuid[];
begin
  select f.* into v_flow from pgflow.flows f where f.flow_slug = v_definition.flow_slug;
  if p_key is not null or p_labels is not null then
    perform pgflow._check_start(p_name, p_key, p_labels);
  end if;
  v_input := pgflow._checked_input(p_name, v_flow, p_input);
  v_run.labels := nullif(
    coalesce(v_flow.labels, '{}') || coalesce(nullif(p_labels, 'null'), '{}'), '{}');
  v_run.trace := pgflow._checked_trace(p_trace);
  if p_at is not null then
    v_run.scheduled_at := pgflow._checked_start_time(p_at);
    v_flow.gate := jsonb_build_object('at', v_run.scheduled_at);
  end if;
  loop
    v_made := pgflow._begin_runs(v_flow, array[v_input], array[null::uuid], p_name, p_key, v_run);
    if cardinality(v_made) = 1 then
      select r.* into v_run from pgflow.runs r where r.run_id = v_made[1];
      exit;
    end if;
    select r.* into v_first from pgflow.runs r where r.flow_name = p_name and r.run_key = p_key;
    continue when not found; -- pruned this very moment
    v_run := v_first;
    if v_run.input <> v_input then
      raise exception using errcode = 'PF003',
        message = format('key "%s" belongs to run %s, which was started with another input',
                         p_key, v_run.run_id);
    end if;
    exit;
  end loop;
  if p_by is not null and cardinality(v_made) = 1 then
    insert into pgflow.audit (action, subject, details, who)
    values ('start', v_run.run_id::text, jsonb_build_object('flow', p_name), p_by);
  end if;
  return jsonb_build_object('run_id', v_run.run_id, 'flow', p_name,
    'version', split_part(v_run.flow_slug, '__', 2), 'status', v_run.status,
    'created', cardinality(v_made) = 1);
end
$$;

-- Starts many runs of one flow in one commit; returns their ids in the order of the inputs.
create or replace function pgflow.start_runs(
  p_name text, p_inputs jsonb[], p_version text default null, p_trace text default null
) returns setof uuid
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
  v_more.trace := pgflow._checked_trace(p_trace);
  return query select unnest(pgflow._begin_runs(
    v_flow,
    array(select pgflow._checked_input(p_name, v_flow, i.input)
          from unnest(p_inputs) with ordinality i(input, nr) order by i.nr),
    array_fill(null::uuid, array[coalesce(cardinality(p_inputs), 0)]), p_name, null, v_more));
end
$$;
