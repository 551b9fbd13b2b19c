"""The line that each request leaves."""

import json
import logging

import pytest

from accounts.services.principal import CredentialKind
from oneself.http.guard import RequestContext
from oneself.http.request.trace_context import Parent
from oneself.observability.access_log import log_request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def note(caplog, capsys):
    caplog.set_level(logging.INFO, logger="oneself.requests")

    def note(method, request_context, seconds):
        log_request(method, request_context, seconds)
        return json.loads(capsys.readouterr().err)

    return note


def test_a_line_says_what_a_request_was_and_how_it_ended(note):
    request_context = RequestContext(
        "req_0a1b2c3d4e5f",
        0.0,
        "ipto.getCurrentUser",
        CredentialKind.SESSION,
        403,
        "policy_denied",
        Parent(TRACE, "00f067aa0ba902b7", 1),
    )
    said = note("GET", request_context, 0.0123456)
    assert said.pop("time").endswith("+00:00")
    assert said == {
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


def test_a_method_that_nobody_knows_is_the_callers_word_and_not_written(note):
    """LO-06."""
    said = note("CANARY", RequestContext("req_0a1b2c3d4e5f", 0.0), 0.0)
    assert said["method"] is None


def test_nothing_is_written_where_information_is_not_wanted(caplog, capsys):
    caplog.set_level(logging.WARNING, logger="oneself.requests")
    log_request("GET", RequestContext("req_0a1b2c3d4e5f", 0.0), 0.0)
    assert capsys.readouterr().err == ""
