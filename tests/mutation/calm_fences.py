"""The fences of the short way on which most turns settle their reports."""

from __future__ import annotations

SETTLE = "engine/45_settle.sql"

CALM_FENCES = [
    (
        "an older attempt, on the short way",
        SETTLE,
        "t.status = 'started' and t.attempts_count = p.attempt\n      and",
        "t.status = 'started'\n      and",
    ),
    (
        "somebody else's report, on the short way",
        SETTLE,
        "      and t.last_worker_id = p.worker) is true as applies\n",
        "      ) is true as applies\n",
    ),
    (
        "a task that is not running, on the short way",
        SETTLE,
        "(p.outcome = 'completed' and t.status = 'started' and",
        "(p.outcome = 'completed' and",
    ),
    (
        "the same report twice in a batch, on the short way",
        SETTLE,
        "  if cardinality(v_applied) = cardinality(p_reports) then\n",
        "  if true then\n",
    ),
    (
        "a stopped run on the short way",
        SETTLE,
        "r.outcome is null and r.stopping is null as calm",
        "r.outcome is null as calm",
    ),
    (
        "a run with an outcome on the short way",
        SETTLE,
        "r.outcome is null and r.stopping is null as calm",
        "r.stopping is null as calm",
    ),
    (
        "a task with a slot on the short way",
        SETTLE,
        "and not f.repeats and not f.gated) into v_calm",
        "and not f.repeats) into v_calm",
    ),
    (
        "a repeated step on the short way",
        SETTLE,
        "and not f.repeats and not f.gated) into v_calm",
        "and not f.gated) into v_calm",
    ),
]
