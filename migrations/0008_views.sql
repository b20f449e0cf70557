-- What the views need beside the tables of the engine.

-- The failed and the cancelled runs are few, and people look for the newest of them. A run that
-- starts or completes has no entry here.
create index runs_ended_badly on pgflow.runs (status, started_at desc, run_id)
  where status in ('failed', 'cancelled');

-- Where it has not failed, an attempt is the last one, and the task has its times.
alter table pgflow.task_errors add column began_at timestamptz;
comment on column pgflow.task_errors.began_at is 'when the attempt was claimed';

-- A table of tasks shows the last error of each. Only an attempt that fails has an entry here.
create index task_errors_by_task on pgflow.task_errors (run_id, step_slug, task_index, id);

-- The page of a run shows what people did with it. Lines are few: none is written by a turn.
create index audit_by_subject on pgflow.audit (subject, id);
