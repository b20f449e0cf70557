-- What each role may do: call these functions, and nothing else. No role reads or writes a table,
-- except that every program compares pgflow.migrations with its own release.
grant usage on schema pgflow to pgflow_deployer, pgflow_worker, pgflow_client, pgflow_reader;
grant select on pgflow.migrations
  to pgflow_deployer, pgflow_worker, pgflow_client, pgflow_reader;

-- See flows and runs, with inputs and outputs.
grant execute on function
  pgflow.list_flows, pgflow.list_versions, pgflow.get_definition, pgflow.list_runs,
  pgflow.find_run, pgflow.run_snapshot, pgflow.run_why, pgflow.task_snapshot,
  pgflow.usual_seconds, pgflow.run_logs, pgflow.list_failed, pgflow.run_marks,
  pgflow.run_page, pgflow.flow_strips, pgflow.step_items, pgflow.list_items,
  pgflow.waiting_events, pgflow.run_densities, pgflow.run_audit
  to pgflow_reader, pgflow_client, pgflow_deployer;

-- Look after the database: what waits, who works, what does not fit together.
grant execute on function
  pgflow.list_queues, pgflow.list_workers, pgflow.list_missing_handlers, pgflow.check_invariants,
  pgflow.history, pgflow.complete, pgflow.list_schedules, pgflow.queue_stats, pgflow.work_waiting
  to pgflow_reader, pgflow_client, pgflow_deployer;

-- Store versions and choose the active one.
grant execute on function pgflow.deploy, pgflow.activate to pgflow_deployer;

-- Delete what is old: a deployer as it likes, a worker what the deployer has set.
grant execute on function pgflow.prune, pgflow.prune_archives to pgflow_deployer;
grant execute on function pgflow.prune_due to pgflow_worker;

-- Start, cancel, retry and decide.
grant execute on function
  pgflow.start_run, pgflow.start_runs, pgflow.cancel_run, pgflow.retry_run, pgflow.send_event,
  pgflow.approve_step, pgflow.reject_step, pgflow.drop_failed, pgflow.pause_schedules,
  pgflow.resume_schedules, pgflow.backfill_schedule, pgflow.pause_queue, pgflow.resume_queue,
  pgflow.start_debounced, pgflow.get_webhook
  to pgflow_client;

-- Work: claim tasks and report on those that one's own login has claimed.
grant execute on function
  pgflow.register_worker, pgflow.stop_worker, pgflow.heartbeat, pgflow.turn, pgflow.wind,
  pgflow.write_logs, pgflow.sweep, pgflow.owned_tasks, pgflow.run_input, pgflow.fail_run,
  pgflow.served_queues, pgflow.served_since, pgflow.queues_of, pgflow.run_queues, pgflow.gauges,
  pgflow.take_spans, pgflow.fire_schedule
  to pgflow_worker;
