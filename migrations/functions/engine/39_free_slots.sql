-- Giving slots back. A slot belongs to a live run or task, and ends with it.

-- Deletes the slots of runs that have ended. The caller holds the runs.
create or replace function pgflow._leave_gates(p_runs uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_gates text[];
  v_keys text[];
  v_at timestamptz[];
begin
  with gone as (
    delete from pgflow.slots s where s.run_id = any(p_runs) and s.step_slug is null
    returning s.gate, s.key, s.held
  )
  select array_agg(g.gate), array_agg(g.key), array_agg(v_clock) into v_gates, v_keys, v_at
  from gone g where g.held;
  if v_gates is not null then
    perform pgflow._note_gates(v_gates, v_keys, v_at);
  end if;
end
$$;
