-- Flows that the ends of other runs start (`after`), or their waits for people: the listeners. Who
-- is heard is known before: each activation of a listener writes it into the flows that it hears
-- (`flows.heard`), so that the end of a run that nobody hears costs nothing.
--
-- The end of a run leaves a message in the timer queue, in its own transaction, with the names of
-- the listeners that were active then. Its reader starts their runs. The key of such a run names
-- the run that ended, so a message that comes twice starts nothing twice.

-- The first problem with `after` and `handles` of a definition: a sentence, or null. Called by
-- _check_definition.
create or replace function pgflow._after_problem(p_definition jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_after jsonb := p_definition -> 'after';
  v_problem text;
begin
  if p_definition ? 'after' and (
    jsonb_typeof(v_after -> 'flows') = 'array' and jsonb_typeof(v_after -> 'status') = 'array'
    and v_after -> 'flows' <> '[]' and v_after -> 'status' <> '[]'
    and v_after -> 'status' <@ '["completed", "failed", "cancelled", "waiting"]'
    and not exists (
      select 1 from jsonb_array_elements(v_after -> 'flows') g
      where jsonb_typeof(g) <> 'string' or g #>> '{}' !~ '^[a-z0-9_*]{1,47}$')) is not true
  then
    return '"after" needs "flows", a list of names in which * stands for any letters, and '
      || '"status", a list of completed, failed, cancelled and waiting';
  end if;
  select format('step "%s": handles must be true or false', s.key) into v_problem
  from jsonb_each((p_definition -> 'steps') || coalesce(p_definition -> 'finally', '{}')) s
  where jsonb_typeof(s.value -> 'handles') <> 'boolean' limit 1;
  return v_problem;
end
$$;

-- True for a flow whose active version, or this version, is a listener.
create or replace function pgflow._hears(p_name text, p_version text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select 1 from pgflow.definitions d join pgflow.flows f on f.flow_slug = d.flow_slug
    where d.name = p_name and (d.active or d.version = p_version) and f.after is not null)
$$;

-- Keeps the deploy of a flow and the activation of a listener from missing each other. Deploys of
-- flows that hear nothing do not wait for each other. Locked after the name.
create or replace function pgflow._lock_hearing(p_alone boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_alone then
    perform pg_advisory_xact_lock(hashtext('pgflow.after'), 0);
  else
    perform pg_advisory_xact_lock_shared(hashtext('pgflow.after'), 0);
  end if;
end
$$;

-- Writes who hears the runs of this flow, or of all flows, into all their versions: runs of old
-- versions end, too. The caller holds the lock of _lock_hearing.
create or replace function pgflow._reckon_heard(p_name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  with heard as materialized (
    select n.name, (
      select jsonb_object_agg(k.status, k.names)
      from (
        select s.status, jsonb_agg(d.name order by d.name) as names
        from pgflow.definitions d
        join pgflow.flows f on f.flow_slug = d.flow_slug and f.after is not null
        cross join lateral jsonb_array_elements_text(f.after -> 'status') s(status)
        where d.active and pgflow._is_heard(n.name, d.name, f.after) group by 1) k) as heard
    from (select distinct d.name from pgflow.definitions d
          where p_name is null or d.name = p_name) n
  )
  update pgflow.flows f set heard = h.heard
  from pgflow.definitions d join heard h on h.name = d.name
  where f.flow_slug = d.flow_slug and f.heard is distinct from h.heard;
end
$$;

-- True when the runs of a flow are among those that a listener hears; it does not hear its own.
create or replace function pgflow._is_heard(p_name text, p_listener text, p_after jsonb)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_name <> p_listener and exists (
    select 1 from jsonb_array_elements_text(p_after -> 'flows') g(glob)
    where p_name ~ ('^' || replace(g.glob, '*', '.*') || '$'))
$$;

-- The number of runs that may start each other by `after`, the first one not counted.
create or replace function pgflow._longest_chain() returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 4 $$;

-- What the audit says at the end of a chain: who was not started, and why.
create or replace function pgflow._end_of_chain(
  p_flow text, p_status text, p_names jsonb, p_chain int
) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('flow', p_flow, 'status', p_status, 'not_started', p_names,
    'reason', format(
      '%s runs have started each other by `after`; the chain ends here', p_chain))
$$;

-- Notifies the listeners of runs that have just ended, by messages in the timer queue. At the end
-- of a chain nobody is told, which the audit says. The caller holds the runs.
create or replace function pgflow._notify_listeners(p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._queue_send_timer('pgflow__timers', pgflow.clock(),
    jsonb_build_object('kind', 'after', 'run_id', r.run_id, 'flows', f.heard -> r.status))
  from pgflow.runs r join pgflow.flows f on f.flow_slug = r.flow_slug
  where r.run_id = any(p_runs) and r.chain < pgflow._longest_chain();
  insert into pgflow.audit (action, subject, details)
  select 'after', r.run_id::text,
    pgflow._end_of_chain(r.flow_name, r.status, f.heard -> r.status, r.chain)
  from pgflow.runs r join pgflow.flows f on f.flow_slug = r.flow_slug
  where r.run_id = any(p_runs) and r.chain >= pgflow._longest_chain();
end
$$;

-- Starts a run of each of these flows that still hears the end of this run. The caller holds the
-- run that has ended; one that goes on again has nothing to tell.
create or replace function pgflow._start_listeners(p_run pgflow.runs, p_names jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._start_each_listener(p_run, p_names, p_run.status, pgflow._end_of_run(p_run),
    format('after:%s:%s', p_run.run_id, p_run.retries));
end
$$;

-- Starts a run of each of these flows that hears p_status of this run, with this input, under this
-- key. The input is what the compiler has declared, so it is not checked. The caller holds the run.
create or replace function pgflow._start_each_listener(
  p_run pgflow.runs, p_names jsonb, p_status text, p_input jsonb, p_key text
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_more pgflow.runs;
  v_listener record;
begin
  v_more.chain := p_run.chain + 1;
  v_more.started_by := p_run.started_by;
  for v_listener in
    select d.name, f as flow, f.labels,
      case when f.after -> 'status' ? 'waiting'
        then pgflow._facts_of_wait(null, null, null) else '{}' end as others
    from jsonb_array_elements_text(p_names) n(name)
    join pgflow.definitions d on d.name = n.name and d.active
    join pgflow.flows f on f.flow_slug = d.flow_slug
    where f.after -> 'status' ? p_status
      and pgflow._is_heard(p_run.flow_name, d.name, f.after)
    order by d.name
  loop
    v_more.labels := v_listener.labels;
    perform pgflow._begin_runs(v_listener.flow, array[v_listener.others || p_input],
      array[null::uuid], v_listener.name, p_key, v_more);
  end loop;
end
$$;

-- What a listener is told of a run that has ended: the fields that the compiler declares
-- (language/listening.py). An output of more than 64 kB is left out.
create or replace function pgflow._end_of_run(p_run pgflow.runs) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'run', p_run.run_id, 'flow', p_run.flow_name,
    'version', split_part(p_run.flow_slug, '__', 2), 'status', p_run.status,
    'error', p_run.error, 'step', p_run.error -> 'step', 'labels', coalesce(p_run.labels, '{}'),
    'output', case when octet_length(p_run.output::text) <= 65536 then p_run.output end,
    'scheduled_at', pgflow._tick_text(p_run.scheduled_at), 'retries', p_run.retries)
$$;
