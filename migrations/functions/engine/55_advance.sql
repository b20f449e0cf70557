-- Advancing: ended steps let their dependents begin, wave by wave, until the rest waits for a
-- handler. (Runs of flows made by create_flow go on in pgflow/30_steps, with the same transitions.)
--
-- Each wave is a few statements over all runs of the batch. A step whose dependencies have ended
-- begins at once when it is simple (one task, no condition); only the others are evaluated one by
-- one. The callers of all functions here hold the rows of the runs, which makes the counters safe.
--
-- The kind of an ended step (`_ended`) decides about its dependents. completed and skipped (by its
-- own condition or policy): those with an edge `success` go on. upstream: skipped, and so is every
-- dependent on such an edge. failed, cancelled: likewise, where the run may go on.

-- Feeds ended steps to their dependents and begins the ready ones; then counts the runs down and
-- ends those without open steps. p_ready are steps without dependencies to be evaluated. The caller
-- holds the runs.
create or replace function pgflow._advance(p_ended pgflow._ended[], p_ready pgflow._start[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wave pgflow._ended[] := p_ended;
  v_ready pgflow._start[] := p_ready;
  v_ended pgflow._ended[] := p_ended;
  v_begun pgflow._start[] := '{}';
  v_starts pgflow._start[] := '{}';
  v_failures pgflow._run_failure[] := '{}';
  v_unhandled pgflow._run_failure[];
  v_recovering uuid[];
  v_evaluated record;
begin
  loop
    loop
      if cardinality(v_wave) > 0 then
        select w.skipped, v_ready || w.ready, v_begun || w.begun into v_wave, v_ready, v_begun
        from pgflow._lower_dependents(v_wave) w;
      end if;
      if cardinality(v_ready) > 0 then
        select l.starts, l.ended, l.failures into v_evaluated
        from pgflow._evaluate_ready(v_ready) l;
        v_starts := v_starts || v_evaluated.starts;
        v_wave := v_wave || v_evaluated.ended;
        v_failures := v_failures || v_evaluated.failures;
      end if;
      v_ready := '{}';
      v_ended := v_ended || v_wave;
      exit when cardinality(v_wave) = 0;
    end loop;
    v_unhandled := pgflow._new_unhandled_failures(v_ended);
    exit when v_unhandled is null;
    select s.recovering, s.ended into v_recovering, v_wave
    from pgflow._stop_ordinary_steps(v_unhandled) s;
    v_ended := v_ended || v_wave;
    exit when cardinality(v_wave) = 0;
  end loop;

  if v_unhandled is not null then
    v_unhandled := array(
      select u from unnest(v_unhandled) u where u.run_id <> all(v_recovering));
    v_begun := pgflow._going_on(v_begun, v_unhandled, v_ended);
    v_starts := pgflow._going_on(v_starts, v_unhandled, v_ended);
  end if;
  if cardinality(v_failures) > 0 then
    perform pgflow._fail_runs(v_failures);
    v_begun := pgflow._going_on(v_begun, v_failures, '{}');
    v_starts := pgflow._going_on(v_starts, v_failures, '{}');
    v_ended := array(
      select e from unnest(v_ended) e
      where e.run_id not in (select f.run_id from unnest(v_failures) f));
  end if;
  if cardinality(v_starts) > 0 then
    perform pgflow._start_steps(v_starts);
  end if;
  if cardinality(v_begun) > 0 then
    perform pgflow._make_tasks(v_begun);
  end if;
  if cardinality(v_ended) > 0 then
    perform pgflow._end_steps(array_agg(e.run_id), array_agg(e.steps))
    from (select d.run_id, count(*)::int as steps from unnest(v_ended) d group by 1) e;
  end if;
  if cardinality(v_unhandled) > 0 then
    perform pgflow._fail_runs(v_unhandled);
  end if;
end
$$;

-- The steps about to begin whose run does not fail now and that were not cancelled before they
-- began.
create or replace function pgflow._going_on(
  p_starts pgflow._start[], p_failures pgflow._run_failure[], p_ended pgflow._ended[]
) returns pgflow._start[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(s), '{}') from unnest(p_starts) s
  where s.run_id not in (select f.run_id from unnest(p_failures) f)
    and (s.run_id, s.step_slug) not in (
      select e.run_id, e.step_slug from unnest(p_ended) e where e.kind = 'cancelled')
$$;

-- The failures in runs that `fail_fast` and whose ended steps may have left one unhandled: no step
-- that would handle it can complete any more. Null where there is none. A failed `finally` step
-- decides the outcome of its run instead, and stops nothing; a failure that a retry has left counts
-- when its run ends. The caller holds the runs.
create or replace function pgflow._new_unhandled_failures(p_ended pgflow._ended[])
returns pgflow._run_failure[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[];
begin
  if not exists (
    select 1 from (select distinct u.flow_slug from unnest(p_ended) u) e
    join pgflow.flows f on f.flow_slug = e.flow_slug where not f.fails_at_once)
  then
    return null;
  end if;
  update pgflow.runs r
  set outcome = 'failed', error = l.error || jsonb_build_object('step', l.step_slug)
  from (
    select distinct on (e.run_id) e.run_id, e.step_slug, (
      select s.error from pgflow.step_states s
      where s.run_id = e.run_id and s.step_slug = e.step_slug) as error
    from unnest(p_ended) e
    join pgflow.steps d on d.flow_slug = e.flow_slug and d.step_slug = e.step_slug and d.is_finally
    where e.kind = 'failed' order by e.run_id, d.step_index desc) l
  where r.run_id = l.run_id;
  v_runs := array(
    select distinct e.run_id
    from unnest(p_ended) e
    join pgflow.flows f on f.flow_slug = e.flow_slug and not f.fails_at_once and f.fail_fast
    join pgflow.runs r on r.run_id = e.run_id and r.outcome is null and r.status = 'started'
    where e.kind = 'failed' or r.stopping is not null or exists (
      select 1 from pgflow.deps d
      where d.flow_slug = e.flow_slug and d.step_slug = e.step_slug and d.edge <> 'success'));
  return (
    select array_agg(u) from unnest(pgflow._unhandled_failures(v_runs)) u
    where not coalesce(u.step_slug = any((
      select r.left_failed from pgflow.runs r where r.run_id = u.run_id)::text[]), false));
end
$$;

-- The failures in these runs that no step has handled or can still handle: every dependent on an
-- edge `failure` or `any` has ended, and none is completed; one with `handles: false` does not
-- count. Latest first.
create or replace function pgflow._unhandled_failures(p_runs uuid[]) returns pgflow._run_failure[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(
    row(s.run_id, s.step_slug, s.error || jsonb_build_object('step', s.step_slug)
    )::pgflow._run_failure order by s.failed_at desc, d.step_index desc), '{}')
  from (select x.* from pgflow.step_states x
        where x.run_id = any(p_runs) and x.status = 'failed' offset 0) s
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  where not d.is_finally
    and not exists (
      select 1 from pgflow.deps e
      join pgflow.step_states x on x.run_id = s.run_id and x.step_slug = e.step_slug
      where e.flow_slug = s.flow_slug and e.dep_slug = s.step_slug and e.edge <> 'success'
        and x.status in ('created', 'started', 'completed')
        and (select h.handles from pgflow.steps h
             where h.flow_slug = e.flow_slug and h.step_slug = e.step_slug))
$$;

-- One wave: the dependents of ended steps wait for fewer. A dependent with an edge that cannot be
-- met any more is skipped at once: `success` needs a step that is completed or skipped by its own
-- condition, `failure` a failed one, `any` any. Returns the skipped steps (the next wave), those
-- that wait for nothing more and are to be evaluated, and those that begin at once, with one task
-- (simple steps of deployed flows): their states are started here already, for a row that is
-- updated twice in a transaction pays for its foreign keys again. After a skip all dependencies may
-- have been skipped, so its dependents are evaluated.
create or replace function pgflow._lower_dependents(
  p_ended pgflow._ended[], out skipped pgflow._ended[], out ready pgflow._start[],
  out begun pgflow._start[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  with hit as materialized (
    select h.*,
      not h.unmet and not h.after_skip and s.starts_simply and s.spec is not null as begins
    from (
      select e.run_id, e.flow_slug, d.step_slug, count(*)::int as times,
        bool_or(case d.edge
          when 'success' then e.kind in ('upstream', 'failed', 'cancelled')
          when 'failure' then e.kind <> 'failed'
          else false end) as unmet,
        bool_or(e.kind in ('skipped', 'upstream')) as after_skip
      from unnest(p_ended) e
      join pgflow.deps d on d.flow_slug = e.flow_slug and d.dep_slug = e.step_slug
      group by 1, 2, 3) h
    join pgflow.steps s on s.flow_slug = h.flow_slug and s.step_slug = h.step_slug
  ), lowered as (
    update pgflow.step_states s
    set remaining_deps = greatest(s.remaining_deps - h.times, 0),
        (status, skip_reason, skipped_at, started_at, initial_tasks, remaining_tasks,
         made, sent) = (
          select case when h.unmet then 'skipped' when k.begins then 'started' else s.status end,
                 case when h.unmet then 'dependency_skipped' end,
                 case when h.unmet then greatest(v_now, s.created_at) end,
                 case when k.begins then greatest(v_now, s.created_at) end,
                 case when k.begins then 1 else s.initial_tasks end,
                 case when k.begins then 1 end, k.begins::int, k.begins::int
          from (select h.begins and s.remaining_deps <= h.times as begins) k)
    from hit h
    where s.run_id = h.run_id and s.step_slug = h.step_slug and s.status = 'created'
    returning s.run_id, s.flow_slug, s.step_slug, s.status, s.remaining_deps
  )
  select
    coalesce(array_agg(row(l.run_id, l.flow_slug, l.step_slug, 'upstream')::pgflow._ended)
             filter (where l.status = 'skipped'), '{}'),
    coalesce(array_agg(row(l.run_id, l.flow_slug, l.step_slug, null, null)::pgflow._start
                       order by l.run_id, l.step_slug)
             filter (where l.status = 'created' and l.remaining_deps = 0), '{}'),
    coalesce(array_agg(row(l.run_id, l.flow_slug, l.step_slug, 1, null)::pgflow._start
                       order by l.run_id, l.step_slug)
             filter (where l.status = 'started'), '{}')
  into skipped, ready, begun
  from lowered l;
end
$$;
