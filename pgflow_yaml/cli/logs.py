"""Log lines of the library on stderr: short on a terminal, else key=value or JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgflow_yaml.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection

    from .options import Options

FIELDS = ("run_id", "flow", "step", "index", "attempt", "action", "trace_id")


class _Stderr(logging.Handler):
    """A handler that looks up `sys.stderr` at each record: the live view replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        # A line of a handler's log names its step already.
        write = getattr(sys.stderr, "put", sys.stderr.write)
        write(self.format(record) + "\n")
        sys.stderr.flush()


class _Formatter(logging.Formatter):
    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        values = {name: getattr(record, name, None) for name in FIELDS}
        return {name: value for name, value in values.items() if value is not None}

    def _message(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        return message


class Short(_Formatter):
    """`12:00:03 warning the database is away  step=charge`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a line for a person."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()} "
        fields = "".join(
            f"  {name}={one_line(str(value))}" for name, value in self._fields(record).items()
        )
        return f"{at} {level}{one_line(self._message(record))}{fields}"


class KeyValue(_Formatter):
    """`time=… level=info msg="claimed 3 tasks" run_id=…`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a line for a machine that splits at spaces."""
        pairs = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "msg": self._message(record),
        }
        return " ".join(
            f"{name}={_quoted(value)}" for name, value in {**pairs, **self._fields(record)}.items()
        )


class JsonLine(_Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a line for a machine that reads JSON."""
        pairs = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "msg": self._message(record),
        }
        return json.dumps({**pairs, **self._fields(record)}, default=str)


def set_up_logs(
    options: Options, *, level: int = logging.WARNING, shown_elsewhere: Collection[str] = ()
) -> None:
    """Send the library's log lines to stderr; `-v` and `-q` move the level.

    Actions in `shown_elsewhere`, by the view of a run, are logged only with `-v`.
    """
    shift = -10 * options.verbose + (20 if options.quiet else 0)
    handler = _Stderr()
    if not options.verbose:
        handler.addFilter(lambda record: getattr(record, "action", None) not in shown_elsewhere)
    if options.log_format == "json":
        handler.setFormatter(JsonLine())
    elif options.log_format == "auto" and not sys.stderr.isatty():
        handler.setFormatter(KeyValue())
    else:
        handler.setFormatter(Short())
    shown = max(level + shift, logging.DEBUG)
    handler.setLevel(shown)
    logger = logging.getLogger("pgflow_yaml")
    logger.handlers = [handler]
    logger.setLevel(shown)
    logger.propagate = False
    # What handlers log goes to the log of their run from INFO on, whatever is shown here.
    logging.getLogger("pgflow_yaml.handler").setLevel(min(shown, logging.INFO))


def let_handlers_log() -> None:
    """Let the loggers of handlers make records from INFO on, for the logs of their runs.

    Python's default is WARNING; a module that sets the level of the root logger gets what it wants.
    """
    root = logging.getLogger()
    if root.level == logging.WARNING:
        root.setLevel(logging.INFO)


def _stamp(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return at.replace("+00:00", "Z")


def _quoted(value: object) -> str:
    text = one_line(str(value))
    plain = text and not any(char in ' "=' for char in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
