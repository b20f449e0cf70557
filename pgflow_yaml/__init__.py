"""Declarative, durable workflows on PostgreSQL.

The names in `__all__` are public, the rest may change. A name is imported when it is first used,
so that `import pgflow_yaml` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pgflow_yaml.client import (
        Cancelled,
        Client,
        Decision,
        Deployed,
        FailedStep,
        FlowSummary,
        Preview,
        Pruned,
        Retried,
        Run,
        RunSummary,
        Sent,
        Started,
        StepState,
        StoredVersion,
        VersionSummary,
    )
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
    from pgflow_yaml.project.flow_set import FlowSet
    from pgflow_yaml.project.settings import Settings, read_settings
    from pgflow_yaml.project.versions import Comparison
    from pgflow_yaml.runs.logs import LogFilter, LogLine
    from pgflow_yaml.worker import Worker
    from pgflow_yaml.worker.calls.context import Context

__all__ = [
    "Cancelled",
    "Change",
    "Client",
    "Comparison",
    "Context",
    "Decision",
    "Definition",
    "Deployed",
    "Diagnostic",
    "FailedStep",
    "FlowSet",
    "FlowSummary",
    "InvalidFlow",
    "InvalidInput",
    "LogFilter",
    "LogLine",
    "NotFound",
    "PermanentError",
    "PgflowError",
    "Preview",
    "Pruned",
    "Retried",
    "RetryLater",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunSummary",
    "SchemaMismatch",
    "Sent",
    "Settings",
    "Started",
    "StepState",
    "StoredVersion",
    "Unavailable",
    "VersionSummary",
    "Worker",
    "check",
    "compile_flow",
    "diff",
    "load",
    "read_settings",
]

_HOMES = {
    "Cancelled": "client",
    "Change": "language.differences",
    "Client": "client",
    "Comparison": "project.versions",
    "Context": "worker.calls.context",
    "Decision": "client",
    "Definition": "language.model",
    "Deployed": "client",
    "FailedStep": "client",
    "FlowSet": "project.flow_set",
    "FlowSummary": "client",
    "LogFilter": "runs.logs",
    "LogLine": "runs.logs",
    "Preview": "client",
    "Pruned": "client",
    "Retried": "client",
    "Run": "client",
    "RunSummary": "client",
    "Sent": "client",
    "Settings": "project.settings",
    "Started": "client",
    "StepState": "client",
    "StoredVersion": "client",
    "VersionSummary": "client",
    "Worker": "worker",
    "check": "project.files",
    "compile_flow": "language.compiler",
    "diff": "language.differences",
    "load": "project.files",
    "read_settings": "project.settings",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
