"""The end of processes that a handler forked and forgot.

A child that leaves its handler's call would go on as a second worker: with copies of the tasks, the
connections and the locks of the first one.
"""

from __future__ import annotations

import os

_depth = 0


def _count() -> None:
    global _depth  # noqa: PLW0603 (of the process, as the fork is)
    _depth += 1


os.register_at_fork(after_in_child=_count)


def fork_depth() -> int:
    """Return the number of forks between this process and the one that began; no system call."""
    return _depth


def end_forked(depth: int, error: BaseException | None = None) -> None:
    """End this process at once if it was forked since, with the exit code that `error` asks for.

    `depth` is the `fork_depth` from before the call.
    """
    if _depth != depth:
        os._exit(_exit_code(error))


def _exit_code(error: BaseException | None) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return int(error is not None)
