"""Built-in handlers that any flow may use."""

from __future__ import annotations

from typing import NoReturn

from pgflow_yaml.errors import PermanentError


def fail(message: str = "this step always fails") -> NoReturn:
    """Fail the step with this message and without a retry; raises PermanentError."""
    raise PermanentError(message)
