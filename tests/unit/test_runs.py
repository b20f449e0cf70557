"""A run as data: its facts need no command line and no terminal."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pgflow_yaml.runs.failures import failure_handling
from pgflow_yaml.runs.run import run_error
from pgflow_yaml.runs.steps import condition
from pgflow_yaml.text import moment
from tests.unit.snapshots import NOW, a_failure, a_run, a_snapshot, a_step, some_tasks

PROGRAM = """
import json, sys

for hidden in ("pgflow_yaml.cli", "click", "rich", "psycopg"):
    sys.modules[hidden] = None

from pgflow_yaml.runs.events import changes, line
from pgflow_yaml.runs.failures import failure_handling
from pgflow_yaml.runs.run import run_error, run_name, run_status
from pgflow_yaml.runs.steps import attempts, last_error
from pgflow_yaml.runs.waits import all_awaited_events, answer_command
from pgflow_yaml.runs.why import sentences
from pgflow_yaml.text import moment

snapshot = json.load(sys.stdin)
run, steps = snapshot["run"], snapshot["steps"]
reasons = {
    "refund": {"kind": "dependency", "waiting_for": {"charge": "failure"}},
    "sign": {"kind": "event", "event": "approval", "run": run["id"], "step": "sign", "until": None},
}
print(json.dumps({
    "run": [run_name(run), run_status(run), run_error(run["status"], run["error"])],
    "events": [line(event) for event in changes(None, snapshot)],
    "reasons": sentences(reasons, moment(snapshot["now"])),
    "failures": {slug: failure.text for slug, failure in failure_handling(snapshot).items()},
    "errors": {step["slug"]: [attempts(step), last_error(step, None)] for step in steps[:1]},
    "commands": [answer_command(event) for event in all_awaited_events(snapshot)],
}))
"""


def test_a_run_is_told_without_the_command_line() -> None:
    """Events, reasons, failures and what somebody is asked to do, from `runs` alone."""
    waits = {"kind": "event", "event": "approval", "until": None}
    snapshot = a_snapshot(
        a_step("charge", "failed", attempts=3),
        a_step("refund", "created", edges={"charge": "failure"}, waiting_for=["charge"]),
        a_step("sign", "waiting", action="wait", handler=None, waits=waits),
        errors=[a_failure("charge", attempt=3, at="2026-11-24T12:00:04+00:00", final=True)],
    )

    output = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(snapshot),
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    facts = json.loads(output)
    assert facts["run"] == ["order 3f2a91c0", "running", ""]
    assert [text[15:].split("  ")[0] for text in facts["events"]] == [
        "run",
        "charge",
        "sign",
        "sign",
        "charge",
        "charge",
    ]
    assert facts["reasons"] == {
        "refund": "waits for charge to fail",
        "sign": 'waits for event "approval": pgflow-yaml approve 3f2a91c0 sign',
    }
    assert facts["failures"] == {"charge": "refund may handle it"}
    assert facts["errors"] == {"charge": ["3 of 3 attempts", "Boom: it broke"]}
    assert facts["commands"] == ["pgflow-yaml approve 3f2a91c0 sign"]


@pytest.mark.parametrize(
    ("iteration", "retry_at", "queued", "expected"),
    [
        (0, None, 1, "started"),
        (0, "2026-11-24T12:00:14+00:00", 1, "retrying"),
        (2, "2026-11-24T12:00:14+00:00", 1, "repeating"),
        (2, "2026-11-24T12:00:09+00:00", 1, "started"),
        (2, "2026-11-24T12:00:14+00:00", 0, "started"),
    ],
)
def test_a_started_step_that_may_not_run_yet_says_why(
    iteration: int, retry_at: str | None, queued: int, expected: str
) -> None:
    """It retries or repeats until the time has come, or a task runs."""
    tasks = some_tasks(queued=queued, started=1 - queued)
    step = a_step("poll", "started", iteration=iteration, retry_at=retry_at, tasks=tasks)

    assert condition(step, moment(NOW), None) == expected


def test_the_error_of_a_run_is_not_its_status_again() -> None:
    """`Cancelled: cancelled` says nothing."""
    run = a_run("cancelled", error={"type": "Cancelled", "message": "cancelled"})

    assert run_error(run["status"], run["error"]) == ""
    assert run_error("failed", {"type": "Boom", "message": "no"}) == "Boom: no"


@pytest.mark.parametrize(("edge", "kind"), [("any", "open"), ("success", "unhandled")])
def test_any_edge_but_success_may_handle_a_failure(edge: str, kind: str) -> None:
    """`failure` and `any`."""
    steps = [
        a_step("pay", "failed"),
        a_step("next", "created", depends_on=["pay"], edges={"pay": edge}),
    ]

    assert failure_handling(a_snapshot(*steps))["pay"].kind == kind


def test_a_failed_finally_step_is_handled_by_nobody() -> None:
    """Steps of finally observe; one that catches another's failure does not undo it."""
    audit = a_step("audit", "failed")
    alert = a_step("alert", edges={"audit": "failure"}, depends_on=["audit"])
    audit["finally"] = alert["finally"] = True

    assert failure_handling(a_snapshot(audit, alert))["audit"].kind == "unhandled"
