-- Retrying runs that have ended: which steps run again, and which of them keep their tasks. The
-- rows are changed in 95_retry_rows.
--
-- A retry runs these steps again: those that it is about (`chosen`: by default the failures that
-- nobody handled and the cancelled steps), all steps that hang on them by edges of any kind, and
-- those of `finally`. Of these, the chosen ones with no other such step above them keep their
-- tasks: completed items of a map stay as they are.

-- Retries a run: locks it, and nothing else that another run needs. p_run: its id or key. p_steps:
-- only these failed, cancelled or softened steps; p_from: these steps, whatever they are, from the
-- start; p_soft: also the failed items that a map tolerated, and the steps that when_exhausted
-- skipped. p_input is merged over the input of the run. p_version: a version, or "latest"; null:
-- that of the run. p_as_new: a copy of the run, labelled `retry_of`, goes on instead of it. p_by
-- names the sender in the audit. p_request is the id of the request: a repeat of it gets the same
-- answer, and is that of a copy. p_dry_run: only says what it would do.
--
-- Returns {run_id, retried, status, version, again, kept, items_kept: {step: {kept, total}} of
-- maps, completed_again: completed steps that run again, handled: failed steps that are left alone,
-- since others handled their failures, differs: steps that stand in the way of the version; else
-- refused}. Raises PF001 for an unknown run, step or version, PF002 for an input, PF005 for a run
-- that goes on, is a child or has nothing to retry, and PF006 for a version that differs in steps
-- that are kept.
create or replace function pgflow.retry_run(
  p_run text, p_steps text[] default null, p_from text[] default null,
  p_soft boolean default false, p_input jsonb default null, p_version text default null,
  p_as_new boolean default false, p_by text default null, p_request uuid default null,
  p_dry_run boolean default false
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs := pgflow._lock_run_by_text(p_run);
  v_flow pgflow.flows;
  v_input jsonb;
  v_plan record;
  v_reply jsonb := pgflow._earlier_retry(v_run, p_request);
begin
  if v_reply is not null then
    return v_reply;
  end if;
  perform pgflow._check_retry(v_run, p_steps, p_from);
  v_flow := pgflow._retried_flow(v_run, p_version);
  v_input := pgflow._retried_input(v_run, v_flow, p_input);
  select c.* into v_plan from pgflow._plan_retry(
    v_run, p_steps, p_from, p_soft, v_flow, p_input is not null) c;
  if v_plan.chosen = '{}' and v_run.status = 'completed' then
    perform pgflow._refuse_empty_retry(v_run);
  elsif v_plan.differs <> '{}' and not p_dry_run then
    raise exception using errcode = 'PF006', message = format(
      'run %s cannot go on with version %s, which differs in %s: name them with --from, or retry '
        || 'with the version of the run', v_run.run_id, split_part(v_flow.flow_slug, '__', 2),
      array_to_string(v_plan.differs, ', '));
  end if;
  v_reply := pgflow._retry_reply(v_run, v_flow, v_plan.again, v_plan.resumed)
    || jsonb_build_object('differs', v_plan.differs);
  if p_dry_run then
    return v_reply;
  end if;
  if p_as_new then
    v_run := pgflow._copy_run(v_run, p_request);
  end if;
  perform pgflow._reopen_run(
    v_run, v_flow, v_input, v_plan.again, v_plan.resumed, v_run.retries + 1);
  v_reply := v_reply || (
    select jsonb_build_object('run_id', r.run_id, 'status', r.status, 'retried', r.retries)
    from pgflow.runs r where r.run_id = v_run.run_id);
  insert into pgflow.audit (action, subject, details, who)
  values ('retry', v_run.run_id::text, jsonb_strip_nulls(jsonb_build_object(
      'steps', p_steps, 'from', p_from, 'only_failed', nullif(p_soft, false),
      'input_before', case when v_input <> v_run.input then v_run.input end,
      'version_before', case when v_flow.flow_slug <> v_run.flow_slug
        then split_part(v_run.flow_slug, '__', 2) end,
      'request', p_request)) || jsonb_build_object('reply', v_reply),
    coalesce(p_by, session_user));
  return v_reply;
end
$$;

-- Retries a child run with its parent, by the default rule. The caller holds both runs.
create or replace function pgflow._retry_child(p_run pgflow.runs, p_retries int) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow pgflow.flows;
  v_plan record;
begin
  select f.* into v_flow from pgflow.flows f where f.flow_slug = p_run.flow_slug;
  select c.* into v_plan from pgflow._plan_retry(p_run, null, null, false, v_flow, false) c;
  perform pgflow._reopen_run(p_run, v_flow, p_run.input, v_plan.again, v_plan.resumed, p_retries);
end
$$;

-- The answer that this request had before its reply was lost; null for a new one. Looks at the
-- newest lines of the audit: a repeat comes within seconds.
create or replace function pgflow._earlier_retry(p_run pgflow.runs, p_request uuid) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select a.details -> 'reply'
  from (select x.* from pgflow.audit x order by x.id desc limit 200) a
  where a.action = 'retry' and p_request is not null
    and a.subject in (p_run.run_id::text, p_request::text)
    and a.details ->> 'request' = p_request::text
  limit 1
$$;

-- Raises PF005 for a run that cannot be retried, and PF001 or PF005 for steps that cannot.
create or replace function pgflow._check_retry(p_run pgflow.runs, p_steps text[], p_from text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_root uuid := pgflow._root_run(p_run);
  v_state record;
  v_problem text;
begin
  v_problem := case
    when p_run.flow_name is null
      then 'belongs to pgflow''s own clients, whose runs cannot be retried'
    when p_run.pruned_at is not null then 'is being deleted, since it is old'
    when v_root <> p_run.run_id
      then format('is a child of run %s: retry that one, and its failed children run again', v_root)
    when p_run.status = 'started' and p_run.outcome is not null
      then 'has not ended: its clean-up goes on'
    when p_run.status = 'started' then 'has not ended: it goes on' end;
  if v_problem is not null then
    raise exception using errcode = 'PF005', message = format('run %s %s', p_run.run_id, v_problem);
  end if;
  for v_state in
    select u.slug, s.status, u.begins,
      s.status in ('failed', 'cancelled')
        or coalesce(s.skip_reason = 'handler_failed', false) as failed
    from (select x.slug, false as begins from unnest(p_steps) x(slug)
          union all select x.slug, true from unnest(p_from) x(slug)) u
    left join pgflow.step_states s on s.run_id = p_run.run_id and s.step_slug = u.slug
  loop
    if v_state.status is null then
      raise exception using errcode = 'PF001',
        message = format('run %s has no step "%s"', p_run.run_id, v_state.slug);
    elsif not v_state.begins and not v_state.failed then
      raise exception using errcode = 'PF005', message = format(
        'step "%s" of run %s is %s, so there is nothing to retry; --from %s runs it again',
        v_state.slug, p_run.run_id, v_state.status, v_state.slug);
    end if;
  end loop;
end
$$;

-- The topmost run above this one that exists, or itself.
create or replace function pgflow._root_run(p_run pgflow.runs) returns uuid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive above as (
    select p_run.run_id, p_run.parent_run_id, 0 as height
    union all
    select r.run_id, r.parent_run_id, a.height + 1
    from above a join pgflow.runs r on r.run_id = a.parent_run_id
  )
  select a.run_id from above a order by a.height desc limit 1
$$;

-- The flow with which a run goes on: that of its version, of the active one for "latest", or of the
-- version named. Raises PF001.
create or replace function pgflow._retried_flow(p_run pgflow.runs, p_version text)
returns pgflow.flows
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slug text := case
    when p_version is null then p_run.flow_slug
    else (pgflow._find_definition(p_run.flow_name, nullif(p_version, 'latest'))).flow_slug end;
  v_flow pgflow.flows;
begin
  select f.* into v_flow from pgflow.flows f where f.flow_slug = v_slug;
  return v_flow;
end
$$;

-- The input with which a run goes on: new values over the old ones, checked as that of a start.
-- Raises PF002.
create or replace function pgflow._retried_input(
  p_run pgflow.runs, p_flow pgflow.flows, p_input jsonb
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_input is null and p_flow.flow_slug = p_run.flow_slug then
    return p_run.input;
  end if;
  return pgflow._checked_input(p_run.flow_name, p_flow, case
    when p_input is null then p_run.input
    when jsonb_typeof(p_run.input) = 'object' and jsonb_typeof(p_input) = 'object'
      then p_run.input || p_input
    else p_input end);
end
$$;

-- Decides about the steps of a run that has ended. chosen: those that the retry is about; again:
-- all that run again, with the steps that only the other version has; resumed: those that keep
-- their tasks; differs: those that are kept, but are not the same in the other version.
create or replace function pgflow._plan_retry(
  p_run pgflow.runs, p_steps text[], p_from text[], p_soft boolean, p_flow pgflow.flows,
  p_new_input boolean,
  out chosen text[], out again text[], out resumed text[], out differs text[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  chosen := array(
    select s.step_slug from pgflow.step_states s
    join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
    where s.run_id = p_run.run_id and (
      s.step_slug = any(p_steps || p_from)
      or p_steps is null and p_from is null and not d.is_finally and (
        s.status = 'cancelled' or s.step_slug in (
          select u.step_slug from unnest(pgflow._unhandled_failures(array[p_run.run_id])) u))
      or p_soft and (s.failed_tasks > 0 and s.status = 'completed'
        or s.skip_reason = 'handler_failed')));
  again := array(
    with recursive hit as (
      select c.slug from unnest(chosen) c(slug)
      union
      select e.step_slug from hit h
      join pgflow.deps e on e.flow_slug = p_run.flow_slug and e.dep_slug = h.slug
    )
    select d.step_slug from pgflow.steps d
    where d.flow_slug = p_run.flow_slug and (d.is_finally or d.step_slug in (select slug from hit))
    order by d.step_index);
  resumed := array(
    select s.step_slug from pgflow.step_states s
    join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
    where s.run_id = p_run.run_id and s.step_slug = any(chosen)
      and (s.step_slug = any(p_from)) is not true and not d.is_finally
      and pgflow._may_resume(s)
      and not (p_new_input and pgflow._is_made_of_input(d))
      and not exists (
        select 1 from pgflow.deps e
        where e.flow_slug = s.flow_slug and e.step_slug = s.step_slug and e.dep_slug = any(again)));
  differs := '{}';
  if not exists (select 1 from pgflow.step_states s where s.run_id = p_run.run_id) then
    again := array( -- it has never begun
      select d.step_slug from pgflow.steps d
      where d.flow_slug = p_flow.flow_slug order by d.step_index);
  elsif p_flow.flow_slug <> p_run.flow_slug then
    select v.again, v.resumed, v.differs into again, resumed, differs
    from pgflow._plan_version(p_run, p_flow, again, resumed) v;
  end if;
end
$$;

-- True for a step whose tasks can go on: it has some, one of them is open or failed, and the size
-- of the outputs so far was not the failure.
create or replace function pgflow._may_resume(p_state pgflow.step_states) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select (p_state.error ->> 'type') is distinct from 'OutputTooLarge' and exists (
      select 1 from pgflow.step_tasks t
      where t.run_id = p_state.run_id and t.step_slug = p_state.step_slug)
    and (p_state.made < p_state.initial_tasks or exists (
      select 1 from pgflow.step_tasks t
      where t.run_id = p_state.run_id and t.step_slug = p_state.step_slug
        and t.status <> 'completed'))
$$;

-- True for a step whose items, or whose child runs' inputs, come from the input of the run: with
-- another input its tasks would be others.
create or replace function pgflow._is_made_of_input(p_step pgflow.steps) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_step.action = 'flow' and p_step.deps_count = 0 and not p_step.spec ? 'with'
    or exists (
      select 1 from jsonb_array_elements_text(coalesce(p_step.map_items -> 'paths', '[]')
        || case p_step.action when 'flow' then coalesce(p_step.spec #> '{with,paths}', '[]')
           else '[]' end) p(path)
      where split_part(p.path, '.', 1) = 'input')
$$;

-- The steps of a retry on another version: those that are gone run no more, those that are new run,
-- all that are kept must be the same. A step keeps its tasks if it differs in how often and how
-- long it may try, not in what it does.
create or replace function pgflow._plan_version(
  p_run pgflow.runs, p_flow pgflow.flows, p_again text[], p_resumed text[],
  out again text[], out resumed text[], out differs text[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old jsonb := pgflow._step_bodies(p_run.flow_slug);
  v_new jsonb := pgflow._step_bodies(p_flow.flow_slug);
  v_tries text[] := array['retry', 'timeout', 'max_parallel', 'tolerate', 'fail_fast',
    'when_exhausted', 'concurrency', 'rate_limit'];
begin
  again := array(
    select d.step_slug from pgflow.steps d
    where d.flow_slug = p_flow.flow_slug
      and (d.step_slug = any(p_again) or not v_old ? d.step_slug)
    order by d.step_index);
  resumed := array(
    select u.slug from unnest(p_resumed) u(slug)
    where (v_old -> u.slug) - v_tries = (v_new -> u.slug) - v_tries);
  differs := array(
    select d.step_slug from pgflow.steps d
    where d.flow_slug = p_run.flow_slug and d.step_slug <> all(p_again)
      and v_old -> d.step_slug is distinct from v_new -> d.step_slug
    order by d.step_index);
end
$$;

-- The steps of a version as its definition has them, each with its edges.
create or replace function pgflow._step_bodies(p_flow_slug text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select (d.definition -> 'steps') || coalesce(d.definition -> 'finally', '{}')
  from pgflow.definitions d where d.flow_slug = p_flow_slug
$$;

-- Raises PF005 for a completed run of which nothing failed, with the options that would run steps
-- again.
create or replace function pgflow._refuse_empty_retry(p_run pgflow.runs) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_handled text := pgflow._handled_failures(p_run) ->> 0;
  v_soft boolean := exists (
    select 1 from pgflow.step_states s
    where s.run_id = p_run.run_id and (s.failed_tasks > 0 or s.skip_reason = 'handler_failed'));
begin
  raise exception using errcode = 'PF005', message = format(
    'there is nothing to retry in run %s, which has completed', p_run.run_id)
    || case
      when v_handled is not null then format(
        '; the failure of "%1$s" was handled: --from %1$s runs it again', v_handled)
      when v_soft then '; --only-failed runs again what failed in spite of that'
      else '; --from STEP runs it again from a step on' end;
end
$$;

-- The failed steps of a run whose failures other steps have handled, in their order.
create or replace function pgflow._handled_failures(p_run pgflow.runs) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(s.step_slug order by d.step_index), '[]')
  from pgflow.step_states s
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  where s.run_id = p_run.run_id and s.status = 'failed' and not d.is_finally
    and s.step_slug not in (
      select u.step_slug from unnest(pgflow._unhandled_failures(array[p_run.run_id])) u)
$$;

-- What a retry says: about the run as it is before it.
create or replace function pgflow._retry_reply(
  p_run pgflow.runs, p_flow pgflow.flows, p_again text[], p_resumed text[]
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('run_id', p_run.run_id, 'retried', p_run.retries,
    'status', p_run.status, 'flow', p_run.flow_name,
    'version', split_part(p_flow.flow_slug, '__', 2), 'again', to_jsonb(p_again),
    'kept', coalesce(jsonb_agg(s.step_slug order by d.step_index)
      filter (where s.status = 'completed' and s.step_slug <> all(p_again)), '[]'),
    'completed_again', coalesce(jsonb_agg(s.step_slug order by d.step_index)
      filter (where s.status = 'completed' and s.step_slug = any(p_again) and not d.is_finally
        and s.step_slug <> all(p_resumed)), '[]'),
    'items_kept', coalesce(
      jsonb_object_agg(s.step_slug, jsonb_build_object('kept', i.kept, 'total', s.initial_tasks))
        filter (where i.kept > 0), '{}'),
    'handled', (
      select coalesce(jsonb_agg(h.slug), '[]')
      from jsonb_array_elements_text(pgflow._handled_failures(p_run)) h(slug)
      where h.slug <> all(p_again)))
  from pgflow.step_states s
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  cross join lateral (
    select count(*) as kept from pgflow.step_tasks t
    where t.run_id = s.run_id and t.step_slug = s.step_slug and t.status = 'completed'
      and d.step_type = 'map' and s.step_slug = any(p_resumed)) i
  where s.run_id = p_run.run_id
$$;
