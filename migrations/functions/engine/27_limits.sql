-- The limits of a flow: `concurrency` of runs and of steps, `rate_limit`, `priority`. The limit
-- that counts is that of the active version, for runs of all versions; of a flow without an active
-- version it is that of the newest.

-- {"gate", "key"} of a limit; null for none.
create or replace function pgflow._gate(p_name text, p_limit jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_limit is not null then jsonb_build_object('gate', p_name)
    || case when p_limit ? 'key' then jsonb_build_object('key', p_limit -> 'key') else '{}' end end;
end
$$;

-- The gates of a step, as its row has them; null without one.
create or replace function pgflow._step_gate(p_flow_slug text, p_slug text, p_body jsonb)
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select nullif(
    case when p_body ? 'concurrency' then jsonb_build_object('concurrency',
      pgflow._gate('step:' || k.name || ':' || p_slug, p_body -> 'concurrency')) else '{}' end
    || case when p_body ? 'rate_limit' then jsonb_build_object('rate',
      pgflow._gate('rate:' || k.name || ':' || p_slug, p_body -> 'rate_limit')) else '{}' end,
    '{}')
  from (select split_part(p_flow_slug, '__', 1) as name) k
$$;

-- The first problem with the limits of a definition: a sentence, or null. Called by
-- _check_definition.
create or replace function pgflow._limits_problem(p_definition jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_problem text;
begin
  select format('%s%s needs a limit from 1 to 10000%s', coalesce(format('step "%s": ', l.slug), ''),
    l.name, case l.name when 'rate_limit' then ' and a `per` from 1 ms to 365 days'
      else ', and its when_full is queue, skip or replace (of a flow only)' end)
  into v_problem
  from (
    select null as slug, 'concurrency' as name, p_definition -> 'concurrency' as body
    union all
    select s.key, n.name, s.value -> n.name
    from jsonb_each((p_definition -> 'steps') || coalesce(p_definition -> 'finally', '{}')) s
    cross join (values ('concurrency'), ('rate_limit')) n(name)) l
  where l.body is not null and (
    jsonb_typeof(l.body) = 'object' and pgflow._is_whole(l.body -> 'limit', 1, 10000)
    and coalesce(jsonb_typeof(l.body -> 'key' -> 'paths'), case when l.body ? 'key' then ''
      else 'array' end) = 'array'
    and case l.name when 'rate_limit' then pgflow._is_whole(l.body -> 'per', 1, 31536000000)
      else coalesce(l.body ->> 'when_full', 'queue') in ('queue', 'skip', 'replace')
        and (l.slug is null or not l.body ? 'when_full') end) is not true
  limit 1;
  if v_problem is null and p_definition ? 'priority'
    and pgflow._is_whole(p_definition -> 'priority', 0, 9) is not true
  then
    return 'its priority must be a whole number from 0 to 9';
  end if;
  return v_problem;
end
$$;

-- True for a whole number in a range; null or false for anything else.
create or replace function pgflow._is_whole(p_value jsonb, p_low bigint, p_high bigint)
returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case jsonb_typeof(p_value) when 'number' then
    (p_value #>> '{}')::numeric between p_low and p_high and (p_value #>> '{}')::numeric % 1 = 0 end
$$;

-- Writes the limits that count for a flow, and opens the gates whose limits have changed: a limit
-- that is higher, or gone, lets others in. The caller holds the lock of the name.
create or replace function pgflow._reckon_limits(p_name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_body jsonb := (
    select d.definition from pgflow.definitions d
    where d.name = p_name order by d.active desc, d.created_at desc, d.version limit 1);
  v_changed text[];
begin
  with wanted as materialized (
    select 'flow:' || p_name as gate, null as step_slug, v_body -> 'concurrency' as body
    union all
    select n.prefix || p_name || ':' || s.key, s.key, s.value -> n.name
    from jsonb_each((v_body -> 'steps') || coalesce(v_body -> 'finally', '{}')) s
    cross join (values ('step:', 'concurrency'), ('rate:', 'rate_limit')) n(prefix, name)
  ), gone as (
    delete from pgflow.limits l
    where l.flow_name = p_name and l.gate ~ '^(flow|step|rate):'
      and l.gate not in (select w.gate from wanted w where w.body is not null)
    returning l.gate
  ), written as (
    insert into pgflow.limits as l (gate, flow_name, step_slug, places, per, when_full)
    select w.gate, p_name, w.step_slug, (w.body ->> 'limit')::int,
      (w.body ->> 'per')::bigint * interval '1 ms', coalesce(w.body ->> 'when_full', 'queue')
    from wanted w where w.body is not null
    on conflict (gate) do update
      set places = excluded.places, per = excluded.per, when_full = excluded.when_full
      where (l.places, l.per, l.when_full)
        is distinct from (excluded.places, excluded.per, excluded.when_full)
    returning l.gate
  )
  select array_agg(c.gate) into v_changed
  from (select g.gate from gone g union all select w.gate from written w) c;
  perform pgflow._note_gates(array_agg(k.gate), array_agg(k.key), array_agg(pgflow.clock()))
  from (select distinct s.gate, s.key from pgflow.slots s
        where s.gate = any(v_changed) and not s.held) k
  having count(*) > 0;
end
$$;
