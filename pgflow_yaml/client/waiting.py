"""Wait until a run ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgflow_yaml.errors import RunCancelled, RunFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.client.runs import Run

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


def wait(
    read: Callable[[], Run], timeout: float | None, *, check: Callable[[], None] = lambda: None
) -> Run:
    """Return the completed run; raises RunFailed, RunCancelled or TimeoutError.

    `check` is called before each pause.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while not (run := read()).ended:
        check()
        left = _LONGEST_PAUSE if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"run {run.id} has not ended within {timeout:g} s; it goes on")
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    if run.status == "failed":
        error = dict(run.error or {})
        step = error.get("step")
        raise RunFailed(run=run.id, step=str(step) if step else None, error=error)
    if run.status == "cancelled":
        raise RunCancelled(run=run.id)
    return run
