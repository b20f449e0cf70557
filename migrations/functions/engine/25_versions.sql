-- Versions: definitions stored under a name, one of which is active.

-- Stores a definition as a version of its name and makes it the active one if asked. One
-- transaction under a lock for each name (R-12); a version that exists is not written again.
-- Returns name, version, flow_slug, active, status: created | activated | unchanged.
create or replace function pgflow.deploy(
  p_definition jsonb, p_version text, p_order text[], p_source text,
  p_description text default null, p_git jsonb default null, p_activate boolean default true,
  p_labels jsonb default null, p_retention jsonb default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := p_definition ->> 'flow';
  v_slug text := v_name || '__' || p_version;
  v_stored pgflow.definitions;
  v_flow pgflow.flows;
  v_status text := 'unchanged';
begin
  perform pgflow._check_definition(p_definition, p_version, p_order);
  if p_source is null then
    raise exception using errcode = 'PF004',
      message = format('the source of flow "%s" is missing', v_name);
  end if;
  p_labels := nullif(p_labels, 'null');
  if not pgflow._are_labels(p_labels) then
    raise exception using errcode = 'PF004',
      message = format('the labels of flow "%s" must be texts with names of letters, digits and '
        || '_ . - /', v_name);
  end if;
  p_retention := nullif(p_retention, 'null');
  if not pgflow._is_retention(p_retention) then
    raise exception using errcode = 'PF004',
      message = format('the retention of flow "%s" must be {"completed", "failed"} in '
        || 'milliseconds, or null for ever', v_name);
  end if;
  perform pg_advisory_xact_lock(hashtext('pgflow.deploy'), hashtext(v_name));
  select d.* into v_stored from pgflow.definitions d
  where d.name = v_name and d.version = p_version;
  if not found or p_activate and not v_stored.active then
    perform pgflow._check_circles(v_name, p_definition);
  end if;
  if v_stored.name is null then
    perform pgflow._lock_hearing(
      p_definition ? 'after' or pgflow._hears(v_name, p_version));
    v_flow := pgflow._flow_row(v_slug, p_definition);
    v_flow.labels := p_labels;
    v_flow.retention := p_retention;
    perform pgflow._define_flow(v_flow);
    perform pgflow._define_steps(
      v_slug, (p_definition -> 'steps') || coalesce(p_definition -> 'finally', '{}'), p_order,
      array(select jsonb_object_keys(p_definition -> 'finally')));
    insert into pgflow.definitions (
      name, version, flow_slug, definition, source, description, git, created_at)
    values (v_name, p_version, v_slug, p_definition, p_source, p_description, p_git, pgflow.now());
    perform pgflow._reckon_heard(v_name);
    perform pgflow._reckon_limits(v_name);
    v_status := 'created';
  else
    perform pgflow._queue_ensure(v_name);
    update pgflow.definitions d set source = p_source, description = p_description
    where d.name = v_name and d.version = p_version
      and (d.source, d.description) is distinct from (p_source, p_description);
    update pgflow.flows f set labels = p_labels, retention = p_retention
    where f.flow_slug = v_slug
      and (f.labels, f.retention) is distinct from (p_labels, p_retention);
  end if;
  if p_activate and not coalesce(v_stored.active, false) then
    perform pgflow._activate(v_name, p_version);
    v_status := case when v_status = 'created' then 'created' else 'activated' end;
  end if;
  if v_status <> 'unchanged' then
    insert into pgflow.audit (action, subject, details)
    values ('deploy', v_name,
      jsonb_build_object('version', p_version, 'status', v_status, 'git', p_git));
  end if;
  return jsonb_build_object('name', v_name, 'version', p_version, 'flow_slug', v_slug,
    'status', v_status, 'active', p_activate or coalesce(v_stored.active, false));
end
$$;

-- Moves the active mark, and the limits and schedules with it; where this flow hears the ends of
-- others, or did, reckons who is heard.
-- The caller holds the lock of the name.
create or replace function pgflow._activate(p_name text, p_version text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hears boolean := pgflow._hears(p_name, p_version);
begin
  if v_hears then
    perform pgflow._lock_hearing(true);
  end if;
  update pgflow.definitions d set active = false where d.name = p_name and d.active;
  update pgflow.definitions d set active = true where d.name = p_name and d.version = p_version;
  perform pgflow._set_schedules(p_name, (
    select d.definition -> 'schedule' from pgflow.definitions d
    where d.name = p_name and d.version = p_version));
  if v_hears then
    perform pgflow._reckon_heard(null);
  end if;
  perform pgflow._reckon_limits(p_name);
end
$$;

-- A stored version by its text or a unique beginning of it; the active one for a null p_version.
-- Raises PF001.
create or replace function pgflow._find_definition(p_name text, p_version text)
returns pgflow.definitions
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definitions pgflow.definitions[];
begin
  v_definitions := array(
    select d from pgflow.definitions d
    where d.name = p_name
      and case when p_version is null then d.active else starts_with(d.version, p_version) end
    limit 2);
  if cardinality(v_definitions) = 1 then
    return v_definitions[1];
  elsif cardinality(v_definitions) = 2 then
    raise exception using errcode = 'PF001',
      message = format('more than one version of flow "%s" begins with "%s"; give more digits',
        p_name, p_version);
  elsif not exists (select 1 from pgflow.definitions d where d.name = p_name) then
    raise exception using errcode = 'PF001',
      message = format('there is no flow "%s" in this database', p_name);
  elsif p_version is null then
    raise exception using errcode = 'PF001',
      message = format('flow "%s" has no active version; name one: pgflow-yaml activate %s VERSION',
        p_name, p_name);
  end if;
  raise exception using errcode = 'PF001',
    message = format('flow "%s" has no version "%s"', p_name, p_version);
end
$$;

-- Activates a stored version. Same reply as deploy. Locks the name, as deploy does; a start does
-- not wait for it and takes the version that is active when it reads.
create or replace function pgflow.activate(
  p_name text, p_version text, p_by text default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition pgflow.definitions;
begin
  perform pg_advisory_xact_lock(hashtext('pgflow.deploy'), hashtext(p_name));
  v_definition := pgflow._find_definition(p_name, coalesce(p_version, ''));
  if not v_definition.active then
    perform pgflow._check_circles(p_name, v_definition.definition);
    perform pgflow._activate(p_name, v_definition.version);
    insert into pgflow.audit (action, subject, details, who)
    values ('activate', p_name, jsonb_build_object('version', v_definition.version),
      coalesce(p_by, session_user));
  end if;
  return jsonb_build_object('name', p_name, 'version', v_definition.version,
    'flow_slug', v_definition.flow_slug,
    'status', case when v_definition.active then 'unchanged' else 'activated' end, 'active', true);
end
$$;

-- A stored version as clients show and compare it; null when there is none.
create or replace function pgflow.get_definition(p_name text, p_version text default null)
returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition pgflow.definitions;
begin
  v_definition := pgflow._find_definition(p_name, p_version);
  return jsonb_build_object('name', v_definition.name, 'version', v_definition.version,
    'flow_slug', v_definition.flow_slug, 'definition', v_definition.definition,
    'source', v_definition.source, 'active', v_definition.active,
    'order', (select jsonb_agg(s.step_slug order by s.step_index) from pgflow.steps s
              where s.flow_slug = v_definition.flow_slug));
exception when sqlstate 'PF001' then
  return null;
end
$$;

-- The webhook of a flow's active version; null without one. It returns no more than that, so that
-- its time tells a stranger little about the flow.
create or replace function pgflow.get_webhook(p_name text) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('version', d.version, 'webhook', d.definition -> 'webhook')
  from pgflow.definitions d
  where d.name = p_name and d.active and d.definition ? 'webhook'
$$;
