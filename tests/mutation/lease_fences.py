"""The fences of workers and their leases."""

from __future__ import annotations

from tests.mutation.fences import LEASES

LEASE_FENCES = [
    (
        "a result that waits and loses its lease",
        LEASES,
        "when a.ended or a.waits then null",
        "when a.waits then null",
    ),
    (
        "the timeout of a call that has not begun",
        LEASES,
        "when a.ended or a.waits then null",
        "when a.ended then null",
    ),
    (
        "a heartbeat of an older attempt",
        LEASES,
        "      and t.status = 'started' and t.attempts_count = a.attempt and t.last",
        "      and t.status = 'started' and t.last",
    ),
    (
        "a heartbeat of somebody else",
        LEASES,
        "t.attempts_count = a.attempt and t.last_worker_id = p_worker\n    for",
        "t.attempts_count = a.attempt\n    for",
    ),
    (
        "a heartbeat for another queue's message",
        LEASES,
        "where t.queue_name = h.queue_name and t.message_id",
        "where t.message_id",
    ),
    (
        "a turn for the worker of another login",
        LEASES,
        "  elsif v_worker.mine is not true then",
        "  elsif false then",
    ),
    (
        "a turn for a queue that is not granted",
        LEASES,
        "  elsif not p_queues <@ v_worker.granted then",
        "  elsif false then",
    ),
    (
        "a heartbeat for the worker of another login",
        LEASES,
        "at = v_clock\n  where w.worker_id = p_worker and w.login = session_user;",
        "at = v_clock\n  where w.worker_id = p_worker;",
    ),
    (
        "a heartbeat for the deleted worker of another login",
        LEASES,
        (
            "  if not found then\n    perform pgflow._refuse_stranger(p_worker);\n  end if;\n"
            "  if jsonb_array"
        ),
        "  if jsonb_array",
    ),
    (
        "a stop of the worker of another login",
        LEASES,
        "pgflow.clock()\n  where w.worker_id = p_worker and w.login = session_user;",
        "pgflow.clock()\n  where w.worker_id = p_worker;",
    ),
    (
        "a registration of a deleted worker by another login",
        LEASES,
        "    perform pgflow._refuse_stranger(p_worker);\n    delete",
        "    delete",
    ),
    (
        "a view of the tasks of another login's worker",
        LEASES,
        "    and (select w.login from pgflow.workers w where w.worker_id = p_worker) =",
        "    and session_user =",
    ),
    (
        "a run of which the login has had no task",
        LEASES,
        "w.worker_id = t.last_worker_id and w.login = session_user\n",
        "w.worker_id = t.last_worker_id\n",
    ),
    (
        "a failure of a run of which the login holds no task",
        LEASES,
        " and (t.status = 'started' or not p_holds))",
        ")",
    ),
]
