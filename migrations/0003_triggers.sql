-- The triggers of these tables.

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
