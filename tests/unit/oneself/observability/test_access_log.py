"""Access log: one line per request."""

import json
import logging

import pytest

from accounts.services.principal import CredentialKind
from oneself.http.guard import RequestContext
from oneself.http.request.trace_context import Parent
from oneself.observability.access_log import log_request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def log(caplog, capsys):
    caplog.set_level(logging.INFO, logger="oneself.requests")

    def log(method, request_context, seconds):
        log_request(method, request_context, seconds)
        return json.loads(capsys.readouterr().err)

    return log


def test_line_has_the_operation_and_the_outcome(log):
    request_context = RequestContext(
        "req_0a1b2c3d4e5f",
        0.0,
        "ipto.getCurrentUser",
        CredentialKind.SESSION,
        403,
        "policy_denied",
        Parent(TRACE, "00f067aa0ba902b7", 1),
    )
    line = log("GET", request_context, 0.0123456)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "oneself.requests",
        "message": "request",
        "request_id": "req_0a1b2c3d4e5f",
        "trace_id": TRACE,
        "method": "GET",
        "operation": "ipto.getCurrentUser",
        "status": 403,
        "code": "policy_denied",
        "credential": "session",
        "milliseconds": 12.346,
    }


def test_unknown_method_is_not_logged(log):
    """LO-06."""
    line = log("CANARY", RequestContext("req_0a1b2c3d4e5f", 0.0), 0.0)
    assert line["method"] is None


def test_nothing_is_logged_above_info_level(caplog, capsys):
    caplog.set_level(logging.WARNING, logger="oneself.requests")
    log_request("GET", RequestContext("req_0a1b2c3d4e5f", 0.0), 0.0)
    assert capsys.readouterr().err == ""
