"""The records of `logging` that handlers make, caught where they go to their own handlers.

Not by a handler on the root logger: with one there, `logging.basicConfig` of the program would do
nothing, `dictConfig` would remove it, and warnings would not reach stderr any more.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HANDLER_LOG = "pgflow_yaml.handler"
_OWN = "pgflow_yaml"

_local = threading.local()
_lock = threading.Lock()
_format = logging.Formatter()


def is_in_logging() -> bool:
    """Return True while this thread passes a record on: what it writes then is no print."""
    return getattr(_local, "depth", 0) > 0


def catch_logging(take: Callable[[str, str, str], bool]) -> None:
    """Give each record to `take` from now on, as (level, logger, text), once for this process.

    `take` returns False for a record that its own handlers must not show.
    """
    with _lock:
        before = logging.Logger.callHandlers
        if getattr(before, "pgflow_yaml", False):
            return

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            name = record.name
            if name != HANDLER_LOG and (name == _OWN or name.startswith(_OWN + ".")):
                before(logger, record)
                return
            is_shown = True
            if record.levelno >= logging.INFO:
                is_shown = take(_level(record.levelno), name, _text(record))
            if not is_shown and name == HANDLER_LOG:
                return
            _local.depth = getattr(_local, "depth", 0) + 1
            try:
                before(logger, record)
            finally:
                _local.depth -= 1

        patch: Any = call_handlers
        patch.pgflow_yaml = True
        logging.Logger.callHandlers = patch  # type: ignore[method-assign]


def _level(number: int) -> str:
    """Return the name of a level; one of the program's own counts as the one below it."""
    names = {logging.CRITICAL: "critical", logging.ERROR: "error", logging.WARNING: "warning"}
    return next((name for least, name in names.items() if number >= least), "info")


def _text(record: logging.LogRecord) -> str:
    """Return the message of a record with its traceback; never raise."""
    try:
        parts = [record.getMessage()]
        if record.exc_info:
            parts.append(_format.formatException(record.exc_info))
        if record.stack_info:
            parts.append(record.stack_info)
        return "\n".join(parts)
    except Exception as error:  # noqa: BLE001 (logging reports arguments that do not fit itself)
        return f"{record.msg!s}: it cannot be shown: {type(error).__name__}"
