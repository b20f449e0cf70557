-- The workers, and what they may serve.
--
--   workers              the workers, and when each was last heard from
--   former_workers       the logins of workers whose rows were deleted
--   queue_grants         the queues that a login may serve, where that is limited
--   worker_functions     as pgflow has it

create table pgflow.workers (
  worker_id uuid primary key,
  queue_name text not null,
  function_name text not null,
  started_at timestamptz not null default now(),
  deprecated_at timestamptz,
  stopped_at timestamptz,
  last_heartbeat_at timestamptz not null default now(),
  info jsonb,
  login text not null default session_user,
  granted text[]
);
create index workers_by_queue on pgflow.workers (queue_name);
create index workers_by_heartbeat on pgflow.workers (last_heartbeat_at);
comment on column pgflow.workers.queue_name is
  'the queue it serves; of a worker of ours all of them, separated by commas, * = every queue';
comment on column pgflow.workers.deprecated_at is 'when it was asked to finish and stop';
comment on column pgflow.workers.info is 'host, process id and release of a worker of ours';
comment on column pgflow.workers.login is
  'the role it logged in as; nobody else reports, extends or stops for it (S-14)';
comment on column pgflow.workers.granted is
  'the queues that queue_grants leaves its login; null = every queue';

-- A deleted worker may still have tasks, and registers again; nobody else may under its id.
create table pgflow.former_workers (
  worker_id uuid primary key,
  login text not null,
  deleted_at timestamptz not null default now()
);
comment on table pgflow.former_workers is 'the deleted workers of ours, with their logins';

create table pgflow.queue_grants (
  role_name text not null,
  queue_name text not null,
  created_at timestamptz not null default now(),
  primary key (role_name, queue_name)
);
comment on table pgflow.queue_grants is
  'queues by login or role, * = every queue; while it is empty, every worker serves what it likes';

-- Kept for clients of pgflow; the engine reads nothing here.
create table pgflow.worker_functions (
  function_name text primary key,
  enabled boolean not null default true,
  debounce interval not null default interval '6 seconds',
  last_invoked_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint worker_functions_debounce_check check (debounce >= interval '1 second')
);

-- Running tasks that a client of pgflow claimed forget a worker that is deleted. Ended tasks keep
-- its id, because no index leads from a worker to them. Tasks of our own workers keep it too: such
-- a worker registers again under its id and continues; its login is kept, for no other may (S-14).
-- Pruned workers were not heard from for a week: they hold no task.
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
