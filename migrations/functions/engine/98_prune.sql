-- A pass of pruning: runs first, then what else is old. The one who prunes calls again with the
-- cursor of the last reply, and rests in between.

-- What else is old: workers that were not heard from for a week, records of the audit and the
-- logins of deleted workers after a year, and versions that nobody can miss: not active, without
-- runs, not named by a step of another version, and not among the last 20 of their name. At most
-- 200 of each. With p_flow only its versions. Returns {workers, audit, versions}.
create or replace function pgflow._prune_others(p_flow text, p_dry_run boolean) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_workers uuid[] := '{}';
  v_records bigint[] := '{}';
  v_versions text[];
begin
  if p_flow is null then
    v_workers := array(
      select w.worker_id from pgflow.workers w
      where w.last_heartbeat_at < pgflow.clock() - interval '7 days'
      order by w.last_heartbeat_at limit case when p_dry_run then null else 200 end
      for update skip locked);
    v_records := array(
      select a.id from (
        select x.id, x.created_at from pgflow.audit x
        order by x.id limit case when p_dry_run then null else 200 end) a
      where a.created_at < pgflow.clock() - interval '1 year');
  end if;
  v_versions := pgflow._unused_versions(p_flow);
  if not p_dry_run then
    perform set_config('pgflow.pruning', 'on', true);
    delete from pgflow.workers w where w.worker_id = any(v_workers);
    perform set_config('pgflow.pruning', '', true);
    delete from pgflow.former_workers w where p_flow is null and w.worker_id = any(array(
      select x.worker_id from pgflow.former_workers x
      where x.deleted_at < pgflow.clock() - interval '1 year' limit 200));
    delete from pgflow.audit a where a.id = any(v_records);
    v_versions := pgflow._prune_versions(v_versions[1:200]);
  end if;
  return jsonb_build_object('workers', cardinality(v_workers), 'audit', cardinality(v_records),
    'versions', cardinality(v_versions));
end
$$;

-- The versions that may go, of one name or of all.
create or replace function pgflow._unused_versions(p_flow text) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with named as materialized (
    select distinct s.spec ->> 'flow' as reference from pgflow.steps s
    where s.action = 'flow' and s.spec ->> 'flow' like '%@%'
  )
  select coalesce(array_agg(d.flow_slug order by d.created_at, d.flow_slug), '{}')
  from (
    select x.*, row_number() over (
      partition by x.name order by x.created_at desc, x.version) as nth
    from pgflow.definitions x where p_flow is null or x.name = p_flow) d
  where d.nth > 20 and not d.active
    and not exists (select 1 from pgflow.runs r where r.flow_slug = d.flow_slug)
    and not exists (
      select 1 from named n
      where split_part(n.reference, '@', 1) = d.name
        and starts_with(d.version, split_part(n.reference, '@', 2)))
$$;

-- Deletes versions, each under the lock of its name, as deploy; what somebody holds stays. Returns
-- those that are gone. (A start that has not committed holds the row of its version.)
create or replace function pgflow._prune_versions(p_slugs text[]) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slug text;
  v_gone text[] := '{}';
begin
  foreach v_slug in array p_slugs loop
    continue when not pg_try_advisory_xact_lock(
      hashtext('pgflow.deploy'), hashtext(split_part(v_slug, '__', 1)));
    perform 1 from pgflow.flows f where f.flow_slug = v_slug for update skip locked;
    continue when not found
      or exists (select 1 from pgflow.runs r where r.flow_slug = v_slug)
      or exists (select 1 from pgflow.definitions d where d.flow_slug = v_slug and d.active);
    delete from pgflow.definitions d where d.flow_slug = v_slug;
    delete from pgflow.deps d where d.flow_slug = v_slug;
    delete from pgflow.steps s where s.flow_slug = v_slug;
    delete from pgflow.flows f where f.flow_slug = v_slug;
    v_gone := v_gone || v_slug;
  end loop;
  return v_gone;
end
$$;

-- True where p_pruner may prune now: nobody else does. It may for ten seconds more.
create or replace function pgflow._may_prune(p_pruner uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform 1 from pgflow.pruning p
  where p.holder = p_pruner or p.until < pgflow.clock() for update skip locked;
  if found then
    update pgflow.pruning set holder = p_pruner, until = pgflow.clock() + interval '10 s';
  end if;
  return found;
end
$$;

-- One commit of a pass: runs first, then what else is old. Returns {cursor, busy, runs: {flow:
-- number}, tasks, workers, audit, versions}: the next call gives the cursor back, null = the pass
-- is over; busy: somebody else prunes, nothing was done.
create or replace function pgflow._prune_batch(
  p_pruner uuid, p_cursor jsonb, p_flow text, p_older interval, p_dry_run boolean
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_done jsonb := '{"runs": {}, "tasks": 0, "workers": 0, "audit": 0, "versions": 0}';
  v_others jsonb;
begin
  if not p_dry_run and not pgflow._may_prune(p_pruner) then
    return v_done || jsonb_build_object('cursor', p_cursor, 'busy', true);
  end if;
  v_done := v_done || '{"busy": false}';
  if p_cursor -> 'others' is null then
    v_done := v_done || pgflow._prune_runs(p_cursor, p_flow, p_older, p_dry_run);
    return v_done || jsonb_build_object('cursor',
      coalesce(nullif(v_done -> 'cursor', 'null'), '{"others": true}'));
  end if;
  v_others := pgflow._prune_others(p_flow, p_dry_run);
  if p_dry_run or greatest((v_others ->> 'workers')::int, (v_others ->> 'audit')::int,
    (v_others ->> 'versions')::int) < 200
  then
    p_cursor := null;
    update pgflow.pruning p set until = '-infinity' where p.holder = p_pruner and not p_dry_run;
  end if;
  return v_done || v_others || jsonb_build_object('cursor', p_cursor);
end
$$;

-- One commit of a pass by the retention of the flows. Called by workers.
create or replace function pgflow.prune_due(p_worker uuid, p_cursor jsonb default null)
returns jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$ select pgflow._prune_batch(p_worker, p_cursor, null, null, false) $$;

-- One commit of a pass that a person has asked for: of one flow, of all that is older than a time,
-- or to count only. p_pruner is any id, the same for the whole pass. Raises PF001 for an unknown
-- flow, PF006 for an age that is none.
create or replace function pgflow.prune(
  p_pruner uuid, p_cursor jsonb default null, p_flow text default null,
  p_older interval default null, p_dry_run boolean default false
) returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_done jsonb;
begin
  p_cursor := nullif(p_cursor, 'null');
  if not exists (select 1 from pgflow.definitions d where d.name = p_flow) and p_flow is not null
  then
    raise exception using errcode = 'PF001',
      message = format(case when exists (select 1 from pgflow.flows f where f.flow_slug = p_flow)
        then 'flow "%s" was made by create_flow: its runs are not pruned'
        else 'there is no flow "%s" in this database' end, p_flow);
  end if;
  v_done := pgflow._prune_batch(p_pruner, p_cursor, p_flow, pgflow._checked_age(p_older),
    coalesce(p_dry_run, false));
  if p_cursor is null and not p_dry_run and not (v_done -> 'busy')::boolean then
    insert into pgflow.audit (action, subject, details)
    values ('prune', coalesce(p_flow, '*'), jsonb_build_object('older_than', p_older::text));
  end if;
  return v_done;
end
$$;

-- Deletes up to 5,000 archived messages of the flows that create_flow has made, which are older
-- than p_older; of deployed flows no message is archived. Returns {cursor: null after the last,
-- messages: {queue: number}}. Raises PF006 for an age that is none.
create or replace function pgflow.prune_archives(
  p_older interval, p_cursor text default null, p_dry_run boolean default false
) returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue text;
  v_messages bigint;
  v_before timestamptz := pgflow.clock() - pgflow._checked_age(p_older);
begin
  for v_queue in
    select distinct coalesce(f.queue_name, f.flow_slug) as queue from pgflow.flows f
    where f.origin = 'pgflow' and coalesce(f.queue_name, f.flow_slug) > coalesce(p_cursor, '')
    order by queue
  loop
    v_messages := pgflow._queue_prune_archive(v_queue, v_before, p_dry_run);
    if v_messages > 0 then
      return jsonb_build_object('messages', jsonb_build_object(v_queue, v_messages), 'cursor',
        case when p_dry_run or v_messages < 5000 then v_queue else coalesce(p_cursor, '') end);
    end if;
  end loop;
  return '{"messages": {}, "cursor": null}';
end
$$;
