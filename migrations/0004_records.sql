-- What is recorded beside runs, and the queue of timers.
--
--   events               events and decisions that were sent to runs
--   missing_handlers     handlers that no worker has
--   audit                who deployed, activated, cancelled or decided, and when (S-24)
--   realtime             whose function realtime.send may be called
--   task_logs            what handlers printed and logged, some lines in a row
--   task_progress        how far handlers said they were; one row for a task that says so
--   pruning              who prunes now
--   traces               traced runs whose spans are yet to be exported

create table pgflow.events (
  run_id uuid not null references pgflow.runs (run_id) on delete cascade,
  kind text not null,
  name text not null,
  data jsonb not null default 'null',
  sent_by text not null default session_user,
  login text not null default session_user,
  created_at timestamptz not null default now(),
  request uuid,
  steps text[],
  primary key (run_id, kind, name),
  constraint events_kind_check check (kind in ('event', 'decision'))
);
comment on column pgflow.events.sent_by is 'the name that the sender gave, by default the login';
comment on table pgflow.events is
  'events by name and decisions by step; the first of each name stands';
comment on column pgflow.events.request is
  'the id of the request that brought it: a repeat of that request gets the same answer';
comment on column pgflow.events.steps is 'the steps that the request completed at once';

create table pgflow.missing_handlers (
  handler text primary key,
  since timestamptz not null
);
comment on table pgflow.missing_handlers is
  'handlers that a worker refused and no worker has been given since';

create table pgflow.audit (
  id bigint generated always as identity primary key,
  action text not null,
  subject text not null,
  details jsonb,
  who text not null default session_user,
  login text not null default session_user,
  created_at timestamptz not null default now()
);
comment on column pgflow.audit.who is 'the name that the caller gave, by default the login';

-- Not the function itself: that would not survive a restored dump, nor a server upgrade.
create table pgflow.realtime (
  owner text primary key
);
comment on table pgflow.realtime is
  'the owner of the function realtime.send that the owner of this schema has registered';

-- Here and not with the first timer, whose transaction would keep every other start waiting.
do $$ begin perform pgmq.create('pgflow__timers'); end $$;

-- Without a foreign key: its check would lock the run, and a turn must not wait for one.
create table pgflow.task_logs (
  id bigint generated always as identity primary key,
  run_id uuid not null,
  step_slug text not null,
  task_index int not null,
  attempt int not null,
  fence int not null,
  part int not null,
  at timestamptz not null default now(),
  lines jsonb not null,
  retry int not null default 0,
  constraint task_logs_lines_check check (jsonb_typeof(lines) = 'array')
);
create index task_logs_by_step on pgflow.task_logs (run_id, step_slug, id);
comment on column pgflow.task_logs.attempt is 'the number of the attempt, as people count';
comment on column pgflow.task_logs.retry is
  'the retry of the run that made the attempt, whose numbers begin anew; 0 before the first';
comment on column pgflow.task_logs.fence is 'the number of the call, which grows with each of them';
comment on column pgflow.task_logs.part is
  'the number of the row in its call: one that came twice is shown once';
comment on column pgflow.task_logs.lines is '[[epoch in milliseconds, level, logger, text], ...]';

create table pgflow.task_progress (
  run_id uuid not null,
  step_slug text not null,
  task_index int not null,
  fence int not null,
  done double precision not null,
  words text not null,
  at timestamptz not null,
  primary key (run_id, step_slug, task_index)
) with (fillfactor = 50);
comment on table pgflow.task_progress is 'the last progress that a call of a task reported';

create function pgflow._forget_logs() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[] := array(select o.run_id from gone o);
begin
  delete from pgflow.task_logs l where l.run_id = any(v_runs);
  delete from pgflow.task_progress g where g.run_id = any(v_runs);
  return null;
end
$$;
create trigger forget_logs after delete on pgflow.runs
  referencing old table as gone for each statement execute function pgflow._forget_logs();

alter table pgmq.q_pgflow__timers set (autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- A row and not a lock: between two commits of a pass nobody holds a lock.
create table pgflow.pruning (
  id int primary key default 1,
  holder uuid,
  until timestamptz not null default '-infinity',
  constraint pruning_is_one_row check (id = 1)
);
insert into pgflow.pruning default values;
comment on table pgflow.pruning is
  'one row: the one who deletes old runs, and until when nobody else does';

create table pgflow.traces (
  run_id uuid primary key references pgflow.runs (run_id) on delete cascade,
  exported text[] not null default '{}',
  looked_at timestamptz not null default '-infinity'
);
create index traces_by_look on pgflow.traces (looked_at);
comment on column pgflow.traces.exported is 'the steps whose spans a worker has';
comment on column pgflow.traces.looked_at is 'when a worker last looked for spans';
