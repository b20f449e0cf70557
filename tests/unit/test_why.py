"""`show --why`: one sentence for each step that has not ended, with the way out where there is."""

from __future__ import annotations

from typing import Any

import pytest

from pgflow_yaml.cli.live.page import why_lines
from pgflow_yaml.runs.why import reasons
from tests.unit.snapshots import a_run, a_snapshot, a_step, some_tasks

SOON = "2026-11-24T12:00:14+00:00"
QUEUED = some_tasks(queued=1)
EVENT = {"kind": "event", "event": "approval", "until": None}
CHILD = {
    "id": "7c21ab90-0000-4000-8000-000000000000",
    "flow": "region",
    "index": 0,
    "status": "started",
    "outcome": None,
    "steps": {"total": 5, "completed": 2, "done": 2},
}
STANDS = "waits for region 7c21ab90 running · 2 of 5 steps; "
OF_CHILD = {
    "action": "flow",
    "flow": "region",
    "waits": {"kind": "child", "event": None, "until": None},
    "child": CHILD,
}
GO = {"run_id": CHILD["id"], "flow": "region", "step": "live", "event": "go", "until": None}


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (
            a_step("s", "cancelled", **{**OF_CHILD, "waits": None}),
            f"is cancelled; the run {STANDS}more: pgflow-yaml show --why 7c21ab90",
        ),
        (
            a_step("s", "created", waiting_for=["a", "b"], edges={"a": "success", "b": "failure"}),
            "waits for a (started), b (waiting) to fail",
        ),
        (
            a_step("s", "created", **{"finally": True}),
            "runs last: waits for 2 steps to end",
        ),
        (
            a_step("s", "waiting", action="wait", waits=EVENT),
            'waits for event "approval": pgflow-yaml approve 3f2a91c0 s',
        ),
        (
            a_step("review", "waiting", action="wait", waits={**EVENT, "event": "looked_at"}),
            'waits for event "looked_at": pgflow-yaml approve 3f2a91c0 review',
        ),
        (
            a_step("legal", "waiting", action="wait", waits={**EVENT, "event": "sign_off"}),
            'waits for event "sign_off": pgflow-yaml approve 3f2a91c0 legal',
        ),
        (
            a_step("s", "waiting", waits={"kind": "timer", "event": None, "until": SOON}),
            "waits until 12:00:14Z · 4 s left",
        ),
        (
            a_step("s", "waiting", **OF_CHILD),
            f"{STANDS}more: pgflow-yaml show --why 7c21ab90",
        ),
        (
            a_step("s", "waiting", **OF_CHILD, awaited=[GO]),
            f'{STANDS}live waits for event "go": pgflow-yaml send 7c21ab90 go',
        ),
        (a_step("s", "started"), "runs since 10 s: attempt 1 of 3"),
        (
            a_step(
                "s",
                "started",
                map=True,
                max_parallel=2,
                tasks=some_tasks(started=2, queued=6),
            ),
            "runs since 10 s: 8 (2 running, 6 queued); no more than 2 run at once (max_parallel)",
        ),
        (
            a_step("s", "started", map=True, max_parallel=2, tasks=some_tasks(started=2)),
            "runs since 10 s: 2 (2 running)",
        ),
        (
            a_step("s", "started", tasks=QUEUED, retry_at=SOON),
            "waits 4 s for attempt 2 of 3",
        ),
        (
            a_step("s", "started", tasks=QUEUED, retry_at=SOON, attempts=0),
            "waits 4 s for its start delay",
        ),
        (
            a_step(
                "s",
                "started",
                tasks=QUEUED,
                retry_at=SOON,
                iteration=2,
                repeat={"every": 1, "max": 9},
            ),
            "waits 4 s for call 3 of 9",
        ),
        (
            a_step("s", "started", tasks=QUEUED, queue="gpu"),
            'queued since 10 s: no worker serves the queue "gpu": pgflow-yaml worker --queue gpu',
        ),
        (
            a_step("s", "started", tasks=QUEUED, refused_at="2026-11-24T12:00:03+00:00"),
            "queued since 10 s: no worker has the handler app.work (missed since 7 s)",
        ),
        (
            a_step("s", "started", tasks=QUEUED, handler="os.system"),
            (
                "queued since 10 s: no worker ever calls the handler os.system: "
                '"os" is of the standard library, which is never a handler'
            ),
        ),
        (
            a_step("s", "started", tasks=QUEUED),
            "queued since 10 s: 2 workers serve its queue, none has had room (handler app.work)",
        ),
    ],
)
def test_each_reason_has_its_sentence(step: Any, sentence: str) -> None:
    """Two workers serve the queue `order`, none another."""
    others = a_step("a", "started"), a_step("b", "waiting")

    assert reasons(a_snapshot(*others, step), {"order": 2, "gpu": 0})[step["slug"]] == sentence


def test_finally_waits_for_the_children_of_ended_steps() -> None:
    """All steps before it have ended, but a run that one of them started has not."""
    sub: Any = a_step("sub", "cancelled", **{**OF_CHILD, "waits": None})
    last = a_step("z", "created", **{"finally": True})

    assert reasons(a_snapshot(sub, last), {})["z"] == "runs last: waits for child runs to end"


def test_a_step_that_is_being_stopped_says_so() -> None:
    """Its run has an outcome; those of finally go on."""
    last = a_step("audit", "started", **{"finally": True})
    snapshot = a_snapshot(a_step("work", "started"), last, run=a_run(outcome="failed"))

    sentences = reasons(snapshot, {})

    assert sentences["work"] == "is told to stop, runs since 10 s: attempt 1 of 3"
    assert sentences["audit"] == "runs since 10 s: attempt 1 of 3"


def test_nothing_waits_in_a_run_that_has_ended() -> None:
    """Whatever its steps came to."""
    snapshot = a_snapshot(a_step("a"), run=a_run("failed"))

    assert reasons(snapshot, {}) == {}
    assert why_lines(snapshot, {}) == [[(" nothing waits: the run has failed", "")]]
