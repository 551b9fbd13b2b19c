"""What is an answer of HTTP/1.1 and what is none, and a connection whose every byte is ours."""

import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from oneself.conformance.probes.wire import Address, Answer, Connection, Read, parse_answers

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _read(data, **more):
    return parse_answers(data, **{"is_closed": False, **more})


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_taken_apart():
    """Status, headers as they are spelt, body."""
    data = b"HTTP/1.1 404 Not Found\r\nX-A:  b c \t\r\nx-a: d\r\nContent-Length: 3\r\n\r\n{ }"
    headers = (("X-A", "b c"), ("x-a", "d"), ("Content-Length", "3"))
    assert _read(data) == Read((Answer(404, headers, b"{ }"),))
    assert _read(data).answers[0].values("X-a") == ["b c", "d"]


def test_answers_follow_one_another():
    """Interim ones are answers, and no final ones."""
    read = _read(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + OK)
    assert [answer.status for answer in read.answers] == [100, 200, 200]
    assert [answer.status for answer in read.final] == [200, 200]
    assert (read.fault, read.is_cut) == (None, False)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_answers_have_no_body_whatever_their_length(status):
    """RFC 9110, section 8.6."""
    read = _read(b"HTTP/1.1 " + status + b"\r\nContent-Length: 9\r\n\r\n" + OK)
    assert len(read.answers) == 2


def test_the_answer_to_a_head_has_no_body():
    """RFC 9110, section 9.3.2."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert _read(head, bodiless=True).final[0].body == b""
    assert _read(head).is_cut
    assert _read(head + b"ok", bodiless=True).fault == "it does not begin as one"


def test_chunks_are_put_together():
    """RFC 9112, section 7.1, with extensions and trailers."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    read = _read(head + b"2;a=b\r\nok\r\nA\r\n0123456789\r\n0\r\nX-T: t\r\n\r\n" + OK)
    assert [answer.body for answer in read.answers] == [b"ok0123456789", b"ok"]


def test_a_body_without_a_length_ends_with_the_connection():
    """RFC 9112, section 6.3."""
    data = b"HTTP/1.0 200 \r\n\r\nok"
    assert _read(data) == Read(is_cut=True)
    assert _read(data, is_closed=True).final[0].body == b"ok"


def test_what_follows_another_protocol_is_not_read():
    """After a 101."""
    read = _read(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\0\0\0\4")
    assert ([answer.status for answer in read.answers], read.fault) == ([101], None)


@pytest.mark.parametrize("length", range(1, len(OK)))
def test_an_answer_that_is_cut_is_waited_for_and_after_the_end_is_none(length):
    """Wherever it is cut."""
    assert _read(OK[:length]) == Read(is_cut=True)
    assert _read(OK[:length], is_closed=True) == Read(fault="it breaks off", is_cut=True)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"


@pytest.mark.parametrize("length", range(len(CHUNKED) - 28, len(CHUNKED)))
def test_chunks_that_are_cut_are_waited_for(length):
    """Wherever they are cut."""
    assert _read(CHUNKED[:length]).is_cut
    assert _read(CHUNKED).final[0].body == b"ok"


MALFORMED = {
    "a page": b"<html></html>",
    "another protocol": b"SSH-2.0-x\r\n\r\n",
    "a version to come": b"HTTP/2.0 200 OK\r\n\r\n",
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
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "a length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n",
    "a chunk that is too long": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n"
    ),
    "a trailer that is none": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n"
    ),
    "a head without an end": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
    "more than its length": OK + b"k",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_none(data):
    """No laxer than RFC 9112: a proxy in between may read it in another way."""
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
def test_an_address_is_in_a_url(url, scheme, host, port, header):
    """And its Host header leaves the default port out."""
    address = Address.of_url(url)
    assert (address.scheme, address.host, address.port) == (scheme, host, port)
    assert address.host_header == header


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost", "http://", "", "http:///x"])
def test_what_is_no_url_has_no_address(url):
    """An operator wrote it, and is told."""
    with pytest.raises(ValueError, match="no URL"):
        Address.of_url(url)


# ── Connections ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _answered_by(behave):
    """A connection to somebody who behaves so, once."""

    def serve():
        other, _ = listening.accept()
        with other:
            behave(other)

    with ThreadPoolExecutor(1) as thread, socket.create_server(("127.0.0.1", 0)) as listening:
        # Else, where no connection comes about, the thread would wait for it for ever.
        listening.settimeout(30)
        address = Address("http", "127.0.0.1", listening.getsockname()[1])
        serving = thread.submit(serve)
        with Connection(address, seconds=5) as connection:
            yield connection
        serving.result()


def test_a_connection_is_read_until_the_answers_are_there():
    """And no longer, where nothing more is waited for."""
    over = threading.Event()

    def behave(other):
        other.sendall(OK[:10])
        other.sendall(OK[10:])
        over.wait(5)

    with _answered_by(behave) as connection:
        read = connection.read(1, seconds=5, quiet_seconds=0)
        assert [answer.status for answer in read.final] == [200]
        assert not connection.is_closed
        over.set()


def test_an_answer_too_many_is_waited_for():
    """Who smuggled a request gets it a moment later."""

    def behave(other):
        other.sendall(OK)
        other.recv(1)
        other.sendall(OK)

    with _answered_by(behave) as connection:
        connection.read(1, seconds=5, quiet_seconds=0)
        assert connection.send(b"x", seconds=1)
        assert len(connection.read(1, seconds=5, quiet_seconds=5).final) == 2


def test_the_end_is_told_from_a_break():
    """FIN and RST."""
    with _answered_by(lambda other: other.sendall(OK[:-1])) as connection:
        read = connection.read(1, seconds=5, quiet_seconds=0)
        assert (read.fault, connection.is_closed, connection.was_reset) == (
            "it breaks off",
            True,
            False,
        )

    def break_off(other):
        other.recv(1)  # before, there may be no connection yet, and it would be refused
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with _answered_by(break_off) as connection:
        connection.send(b"x", seconds=1)
        connection.read(1, seconds=5, quiet_seconds=0)
        assert (connection.is_closed, connection.was_reset) == (True, True)
        assert not connection.receive(seconds=1)


def test_who_says_nothing_is_waited_for_no_longer_than_asked():
    """A probe has a deadline."""
    over = threading.Event()
    with _answered_by(lambda _: over.wait(5)) as connection:
        assert connection.read(1, seconds=0.1, quiet_seconds=0) == Read()
        assert not connection.is_closed
        over.set()


def test_who_takes_no_bytes_is_not_sent_them_all():
    """Neither blocks a probe for ever."""
    over = threading.Event()
    with _answered_by(lambda _: over.wait(5)) as connection:
        assert not connection.send(b"x" * 50_000_000, seconds=0.2)
        over.set()


def test_half_of_a_connection_can_be_closed_and_all_of_it_broken_off():
    """What was sent arrives before the one; the other is an error at the other end."""
    heard = []

    def behave(other):
        heard.append(other.recv(10))
        heard.append(other.recv(10))
        other.sendall(OK)

    with _answered_by(behave) as connection:
        connection.send(b"x", seconds=1)
        connection.half_close()
        assert connection.read(1, seconds=5, quiet_seconds=0).final
    assert heard == [b"x", b""]

    def listen(other):
        other.sendall(b"x")
        try:
            other.recv(10)
        except ConnectionResetError:
            heard.append("reset")

    with _answered_by(listen) as connection:
        assert connection.receive(seconds=5)
        connection.reset()
    assert heard[2:] == ["reset"]
