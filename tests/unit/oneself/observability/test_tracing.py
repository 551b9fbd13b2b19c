"""Where spans go, if they go anywhere; what is in them is tried by tests/telemetry."""

import sys

import pytest

from oneself.observability.tracing import TelemetryMissing, endpoint_of, require_library
from oneself.settings import Settings

ALL, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.fixture(autouse=True)
def nobody_asked(monkeypatch):
    for name in (ALL, TRACES, "ONESELF_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_by_default_spans_go_nowhere():
    assert endpoint_of(Settings()) is None


@pytest.mark.parametrize(
    "written",
    ["http://collector:4318", "http://collector:4318/", "http://collector:4318/v1/traces"],
)
def test_the_setting_names_the_collector(written, monkeypatch):
    """With its path or without; and it counts for more than the others."""
    monkeypatch.setenv(ALL, "http://another:4318")
    assert endpoint_of(Settings(otlp_endpoint=written)) == "http://collector:4318/v1/traces"


def test_the_standard_variables_are_as_the_standard_has_them(monkeypatch):
    """The one of all signals gets a path, and that of traces is taken as it is."""
    monkeypatch.setenv(ALL, "http://collector:4318/")
    assert endpoint_of(Settings()) == "http://collector:4318/v1/traces"
    monkeypatch.setenv(TRACES, "http://collector:4318/elsewhere")
    assert endpoint_of(Settings()) == "http://collector:4318/elsewhere"


def test_without_the_library_it_is_said_how_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TelemetryMissing, match="hashes -r"):
        require_library()
