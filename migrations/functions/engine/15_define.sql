-- Definitions: flows, steps and deps rows, made once and never changed, and names with versions above them.
--
-- `_define_flow` is the inside of both doors; `_define_step` that of add_step, `_define_steps` that of deploy.

-- One row of flows, and its queue. Idempotent: an existing flow is left as it is. Locks: the new row.
create or replace function pgflow._define_flow(p_flow pgflow.flows) returns pgflow.flows
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow pgflow.flows;
begin
  if lower(coalesce(p_flow.queue_name, p_flow.flow_slug)) = 'pgflow__clock' then
    raise exception using errcode = 'PF004', message = 'the queue pgflow__clock is the engine''s own; give the flow another name';
  end if;
  insert into pgflow.flows (flow_slug, opt_max_attempts, opt_base_delay, opt_timeout, queue_name, door, input_spec,
                            input_schema, output, labels, timeout_ms, fail_fast, catches, finally_steps, repeats)
  values (p_flow.flow_slug, p_flow.opt_max_attempts, p_flow.opt_base_delay, p_flow.opt_timeout,
          p_flow.queue_name, p_flow.door, p_flow.input_spec, p_flow.input_schema, p_flow.output, p_flow.labels,
          p_flow.timeout_ms, coalesce(p_flow.fail_fast, true), coalesce(p_flow.catches, false),
          coalesce(p_flow.finally_steps, 0), coalesce(p_flow.repeats, false))
  on conflict (flow_slug) do nothing;
  select f.* into v_flow from pgflow.flows f where f.flow_slug = p_flow.flow_slug;
  perform pgflow._queue_ensure(coalesce(v_flow.queue_name, v_flow.flow_slug));
  return v_flow;
end
$$;

-- One row of steps with its edges, at the next index. Idempotent on (flow, step); new edges of an existing step are
-- added. R-12: steps of one flow are numbered under its row's lock, so two sessions cannot take one index.
create or replace function pgflow._define_step(p_step pgflow.steps, p_deps text[]) returns pgflow.steps
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step pgflow.steps;
begin
  perform 1 from pgflow.flows f where f.flow_slug = p_step.flow_slug for no key update;
  p_step.step_index := (
    select coalesce(max(s.step_index) + 1, 0) from pgflow.steps s where s.flow_slug = p_step.flow_slug);
  p_step.deps_count := coalesce(cardinality(p_deps), 0);
  p_step.created_at := pgflow.now();
  if not exists (
    select 1 from pgflow.steps s where s.flow_slug = p_step.flow_slug and s.step_slug = p_step.step_slug)
  then
    insert into pgflow.steps (
      flow_slug, step_slug, step_type, step_index, deps_count, opt_max_attempts, opt_base_delay, opt_timeout,
      opt_start_delay, required_input_pattern, forbidden_input_pattern, when_unmet, when_exhausted, created_at,
      queue_name, handler, condition, map_items, fixed_tasks, spec)
    values (
      p_step.flow_slug, p_step.step_slug, p_step.step_type, p_step.step_index, p_step.deps_count,
      p_step.opt_max_attempts, p_step.opt_base_delay, p_step.opt_timeout, p_step.opt_start_delay,
      p_step.required_input_pattern, p_step.forbidden_input_pattern, p_step.when_unmet, p_step.when_exhausted,
      p_step.created_at, p_step.queue_name, p_step.handler, p_step.condition, p_step.map_items, p_step.fixed_tasks,
      p_step.spec);
  end if;
  insert into pgflow.deps (flow_slug, dep_slug, step_slug)
  select p_step.flow_slug, d.slug, p_step.step_slug from unnest(p_deps) with ordinality d(slug, nr) order by d.nr
  on conflict (flow_slug, dep_slug, step_slug) do nothing;
  select s.* into v_step
  from pgflow.steps s where s.flow_slug = p_step.flow_slug and s.step_slug = p_step.step_slug;
  return v_step;
end
$$;

-- A definition as a row of flows. The flags say at deploy time which rare parts its runs must be looked at for.
create or replace function pgflow._flow_of(p_flow_slug text, p_definition jsonb) returns pgflow.flows
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_flow pgflow.flows;
  v_finally jsonb := coalesce(p_definition -> 'finally', '{}');
begin
  v_flow.flow_slug := p_flow_slug;
  v_flow.opt_max_attempts := 3;
  v_flow.opt_base_delay := 1;
  v_flow.opt_timeout := 60;
  v_flow.queue_name := p_definition ->> 'flow';
  v_flow.door := 'deploy';
  v_flow.input_spec := p_definition -> 'input';
  v_flow.input_schema := p_definition -> 'input_schema';
  v_flow.output := p_definition -> 'output';
  v_flow.timeout_ms := (p_definition ->> 'timeout')::bigint;
  v_flow.fail_fast := coalesce((p_definition ->> 'fail_fast')::boolean, true);
  v_flow.finally_steps := (select count(*) from jsonb_object_keys(v_finally));
  v_flow.catches := exists (
    select 1 from jsonb_each(p_definition -> 'steps') s, jsonb_each_text(s.value -> 'depends_on') d
    where d.value <> 'success');
  v_flow.repeats := exists (
    select 1 from jsonb_each((p_definition -> 'steps') || v_finally) s where s.value ? 'repeat');
  return v_flow;
end
$$;

-- One step of a definition as a row of steps. Milliseconds stay in spec; pgflow's columns hold seconds, rounded up.
create or replace function pgflow._step_of(p_flow_slug text, p_slug text, p_body jsonb) returns pgflow.steps
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step pgflow.steps;
  v_retry jsonb := p_body -> 'retry';
begin
  v_step.flow_slug := p_flow_slug;
  v_step.step_slug := p_slug;
  v_step.step_type := case when p_body ?| array['map', 'initial_tasks'] then 'map' else 'single' end;
  v_step.action := case when p_body ? 'flow' then 'flow' when p_body ? 'wait' then 'wait' else 'handler' end;
  v_step.opt_max_attempts := (v_retry ->> 'max_attempts')::int;
  v_step.opt_base_delay := ceil((v_retry ->> 'base_delay')::numeric / 1000)::int;
  v_step.opt_timeout := case when p_body ? 'timeout' then greatest(ceil((p_body ->> 'timeout')::numeric / 1000)::int, 1) end;
  v_step.opt_start_delay := ceil((p_body ->> 'start_delay')::numeric / 1000)::int;
  v_step.when_unmet := coalesce(p_body ->> 'when_unmet', 'skip');
  v_step.when_exhausted := coalesce(p_body ->> 'when_exhausted', 'fail');
  v_step.handler := p_body ->> 'handler';
  v_step.condition := p_body -> 'if';
  v_step.map_items := p_body -> 'map';
  v_step.fixed_tasks := (p_body ->> 'initial_tasks')::int;
  v_step.max_parallel := (p_body ->> 'max_parallel')::int;
  v_step.soft := p_body ?| array['tolerate', 'fail_fast'];
  v_step.queue_name := case v_step.action when 'handler' then p_body ->> 'queue' else 'pgflow__clock' end;
  v_step.spec := jsonb_strip_nulls(jsonb_build_object(
    'timeout_ms', p_body -> 'timeout', 'start_delay_ms', p_body -> 'start_delay',
    'base_delay_ms', v_retry -> 'base_delay', 'max_delay_ms', v_retry -> 'max_delay',
    'backoff', v_retry -> 'backoff', 'jitter', v_retry -> 'jitter', 'fail_fast', p_body -> 'fail_fast'));
  -- expressions hold nulls that must stay
  v_step.spec := v_step.spec || (
    select coalesce(jsonb_object_agg(k.key, k.value), '{}')
    from (select e.key, e.value from jsonb_each(p_body) e where e.key in ('with', 'repeat', 'tolerate', 'flow', 'wait')
          union all select 'retry_if', v_retry -> 'if' where v_retry ? 'if') k);
  return v_step;
end
$$;

-- All steps of a new flow with their edges, set by set: a flow of 1,000 steps is deployed while somebody waits for it.
-- p_steps holds those of `steps` and of `finally`, p_finally the slugs of the latter.
create or replace function pgflow._define_steps(
  p_flow_slug text, p_steps jsonb, p_order text[], p_finally text[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into pgflow.steps (
    flow_slug, step_slug, step_type, step_index, deps_count, opt_max_attempts, opt_base_delay, opt_timeout,
    opt_start_delay, when_unmet, when_exhausted, created_at, handler, condition, map_items, fixed_tasks, spec,
    queue_name, action, max_parallel, soft, is_finally)
  select s.flow_slug, s.step_slug, s.step_type, o.nr - 1,
    (select count(*) from jsonb_object_keys(o.body -> 'depends_on')), s.opt_max_attempts, s.opt_base_delay,
    s.opt_timeout, s.opt_start_delay, s.when_unmet, s.when_exhausted, pgflow.now(), s.handler, s.condition,
    s.map_items, s.fixed_tasks, s.spec, s.queue_name, s.action, s.max_parallel, s.soft, o.slug = any(p_finally)
  from (select slug, nr, p_steps -> slug from unnest(p_order) with ordinality u(slug, nr)) o(slug, nr, body)
  cross join lateral pgflow._step_of(p_flow_slug, o.slug, o.body) s
  order by o.nr;
  insert into pgflow.deps (flow_slug, dep_slug, step_slug, edge)
  select p_flow_slug, d.slug, o.slug, d.edge
  from unnest(p_order) with ordinality o(slug, nr)
  cross join lateral jsonb_each_text(p_steps -> o.slug -> 'depends_on') d(slug, edge)
  order by o.nr, d.slug;
  perform pgflow._queue_ensure(q.queue_name)
  from (select distinct s.queue_name from pgflow.steps s where s.flow_slug = p_flow_slug) q;
end
$$;

-- What is wrong with the shape of a definition: a sentence, or null. The compiler writes none of these; a caller from
-- SQL may, and a cycle, a width of 0 or an edge that nobody knows would leave runs that never end. Called by
-- _check_definition. (Joined by hash: nobody knows the number of steps when this is planned.)
create or replace function pgflow._shape_problem(p_definition jsonb, p_order text[]) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_steps jsonb := p_definition -> 'steps';
  v_finally jsonb := coalesce(p_definition -> 'finally', '{}');
  v_problem text;
begin
  if jsonb_typeof(v_steps) is distinct from 'object' or jsonb_typeof(v_finally) <> 'object' then
    return '"steps" and "finally" must be objects of steps';
  end if;
  select format('step "%s" must be an object with a valid name and an object as "depends_on"', s.key) into v_problem
  from jsonb_each(v_steps || v_finally) s
  where not pgflow.is_valid_slug(s.key) or jsonb_typeof(s.value) <> 'object'
    or jsonb_typeof(coalesce(s.value -> 'depends_on', '{}')) <> 'object' limit 1;
  if v_problem is not null then
    return v_problem;
  end if;
  -- in an order in which each step comes behind what it depends on there is no cycle
  with places as materialized (
    select u.slug, min(u.nr) as nr, v_finally ? u.slug as late from unnest(p_order) with ordinality u(slug, nr) group by u.slug
  ), edges as materialized (
    select s.key as step, d.key as dep, d.value as edge
    from jsonb_each(v_steps || v_finally) s cross join lateral jsonb_each_text(s.value -> 'depends_on') d
  )
  select format('step "%s" cannot depend on "%s" as "%s": it must be a step of the same part that comes before it, and the edge success, failure or any',
                e.step, e.dep, e.edge) into v_problem
  from edges e
  left join places a on a.slug = e.step
  left join places b on b.slug = e.dep
  where e.edge is null or e.edge not in ('success', 'failure', 'any') or (b.nr < a.nr and a.late = b.late) is not true
  limit 1;
  if v_problem is not null then
    return v_problem;
  end if;
  select format('step "%s": %s must be a whole number from %s to %s', s.key, array_to_string(n.path, '.'), n.low, n.high) into v_problem
  from jsonb_each(v_steps || v_finally) s
  cross join (values
    (array['timeout'], 1, 2e12), (array['start_delay'], 0, 2e12), (array['initial_tasks'], 1, 100000),
    (array['max_parallel'], 1, 2e9), (array['retry', 'max_attempts'], 1, 2e9), (array['retry', 'base_delay'], 0, 2e12),
    (array['retry', 'max_delay'], 0, 2e12), (array['repeat', 'every'], 0, 2e12), (array['wait', 'timeout'], 0, 2e12)) n(path, low, high)
  where case jsonb_typeof(s.value #> n.path)
    when 'number' then (s.value #>> n.path)::numeric not between n.low and n.high or (s.value #>> n.path)::numeric % 1 <> 0
    else s.value #> n.path is not null end limit 1;
  if v_problem is null then
    select format('step "%s": when_unmet and when_exhausted are fail, skip or skip-cascade', s.key) into v_problem
    from jsonb_each(v_steps || v_finally) s
    where not array[coalesce(s.value ->> 'when_unmet', 'skip'), coalesce(s.value ->> 'when_exhausted', 'skip')]
      <@ array['fail', 'skip', 'skip-cascade'] limit 1;
  end if;
  return v_problem;
end
$$;

-- Refuses what a definition must not hold, whoever wrote it; S-13, S-19.
create or replace function pgflow._check_definition(p_definition jsonb, p_version text, p_order text[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := p_definition ->> 'flow';
  v_extra text := pgflow._shape_problem(p_definition, p_order);
  v_steps jsonb;
begin
  if v_name is null or v_name !~ '^[a-z_][a-z0-9_]{0,46}$' or position('__' in v_name) > 0 then
    raise exception using errcode = 'PF004', message = format('flow name %s is not valid; use lower-case letters, digits and single underscores, 47 at most', coalesce(quote_literal(v_name), 'null'));
  elsif p_version is null or p_version !~ '^[0-9a-f]{12}$' then
    raise exception using errcode = 'PF004', message = 'a version is twelve hexadecimal digits';
  elsif cardinality(p_order) > 2000 then
    raise exception using errcode = 'PF004', message = format('flow "%s" has %s steps; 2000 at most', v_name, cardinality(p_order));
  elsif v_extra is not null then
    raise exception using errcode = 'PF004', message = format('flow "%s" is refused: ', v_name) || v_extra;
  end if;
  v_steps := (p_definition -> 'steps') || coalesce(p_definition -> 'finally', '{}');
  if (select array_agg(k order by k) from jsonb_object_keys(v_steps) k)
    is distinct from (select array_agg(s order by s) from unnest(p_order) s)
  then
    raise exception using errcode = 'PF004', message = format('the order given for flow "%s" does not name exactly its steps', v_name);
  end if;
  select x.text into v_extra
  from (
    select format('unknown key "%s" of the flow', k) as text from jsonb_object_keys(p_definition) k
    where k not in ('flow', 'input', 'input_schema', 'output', 'timeout', 'fail_fast', 'steps', 'finally')
    union all
    select format('step "%s": unknown key "%s"', s.key, k)
    from jsonb_each(v_steps) s, jsonb_object_keys(s.value) k
    where k not in ('handler', 'flow', 'wait', 'depends_on', 'with', 'if', 'when_unmet', 'map', 'initial_tasks',
                    'max_parallel', 'fail_fast', 'tolerate', 'retry', 'repeat', 'queue', 'timeout', 'start_delay',
                    'when_exhausted')
  ) x limit 1;
  if v_extra is not null then
    raise exception using errcode = 'PF004', message = v_extra || ' is not supported by this database''s release; run pgflow-yaml migrate';
  end if;
  select s.key into v_extra from jsonb_each(v_steps) s
  where (s.value ? 'handler')::int + (s.value ? 'flow')::int + (s.value ? 'wait')::int <> 1 limit 1;
  if v_extra is not null then
    raise exception using errcode = 'PF004', message = format('step "%s" must have exactly one of handler, flow and wait', v_extra);
  end if;
  select q.name into v_extra from (select s.value ->> 'queue' as name from jsonb_each(v_steps) s) q
  where q.name !~ '^[a-z_][a-z0-9_]{0,46}$' or position('__' in q.name) > 0 limit 1;
  if v_extra is not null then
    raise exception using errcode = 'PF004', message = format('queue name %s is not valid; use lower-case letters, digits and single underscores, 47 at most', quote_literal(v_extra));
  end if;
end
$$;

-- Whether these may be labels: an object of texts, or null.
create or replace function pgflow._are_labels(p_labels jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case coalesce(jsonb_typeof(p_labels), 'null')
    when 'null' then true
    when 'object' then not exists (select 1 from jsonb_each(p_labels) l where jsonb_typeof(l.value) <> 'string')
    else false end
$$;

-- Stores a definition as a version of its name and, if asked, makes it the active one. One transaction under a lock
-- of its own for each name (R-12); what is there already is not written again. Returns name, version, flow_slug,
-- active, status: created | activated | unchanged.
create or replace function pgflow.deploy(
  p_definition jsonb, p_version text, p_order text[], p_source text,
  p_description text default null, p_git jsonb default null, p_activate boolean default true,
  p_labels jsonb default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := p_definition ->> 'flow';
  v_slug text := v_name || '__' || p_version;
  v_known pgflow.definitions;
  v_flow pgflow.flows;
  v_status text := 'unchanged';
begin
  perform pgflow._check_definition(p_definition, p_version, p_order);
  p_labels := nullif(p_labels, 'null');
  if not pgflow._are_labels(p_labels) then
    raise exception using errcode = 'PF004', message = format('the labels of flow "%s" must be an object of texts', v_name);
  end if;
  perform pg_advisory_xact_lock(hashtext('pgflow.deploy'), hashtext(v_name));
  select d.* into v_known from pgflow.definitions d where d.name = v_name and d.version = p_version;
  if not found then
    v_flow := pgflow._flow_of(v_slug, p_definition);
    v_flow.labels := p_labels;
    perform pgflow._define_flow(v_flow);
    perform pgflow._define_steps(v_slug, (p_definition -> 'steps') || coalesce(p_definition -> 'finally', '{}'), p_order,
                                 array(select jsonb_object_keys(p_definition -> 'finally')));
    insert into pgflow.definitions (name, version, flow_slug, definition, source, description, git, created_at)
    values (v_name, p_version, v_slug, p_definition, p_source, p_description, p_git, pgflow.now());
    v_status := 'created';
  else
    perform pgflow._queue_ensure(v_name);
    update pgflow.definitions d set source = p_source, description = p_description
    where d.name = v_name and d.version = p_version
      and (d.source, d.description) is distinct from (p_source, p_description);
    update pgflow.flows f set labels = p_labels where f.flow_slug = v_slug and f.labels is distinct from p_labels;
  end if;
  if p_activate and not coalesce(v_known.active, false) then
    perform pgflow._activate(v_name, p_version);
    v_status := case when v_status = 'created' then 'created' else 'activated' end;
  end if;
  if v_status <> 'unchanged' then
    insert into pgflow.audit (action, subject, details)
    values ('deploy', v_name, jsonb_build_object('version', p_version, 'status', v_status, 'git', p_git));
  end if;
  return jsonb_build_object('name', v_name, 'version', p_version, 'flow_slug', v_slug, 'status', v_status,
    'active', p_activate or coalesce(v_known.active, false));
end
$$;

-- Moves the active mark. The caller holds the name's lock.
create or replace function pgflow._activate(p_name text, p_version text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.definitions d set active = false where d.name = p_name and d.active;
  update pgflow.definitions d set active = true where d.name = p_name and d.version = p_version;
end
$$;

-- A stored version by itself or by a unique beginning of it; null p_version is the active one. Raises PF001.
create or replace function pgflow._find_definition(p_name text, p_version text) returns pgflow.definitions
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found pgflow.definitions[];
begin
  v_found := array(
    select d from pgflow.definitions d
    where d.name = p_name
      and case when p_version is null then d.active else starts_with(d.version, p_version) end
    limit 2);
  if cardinality(v_found) = 1 then
    return v_found[1];
  elsif cardinality(v_found) = 2 then
    raise exception using errcode = 'PF001',
      message = format('more than one version of flow "%s" begins with "%s"; give more digits', p_name, p_version);
  elsif not exists (select 1 from pgflow.definitions d where d.name = p_name) then
    raise exception using errcode = 'PF001', message = format('there is no flow "%s" in this database', p_name);
  elsif p_version is null then
    raise exception using errcode = 'PF001',
      message = format('flow "%s" has no active version; name one: pgflow-yaml activate %s VERSION', p_name, p_name);
  end if;
  raise exception using errcode = 'PF001', message = format('flow "%s" has no version "%s"', p_name, p_version);
end
$$;

-- Goes back (or on) to a stored version. Same reply as deploy. Locks the name, as deploy does; a start does not wait
-- for it and takes the version that is active when it looks.
create or replace function pgflow.activate(p_name text, p_version text) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found pgflow.definitions;
begin
  perform pg_advisory_xact_lock(hashtext('pgflow.deploy'), hashtext(p_name));
  v_found := pgflow._find_definition(p_name, coalesce(p_version, ''));
  if not v_found.active then
    perform pgflow._activate(p_name, v_found.version);
    insert into pgflow.audit (action, subject, details)
    values ('activate', p_name, jsonb_build_object('version', v_found.version));
  end if;
  return jsonb_build_object('name', p_name, 'version', v_found.version, 'flow_slug', v_found.flow_slug,
    'status', case when v_found.active then 'unchanged' else 'activated' end, 'active', true);
end
$$;

-- A stored version as a client needs it to show or to compare; null when there is none.
create or replace function pgflow.get_definition(p_name text, p_version text default null) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found pgflow.definitions;
begin
  v_found := pgflow._find_definition(p_name, p_version);
  return jsonb_build_object('name', v_found.name, 'version', v_found.version, 'flow_slug', v_found.flow_slug,
    'definition', v_found.definition, 'source', v_found.source, 'active', v_found.active,
    'order', (select jsonb_agg(s.step_slug order by s.step_index) from pgflow.steps s
              where s.flow_slug = v_found.flow_slug));
exception when sqlstate 'PF001' then
  return null;
end
$$;
