"""A retry in words: what the screens say that it keeps, and which command they name."""

from __future__ import annotations

import pytest

from pgflow_yaml.runs.retrying import kept_by_retry, kept_words, retry_command
from tests.unit.snapshots import a_run, a_snapshot, a_step, some_tasks


def test_what_does_not_hang_on_a_failure_is_kept() -> None:
    """Also the completed items of a failed map; nothing of a handled failure runs again."""
    snapshot = a_snapshot(
        a_step("reserve", "completed"),
        a_step("fetch", "failed", map=True, tasks=some_tasks(total=320, completed=214, failed=1)),
        a_step("quote", "failed"),
        a_step("guess", "completed", depends_on=["quote"], edges={"quote": "failure"}),
        a_step("charge", "cancelled"),
        a_step("told", "completed", depends_on=["fetch"], edges={"fetch": "any"}),
        a_step("audit", "completed", finally_=True),
        run=a_run("failed"),
    )
    snapshot["steps"][-1]["finally"] = True
    snapshot["steps"][5]["edges"] = {"fetch": "success"}

    assert kept_by_retry(snapshot) == "reserve, guess, 214 of 320 items of fetch"


def test_many_names_are_counted() -> None:
    """Eight are named."""
    assert kept_words([f"s{n}" for n in range(10)], {}) == "s0, s1, s2, s3, s4, s5, s6, s7, 2 more"
    assert kept_words([], {"m": (1000, 2000)}) == "1,000 of 2,000 items of m"


@pytest.mark.parametrize(
    ("run", "command"),
    [
        (a_run("failed"), "pgflow-yaml retry 3f2a91c0"),
        (a_run("cancelled"), "pgflow-yaml retry 3f2a91c0"),
        (
            a_run("failed", parent={"id": "77" * 8, "step": "a", "index": 0}),
            "pgflow-yaml retry 77777777",
        ),
        (a_run("failed", version=None), None),
        (a_run("completed"), None),
        (a_run(), None),
    ],
)
def test_the_command_that_goes_on(run: object, command: str | None) -> None:
    """A child is retried through its parent."""
    assert retry_command(run) == command  # type: ignore[arg-type]
