"""The stock handlers: functions of ours that any flow may name."""

from __future__ import annotations

from typing import NoReturn

from pgflow_yaml.errors import PermanentError


def fail(message: str = "this step always fails") -> NoReturn:
    """End the step as failed, with this message, without another attempt."""
    raise PermanentError(message)
