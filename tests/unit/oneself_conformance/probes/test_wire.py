"""Strict parsing of HTTP/1.1 responses, and raw connections."""

import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from oneself_conformance.http_client import Answer
from oneself_conformance.probes.wire import Address, Connection, Read, parse_answers
from tests.support.deadlines import patient

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _read(data, **more):
    return parse_answers(data, **{"is_closed": False, **more})


# ── Responses ────────────────────────────────────────────────────────────────────────────────────


def test_response_is_parsed():
    """Header names keep their case."""
    data = b"HTTP/1.1 404 Not Found\r\nX-A:  b c \t\r\nx-a: d\r\nContent-Length: 3\r\n\r\n{ }"
    headers = (("X-A", "b c"), ("x-a", "d"), ("Content-Length", "3"))
    assert _read(data) == Read((Answer(404, headers, b"{ }"),))
    assert _read(data).answers[0].values("X-a") == ["b c", "d"]


def test_consecutive_responses_are_parsed():
    """Interim responses are not final ones."""
    read = _read(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + OK)
    assert [answer.status for answer in read.answers] == [100, 200, 200]
    assert [answer.status for answer in read.final] == [200, 200]
    assert (read.fault, read.is_cut) == (None, False)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_bodiless_status_ignores_content_length(status):
    """RFC 9110, section 8.6."""
    read = _read(b"HTTP/1.1 " + status + b"\r\nContent-Length: 9\r\n\r\n" + OK)
    assert len(read.answers) == 2


def test_head_response_has_no_body():
    """RFC 9110, section 9.3.2."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert _read(head, bodiless=True).final[0].body == b""
    assert _read(head).is_cut
    assert _read(head + b"ok", bodiless=True).fault == "it does not begin with HTTP"


def test_chunked_body_is_decoded():
    """RFC 9112, section 7.1, with extensions and trailers."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    read = _read(head + b"2;a=b\r\nok\r\nA\r\n0123456789\r\n0\r\nX-T: t\r\n\r\n" + OK)
    assert [answer.body for answer in read.answers] == [b"ok0123456789", b"ok"]


def test_body_without_length_ends_with_connection():
    """RFC 9112, section 6.3."""
    data = b"HTTP/1.0 200 \r\n\r\nok"
    assert _read(data) == Read(is_cut=True)
    assert _read(data, is_closed=True).final[0].body == b"ok"


def test_bytes_after_protocol_switch_are_not_parsed():
    read = _read(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\0\0\0\4")
    assert ([answer.status for answer in read.answers], read.fault) == ([101], None)


@pytest.mark.parametrize("length", range(1, len(OK)))
def test_truncated_response_is_pending_or_a_fault_after_close(length):
    assert _read(OK[:length]) == Read(is_cut=True)
    assert _read(OK[:length], is_closed=True) == Read(fault="it breaks off", is_cut=True)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"


@pytest.mark.parametrize("length", range(len(CHUNKED) - 28, len(CHUNKED)))
def test_truncated_chunked_response_is_pending(length):
    assert _read(CHUNKED[:length]).is_cut
    assert _read(CHUNKED).final[0].body == b"ok"


MALFORMED = {
    "a page": b"<html></html>",
    "another protocol": b"SSH-2.0-x\r\n\r\n",
    "a later version": b"HTTP/2.0 200 OK\r\n\r\n",
    "no space before the reason": b"HTTP/1.1 200\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "a control character in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "a line without a colon": b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
    "a line feed in a value": b"HTTP/1.1 200 OK\r\nA: b\nc: d\r\n\r\n",
    "a carriage return in a value": b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a malformed length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "a length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n",
    "a chunk longer than stated": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n"
    ),
    "a malformed trailer": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n"
    ),
    "a head without an end": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
    "more than its length": OK + b"k",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_response_is_a_fault(data):
    """Strict by RFC 9112, because a proxy may parse lenient forms differently."""
    for is_closed in (False, True):
        assert _read(data, is_closed=is_closed).fault


# ── Addresses ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "header"),
    [
        ("http://localhost", "http", "localhost", 80, "localhost"),
        ("https://id.example.com/", "https", "id.example.com", 443, "id.example.com"),
        ("https://id.example.com:8443/x", "https", "id.example.com", 8443, "id.example.com:8443"),
        ("http://[::1]:8080", "http", "::1", 8080, "[::1]:8080"),
        ("http://127.0.0.1:443", "http", "127.0.0.1", 443, "127.0.0.1:443"),
    ],
)
def test_address_is_parsed_from_url(url, scheme, host, port, header):
    """The Host header has no default port."""
    address = Address.of_url(url)
    assert (address.scheme, address.host, address.port) == (scheme, host, port)
    assert address.host_header == header


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost", "http://", "", "http:///x"])
def test_malformed_url_is_rejected(url):
    with pytest.raises(ValueError, match="not an http or https URL"):
        Address.of_url(url)


# ── Connections ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _connected_to(behave):
    """Yield a connection to a server that serves it with `behave`."""

    def serve():
        peer, _ = server.accept()
        with peer:
            behave(peer)

    with ThreadPoolExecutor(1) as thread, socket.create_server(("127.0.0.1", 0)) as server:
        # Without a connection, the thread would otherwise wait forever.
        server.settimeout(30)
        address = Address("http", "127.0.0.1", server.getsockname()[1])
        future = thread.submit(serve)
        with Connection(address, seconds=5) as connection:
            yield connection
        future.result()


def test_read_returns_once_the_responses_have_arrived():
    done = threading.Event()

    def behave(peer):
        peer.sendall(OK[:10])
        peer.sendall(OK[10:])
        done.wait(patient(5))

    with _connected_to(behave) as connection:
        read = connection.read(1, seconds=5, quiet_seconds=0)
        assert [answer.status for answer in read.final] == [200]
        assert not connection.is_closed
        done.set()


def test_read_waits_for_surplus_response():
    """The response to a smuggled request can arrive late."""

    def behave(peer):
        peer.sendall(OK)
        peer.recv(1)
        peer.sendall(OK)

    with _connected_to(behave) as connection:
        connection.read(1, seconds=5, quiet_seconds=0)
        assert connection.send(b"x", seconds=1)
        assert len(connection.read(1, seconds=5, quiet_seconds=5).final) == 2


def test_close_is_distinguished_from_reset():
    with _connected_to(lambda peer: peer.sendall(OK[:-1])) as connection:
        read = connection.read(1, seconds=5, quiet_seconds=0)
        assert (read.fault, connection.is_closed, connection.was_reset) == (
            "it breaks off",
            True,
            False,
        )

    def break_off(peer):
        peer.recv(1)  # the connection must be established first, or it would be refused
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with _connected_to(break_off) as connection:
        connection.send(b"x", seconds=1)
        connection.read(1, seconds=5, quiet_seconds=0)
        assert (connection.is_closed, connection.was_reset) == (True, True)
        assert not connection.receive(seconds=1)


def test_read_times_out_when_server_is_silent():
    done = threading.Event()
    with _connected_to(lambda _: done.wait(patient(5))) as connection:
        assert connection.read(1, seconds=0.1, quiet_seconds=0) == Read()
        assert not connection.is_closed
        done.set()


def test_send_times_out_when_server_does_not_read():
    done = threading.Event()
    with _connected_to(lambda _: done.wait(patient(5))) as connection:
        assert not connection.send(b"x" * 50_000_000, seconds=0.2)
        done.set()


def test_half_close_delivers_sent_bytes_and_reset_raises_an_error():
    received = []

    def behave(peer):
        received.append(peer.recv(10))
        received.append(peer.recv(10))
        peer.sendall(OK)

    with _connected_to(behave) as connection:
        connection.send(b"x", seconds=1)
        connection.half_close()
        assert connection.read(1, seconds=5, quiet_seconds=0).final
    assert received == [b"x", b""]

    def listen(peer):
        peer.sendall(b"x")
        try:
            peer.recv(10)
        except ConnectionResetError:
            received.append("reset")

    with _connected_to(listen) as connection:
        assert connection.receive(seconds=5)
        connection.reset()
    assert received[2:] == ["reset"]
