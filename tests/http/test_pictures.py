"""Tests of uploading and serving pictures over the wire."""

import json
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from PIL import Image

from tests.http.running import Account, Running, open_account, running
from tests.http.wire import Answer, Wire
from tests.support.deadlines import patient
from tests.support.pictures import encoded, gradient, read_webp

PATH = "/resources/me/profile/picture"
MOST = 5 * 1024 * 1024
PNG = encoded(gradient())
#: Exactly these headers say what may be done with the answer (IM-07, HT-15).
SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}


@pytest.fixture
def user(service: Running) -> Account:
    """A new user, whose picture no other test uses."""
    user.number = getattr(user, "number", 0) + 1
    return open_account(service, f"pictured.{user.number}@example.com")


def _upload(service: Running, account: Account, body: bytes, **headers: str) -> Answer:
    sent = {"Content-Type": "image/png", **account.bearer, **headers}
    return service.ask("PUT", PATH, headers=sent, body=body)


def _get(service: Running, account: Account, method: str = "GET", **headers: str) -> Answer:
    sent = {**account.bearer, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return service.ask(method, PATH, headers=sent)


def _head(account: Account | None, length: int, *more: str) -> bytes:
    lines = [f"PUT {PATH} HTTP/1.1", "Host: localhost", "Content-Type: image/png"]
    lines += [f"Authorization: Bearer {account.session}"] if account else []
    lines += [f"Content-Length: {length}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


# Limits


@pytest.mark.parametrize(
    "credential",
    [
        (),
        ("Authorization: Bearer sess_8xV2pQ0mZr4Lw9Tn6Ys1Kc5Hb7Jd3Gf0Qa2We4Rt6Yu3IlpB7",),
        ("Authorization: Bearer nonsense",),
        ("X-API-Key: ipto_nonsense",),
        ("Cookie: __Host-oneself_session=nonsense", "Sec-Fetch-Site: same-origin"),
    ],
    ids=["nothing", "unknown session", "nonsense", "unknown key", "unknown cookie"],
)
def test_upload_without_a_valid_credential_is_not_read(
    service: Running, credential: tuple[str, ...]
):
    """HT-07, IM-02: the answer comes after 100 KiB of 5 MiB, and the connection is closed."""
    with Wire(service.port) as wire:
        wire.send(_head(None, MOST, *credential) + b"x" * 100 * 1024)
        answer = wire.answer()
        assert answer is not None
        assert answer.status == 401
        assert answer.header("connection") == "close"
        assert wire.answer() is None
    service.assert_alive()


def test_chunked_upload_without_a_valid_credential_is_not_read(service: Running):
    """HT-07."""
    head = _head(None, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with Wire(service.port) as wire:
        wire.send(head + b"%x\r\n" % MOST + b"x" * 100 * 1024)
        answer = wire.answer()
        assert answer is not None
        assert (answer.status, answer.header("connection")) == (401, "close")
        assert wire.answer() is None


def test_unread_body_is_not_another_request(service: Running, alice: Account):
    """HT-09: a request inside of the body is not answered."""
    hidden = (
        f"GET /v1/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {alice.session}\r\n\r\n"
    )
    with Wire(service.port) as wire:
        wire.send(_head(None, len(hidden)) + hidden.encode())
        assert [answer.status for answer in wire.answers()] == [401]


def test_upload_with_an_ended_session_is_not_read(service: Running, user: Account):
    """HT-07, SE-03."""
    assert service.ask("POST", "/v1/auth/logout", headers=user.bearer).status == 200
    with Wire(service.port) as wire:
        wire.send(_head(user, MOST) + b"x" * 100 * 1024)
        answer = wire.answer()
        assert answer is not None
        assert (answer.status, answer.code) == (401, "invalid_token")
        assert wire.answer() is None


def test_unauthenticated_uploads_take_no_memory(service: Running):
    """HT-07: forty at once, each announcing 5 MiB and sending as much as is read."""

    def send(_number: int) -> int:
        with Wire(service.port) as wire:
            wire.send(_head(None, MOST) + b"x" * 1024 * 1024)
            answer = wire.answer()
            return answer.status if answer else 401

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(send, range(16))) == {401}
        before = service.resident_bytes()
        assert set(threads.map(send, range(40))) == {401}
    assert service.resident_bytes() - before < 16 * 1024 * 1024
    service.assert_alive()


def test_upload_without_the_scope_is_not_read(service: Running, alice: Account):
    """HT-07, AZ-07: by an API key; for 64 KiB the refusal is the same."""
    head = [f"X-API-Key: {alice.api_key}"]
    for rest in (f"Content-Length: {MOST}", "Transfer-Encoding: chunked"):
        lines = _head(None, 0, *head).replace(b"Content-Length: 0", rest.encode())
        with Wire(service.port) as wire:
            wire.send(lines + b"%x\r\n" % MOST + b"x" * 100 * 1024)
            answer = wire.answer()
            assert answer is not None
            assert (answer.status, answer.code) == (403, "insufficient_scope")
            assert answer.header("connection") == "close"
            assert wire.seconds_until_closed() < 1
        assert service.line_of(answer)["credential"] == "apiKey"
        sent = {"Content-Type": "image/png", "X-API-Key": alice.api_key}
        small = service.ask("PUT", PATH, headers=sent, body=b"x" * 64 * 1024)
        assert small.status == 403
        bodies = [{**body.json, "instance": ""} for body in (small, answer)]
        assert bodies[0] == bodies[1]


@pytest.fixture(scope="module")
def patient_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of its own, with timeouts long enough to show which request waits."""
    folder = tmp_path_factory.mktemp("patient")
    with running(folder, body_seconds=5, password_cost=10) as started:
        yield started
    assert '"level":"error"' not in started.log


def _stalled(service: Running, account: Account) -> Wire:
    """Start an upload that lacks its last bytes."""
    wire = Wire(service.port)
    wire.send(_head(account, MOST) + b"x" * (MOST - 16 * 1024))
    return wire


def test_stalled_uploads_of_one_user_delay_no_others(patient_service: Running):
    """HT-07, HT-08: forty of one user, who each send almost all of 5 MiB."""
    alice, bob = (open_account(patient_service, f"{name}@example.com") for name in ("alice", "bob"))
    large = PNG.ljust(MOST, b"\0")
    assert _upload(patient_service, alice, large).status == 200  # and Pillow has its memory
    before = patient_service.resident_bytes()
    with ExitStack() as stack:
        wires = [stack.enter_context(_stalled(patient_service, alice)) for _ in range(40)]
        began = time.monotonic()
        assert _upload(patient_service, alice, large).status == 503
        for account, picture in ((alice, PNG), (bob, PNG), (bob, large)):
            assert _upload(patient_service, account, picture).status == 200
            assert patient_service.ask("GET", "/v1/me", headers=account.bearer).status == 200
        assert time.monotonic() - began < patient(3)
        assert patient_service.resident_bytes() - before < 48 * 1024 * 1024
        answers = [answer for wire in wires if (answer := wire.answer()) is not None]
    counts = Counter((answer.status, answer.code) for answer in answers)
    assert counts == {(408, "request_timeout"): 2, (503, "unavailable"): 38}
    for answer in answers:
        assert answer.header("connection") == "close"
        assert answer.header("content-type") == "application/problem+json"
        assert (answer.header("retry-after") is not None) == (answer.status == 503)
    assert _upload(patient_service, alice, large).status == 200


def test_abandoned_upload_releases_its_slot(patient_service: Running):
    """HT-07: at once, before its timeout."""
    carol = open_account(patient_service, "carol@example.com")
    for _ in range(3):
        for wire in [_stalled(patient_service, carol) for _ in range(2)]:
            with wire:
                pass
    began, large = time.monotonic(), PNG.ljust(MOST, b"\0")
    while _upload(patient_service, carol, large).status != 200:
        assert time.monotonic() - began < patient(3)
        time.sleep(0.05)


def test_upload_over_5_mib_is_rejected(service: Running, user: Account):
    """IM-02: a picture padded to exactly the limit, and with one byte more."""
    for size, status, code in ((MOST, 200, None), (MOST + 1, 413, "body_too_large")):
        answer = _upload(service, user, PNG.ljust(size, b"\0"))
        assert (answer.status, answer.json.get("code")) == (status, code)


def test_other_operations_keep_their_body_limit(service: Running, user: Account):
    """HT-07: also on the same path."""
    for method in ("GET", "DELETE"):
        answer = service.ask(method, PATH, headers=user.bearer, body=b"x" * 100_000)
        assert (answer.status, answer.code) == (413, "body_too_large")


# Formats


@pytest.mark.parametrize(
    ("declared", "status"),
    [
        ("image/png", 200),
        ("image/jpeg", 200),
        ("image/webp", 200),
        ("IMAGE/PNG", 200),
        ("text/plain", 415),
        ("image/gif", 415),
        ("image/svg+xml", 415),
        ("application/octet-stream", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
def test_format_of_a_picture_is_detected_from_its_bytes(
    service: Running, user: Account, declared: str, status: int
):
    """IM-01: any accepted picture type will do as its content type, and no other."""
    answer = _upload(service, user, PNG, **{"Content-Type": declared})
    assert answer.status == status
    if status == 200:
        assert _get(service, user).header("content-type") == "image/webp"


@pytest.mark.parametrize(
    "disposition",
    ['attachment; filename="../../x"', "attachment; filename=a.php%00.png", 'inline; name="p.svg"'],
)
def test_file_name_of_a_client_is_ignored(service: Running, user: Account, disposition: str):
    """IM-07: the download has the service's own name."""
    assert _upload(service, user, PNG, **{"Content-Disposition": disposition}).status == 200
    answer = _get(service, user)
    assert answer.header("content-disposition") == 'attachment; filename="picture.webp"'


@pytest.mark.parametrize(
    "upload",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"",
        PNG[:60],
        encoded(Image.new("1", (12_000, 12_000))),
        encoded(gradient(), "GIF"),
    ],
    ids=["SVG", "nothing", "cut short", "bomb", "GIF"],
)
def test_unreadable_picture_is_rejected(service: Running, user: Account, upload: bytes):
    """IM-01, IM-02, IM-04."""
    assert _upload(service, user, PNG).status == 200
    tag = _get(service, user).header("etag")
    answer = _upload(service, user, upload)
    assert (answer.status, answer.code) == (400, "unreadable_picture")
    assert _get(service, user).header("etag") == tag


def _odd_notes(orientation: int, tag: int, kind: int, value: bytes) -> bytes:
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    entries = struct.pack("<HHI4s", tag, kind, 1, value) + entries
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)


@pytest.mark.parametrize(
    "noted",
    [
        _odd_notes(6, 0x0100, 11, struct.pack("<f", 1.5)),
        _odd_notes(1, 0x8769, 4, struct.pack("<I", 90_000)),
        b"Exif\0\0II*\0" + struct.pack("<IH", 8, 9) + b"canary",
    ],
    ids=["a number of another type", "a place beyond the end", "a list cut short"],
)
def test_odd_metadata_in_a_picture_is_accepted(service: Running, user: Account, noted: bytes):
    """IM-03, LO-05: and Pillow's opinion of it is not in the log."""
    before = len(service.log)
    assert _upload(service, user, encoded(gradient(), exif=noted)).status == 200
    service.line_of(_get(service, user))
    for line in service.log[before:].splitlines():
        json.loads(line)
    assert "canary" not in service.log


# Downloads


def test_picture_is_served_as_a_download(service: Running, user: Account):
    """IM-07: with its type, for this origin only; HEAD has the same headers."""
    assert _upload(service, user, PNG).status == 200
    picture_answer, head = _get(service, user), _get(service, user, "HEAD")
    for answer in (picture_answer, head):
        assert answer.status == 200
        assert answer.header("content-type") == "image/webp"
        assert answer.header("content-length") == str(len(picture_answer.body))
        assert answer.header("content-disposition") == 'attachment; filename="picture.webp"'
        assert {name: answer.header(name) for name in SAFE} == SAFE
    assert head.body == b""
    assert head.header("etag") == picture_answer.header("etag")
    assert read_webp(picture_answer.body).size == (48, 32)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("template", ["{}", "W/{}", '"other", {}', '"a",W/{} , "b"', "*"])
def test_matching_if_none_match_gets_304(
    service: Running, user: Account, method: str, template: str
):
    """HT-17: with security headers and the tag, without headers that describe a body."""
    assert _upload(service, user, PNG).status == 200
    tag = _get(service, user).header("etag") or ""
    with Wire(service.port) as wire:
        lines = [f"{method} {PATH} HTTP/1.1", "Host: localhost"]
        lines += [f"Authorization: Bearer {user.session}"]
        lines += [f"If-None-Match: {template.format(tag)}"]
        wire.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = wire.answer(method)
        assert answer is not None
        assert (answer.status, answer.header("etag")) == (304, tag)
        assert {name: answer.header(name) for name in SAFE} == SAFE
        assert answer.header("content-type") is None
        assert answer.header("content-disposition") is None
        assert answer.header("content-length") in {None, "0"}
        # The next bytes are the answer to the next request.
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        following = wire.answer()
        assert following is not None
        assert following.status == 200


def test_other_if_none_match_gets_the_picture(service: Running, user: Account):
    """HT-17: after a change, and with the tag of another user's picture."""
    assert _upload(service, user, PNG).status == 200
    former = _get(service, user).header("etag") or ""
    other = encoded(gradient((8, 8)))
    assert _upload(service, user, other).status == 200
    for tag in (former, f"W/{former}", f'"x", {former}', '"*"', "", former.strip('"')):
        answer = _get(service, user, If_None_Match=tag)
        assert answer.status == 200
        assert read_webp(answer.body).size == (8, 8)


def test_tag_reveals_nothing_to_other_users(service: Running, user: Account, alice: Account):
    """HT-17, IM-08: without a credential a 401; with another user's, that user's picture counts."""
    assert _upload(service, user, PNG).status == 200
    tag = _get(service, user).header("etag") or ""
    for sent in (tag, "*"):
        unauthenticated = service.ask("GET", PATH, headers={"If-None-Match": sent})
        assert unauthenticated.status == 401
        assert _get(service, alice, If_None_Match=sent).status == 404


# Concurrency


def test_concurrent_reader_sees_the_old_or_the_new_picture(service: Running, user: Account):
    """IM-09: each complete, with its own tag, and never a 404."""
    uploads = [encoded(gradient(size)) for size in ((48, 32), (32, 48))]
    known = {}
    for upload in uploads:
        assert _upload(service, user, upload).status == 200
        answer = _get(service, user)
        known[answer.header("etag")] = answer.body
    is_over = threading.Event()

    def read() -> int:
        count = 0
        while not is_over.is_set():
            answer = _get(service, user)
            assert answer.status == 200
            assert known[answer.header("etag")] == answer.body
            count += 1
        return count

    with ThreadPoolExecutor(2) as threads:
        reading = [threads.submit(read) for _ in range(2)]
        try:
            for number in range(20):
                assert _upload(service, user, uploads[number % 2]).status == 200
        finally:
            is_over.set()
        assert min(future.result(30) for future in reading) > 0
