-- The functions of pgflow, third part, continued: conditions of steps, and skips.

-- Resolves the conditions of a run's ready steps, round by round, until nothing changes: the first
-- unmet one with `fail` ends the run, the others are skipped, alone or with their dependents.
-- Called by _advance_run and by clients; locks the run. Returns false where the run has failed.
create or replace function pgflow.cascade_resolve_conditions(run_id uuid) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs;
  v_unmet pgflow._ended[];
  v_step text;
begin
  select r.* into v_run from pgflow.runs r
  join pgflow.flows f on f.flow_slug = r.flow_slug and f.origin = 'pgflow'
  where r.run_id = cascade_resolve_conditions.run_id for no key update of r;
  if v_run.status is distinct from 'started' then
    return v_run.status is distinct from 'failed';
  end if;
  loop
    v_unmet := array(
      select row(s.run_id, s.flow_slug, s.step_slug, d.when_unmet)::pgflow._ended
      from pgflow.step_states s
      join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
      where s.run_id = v_run.run_id and s.status = 'created' and s.remaining_deps = 0
        and (d.required_input_pattern is not null or d.forbidden_input_pattern is not null)
        and not (pgflow._condition(v_run, d) -> 'value')::boolean
      order by d.when_unmet <> 'fail', d.step_index);
    if cardinality(v_unmet) = 0 then
      return true;
    elsif v_unmet[1].kind = 'fail' then
      perform pgflow._fail_unmet(v_run.run_id, v_unmet[1].step_slug);
      return false;
    end if;
    perform pgflow._skip_unmet(v_run.run_id, array(
      select u.step_slug from unnest(v_unmet) u where u.kind = 'skip'));
    foreach v_step in array array(
      select u.step_slug from unnest(v_unmet) u where u.kind = 'skip-cascade')
    loop
      perform pgflow._cascade_force_skip_steps(v_run.run_id, v_step, 'condition_unmet');
    end loop;
  end loop;
end
$$;

-- Fails a step whose condition is unmet, and its run. The caller holds the run.
create or replace function pgflow._fail_unmet(p_run_id uuid, p_step_slug text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_error jsonb := jsonb_build_object(
    'type', 'ConditionUnmet', 'message', 'Condition not met', 'attempts', 0);
begin
  perform pgflow._end_states(array[row(p_run_id, p_step_slug, 'failed', null, null, v_error,
                                       v_error ->> 'message')::pgflow._transition]);
  perform pgflow._fail_runs(array[
    row(p_run_id, p_step_slug, v_error || jsonb_build_object('step', p_step_slug)
    )::pgflow._run_failure]);
end
$$;

-- Skips steps whose condition is unmet; their dependents go on with the other outputs. The caller
-- holds the run.
create or replace function pgflow._skip_unmet(p_run_id uuid, p_steps text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_skipped pgflow._step[];
begin
  v_skipped := pgflow._end_states(array(
    select row(p_run_id, u.slug, 'skipped', 'condition_unmet', null, null, null)::pgflow._transition
    from unnest(p_steps) u(slug)));
  perform pgflow._emit_steps(p_run_id, p_steps);
  perform pgflow._feed_dependents(p_run_id, array(
    select row(u.run_id, u.flow_slug, u.step_slug, 'skipped')::pgflow._ended
    from unnest(v_skipped) u));
end
$$;

-- Skips a step, with this reason, and its open dependents, direct and indirect: their tasks end,
-- their messages are archived, the run is counted down. Called for skip-cascade; locks the run.
-- Returns the number skipped.
create or replace function pgflow._cascade_force_skip_steps(
  run_id uuid, step_slug text, skip_reason text
) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run_id uuid := pgflow._lock_pgflow_run(run_id);
  v_downstream pgflow._transition[];
  v_steps text[];
begin
  with recursive downstream as (
    select s.flow_slug, s.step_slug from pgflow.step_states s
    where s.run_id = v_run_id and s.step_slug = _cascade_force_skip_steps.step_slug
    union
    select d.flow_slug, d.step_slug
    from downstream u join pgflow.deps d on d.flow_slug = u.flow_slug and d.dep_slug = u.step_slug
  )
  select array_agg(row(v_run_id, u.step_slug, 'skipped',
      case when u.step_slug = _cascade_force_skip_steps.step_slug
        then _cascade_force_skip_steps.skip_reason else 'dependency_skipped' end,
      null, null, null)::pgflow._transition)
  into v_downstream from downstream u;
  v_steps := array(select e.step_slug from unnest(pgflow._end_states(v_downstream)) e);
  if cardinality(v_steps) > 0 then
    perform pgflow._drop_messages(
      pgflow._end_tasks(array_fill(v_run_id, array[cardinality(v_steps)]), v_steps, 'skipped'));
    update pgflow.runs r set remaining_steps = greatest(r.remaining_steps - cardinality(v_steps), 0)
    where r.run_id = v_run_id;
    perform pgflow._emit_steps(v_run_id, v_steps);
  end if;
  return cardinality(v_steps);
end
$$;
