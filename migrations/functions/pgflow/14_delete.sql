-- Deleting a flow with its runs.

-- Locks a flow with its runs and live tasks, so that nothing of it changes and none is added;
-- p_queue too, where it is given. Runs come first, as in every call: a call holds its run when it
-- adds rows that refer to the flow. Claims go from the queue to the task or the other way round, so
-- nothing is waited for under the lock of the queue: the block lets it go and tries again.
create or replace function pgflow._lock_flow(p_flow_slug text, p_queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  loop
    perform 1 from pgflow.runs r where r.flow_slug = p_flow_slug order by r.run_id for update;
    begin
      perform 1 from pgflow.flows f where f.flow_slug = p_flow_slug for update;
      perform 1 from pgflow.runs r where r.flow_slug = p_flow_slug for update nowait;
      perform pgflow._queue_lock(p_queue);
      perform 1 from pgflow.step_tasks t
      where t.flow_slug = p_flow_slug and t.status in ('queued', 'started') for update nowait;
      return;
    exception when lock_not_available then
      perform pg_sleep(0.01);
    end;
  end loop;
end
$$;

-- Releases what a flow that is about to be deleted has left elsewhere: messages in queues other
-- than p_queue (each queue has its own numbers), parents that wait for its runs, child runs of its
-- steps. Called by delete_flow_and_data, which holds the locks; waits for nothing, for a queue may
-- be locked: a message that a claim holds is dropped by the next one.
create or replace function pgflow._release_flow(p_flow_slug text, p_queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._queue_drop_unlocked(m.queue_name, array_agg(m.message_id))
  from (
    select t.queue_name, t.message_id from pgflow.step_tasks t
    where t.flow_slug = p_flow_slug and t.status in ('queued', 'started')
    union all
    select 'pgflow__timers', s.timer_message_id from pgflow.step_states s
    where s.flow_slug = p_flow_slug
    union all
    select 'pgflow__timers', r.deadline_message_id from pgflow.runs r
    where r.flow_slug = p_flow_slug
  ) m
  where m.message_id is not null and lower(m.queue_name) is distinct from lower(p_queue)
  group by m.queue_name;
  perform pgflow._notify_parents(array(
    select r.run_id from pgflow.runs r
    where r.flow_slug = p_flow_slug and r.status = 'started' and r.parent_run_id is not null));
  perform pgflow._cancel_children(array(
    select t.child_run_id from pgflow.step_tasks t
    where t.flow_slug = p_flow_slug and t.status = 'started' and t.child_run_id is not null));
end
$$;

-- Deletes a flow with its runs and its queue; a queue that other flows share stays, without this
-- flow's messages. A step that waits for one of its runs fails, and runs that its steps have
-- started are cancelled, both by timers. Called by clients and by ensure_flow_compiled. Locks the
-- flow and all its rows: it waits for calls on the flow, not for running handlers.
create or replace function pgflow.delete_flow_and_data(p_flow_slug text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue text := (
    select coalesce(f.queue_name, f.flow_slug) from pgflow.flows f where f.flow_slug = p_flow_slug);
  v_shared boolean := exists (
    select 1 from pgflow.flows f
    where f.flow_slug <> p_flow_slug
      and lower(coalesce(f.queue_name, f.flow_slug)) = lower(v_queue));
begin
  perform pgflow._lock_flow(p_flow_slug, case when not v_shared then v_queue end);
  perform pgflow._release_flow(p_flow_slug, case when not v_shared then v_queue end);
  delete from pgflow.step_tasks t where t.flow_slug = p_flow_slug;
  delete from pgflow.step_states s where s.flow_slug = p_flow_slug;
  delete from pgflow.runs r where r.flow_slug = p_flow_slug;
  delete from pgflow.deps d where d.flow_slug = p_flow_slug;
  delete from pgflow.steps s where s.flow_slug = p_flow_slug;
  delete from pgflow.flows f where f.flow_slug = p_flow_slug;
  if not v_shared and exists (select 1 from pgmq.list_queues() q where q.queue_name = v_queue) then
    perform pgmq.drop_queue(v_queue);
    perform pgflow._queue_drop_functions(v_queue);
  end if;
end
$$;
