"""Tests of the body limits, and of the memory that bodies cost."""

import time

import pytest

from tests.http.running import Account, Running
from tests.http.wire import Wire

LIMIT = 65_536
HEAD = (
    b"PUT /resources/me/settings HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nAuthorization: Bearer "
)


def _head(alice: Account, *headers: bytes) -> bytes:
    return (
        HEAD + alice.session.encode() + b"\r\n" + b"".join(h + b"\r\n" for h in headers) + b"\r\n"
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _padded(size: int) -> bytes:
    return b" " * (size - 2) + b"{}"


def test_body_over_the_limit_is_rejected(service: Running, alice: Account):
    """HT-07."""
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
        body = _padded(size)
        stated = service.ask("PUT", "/resources/me/settings", headers=alice.bearer, body=body)
        assert stated.status == status
        with Wire(service.port) as wire:
            head = _head(alice, b"Transfer-Encoding: chunked", b"Connection: close")
            wire.send(head + _chunk(body[:40_000]) + _chunk(body[40_000:]) + b"0\r\n\r\n")
            [chunked] = wire.answers()
        assert chunked.status == status


def test_unexpected_body_over_the_limit_is_rejected(service: Running, alice: Account):
    """HT-07: unauthenticated and unknown operations read none."""
    body = b"x" * 100_000
    reads = service.ask("GET", "/v1/me", headers=alice.bearer, body=body)
    assert (reads.status, reads.code) == (413, "body_too_large")
    assert service.ask("POST", "/nowhere", body=body).status == 404
    assert service.ask("POST", "/v1/me", body=body).status == 405
    assert service.ask("POST", "/v1/auth/login", body=body, host="evil.example").status == 421


def test_body_longer_than_announced_is_not_read(service: Running, alice: Account):
    """HT-07: the bytes after the announced length are another, malformed request."""
    with Wire(service.port) as wire:
        wire.send(_head(alice, b"Content-Length: 2") + b"{}" + b"x" * 100_000)
        assert [answer.status for answer in wire.answers()] in ([200, 400], [200, 431], [200])
    service.assert_alive()


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "stated"])
def test_client_that_keeps_sending_can_read_the_413(
    service: Running, alice: Account, *, chunked: bool
):
    """HT-07: most clients read nothing before they have sent everything."""
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 8000000"
    piece = b"x" * 20_000
    with Wire(service.port) as wire:
        wire.send(_head(alice, length))
        for _ in range(400):
            if not wire.send(_chunk(piece) if chunked else piece):
                break
            time.sleep(0.0005)
        answer = wire.answer()
    assert answer is not None, "the connection was reset before the answer could be read"
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert answer.header("connection") == "close"


def test_large_bodies_take_no_lasting_memory(service: Running, alice: Account):
    """HT-07."""
    body = b"x" * 3_000_000
    for _ in range(10):
        service.ask("PUT", "/resources/me/settings", headers=alice.bearer, body=body)
    before = service.resident_bytes()
    for _ in range(50):
        with Wire(service.port) as wire:
            wire.send(_head(alice, b"Content-Length: 3000000") + body)
            answer = wire.answer()
            assert answer is None or answer.status == 413
    assert service.resident_bytes() - before < 8 * 1024 * 1024
    service.assert_alive()
