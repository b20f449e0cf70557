-- The functions of pgflow, third part: how runs made by create_flow advance.
--
-- Clients write these tables by hand and go on from there, so this way of advancing reads the rows
-- as they stand, run by run: conditions, then steps without tasks, then ready steps, then the run
-- itself. Each of the four can be called alone. The transitions are the engine's own
-- (_lower_dependents, _start_steps, _end_states, _end_steps, _fail_runs); deployed flows advance in
-- sets (engine/55_advance), and the functions here leave their runs alone.

-- Feeds ended steps to their dependents, then advances the run. Called by _begin_runs and _settle;
-- the caller holds the run.
create or replace function pgflow._advance_run(p_run_id uuid, p_ended pgflow._ended[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step text;
begin
  perform pgflow._emit_steps(p_run_id, array(select e.step_slug from unnest(p_ended) e));
  perform pgflow._feed_dependents(p_run_id, array(
    select case e.kind
      when 'upstream' then row(e.run_id, e.flow_slug, null, e.kind)::pgflow._ended else e end
    from unnest(p_ended) e));
  foreach v_step in array array(
    select e.step_slug from unnest(p_ended) e where e.kind = 'upstream')
  loop
    perform pgflow._cascade_force_skip_steps(p_run_id, v_step, 'handler_failed');
  end loop;
  loop
    if not pgflow.cascade_resolve_conditions(p_run_id) then
      return;
    end if;
    -- the steps that they made ready may have conditions
    exit when pgflow.cascade_complete_taskless_steps(p_run_id) = 0;
  end loop;
  perform pgflow.start_ready_steps(p_run_id);
  perform pgflow.maybe_complete_run(p_run_id);
end
$$;

-- Lowers the counters for ended steps of one run: that of the run, and those of their dependents,
-- where a map learns its number of tasks (the length of an array, the number of tasks of a map,
-- none for a skipped step). For an ended step without a slug only the run is counted down: its
-- dependents are skipped. The caller holds the run.
create or replace function pgflow._feed_dependents(p_run_id uuid, p_ended pgflow._ended[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if cardinality(p_ended) = 0 then
    return;
  end if;
  with maps as materialized (
    select e.run_id, e.kind, e.step_slug as dep_slug, p.step_type as dep_type, m.step_slug
    from unnest(p_ended) e
    join pgflow.steps p on p.flow_slug = e.flow_slug and p.step_slug = e.step_slug
    join pgflow.deps d on d.flow_slug = e.flow_slug and d.dep_slug = e.step_slug
    join pgflow.steps m on m.flow_slug = d.flow_slug and m.step_slug = d.step_slug
      and m.step_type = 'map'
  ), sized as materialized (
    select m.run_id, m.step_slug,
      case when m.kind <> 'completed' then 0
           when m.dep_type = 'map' then x.initial_tasks
           when jsonb_typeof(x.output) = 'array' then jsonb_array_length(x.output) end as tasks
    from maps m
    join pgflow.step_states x on x.run_id = m.run_id and x.step_slug = m.dep_slug
  )
  update pgflow.step_states s
  set initial_tasks = coalesce(z.tasks, s.initial_tasks)
  from sized z
  where s.run_id = z.run_id and s.step_slug = z.step_slug and s.status = 'created';
  perform pgflow._lower_dependents(p_ended);
  update pgflow.runs r set remaining_steps = greatest(r.remaining_steps - cardinality(p_ended), 0)
  where r.run_id = p_run_id;
end
$$;

-- Completes steps without tasks, wave by wave: a map with [], a single step with null; those with
-- an unmet condition are left to cascade_resolve_conditions. Called by _advance_run and by clients;
-- locks the run. Returns the number completed.
create or replace function pgflow.cascade_complete_taskless_steps(run_id uuid) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run_id uuid := pgflow._lock_pgflow_run(run_id);
  v_count int := 0;
  v_empty pgflow._transition[];
  v_wave pgflow._ended[];
begin
  loop
    v_empty := array(
      select row(s.run_id, s.step_slug, 'completed', null,
                 case d.step_type when 'map' then '[]'::jsonb end, null, null)::pgflow._transition
      from pgflow.step_states s
      join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
      join pgflow.runs r on r.run_id = s.run_id
      where s.run_id = v_run_id and s.status = 'created' and s.remaining_deps = 0
        and s.initial_tasks = 0
        and (d.required_input_pattern is null and d.forbidden_input_pattern is null
             or (pgflow._condition(r, d) -> 'value')::boolean));
    v_wave := array(
      select row(e.run_id, e.flow_slug, e.step_slug, 'completed')::pgflow._ended
      from unnest(pgflow._end_states(v_empty)) e);
    if cardinality(v_wave) = 0 then
      return v_count;
    end if;
    v_count := v_count + cardinality(v_wave);
    perform pgflow._emit_steps(v_run_id, array(select w.step_slug from unnest(v_wave) w));
    perform pgflow._feed_dependents(v_run_id, v_wave);
  end loop;
end
$$;

-- Starts every step that waits for nothing more and has tasks: its messages are sent in the order
-- of the slugs, then of the tasks. Called by _advance_run and by clients, without effect after the
-- fact; locks the run.
create or replace function pgflow.start_ready_steps(run_id uuid) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run_id uuid := pgflow._lock_pgflow_run(run_id);
  v_starts pgflow._start[];
begin
  v_starts := array(
    select row(s.run_id, s.flow_slug, s.step_slug, s.initial_tasks, case
      when jsonb_array_length(m.items) = s.initial_tasks then m.items end)::pgflow._start
    from pgflow.step_states s
    join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
    join pgflow.runs r on r.run_id = s.run_id
    cross join lateral (
      select case when d.step_type = 'map' then pgflow._map_source(r, d) end as value) v
    cross join lateral (
      select case when jsonb_typeof(v.value) = 'array' then v.value end as items) m
    where s.run_id = v_run_id and s.status = 'created' and s.remaining_deps = 0
      and s.initial_tasks > 0
    order by s.step_slug);
  if cardinality(v_starts) > 0 then
    perform pgflow._start_steps(v_starts);
    perform pgflow._emit_steps(v_run_id, array(select s.step_slug from unnest(v_starts) s));
  end if;
end
$$;

-- The source of the items of a map: the run input, or the output of its dependency.
create or replace function pgflow._map_source(p_run pgflow.runs, p_step pgflow.steps) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_step.deps_count = 0 then p_run.input else (
    select s.output from pgflow.deps d
    join pgflow.step_states s on s.run_id = p_run.run_id and s.step_slug = d.dep_slug
    where d.flow_slug = p_step.flow_slug and d.step_slug = p_step.step_slug
    limit 1) end
$$;

-- Completes a run without open steps, with the outputs of its leaves. Called by _advance_run and by
-- clients, without effect after the fact; locks the run.
create or replace function pgflow.maybe_complete_run(run_id uuid) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run_id uuid := pgflow._lock_pgflow_run(run_id);
begin
  if exists (select 1 from pgflow.runs r where r.run_id = v_run_id and r.remaining_steps = 0) then
    perform pgflow._end_steps(array[v_run_id], array[0]);
    perform pgflow._emit_run(v_run_id);
  end if;
end
$$;

-- Archives the message of one task, if it has one. Locks the row of the queue.
create or replace function pgflow._archive_task_message(
  p_run_id uuid, p_step_slug text, p_task_index int
) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._queue_drop(t.queue_name, array[t.message_id], true)
  from pgflow.step_tasks t
  where (t.run_id, t.step_slug, t.task_index) = (p_run_id, p_step_slug, p_task_index)
    and t.message_id is not null
$$;

-- Locks a run of create_flow that has not ended. Returns its id, or null.
create or replace function pgflow._lock_pgflow_run(p_run_id uuid) returns uuid
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select r.run_id from pgflow.runs r
  join pgflow.flows f on f.flow_slug = r.flow_slug and f.origin = 'pgflow'
  where r.run_id = p_run_id and r.status = 'started' for no key update of r
$$;
