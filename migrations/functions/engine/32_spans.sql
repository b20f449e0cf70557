-- Traces: spans run -> step -> attempt. A worker makes the span of an attempt round its call. Runs
-- and steps have no process that lives as long as they do: their spans are made from their rows
-- once they have ended, with ids that follow from the run and the step. So each worker
-- knows the id of the span above its own.

-- A traceparent (W3C Trace Context) as it is; null where it is null, or does not ask for spans
-- (its flag "sampled" is not set). Raises PF006 for anything else.
create or replace function pgflow._checked_trace(p_trace text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_trace is null then
    return null;
  elsif p_trace !~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' then
    raise exception using errcode = 'PF006',
      message = 'a trace is a traceparent: 00-, 32 digits, -, 16 digits, -, two digits, in hex';
  end if;
  return case when substr(p_trace, 55, 1) in ('1', '3', '5', '7', '9', 'b', 'd', 'f')
    then p_trace end;
end
$$;

-- The id of the span of a run, or of a step of it; another one after each retry.
create or replace function pgflow._span_id(p_run pgflow.runs, p_step_slug text default null)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select left(encode(sha256(convert_to(
    p_run.run_id || ':' || p_run.retries || coalesce('/' || p_step_slug, ''), 'UTF8')), 'hex'), 16)
$$;

-- The traceparent of what a step of a traced run does; null for another run.
create or replace function pgflow._step_trace(p_run pgflow.runs, p_step_slug text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select left(p_run.trace, 36) || pgflow._span_id(p_run, p_step_slug) || right(p_run.trace, 3)
$$;

-- One span, of a run or of a step of it.
create or replace function pgflow._span(
  p_run pgflow.runs, p_step text, p_began timestamptz, p_ended timestamptz, p_status text,
  p_error text
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'trace', substr(p_run.trace, 4, 32), 'span', pgflow._span_id(p_run, p_step),
    'parent', case when p_step is null then substr(p_run.trace, 37, 16)
      else pgflow._span_id(p_run) end,
    'name', n.flow || coalesce('/' || p_step, ''), 'status', p_status, 'error', p_error,
    'began', (extract(epoch from p_began) * 1000000)::bigint,
    'ended', (extract(epoch from p_ended) * 1000000)::bigint,
    'run', p_run.run_id, 'flow', n.flow, 'step', p_step,
    'version', nullif(split_part(p_run.flow_slug, '__', 2), ''))
  from (select coalesce(p_run.flow_name, p_run.flow_slug) as flow) n
$$;

-- The spans of steps that have ended.
create or replace function pgflow._step_spans(p_run pgflow.runs, p_steps text[]) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(pgflow._span(p_run, s.step_slug, s.started_at,
    coalesce(s.completed_at, s.failed_at, s.skipped_at, s.cancelled_at), s.status,
    s.error ->> 'type') order by s.started_at), '[]')
  from pgflow.step_states s
  where s.run_id = p_run.run_id and s.step_slug = any(p_steps)
$$;

-- The spans of runs and steps that have ended since the last call by any worker, of up to 100
-- traced runs at which nobody has looked for p_pause, the ones longest ago first. Each is given
-- once; those of a worker that is killed with them are lost. A login that is limited to some queues
-- gets those of flows with steps in these. Locks rows of pgflow.traces, skipping
-- locked ones. Returns [{trace, span, parent, name, began, ended (microseconds), status, error,
-- run, flow, version, step}].
create or replace function pgflow.take_spans(
  p_worker uuid, p_pause interval default '1 second'
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.clock();
  v_granted text[] := (select w.granted from pgflow.workers w where w.worker_id = p_worker);
  v_trace record;
  v_run pgflow.runs;
  v_steps text[];
  v_spans jsonb := '[]';
begin
  perform pgflow._check_login(p_worker);
  for v_trace in
    select t.run_id, t.exported from pgflow.traces t
    where t.looked_at <= v_now - pgflow._checked_age(p_pause) and (v_granted is null or exists (
      select 1 from pgflow.runs r
      join pgflow.steps d on d.flow_slug = r.flow_slug and d.queue_name = any(v_granted)
      where r.run_id = t.run_id))
    order by t.looked_at limit 100 for update skip locked
  loop
    select r.* into v_run from pgflow.runs r where r.run_id = v_trace.run_id;
    v_steps := array(
      select s.step_slug from pgflow.step_states s
      where s.run_id = v_run.run_id and s.status not in ('created', 'started')
        and s.started_at is not null and s.step_slug <> all(v_trace.exported));
    v_spans := v_spans || pgflow._step_spans(v_run, v_steps);
    if v_run.status = 'started' then
      update pgflow.traces t set looked_at = v_now, exported = t.exported || v_steps
      where t.run_id = v_run.run_id;
    else
      v_spans := v_spans || pgflow._span(v_run, null, coalesce(v_run.retried_at, v_run.started_at),
        coalesce(v_run.completed_at, v_run.failed_at, v_run.cancelled_at), v_run.status,
        v_run.error ->> 'type');
      delete from pgflow.traces t where t.run_id = v_run.run_id;
    end if;
  end loop;
  return v_spans;
end
$$;

-- Has the spans of a retried run exported again: of the run, and of the steps that run again; those
-- of the others are, or will be, exported once. The caller holds the run and has opened its steps.
create or replace function pgflow._trace_again(p_run_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kept text[] := array(
    select s.step_slug from pgflow.step_states s
    where s.run_id = p_run_id and s.status not in ('created', 'started'));
begin
  insert into pgflow.traces (run_id, exported) values (p_run_id, v_kept)
  on conflict (run_id) do update
  set exported = array(select e from unnest(traces.exported) e where e = any(v_kept));
end
$$;
