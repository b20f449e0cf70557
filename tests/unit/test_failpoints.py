"""Faults that can be injected from outside, and that nothing happens without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pgflow_yaml.worker import failpoints


def test_the_setting_names_points_actions_and_times() -> None:
    """`name=action`, with `@N` for the Nth time only."""
    points = failpoints.parse("before_commit=kill@3, heartbeat=sleep:0.5,")

    assert points == {"before_commit": ("kill", 3), "heartbeat": ("sleep:0.5", 0)}


@pytest.mark.parametrize("text", ["nowhere=kill", "before_commit", "before_commit=kill@x"])
def test_a_wrong_setting_is_refused(text: str) -> None:
    """A misspelt point would make a test that tests nothing."""
    with pytest.raises(ValueError, match="PGFLOW_YAML_FAILPOINTS"):
        failpoints.parse(text)


def test_without_the_setting_a_point_is_nothing() -> None:
    """Every point may be passed."""
    assert failpoints.VARIABLE not in os.environ
    for name in failpoints.POINTS:
        failpoints.failpoint(name)


def reach(setting: str, times: int = 1) -> int:
    code = (
        "from pgflow_yaml.worker.failpoints import failpoint\n"
        f"for _ in range({times}): failpoint('before_commit')"
    )
    environ = {**os.environ, failpoints.VARIABLE: setting}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, check=False
    )
    return done.returncode


def test_a_point_kills_at_its_time() -> None:
    """The process dies as of kill -9, the second time here, not the first."""
    assert reach("before_commit=kill@2", times=1) == 0
    assert reach("before_commit=kill@2", times=2) == -signal.SIGKILL


def test_a_point_raises() -> None:
    """An exception nobody expects."""
    assert reach("before_commit=raise") == 1
    assert reach("after_commit=raise") == 0
