"""Calls of Python handlers: their lookup, arguments and context, and the text of their results."""

from __future__ import annotations

from pgflow_yaml.worker.calls.binding import by_name, invoke, signature_problems
from pgflow_yaml.worker.calls.boundary import (
    Unserialisable,
    clean,
    error_record,
    summary,
    to_json_text,
)
from pgflow_yaml.worker.calls.context import Context
from pgflow_yaml.worker.calls.forks import end_forked, fork_depth
from pgflow_yaml.worker.calls.handler import Handler, Handlers, HandlerUnavailable
from pgflow_yaml.worker.calls.masks import MaskingFilter, masks
from pgflow_yaml.worker.calls.secrets import SecretMissing, SecretProvider, Secrets

__all__ = [
    "Context",
    "Handler",
    "HandlerUnavailable",
    "Handlers",
    "MaskingFilter",
    "SecretMissing",
    "SecretProvider",
    "Secrets",
    "Unserialisable",
    "by_name",
    "clean",
    "end_forked",
    "error_record",
    "fork_depth",
    "invoke",
    "masks",
    "signature_problems",
    "summary",
    "to_json_text",
]
