"""Tracing: where spans are sent. Their content is tested in tests/telemetry."""

import sys

import pytest

from oneself.observability.tracing import TelemetryMissing, require_library, trace_endpoint
from oneself.settings import Settings

ALL, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch):
    for name in (ALL, TRACES, "ONESELF_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_no_spans_are_sent_by_default():
    assert trace_endpoint(Settings()) is None


@pytest.mark.parametrize(
    "setting",
    ["http://collector:4318", "http://collector:4318/", "http://collector:4318/v1/traces"],
)
def test_setting_takes_precedence_over_standard_variables(setting, monkeypatch):
    """With or without the path."""
    monkeypatch.setenv(ALL, "http://another:4318")
    assert trace_endpoint(Settings(otlp_endpoint=setting)) == "http://collector:4318/v1/traces"


def test_standard_variables_are_read_as_specified(monkeypatch):
    """The variable for all signals gets a path added, the one for traces does not."""
    monkeypatch.setenv(ALL, "http://collector:4318/")
    assert trace_endpoint(Settings()) == "http://collector:4318/v1/traces"
    monkeypatch.setenv(TRACES, "http://collector:4318/elsewhere")
    assert trace_endpoint(Settings()) == "http://collector:4318/elsewhere"


def test_missing_library_error_has_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TelemetryMissing, match="hashes -r"):
        require_library()
