"""The trace that a request belongs to."""

import pytest

from oneself.http.request.trace_context import trace_id_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def _trace(*values):
    return trace_id_of([(b"host", b"localhost"), *((b"traceparent", each) for each in values)])


def test_a_well_formed_header_names_a_trace():
    """LO-06: sampled or not, and of a later version too, whatever that adds."""
    for written in (
        f"00-{TRACE}-{PARENT}-00",
        f"00-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01-what comes later",
    ):
        assert _trace(written.encode()) == TRACE


@pytest.mark.parametrize(
    "written",
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
def test_a_malformed_header_names_none(written):
    """LO-05, LO-06: it is ignored, as section 3.2.2.3 of the recommendation asks."""
    assert _trace(written.encode()) is None


def test_of_two_headers_neither_counts():
    """LO-06: whoever reads the other one would look in another trace."""
    good = f"00-{TRACE}-{PARENT}-01".encode()
    assert _trace(good, good) is None
    assert _trace() is None
