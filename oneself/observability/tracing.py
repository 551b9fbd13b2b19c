"""A span of each request for a collector of OpenTelemetry's, where an operator has one.

What a span says is what the line of the log says: an operation, a status, codes and kinds of our
own. No path, no value, no address and no secret is in it, nor who has asked (LO-06).
"""

import importlib.util
import os
import time
from typing import TYPE_CHECKING

from oneself.document import METHODS

if TYPE_CHECKING:
    from oneself.http.guard import RequestContext
    from oneself.settings import Settings

__all__ = ["Spans", "TelemetryMissing", "endpoint_of", "require_library"]

#: Where the library itself looks; either of these is a wish to have spans sent.
_STANDARD = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PATH = "/v1/traces"

#: How long a collector may take for some spans, in seconds; those that wait are a bounded number.
_PATIENCE = 5

_OTHER = "other"
_FIRST_FAILURE = 500


class TelemetryMissing(ImportError):
    """Spans are to be sent, and the library that sends them is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Spans are to be sent, by ONESELF_OTLP_ENDPOINT or a variable of OpenTelemetry's own,"
            " and what sends them is not installed: pip install --require-hashes"
            " -r requirements/telemetry.txt"
        )


def endpoint_of(settings: "Settings") -> str | None:
    """Where spans go, if they go anywhere; with a path, as the library wants it."""
    if settings.otlp_endpoint:
        return settings.otlp_endpoint.rstrip("/").removesuffix(_PATH) + _PATH
    of_traces, of_all = (os.environ.get(name, "") for name in _STANDARD)
    return of_traces or (of_all and of_all.rstrip("/") + _PATH) or None


def require_library() -> None:
    """Let those pass who have what sends spans.

    Raises:
        TelemetryMissing: It is not installed.
    """
    if importlib.util.find_spec("opentelemetry") is None:
        raise TelemetryMissing


class Spans:
    """The spans of one worker, sent by a thread of the library's, some at a time."""

    def __init__(self, endpoint: str) -> None:
        """Begin; to be called after the fork, since a thread does not come along.

        Raises:
            TelemetryMissing: The library is not installed.
        """
        require_library()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 # most do without
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 # as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 # as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 # as above

        name = os.environ.get("OTEL_SERVICE_NAME", "oneself")
        # Not as the global one, and with no detectors: nothing else of the process is told.
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_PATIENCE)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("oneself")

    def note(self, method: str, request_context: "RequestContext", seconds: float) -> None:
        """Add the span of a request that is over."""
        from opentelemetry import trace  # noqa: PLC0415 # as above

        ended = time.time_ns()
        operation = request_context.operation_id or _OTHER
        told: dict[str, str | int | None] = {
            "http.request.method": method if method.lower() in METHODS else "_OTHER",
            "http.response.status_code": request_context.status or None,
            "oneself.operation": operation,
            "oneself.dialect": operation.partition(".")[0],
            "oneself.refusal": request_context.code,
            "oneself.credential": request_context.credential_kind,
            "oneself.request_id": request_context.request_id,
        }
        span = self._tracer.start_span(
            operation,
            context=self._context(request_context),
            kind=trace.SpanKind.SERVER,
            attributes={name: value for name, value in told.items() if value is not None},
            start_time=ended - int(seconds * 1e9),
        )
        if request_context.status >= _FIRST_FAILURE:
            span.set_status(trace.StatusCode.ERROR)
        span.end(ended)

    @staticmethod
    def _context(request_context: "RequestContext") -> object:
        """The span of whoever asked, if they have told it; else none, and the trace begins here."""
        from opentelemetry import context, trace  # noqa: PLC0415 # as above

        parent = request_context.parent
        if parent is None:
            return context.Context()
        named = trace.SpanContext(
            int(parent.trace_id, 16),
            int(parent.span_id, 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(parent.flags),
        )
        return trace.set_span_in_context(trace.NonRecordingSpan(named), context.Context())

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()
