"""The trace that a start belongs to, if the program uses OpenTelemetry; imports nothing of it."""

from __future__ import annotations

import sys


def current_trace() -> str | None:
    """Return the traceparent of the current span; None without one, or if it is not recorded."""
    opentelemetry = sys.modules.get("opentelemetry.trace")
    if opentelemetry is None:
        return None
    span = opentelemetry.get_current_span().get_span_context()
    if not (span.is_valid and span.trace_flags.sampled):
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
