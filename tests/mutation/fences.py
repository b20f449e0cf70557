"""The fences of the SQL: each is a predicate, and what stands in its place when it is taken out."""

from __future__ import annotations

SETTLE, FAILURES = "engine/45_settle.sql", "engine/50_failures.sql"
END = "engine/70_end.sql"
STOP, TRANSITIONS = "engine/72_stop.sql", "engine/74_transitions.sql"
CLAIM, TIMERS, WAITS = "engine/76_claim.sql", "engine/80_timers.sql", "engine/82_waits.sql"
CHILDREN, LEASES, SWEEP = "engine/84_children.sql", "engine/86_leases.sql", "engine/88_sweep.sql"
CONTEXTS = "engine/78_contexts.sql"
BEGIN, RETRY_ROWS = "engine/66_begin.sql", "engine/95_retry_rows.sql"
OPERATE, SIGNALS = "engine/90_operate.sql", "engine/91_signals.sql"
QUEUE, QUEUE_FUNCTIONS = "engine/10_queue.sql", "engine/11_queue_functions.sql"
VERSIONS, START = "engine/25_versions.sql", "engine/35_start.sql"
PGFLOW_WORKERS = "pgflow/40_workers.sql"
# The tests that look at each file, the likeliest first: the first red one ends the run.
TESTS = {
    SETTLE: (
        *("fencing", "claim", "failure", "sharing", "pgflow_door", "races"),
        *("catch", "knobs", "limits_steps", "recovery", "stopping", "ends"),
    ),
    CLAIM: ("fencing", "claim", "sharing", "races"),
    LEASES: ("fencing", "security/logins", "sharing", "races"),
    CONTEXTS: ("security/logins",),
    SWEEP: ("fencing", "races"),
    SIGNALS: ("races", "waits", "ends", "approvals"),
    TIMERS: (
        "timers",
        "retry",
        "retry_others",
        "claim",
        "races",
        "waits",
        "children",
        "children_first",
    ),
    WAITS: ("claim", "races", "waits"),
    CHILDREN: ("claim", "races", "children", "children_first"),
    OPERATE: ("ends", "children_first", "races", "failure", "catch"),
    QUEUE: ("fencing", "races", "pgflow_races"),
    QUEUE_FUNCTIONS: ("fencing", "races", "pgflow_races"),
    VERSIONS: ("races", "versions"),
    START: ("races", "versions"),
    BEGIN: ("retry_others",),
    RETRY_ROWS: ("retry_others", "retry"),
    FAILURES: ("crashed", "catch", "failure", "knobs"),
    END: ("children_first",),
    STOP: ("children_first", "children", "claim", "catch", "waits"),
    TRANSITIONS: ("pgflow_failures", "pgflow_parts"),
    PGFLOW_WORKERS: ("pgflow_workers",),
}

# (what the fence keeps out, file, predicate, replacement)
FENCES = [
    (
        "a report from before a retry",
        BEGIN,
        "    and t.run_id = s.run_id and t.step_slug = s.step_slug\n$$;\n",
        "    and t.run_id = s.run_id and t.step_slug = s.step_slug and false\n$$;\n",
    ),
    (
        "a report from before a retry that took the step away and one that brought it back",
        RETRY_ROWS,
        " set past_attempts = v_most where s.run_id = p_run.run_id;\n",
        " set past_attempts = null where s.run_id = p_run.run_id;\n",
    ),
    (
        "a deadline of a run's life before",
        TIMERS,
        "      where p_id = p_run.deadline_message_id;\n",
        "      ;\n",
    ),
    (
        "a cancel of a child's life before",
        TIMERS,
        "      where coalesce((p_timer ->> 'retries')::int >= p_run.retries, true);\n",
        "      ;\n",
    ),
    (
        "a report of an older attempt",
        SETTLE,
        "          and t.attempts_count = coalesce(p.attempt, t.attempts_count)\n",
        "",
    ),
    (
        "a report of somebody else",
        SETTLE,
        (
            "          and t.last_worker_id is not distinct from"
            " coalesce(p.worker, t.last_worker_id)\n"
        ),
        "",
    ),
    (
        "a report of a task that is not running",
        SETTLE,
        "        when t.status = 'started'\n          and t.attempts_count",
        "        when true\n          and t.attempts_count",
    ),
    (
        "the same report twice in a batch",
        SETTLE,
        (
            "          and row_number() over (\n"
            "            partition by p.run_id, p.step_slug, p.task_index, p.attempt order by p.nr)"
            " = 1\n"
        ),
        "",
    ),
    (
        "a report for a run that has ended",
        SETTLE,
        (
            "        when r.status <> 'started'"
            " and (f.origin = 'deploy' or r.status <> 'completed')\n"
            "          then 'run_terminal'\n"
        ),
        "",
    ),
    ("another output for a completed attempt", SETTLE, " and t.output = p.output then", " then"),
    (
        "two settlers of one run",
        SETTLE,
        "any(v_runs) order by r.run_id for no key update) h",
        "any(v_runs)) h",
    ),
    (
        "a held run that is settled all the same",
        SETTLE,
        "order by r.run_id for no key update skip locked);",
        "order by r.run_id);",
    ),
    ("a claim that waits", CLAIM, "for no key update of t skip locked) h;", "for update) h;"),
    (
        "a takeover right after a restart",
        CLAIM,
        (
            "elsif v_task.status = 'started' and v_clock < v_rested\n"
            "      and not v_task.mine and not v_task.long_over\n    then"
        ),
        "elsif false then",
    ),
    (
        "crashes without end",
        CLAIM,
        "elsif v_task.status = 'started' and v_task.crashes >= 4 and",
        "elsif false and",
    ),
    (
        "a crashed task beside another one",
        CLAIM,
        "elsif p_alone and takeover = '{}' then",
        "elsif true then",
    ),
    (
        "a task that waits for its next attempt after a crash, beside others",
        CLAIM,
        "filter (where t.status = 'queued' and t.crashes_count = 0\n",
        "filter (where t.status = 'queued'\n",
    ),
    (
        "reported crashes without end",
        FAILURES,
        "p.crashed and p.crashes_count < 4",
        "p.crashed",
    ),
    (
        "a reported crash that takes an attempt",
        FAILURES,
        "(d.released or d.crashed)::int",
        "d.released::int",
    ),
    (
        "a crash counted against oneself",
        CLAIM,
        "(t.status = 'started' and t.last_worker_id is distinct from p_worker)::int",
        "(t.status = 'started')::int",
    ),
    (
        "a takeover that uses up the budget",
        CLAIM,
        "uncounted = t.uncounted + (t.status = 'started')::int,\n        crashes_count",
        "crashes_count",
    ),
    (
        "a late report that takes the right one's place in its batch",
        SETTLE,
        "p.task_index, p.attempt order by p.nr",
        "p.task_index order by p.nr",
    ),
    (
        "a task handed out by the claim that ended it",
        CLAIM,
        "t.queue_name = p_queue\n      and t.status in ('queued', 'started'));",
        "t.queue_name = p_queue);",
    ),
    (
        "a failure nobody reported of a task that has ended",
        CLAIM,
        "(p_run_id, p_step, p_index)\n    and t.status in ('queued', 'started');",
        "(p_run_id, p_step, p_index);",
    ),
    (
        "the input of a run of which the login has had no task",
        CONTEXTS,
        "  perform pgflow._check_works_for(p_run_id, false);\n",
        "",
    ),
    ("a heartbeat that waits", LEASES, "for no key update of t skip locked);", "for update of t);"),
    (
        "a claim that waits for a message",
        QUEUE_FUNCTIONS,
        "limit p_limit\n      for update skip locked))\n    returning q.msg_id\n  )",
        "limit p_limit\n      for update))\n    returning q.msg_id\n  )",
    ),
    ("two words to one run at once", SIGNALS, "v_runs[1] for no key update;", "v_runs[1];"),
    (
        "a second event of one name",
        SIGNALS,
        "on conflict (run_id, kind, name) do nothing;",
        "on conflict (run_id, kind, name) do update set data = excluded.data;",
    ),
    (
        "an event to a run that has ended",
        SIGNALS,
        "  where v_run.status = 'started'\n  on conflict",
        "  on conflict",
    ),
    (
        "an event that ends a step with a form",
        SIGNALS,
        " and not pgflow._is_decided(d.spec -> 'wait')\n        and not exists",
        "\n        and not exists",
    ),
    (
        "the end of a wait that has ended",
        WAITS,
        "s.step_slug = any(p_steps) and s.status = 'started');",
        "s.step_slug = any(p_steps));",
    ),
    (
        "a timer of an unknown kind that is taken for a child's task",
        TIMERS,
        "      perform pgflow._check_timer(v_timer.message);",
        "",
    ),
    ("a timer that waits", TIMERS, "for no key update skip locked;", "for no key update;"),
    (
        "the end of a child that is the task's no more",
        CHILDREN,
        "    and t.status = 'started' and t.child_run_id = p_child;",
        "    and t.status = 'started';",
    ),
    (
        "a child started by a task that has ended",
        CHILDREN,
        "if v_task.status is null or v_task.status not in ('queued', 'started') then",
        "if v_task.status is null then",
    ),
    (
        "a cancel beside a turn",
        OPERATE,
        "any(v_tree) order by r.run_id for no key update;",
        "any(v_tree) order by r.run_id;",
    ),
    (
        "a cancel of a run that has ended",
        OPERATE,
        "if v_run.status = 'started' and not v_repeated then",
        "if not v_repeated then",
    ),
    (
        "a request to cancel that counts twice",
        OPERATE,
        "if v_run.status = 'started' and not v_repeated then",
        "if v_run.status = 'started' then",
    ),
    (
        "a first cancel of a run in its finally",
        OPERATE,
        "if v_run.cancels is null then",
        "if v_run.cancels is null and v_run.outcome is null then",
    ),
    (
        "a first cancel of the clean-up of a child",
        OPERATE,
        "        where r.run_id = any(v_level) and (v_whole or r.outcome is null));",
        "        where r.run_id = any(v_level));",
    ),
    (
        "an end before the child runs have ended",
        STOP,
        (
            "case when not pgflow._waits_for_children(x.run_id, x.flow_slug)\n"
            "          then x.outcome end as ends"
        ),
        "x.outcome as ends",
    ),
    (
        "an end of parents before their children",
        STOP,
        "group by r.depth, 1 order by r.depth desc",
        "group by r.depth, 1 order by r.depth",
    ),
    (
        "a finally before the child runs have ended",
        END,
        "\n      and not pgflow._waits_for_children(s.run_id, s.flow_slug)\n",
        "\n",
    ),
    (
        "a completion before the child runs have ended",
        END,
        "\n      and not pgflow._waits_for_children(r.run_id, r.flow_slug));",
        ");",
    ),
    (
        "a repeated event that is another",
        SIGNALS,
        "v_already := (v_event.request = p_request) is not true;",
        "v_already := true;",
    ),
    (
        "an end of a run that has one",
        STOP,
        "    where r.status = 'started' and r.outcome is null\n    group by r.depth, 1",
        "    group by r.depth, 1",
    ),
    (
        "an end of a step that has ended",
        TRANSITIONS,
        " and s.status in ('created', 'started')\n    returning s.run_id",
        "\n    returning s.run_id",
    ),
    (
        "two sweeps and a turn",
        SWEEP,
        "      for no key update of t skip locked) k;",
        "      for no key update of t) k;",
    ),
    (
        "two deploys of one name",
        VERSIONS,
        "  perform pg_advisory_xact_lock(hashtext('pgflow.deploy'), hashtext(v_name));\n",
        "",
    ),
    (
        "a key used twice",
        START,
        "    on conflict (flow_name, run_key) where run_key is not null do nothing\n",
        "",
    ),
    (
        "an attempt past the budget",
        FAILURES,
        "        < greatest(coalesce(s.opt_max_attempts, f.opt_max_attempts), 1) as again",
        "        < 99 as again",
    ),
    (
        "pgflow's recovery of a task that a worker of ours holds",
        PGFLOW_WORKERS,
        "and t.status = 'started' and t.lease is null\n",
        "and t.status = 'started'\n",
    ),
]
