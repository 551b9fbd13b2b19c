"""Tracing: one OpenTelemetry span per request, sent to a collector if one is configured.

A span says what the access log says: an operation, a status, codes and kinds of our own. It has no
path, value, address or secret, and does not name the user (LO-06).
"""

import importlib.util
import os
import time
from typing import TYPE_CHECKING

from oneself.document import METHODS

if TYPE_CHECKING:
    from oneself.http.guard import RequestContext
    from oneself.settings import Settings

#: The library's own variables; either of them turns tracing on.
_OTEL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PATH = "/v1/traces"

#: Time limit for an export, in seconds. The number of queued spans is bounded.
_EXPORT_TIMEOUT = 5

_OTHER = "other"
_FIRST_SERVER_ERROR = 500


class TelemetryMissing(ImportError):
    """Tracing is configured, and OpenTelemetry is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "ONESELF_OTLP_ENDPOINT or an OTEL_EXPORTER_OTLP variable turns tracing on, and"
            " OpenTelemetry is not installed. Run: pip install --require-hashes"
            " -r requirements/telemetry.txt"
        )


def trace_endpoint(settings: "Settings") -> str | None:
    """Return the URL that spans are sent to, with its path, or None."""
    if settings.otlp_endpoint:
        return settings.otlp_endpoint.rstrip("/").removesuffix(_PATH) + _PATH
    of_traces, of_all = (os.environ.get(name, "") for name in _OTEL_VARIABLES)
    return of_traces or (of_all and of_all.rstrip("/") + _PATH) or None


def require_library() -> None:
    """Check that OpenTelemetry is installed.

    Raises:
        TelemetryMissing: It is not.
    """
    if importlib.util.find_spec("opentelemetry") is None:
        raise TelemetryMissing


class Spans:
    """The spans of one worker, exported in batches by a background thread."""

    def __init__(self, endpoint: str) -> None:
        """Start the exporter. Call it after the fork: threads do not survive one.

        Raises:
            TelemetryMissing: OpenTelemetry is not installed.
        """
        require_library()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 # optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 # as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 # as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 # as above

        name = os.environ.get("OTEL_SERVICE_NAME", "oneself")
        # Not the global provider, and no detectors: nothing else of the process is recorded.
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_TIMEOUT)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("oneself")

    def record(self, method: str, request_context: "RequestContext", seconds: float) -> None:
        """Record the span of a finished request."""
        from opentelemetry import trace  # noqa: PLC0415 # as above

        end_time = time.time_ns()
        operation = request_context.operation_id or _OTHER
        attributes: dict[str, str | int | None] = {
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
            attributes={name: value for name, value in attributes.items() if value is not None},
            start_time=end_time - int(seconds * 1e9),
        )
        if request_context.status >= _FIRST_SERVER_ERROR:
            span.set_status(trace.StatusCode.ERROR)
        span.end(end_time)

    @staticmethod
    def _context(request_context: "RequestContext") -> object:
        """Return the caller's trace context; without one, an empty one: a trace begins here."""
        from opentelemetry import context, trace  # noqa: PLC0415 # as above

        parent = request_context.parent
        if parent is None:
            return context.Context()
        caller_span = trace.SpanContext(
            int(parent.trace_id, 16),
            int(parent.span_id, 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(parent.flags),
        )
        return trace.set_span_in_context(trace.NonRecordingSpan(caller_span), context.Context())

    def close(self) -> None:
        """Export the queued spans, and stop."""
        self._provider.shutdown()
