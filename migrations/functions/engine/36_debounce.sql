-- Debounced starts: of many starts with one key, the last one counts, and its run begins when there
-- has been none for a while. The run is there from the first on (36_start_times); each later start
-- replaces its input and puts off its time. Once the run has begun or ended, the next start makes
-- another one, and takes the key from it.

-- Starts a run of a flow's active version (or of p_version) that begins p_pause after the last
-- start with this key. Returns what start_run does; created is false where it has changed a run
-- that had not begun: its input, version, labels and time. Locks that run. Raises PF003 for the key
-- of a run that was not started here, PF002 for a pause that is no time from 1 s to 10 years.
create or replace function pgflow.start_debounced(
  p_name text, p_input jsonb, p_key text, p_pause interval, p_version text default null,
  p_labels jsonb default null, p_trace text default null
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition pgflow.definitions := pgflow._find_definition(p_name, p_version);
  v_flow pgflow.flows;
  v_input jsonb;
  v_new pgflow.runs;
  v_run pgflow.runs;
  v_made uuid[] := '{}';
begin
  select f.* into v_flow from pgflow.flows f where f.flow_slug = v_definition.flow_slug;
  perform pgflow._check_debounce(p_name, p_key, p_pause);
  perform pgflow._check_start(p_name, p_key, p_labels);
  v_input := pgflow._checked_input(p_name, v_flow, p_input);
  v_new.labels := nullif(
    coalesce(v_flow.labels, '{}') || coalesce(nullif(p_labels, 'null'), '{}'), '{}');
  v_new.trace := pgflow._checked_trace(p_trace);
  -- a whole second, and not before the pause is over
  v_new.scheduled_at := pgflow._checked_start_time(
    pgflow.clock() + p_pause + interval '999999 microseconds');
  v_flow.gate := jsonb_build_object('at', v_new.scheduled_at);
  loop
    select r.* into v_run from pgflow.runs r
    where r.flow_name = p_name and r.run_key = p_key for no key update;
    if found and v_run.debounced is not true then
      raise exception using errcode = 'PF003', message = format(
        'key "%s" belongs to run %s, which was not started with debounce', p_key, v_run.run_id);
    end if;
    exit when found and pgflow._put_off_start(v_run, v_flow, v_input, v_new);
    v_made := pgflow._begin_runs(v_flow, array[v_input], array[null::uuid], p_name, p_key, v_new);
    if cardinality(v_made) = 1 then
      update pgflow.runs r set debounced = true where r.run_id = v_made[1] returning r.* into v_run;
      exit;
    end if;
  end loop;
  return jsonb_build_object('run_id', v_run.run_id, 'flow', p_name,
    'version', split_part(v_flow.flow_slug, '__', 2), 'status', v_run.status,
    'created', cardinality(v_made) = 1);
end
$$;

-- Raises PF002 unless a debounced start has a key and a pause that make sense.
create or replace function pgflow._check_debounce(p_name text, p_key text, p_pause interval)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_key is not null and p_pause between interval '1 s' and interval '10 years') is not true then
    raise exception using errcode = 'PF002',
      message = format('the start of flow "%s" is refused', p_name),
      detail = jsonb_build_array(case when p_key is null
        then '{"path": "key", "message": "a start with debounce needs one"}'::jsonb
        else '{"path": "debounce", "message": "must be from 1 second to 10 years"}' end)::text;
  end if;
end
$$;

-- Gives a run that has not begun the input, version, labels and time of a later start. A run that
-- has begun or ended loses its key, and the answer is false. The caller holds the run.
create or replace function pgflow._put_off_start(
  p_run pgflow.runs, p_flow pgflow.flows, p_input jsonb, p_new pgflow.runs
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_run.status <> 'started' or p_run.waits_at is distinct from 'start_time' then
    update pgflow.runs r set run_key = null where r.run_id = p_run.run_id;
    return false;
  end if;
  update pgflow.runs r
  set input = p_input, flow_slug = p_flow.flow_slug, labels = p_new.labels,
    scheduled_at = p_new.scheduled_at,
    remaining_steps = (select count(*) from pgflow.steps s where s.flow_slug = p_flow.flow_slug)
  where r.run_id = p_run.run_id;
  perform pgflow._queue_park(
    'pgflow__timers', array[p_run.deadline_message_id], array[p_new.scheduled_at]);
  return true;
end
$$;
