"""Spans of runs, steps and attempts, sent as OTEL_* says; imported only with `worker --otel`."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.worker.stop import Closed
from pgflow_yaml.worker.upkeep import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.worker.task import Outcome, Task

_SECONDS = 2.0
_FLUSH_SECONDS = 3.0
_SCOPE = "pgflow-yaml"
_propagator = TraceContextTextMapPropagator()


class Tracing(Duty):
    """Make the spans of attempts, and send those of runs and steps once they have ended."""

    name = "traces"

    def __init__(self, worker: str) -> None:
        super().__init__(time.monotonic() + 1)  # it has registered by then
        self._worker = worker
        service = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: _SCOPE}
        self._resource = Resource.create(service)
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer(_SCOPE)
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(provider)  # handlers' own spans go the same way

    @contextmanager
    def attempt(self, task: Task) -> Iterator[Callable[[Outcome], Outcome]]:
        """Make a span current for a handler; the function that it gives notes the outcome."""
        parent = _propagator.extract({"traceparent": task.context.trace or ""})
        attributes: dict[str, str | int] = {
            "pgflow.run": task.run_id,
            "pgflow.flow": task.context.flow,
            "pgflow.step": task.step,
            "pgflow.index": task.index,
            "pgflow.attempt": task.attempt,
            "pgflow.worker": self._worker,
        }
        name = f"{task.context.flow}/{task.label()} attempt"
        # On an engine it has begun before: the reply of the node is here.
        age = time.monotonic() - task.started if task.started else 0.0
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            start_time=time.time_ns() - int(age * 1e9),
        ) as span:

            def end(outcome: Outcome) -> Outcome:
                span.set_attribute("pgflow.outcome", outcome.kind)
                if outcome.error is not None:
                    # The type alone: who reads traces need not be allowed to read errors.
                    span.set_status(StatusCode.ERROR, str(outcome.error.get("type")))
                return outcome

            yield end

    def work(self, store: Store, *, pause: float = 1.0) -> float:
        """Send what has ended at least `pause` seconds after somebody last looked."""
        for row in store.take_spans(self._worker, pause):
            self._processor.on_end(self._span(row))
        return _SECONDS

    def send_last(self, store: Store, *, is_away: bool) -> None:
        """Send the spans of what has just ended: nothing else may come to fetch them.

        A collector that does not answer keeps a worker three seconds.
        """
        with suppress(PgflowError, Closed):
            if not is_away:
                self.work(store, pause=0.0)
        flush = threading.Thread(target=self._processor.force_flush, daemon=True)
        flush.start()
        flush.join(_FLUSH_SECONDS)

    def _span(self, row: Mapping[str, Any]) -> ReadableSpan:
        facts = ("run", "flow", "version", "step", "status")
        parent = _context(row["trace"], row["parent"])
        return ReadableSpan(
            row["name"],
            context=_context(row["trace"], row["span"]),
            parent=parent if parent.span_id else None,
            resource=self._resource,
            attributes={f"pgflow.{name}": row[name] for name in facts if row[name] is not None},
            status=_status(row),
            start_time=row["began"] * 1000,
            end_time=row["ended"] * 1000,
            instrumentation_scope=InstrumentationScope(_SCOPE),
        )


def _context(trace_id: str, span_id: str) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)


def _status(row: Mapping[str, Any]) -> Status:
    if row["status"] == "failed":
        return Status(StatusCode.ERROR, row["error"])
    return Status(StatusCode.UNSET)
