"""The fences of gates and slots, as fences.py has those of the rest."""

from __future__ import annotations

GATES, OPEN_GATES = "engine/37_gates.sql", "engine/38_open_gates.sql"
FREE_SLOTS, RATES = "engine/39_free_slots.sql", "engine/39_rates.sql"
SWEEP_SLOTS, CIRCLES = "engine/89_sweep_slots.sql", "engine/26_circles.sql"
LIMIT_TESTS = {
    GATES: ("limits", "limits_steps"),
    OPEN_GATES: ("limits", "limits_steps", "limits_storm"),
    FREE_SLOTS: ("limits", "limits_steps", "limits_storm"),
    RATES: ("limits", "limits_steps"),
    SWEEP_SLOTS: ("limits", "limits_steps"),
    CIRCLES: ("limits", "limits_steps"),
}
LIMIT_FENCES = [
    (
        "more in a gate than its places",
        OPEN_GATES,
        " s.key = p_key and s.held), 1000));\n",
        " s.key = p_key and false), 1000));\n",
    ),
    (
        "two turns that open one gate",
        OPEN_GATES,
        "  if not pg_try_advisory_xact_lock(hashtextextended(p_gate || '/' || p_key, 7)) then\n",
        "  if false then\n",
    ),
    (
        "a task in line before its pause is over",
        OPEN_GATES,
        " and not s.held and s.not_before <= v_clock\n      order by s.order_at, s.nr limit v_free",
        " and not s.held\n      order by s.order_at, s.nr limit v_free",
    ),
    (
        "a start that counts no more while its attempt may begin",
        RATES,
        "s.held and s.until <= v_clock;\n",
        "s.held and s.until is not null;\n",
    ),
    (
        "a start that is never counted",
        RATES,
        "      and t.status <> 'queued'\n",
        "      and false\n",
    ),
    (
        "a free place of which nobody is told",
        FREE_SLOTS,
        "  from (select distinct x.gate, x.key from gone x where x.held) g;\n",
        "  from (select distinct x.gate, x.key from gone x where false) g;\n",
    ),
    (
        "an attempt that goes again and keeps its place meanwhile",
        FREE_SLOTS,
        "      update pgflow.slots s set held = false, not_before = a.due from again a\n",
        "      update pgflow.slots s set not_before = a.due from again a\n",
    ),
    (
        "a start given back by a task that had begun",
        FREE_SLOTS,
        "    where p.outcome = 'released' and p.error ->> 'type' = 'NotBegun'\n",
        "    where p.outcome in ('released', 'failed')\n",
    ),
    (
        "a slot that is left behind",
        SWEEP_SLOTS,
        "  delete from pgflow.slots s where s.nr = any(v_left);\n",
        "",
    ),
    (
        "a circle through a limited step",
        CIRCLES,
        " or s.value ? 'concurrency'",
        "",
    ),
    (
        "a key that is a list",
        GATES,
        "  elsif jsonb_typeof(v_value) in ('array', 'object') then\n",
        "  elsif false then\n",
    ),
]
