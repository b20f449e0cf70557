"""The fences of decisions and of waits that people hear of, as fences.py has the others."""

from __future__ import annotations

DECISIONS, TOLD = "engine/91_decisions.sql", "engine/83_waits_told.sql"
EVALUATE_WAITS, SIGNALS = "engine/62_evaluate_waits.sql", "engine/91_signals.sql"
DECISION_TESTS = {
    DECISIONS: ("approvals", "waits", "races", "ends"),
    TOLD: ("waits_told",),
    EVALUATE_WAITS: ("waits_told", "approvals", "waits"),
}
DECISION_FENCES = [
    (
        "a decision on a step that waits no more",
        DECISIONS,
        "if v_status not in ('created', 'started') or v_run.status <> 'started' then",
        "if false then",
    ),
    (
        "a decision after an event that stands",
        DECISIONS,
        "if v_signal.kind is not null then -- of signals",
        "if false then -- of signals",
    ),
    (
        "an event after a rejection that stands",
        SIGNALS,
        "and not exists ( -- a rejection that came before",
        "and null is distinct from exists ( -- a rejection that came before",
    ),
    (
        "a decision of somebody who is not asked",
        DECISIONS,
        "(array[p_by] || p_groups) then",
        "(array[p_by] || p_groups) and false then",
    ),
    (
        "an answer that its form does not take",
        DECISIONS,
        "return pgflow._checked_fields(p_step, p_form, coalesce(v_data, '{}'), true);",
        "return v_data;",
    ),
    (
        "an early event that ends a step with a form",
        EVALUATE_WAITS,
        "case when not pgflow._is_decided(p_wait) then p_wait ->> 'event' end))",
        "p_wait ->> 'event'))",
    ),
    (
        "a wait that is told of beyond its time",
        TOLD,
        "if v_state.wakes_at <= pgflow.clock() then",
        "if false then",
    ),
    (
        "a listener that starts itself through others",
        TOLD,
        " and p_run.chain < pgflow._longest_chain() then",
        " then",
    ),
    (
        "a repeated decision that is another",
        DECISIONS,
        "v_applied := (v_signal.request = p_request) is true;",
        "v_applied := false;",
    ),
]
