"""The trace of a start is that of the current span."""

from __future__ import annotations

import subprocess
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from pgflow_yaml.client.tracing import current_trace


def test_the_current_span_is_the_parent() -> None:
    """In the form of W3C Trace Context."""
    with TracerProvider().get_tracer("test").start_as_current_span("order") as span:
        context = span.get_span_context()
        found = current_trace()

    assert found == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_without_a_recorded_span_there_is_none() -> None:
    """Nor where the sampler has left it out."""
    outside = current_trace()
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("test")
    with trace.use_span(tracer.start_span("order")):
        inside = current_trace()

    assert (outside, inside) == (None, None)


def test_a_program_without_opentelemetry_imports_none() -> None:
    """It pays nothing."""
    program = (
        "import sys; from pgflow_yaml.client.tracing import current_trace\n"
        "print(current_trace(), 'opentelemetry' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "None False\n"
