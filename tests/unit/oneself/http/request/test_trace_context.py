"""Tests of the trace context of a request."""

import pytest

from oneself.http.request.trace_context import parent_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def _trace(*values):
    parent = parent_of([(b"host", b"localhost"), *((b"traceparent", value) for value in values)])
    return parent and parent.trace_id


def test_valid_header_has_a_trace_id():
    """LO-06: sampled or not, and of later versions with more in them."""
    for header in (
        f"00-{TRACE}-{PARENT}-00",
        f"00-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01-what comes later",
    ):
        assert _trace(header.encode()) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE,
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01more",
        f"00-{TRACE}-{PARENT}-01\n",
        f" 00-{TRACE}-{PARENT}-01",
    ],
)
def test_malformed_header_is_ignored(header):
    """LO-05, LO-06: as W3C Trace Context section 3.2.2.3 asks."""
    assert _trace(header.encode()) is None


def test_two_headers_are_ignored():
    """LO-06: another reader could take the other one."""
    valid = f"00-{TRACE}-{PARENT}-01".encode()
    assert _trace(valid, valid) is None
    assert _trace() is None
