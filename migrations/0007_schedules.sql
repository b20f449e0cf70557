-- When flows are to be started.
--
--   schedules            when the active versions start by themselves; one row for each time table
--   paused_queues        queues that somebody has paused: workers claim nothing from them

create table pgflow.schedules (
  flow_name text not null,
  name text not null,
  spec jsonb not null,
  nr int not null,
  next_at timestamptz,
  last_at timestamptz,
  last_run uuid,
  paused_at timestamptz,
  paused_by text,
  last_problem jsonb,
  fired bigint not null default 0,
  skipped bigint not null default 0,
  missed bigint not null default 0,
  message_id bigint,
  catchup text,
  set_by text not null default session_user,
  primary key (flow_name, name)
);
comment on table pgflow.schedules is 'the schedules of active versions, and how far they are';
comment on column pgflow.schedules.name is 'its text: 30 2 * * 1-5 Europe/Berlin, or every 10m';
comment on column pgflow.schedules.spec is
  '{"name", "cron" and "timezone" or "every" in milliseconds, "overlap", "catchup", "input"}';
comment on column pgflow.schedules.nr is 'its place in the file, from 0';
comment on column pgflow.schedules.next_at is
  'the next tick; null = a worker is to say which tick comes first after now';
comment on column pgflow.schedules.last_at is 'the last tick that was fired or skipped';
comment on column pgflow.schedules.last_problem is
  '{"tick", "message", "at"} of the last tick, or of the schedule: why there is no run';
comment on column pgflow.schedules.fired is 'number of ticks that have started a run';
comment on column pgflow.schedules.skipped is
  'number of ticks without a run because the run before had not ended';
comment on column pgflow.schedules.missed is
  'number of ticks without a run because no worker fired them in time, or their input was refused';
comment on column pgflow.schedules.message_id is
  'its message in the timer queue, due at next_at; while it is paused, none';
comment on column pgflow.schedules.catchup is
  'what becomes of the ticks of a pause, as `resume` was told; null = as spec says';
comment on column pgflow.schedules.set_by is 'the login that activated the version';

create table pgflow.paused_queues (
  queue_name text primary key,
  paused_at timestamptz not null,
  paused_by text not null
);
comment on table pgflow.paused_queues is
  'queues from which no worker claims until they are resumed';

comment on column pgflow.flows.scheduled is
  'it has a schedule: a run of it may hold a slot of that';
comment on column pgflow.runs.scheduled_at is
  'the tick of the schedule that started it, or the time for which it was started; null = none';
comment on column pgflow.runs.debounced is
  'true: until it begins, a later start with its key replaces its input (36_debounce)';
