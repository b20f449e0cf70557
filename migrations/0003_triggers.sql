-- The triggers of the tables.

-- Rows of the two tables that clients also write by hand get their flow's queue.
create function pgflow._fill_queue_name() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  select coalesce(f.queue_name, f.flow_slug) into new.queue_name
  from pgflow.flows f where f.flow_slug = new.flow_slug;
  return new;
end
$$;
create trigger fill_queue_name before insert on pgflow.steps
  for each row when (new.queue_name is null) execute function pgflow._fill_queue_name();
create trigger fill_queue_name before insert on pgflow.step_tasks
  for each row when (new.queue_name is null) execute function pgflow._fill_queue_name();

-- Running tasks that a client of pgflow claimed forget a worker that is deleted. Ended tasks keep
-- its id, because no index leads from a worker to them. Tasks of our own workers keep it too: such
-- a worker registers again under its id and continues; its login is kept, for no other may (S-14).
-- Pruned workers were not heard of for a week: they hold no task.
create function pgflow._forget_workers() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_gone uuid[];
begin
  insert into pgflow.former_workers (worker_id, login)
  select w.worker_id, w.login from gone w where w.function_name = 'pgflow-yaml'
  on conflict (worker_id) do nothing;
  if current_setting('pgflow.pruning', true) = 'on' then
    return null;
  end if;
  v_gone := array(select w.worker_id from gone w where w.function_name <> 'pgflow-yaml');
  if cardinality(v_gone) > 0 then
    update pgflow.step_tasks t set last_worker_id = null
    where t.run_id = any(array(select r.run_id from pgflow.runs r where r.status = 'started'))
      and t.status = 'started' and t.last_worker_id = any(v_gone);
  end if;
  return null;
end
$$;
create trigger forget_workers after delete on pgflow.workers
  referencing old table as gone for each statement execute function pgflow._forget_workers();

-- Running workers obey a new grant, and the removal of one, at their next turn.
create function pgflow._apply_queue_grants() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.workers w set granted = pgflow._granted_queues(w.login) where w.stopped_at is null;
  return null;
end
$$;
create trigger apply_queue_grants after insert or update or delete or truncate
  on pgflow.queue_grants for each statement execute function pgflow._apply_queue_grants();
