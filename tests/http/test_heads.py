"""Tests of ambiguous, malformed and oversized request heads."""

import pytest

from tests.http.running import Account, Running
from tests.http.wire import Answer, Wire, head_of

SECURITY = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    # Subdomains are the operator's decision: the public URL may be a bare domain.
    "strict-transport-security": "max-age=31536000",
    # Granian names itself unless the application sets the header; RFC 9110 has no empty one.
    "server": "oneself",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def _ask_raw(service: Running, data: bytes) -> list[Answer]:
    """Send bytes, and read answers until the connection is closed, or idle for too long."""
    with Wire(service.port) as wire:
        wire.send(data)
        return wire.answers()


# ── Host ─────────────────────────────────────────────────────────────────────────────────────────

#: A path of each dialect, and the place of the code in its refusals.
OWNED = {
    "/v1/me": ("error", "code"),
    "/api/users/me/": ("error",),
    "/api/v1/me": ("code",),
    "/resources/me/profile": ("code",),
    "/v1/users/me/password": ("code",),
    "/oauth/token": ("error",),
    "/nowhere": ("code",),
}


@pytest.mark.parametrize(("path", "steps"), OWNED.items())
def test_unknown_host_is_rejected_in_the_dialect_of_the_path(
    service: Running, alice: Account, path: str, steps: tuple[str, ...]
):
    """HT-10."""
    answer = service.ask("GET", path, headers=alice.bearer, host="evil.example")
    assert answer.status == 421
    code = answer.json
    for step in steps:
        code = code[step]
    assert code == "unknown_host"
    assert b"evil" not in answer.body


@pytest.mark.parametrize(
    "host",
    [
        "localhost.evil.example",
        "evil.example:80",
        "localhost.",
        "127.0.0.2",
        "2130706433",
        "0x7f.1",
    ],
)
def test_unknown_host_is_rejected(service: Running, alice: Account, host: str):
    """HT-10."""
    answer = service.ask("GET", "/v1/me", headers=alice.bearer, host=host)
    assert (answer.status, answer.code) == (421, "unknown_host")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost@evil.example",
        "evil@localhost",
        "localhost/evil",
        "localhost, evil.example",
        "localhost localhost",
        "http://localhost",
        "[::1",
        "::1",
        "localhost:evil",
        "localhost:80:90",
        "localhost:80 x",
        "localhost:80#@evil.example",
        "localhost:123456",
        "[::1]evil",
        "[::1]:",
    ],
)
@pytest.mark.parametrize("path", ["/v1/me", "/healthz", "/readyz"])
def test_malformed_host_is_rejected(service: Running, alice: Account, host: str, path: str):
    """HT-09: with 400, on every path (RFC 9112 section 3.2)."""
    answer = service.ask("GET", path, headers=alice.bearer, host=host)
    assert (answer.status, answer.code) == (400, "malformed_request")


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost", "localhost:8080", "127.0.0.1", "[::1]", "[::1]:8080"]
)
def test_known_host_is_accepted_with_any_port(service: Running, alice: Account, host: str):
    """HT-10: behind a proxy, the port is the proxy's."""
    assert service.ask("GET", "/v1/me", headers=alice.bearer, host=host).status == 200


def test_missing_or_repeated_host_is_rejected(service: Running, alice: Account):
    """HT-09, RFC 9112 section 3.2."""
    without = head_of("GET", "/v1/me", {**alice.bearer, "Connection": "close"}, host="localhost")
    without = without.replace(b"Host: localhost\r\n", b"")
    twice = without.replace(b"\r\n", b"\r\nHost: localhost\r\nHost: localhost\r\n", 1)
    mixed = without.replace(b"\r\n", b"\r\nHost: localhost\r\nhOST: evil.example\r\n", 1)
    for head in (without, twice, mixed):
        for sent in (head, head.replace(b"/v1/me", b"/healthz")):
            [answer] = _ask_raw(service, sent)
            assert (answer.status, answer.code) == (400, "malformed_request")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize(
    "host", ["10.1.2.3:8080", "evil.example", "pod.cluster.local", "[fe80::1]"]
)
def test_probe_is_answered_with_any_host(service: Running, path: str, host: str):
    """HT-10: orchestrators send the address of the replica, and the answer is the same for all."""
    answer = service.ask("GET", path, host=host)
    assert (answer.status, set(answer.json)) == (200, {"status"})
    assert service.ask("GET", f"{path}/", host=host).status == 421


def test_absolute_target_without_a_host_is_read_as_a_host(service: Running, alice: Account):
    """HT-09, RFC 9112 section 3.2.2: Granian puts the authority into the missing header."""
    bearer = alice.bearer["Authorization"]
    head = "GET http://{}/v1/me HTTP/1.1\r\nConnection: close\r\nAuthorization: {}\r\n\r\n"
    for host, status in (("localhost", 200), ("evil.example", 421), ("me@localhost", 400)):
        [answer] = _ask_raw(service, head.format(host, bearer).encode())
        assert answer.status == status


def test_host_in_target_or_forwarded_header_is_ignored(service: Running, alice: Account):
    """HT-09, HT-10: Granian hides the authority of a target beside a Host; nothing is built of it.

    RFC 9112 section 3.2.2 wants it read in place of the Host: an exception of docs/security.md.
    """
    target = "http://evil.example/v1/me"
    assert service.ask("GET", target).status == 401
    assert service.ask("GET", target, headers=alice.bearer, host="evil.example").status == 421
    answer = service.ask("GET", target, headers=alice.bearer)
    assert (answer.status, b"evil" in answer.body) == (200, False)
    assert not [value for _, value in answer.headers if "evil" in value]
    forwarded = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example;proto=https"}
    for path in ("/v1/me", "/v1/me/", "/openapi.json"):
        plain = service.ask("GET", path, headers=alice.bearer)
        other = service.ask("GET", path, headers={**alice.bearer, **forwarded})
        assert other.status == plain.status
        assert b"evil" not in other.body
        assert not [value for _, value in other.headers if "evil" in value]


# ── Doubles ──────────────────────────────────────────────────────────────────────────────────────


def test_two_authorization_headers_are_rejected(service: Running, alice: Account):
    """HT-09, SE-10."""
    good = alice.bearer["Authorization"]
    for first, second in ((good, good), (good, "Bearer x"), ("Bearer x", good), (good, "Basic x")):
        answer = service.ask(
            "GET", "/v1/me", headers={"Authorization": first, "authorization": second}
        )
        assert (answer.status, answer.code) == (400, "malformed_request")


def _login(*headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    lines = [f"POST /v1/auth/login {version}", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n" + body


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Transfer-Encoding: chunked", "Content-Length: 49"),
    ],
)
def test_two_lengths_end_the_connection(service: Running, headers: tuple[str, ...]):
    """HT-09: hyper reads the chunks and closes, as RFC 9112 section 6.1 allows."""
    answers = _ask_raw(service, _login(*headers, body=b"0\r\n\r\n" + SMUGGLED))
    assert [answer.status for answer in answers] == [400]


@pytest.mark.parametrize(
    "headers",
    [
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: ,chunked",),
    ],
    ids=repr,
)
def test_other_transfer_codings_are_rejected_and_end_the_connection(
    service: Running, headers: tuple[str, ...]
):
    """HT-09, RFC 9112 section 7: hyper accepts any coding that ends in chunks."""
    [answer] = _ask_raw(service, _login(*headers, body=b"0\r\n\r\n" + SMUGGLED))
    assert (answer.status, answer.code) == (400, "malformed_request")


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "  CHUNKED  "])
def test_chunked_is_case_insensitive(service: Running, coding: str):
    """HT-09, RFC 9110 section 7: strict is not narrow."""
    chunks = b"2\r\n{}\r\n0\r\n\r\n"
    head = _login(f"Transfer-Encoding: {coding}", "Connection: close", body=chunks)
    [answer] = _ask_raw(service, head)
    assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: 2, 3",),
        ("Content-Length: 2, 2",),
        ("Content-Length: +2",),
        ("Content-Length: -2",),
        ("Content-Length: 0x2",),
        ("Content-Length: 2 2",),
        ("Content-Length: two",),
        ("Content-Length:",),
        ("Content-Length: 99999999999999999999999",),
        ("Content-Length: 2", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding: chunked\r\n , identity",),
        ("Transfer-Encoding: \x0bchunked",),
    ],
    ids=repr,
)
def test_malformed_length_is_rejected_and_ends_the_connection(
    service: Running, headers: tuple[str, ...]
):
    """HT-09."""
    answers = _ask_raw(service, _login(*headers, body=b"{}" + SMUGGLED))
    assert [answer.status for answer in answers] in ([400], [])
    service.assert_alive()


CHUNKS = {
    "larger than what comes": b"5\r\n{}\r\n0\r\n\r\n",
    "smaller than what comes": b"1\r\n{}\r\n0\r\n\r\n",
    "no hexadecimal number": b"zz\r\n{}\r\n0\r\n\r\n",
    "negative": b"-2\r\n{}\r\n0\r\n\r\n",
    "prefixed": b"0x2\r\n{}\r\n0\r\n\r\n",
    "beyond 64 bits": b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "without a carriage return": b"2\n{}\n0\n\n",
    "with an endless extension": b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
    "with endless trailers": b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS.keys())
def test_malformed_chunks_are_rejected(service: Running, chunks: bytes):
    """HT-04, HT-09: never a 5xx."""
    answers = _ask_raw(service, _login("Transfer-Encoding: chunked", body=chunks + SMUGGLED))
    assert [answer.status for answer in answers] in ([400], [])
    service.assert_alive()


def test_trailer_is_no_header(service: Running, alice: Account):
    """HT-09."""
    chunks = b"2\r\n{}\r\n0\r\nAuthorization: Bearer " + alice.session.encode() + b"\r\n\r\n"
    head = b"PUT /resources/me/settings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    [answer] = _ask_raw(service, head + chunks)
    assert (answer.status, answer.code) == (401, "not_authenticated")


@pytest.mark.parametrize("sent", [b"", b"{", b'{"email":'])
def test_incomplete_body_is_rejected(service: Running, sent: bytes):
    """HT-04, OP-09: never with a 5xx, for clients that still read."""
    with Wire(service.port) as wire:
        wire.send(_login("Content-Length: 100", body=sent))
        wire.socket.shutdown(1)
        assert [answer.status for answer in wire.answers()] in ([400], [])
    service.assert_alive()


# ── Syntax ───────────────────────────────────────────────────────────────────────────────────────

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"

GARBAGE = {
    "a folded header": GET + b"X-A: a\r\n b\r\n\r\n",
    "a space before the colon": GET + b"X-A : a\r\n\r\n",
    "a space in a name": GET + b"X A: a\r\n\r\n",
    "a header without a colon": GET + b"X-A\r\n\r\n",
    "a header without a name": GET + b": a\r\n\r\n",
    "a NUL in a header": GET + b"X-A: a\0b\r\n\r\n",
    "a carriage return in a header": GET + b"X-A: a\rb\r\n\r\n",
    "white space before the first header": b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "version 2.0": b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "version 1.9": b"GET /healthz HTTP/1.9\r\nHost: localhost\r\n\r\n",
    "a method that is no token": b"G@T /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two spaces": b"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "an endless first line": b"A" * 200_000,
    "every byte": bytes(range(256)) * 10,
    # hyper's limit of 64 KiB is a buffer's, which one read may exceed.
    "a header of little more than 64 KiB": GET + b"X-A: " + b"a" * 65_536 + b"\r\n\r\n",
    "a query of little more than 64 KiB": (
        b"GET /v1/me?" + b"a" * 65_537 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ),
    "a header of twice 64 KiB": GET + b"X-A: " + b"a" * 140_000 + b"\r\n\r\n",
    "a header of 10 MB": GET + b"X-A: " + b"a" * 10_000_000 + b"\r\n\r\n",
    "a target of twice 64 KiB": b"GET /" + b"a" * 140_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "1,000 headers": GET + b"".join(b"X-%d: a\r\n" % number for number in range(1000)) + b"\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_malformed_head_is_rejected(service: Running, data: bytes):
    """HT-09: at once, and not when the timeout ends."""
    with Wire(service.port, timeout=1.5) as wire:
        wire.send(data)
        answers = wire.answers()
    assert len(answers) <= 1
    assert all(400 <= answer.status < 500 for answer in answers)
    service.assert_alive()


def test_bare_line_feeds_are_accepted(service: Running):
    """HT-09: httparse takes them, as RFC 9112 section 2.2 allows; no byte is read twice."""
    head = b"GET /v1/me HTTP/1.1\nHost: localhost\nConnection: close\n\n"
    answers = _ask_raw(service, head)
    assert [answer.status for answer in answers] in ([400], [401])


def test_http_1_0_request_is_answered_and_closed(service: Running):
    """HT-09."""
    [answer] = _ask_raw(service, b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert answer.status == 200
    # A load balancer's probe: HTTP/1.0 needs no Host.
    for path in (b"/healthz", b"/readyz"):
        [answer] = _ask_raw(service, b"GET " + path + b" HTTP/1.0\r\n\r\n")
        assert answer.status == 200
    [answer] = _ask_raw(service, b"GET /v1/me HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.code) == (400, "malformed_request")
    chunked = _login("Transfer-Encoding: chunked", body=b"0\r\n\r\n", version="HTTP/1.0")
    assert [answer.status for answer in _ask_raw(service, chunked)] == [400]


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0"])
def test_upgrade_is_ignored(service: Running, upgrade: str):
    """HT-09."""
    headers = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": upgrade,
        "HTTP2-Settings": "AAMAAABkAAQAAP__",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    with Wire(service.port) as wire:
        wire.send(head_of("GET", "/v1/me", headers, host="localhost"))
        answer = wire.answer()
    assert answer is not None
    assert answer.status in {400, 401}


def test_pipelined_requests_are_answered_in_order(service: Running, alice: Account):
    """HT-09: each on its own."""
    authorised = head_of("GET", "/v1/me", alice.bearer, host="localhost")
    anonymous = head_of("GET", "/v1/me", host="localhost")
    posted = _login("Content-Length: 2", body=b"{}")
    unread = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
    last = head_of("GET", "/healthz", {"Connection": "close"}, host="localhost")
    answers = _ask_raw(service, authorised + anonymous + posted + unread + authorised + last)
    assert [answer.status for answer in answers] == [200, 401, 400, 404, 200, 200]


# ── Headers of every answer ──────────────────────────────────────────────────────────────────────


def _every_kind_of_answer(service: Running, alice: Account) -> dict[int, Answer]:
    bearer = alice.bearer
    settings = "/resources/me/settings"
    long = b'{"a":"' + b"x" * 70_000 + b'"}'
    answers = [
        service.ask("GET", "/v1/me", headers=bearer),
        service.ask("GET", "/healthz"),
        service.ask("DELETE", "/v1/me/sessions", headers=bearer),
        service.ask("PUT", settings, headers=bearer, body=b"x"),
        service.ask("GET", "/v1/me"),
        service.ask("POST", "/v1/me/password", headers={"X-API-Key": alice.api_key}, body={}),
        service.ask(
            "POST",
            "/v1/me/password",
            headers={"X-API-Key": alice.api_key},
            body={"current_password": "x", "new_password": "x"},
        ),
        service.ask("GET", "/nowhere"),
        service.ask("POST", "/v1/me"),
        service.ask("PUT", settings, headers=bearer, body=long),
        service.ask("PUT", settings, headers={**bearer, "Content-Type": None}, body={}),
        service.ask("GET", "/v1/me", host="evil.example"),
        service.ask("PATCH", "/api/v1/me", headers=bearer, body={"x": 1}),
    ]
    return {answer.status: answer for answer in answers}


def test_every_answer_has_security_headers(service: Running, alice: Account):
    """HT-15, HT-02, SE-13."""
    answers = _every_kind_of_answer(service, alice)
    assert set(answers) == {200, 204, 400, 401, 403, 404, 405, 413, 415, 421, 422}
    for status, answer in answers.items():
        assert {name: answer.header(name) for name in SECURITY} == SECURITY, status
        assert answer.header("x-request-id"), status
        assert answer.header("x-powered-by") is None, status


def test_refusal_by_granian_reveals_nothing(service: Running):
    """HT-02: requests that it cannot parse never reach the application, and get no body."""
    [answer] = _ask_raw(service, b"garbage\r\n\r\n")
    assert answer.status == 400
    assert answer.header("server") is None
    assert answer.body == b""
