"""The end of processes that a handler forked and forgot.

A child that leaves its handler's call would go on as a second worker: with copies of the tasks, the
connections and the locks of the first one.
"""

from __future__ import annotations

import os


def end_forked(parent: int, error: BaseException | None = None) -> None:
    """End this process at once if it is not `parent`, with the exit code that `error` asks for."""
    if os.getpid() != parent:
        os._exit(_exit_code(error))


def _exit_code(error: BaseException | None) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return int(error is not None)
