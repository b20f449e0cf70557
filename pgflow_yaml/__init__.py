"""Declarative, durable workflows on PostgreSQL.

Everything that is listed in `__all__` is public, the rest may change. A name is imported when it is
first asked for, so that `import pgflow_yaml` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pgflow_yaml.client import Client, Run, StepState
    from pgflow_yaml.errors import (
        Diagnostic,
        InvalidFlow,
        InvalidInput,
        NotFound,
        PermanentError,
        PgflowError,
        RetryLater,
        RunCancelled,
        RunFailed,
        SchemaMismatch,
        Unavailable,
    )
    from pgflow_yaml.language.compiler import compile_flow
    from pgflow_yaml.language.differences import Change, diff
    from pgflow_yaml.language.model import Definition
    from pgflow_yaml.project.files import check, load
    from pgflow_yaml.worker import Worker
    from pgflow_yaml.worker.calls.context import Context

__all__ = [
    "Change",
    "Client",
    "Context",
    "Definition",
    "Diagnostic",
    "InvalidFlow",
    "InvalidInput",
    "NotFound",
    "PermanentError",
    "PgflowError",
    "RetryLater",
    "Run",
    "RunCancelled",
    "RunFailed",
    "SchemaMismatch",
    "StepState",
    "Unavailable",
    "Worker",
    "check",
    "compile_flow",
    "diff",
    "load",
]

_HOMES = {
    "Change": "language.differences",
    "Client": "client",
    "Context": "worker.calls.context",
    "Definition": "language.model",
    "Run": "client",
    "StepState": "client",
    "Worker": "worker",
    "check": "project.files",
    "compile_flow": "language.compiler",
    "diff": "language.differences",
    "load": "project.files",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
