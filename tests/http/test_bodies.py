"""Tests of malformed bodies over the wire, which no refusal repeats."""

import json

import pytest

from tests.http.running import Account, Running

SETTINGS = "/resources/me/settings"
CANARY = "hunter2-Canary-9f3kQ"


def _deep(levels: int, innermost: str = "") -> bytes:
    """Return an object with arrays in it, `levels` containers in all."""
    inside = levels - 1
    return b'{"a":' + b"[" * inside + innermost.encode() + b"]" * inside + b"}"


MALFORMED = {
    "empty": b"",
    "only white space": b" \r\n\t ",
    "UTF-16 with a byte order mark": '{"a":1}'.encode("utf-16"),
    "UTF-16 without one": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "a byte that UTF-8 has not": b'{"a":"\xff"}',
    "an overlong encoding": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a lone surrogate in a value": b'{"a":"\\ud800"}',
    "a lone surrogate in a name": b'{"\\udfff":1}',
    "surrogates the wrong way round": b'{"a":"\\ude00\\ud83d"}',
    "a lone surrogate far inside": b'{"a":[{"b":["\\ud800"]}]}',
    "60,000 open arrays": b"[" * 60_000,
    "30,000 arrays": b"[" * 30_000 + b"]" * 30_000,
    "10,000 objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "33 levels": _deep(33),
    "33 levels around a number": _deep(33, "1"),
    "an integer of 5,000 digits": b'{"a":' + b"9" * 5_000 + b"}",
    "an integer of 4,000 digits": b'{"a":' + b"9" * 4_000 + b"}",
    "an integer of 64 bits and one more": b'{"a":9223372036854775808}',
    "a float that is infinite": b'{"a":1e999}',
    "a float that is minus infinite": b'{"a":-1e999}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b'{"a":-Infinity}',
    "a name twice": b'{"a":1,"a":2}',
    "a name twice, once escaped": b'{"a":1,"\\u0061":2}',
    "a name twice far inside": b'{"b":[{"a":1,"a":2}]}',
    "garbage after the end": b'{"a":1}x',
    "two values": b"{}{}",
    "a NUL after the end": b"{}\0",
    "a control character in a text": b'{"a":"\n"}',
    "a comment": b"{/* */}",
    "a comma too many": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "a number that begins with zero": b'{"a":01}',
    "white space that JSON has not": b"\x0b{}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_json_is_rejected(service: Running, alice: Account, body: bytes):
    """HT-04."""
    answer = service.ask("PUT", SETTINGS, headers=alice.bearer, body=body)
    assert (answer.status, answer.code) == (400, "malformed_body")


WELL_FORMED = {
    "32 levels": _deep(32),
    "32 levels around a number": _deep(32, "1"),
    "the largest integer of 64 bits": b'{"a":9223372036854775807}',
    "a large float": b'{"a":1e308}',
    "a pair of surrogates": b'{"a":"\\ud83d\\ude00"}',
    "names that mean something in other languages": b'{"__proto__":{"$ref":"#"},"":0}',
}


@pytest.mark.parametrize("body", WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_unusual_json_is_accepted(service: Running, alice: Account, body: bytes):
    """HT-04: strict is not narrow."""
    answer = service.ask("PUT", SETTINGS, headers=alice.bearer, body=body)
    assert (answer.status, answer.json) == (200, json.loads(body))


def test_deep_json_is_rejected_where_bodies_may_be_long(roomy: Running):
    """HT-04."""
    answer = roomy.ask("POST", "/v1/auth/login", body=b"[" * 100_000)
    assert (answer.status, answer.code) == (400, "malformed_body")
    roomy.assert_alive()


OTHER_TYPES = {
    "none": None,
    "empty": "",
    "plain text": "text/plain",
    "a form": "application/x-www-form-urlencoded",
    "UTF-16": "application/json; charset=utf-16",
    "an unknown charset": "application/json; charset=foo",
    "a charset without a value": "application/json; charset",
    "two charsets": "application/json; charset=utf-8; charset=utf-16",
    "two types": "application/json, text/plain",
    "another type that ends in +json": "application/problem+json",
    "a patch where none is taken": "application/merge-patch+json",
    "a type that begins alike": "application/jsonx",
    "any type": "*/*",
}


@pytest.mark.parametrize("content_type", OTHER_TYPES.values(), ids=OTHER_TYPES.keys())
def test_other_content_type_is_rejected(service: Running, alice: Account, content_type: str | None):
    """HT-04."""
    headers = {**alice.bearer, "Content-Type": content_type}
    answer = service.ask("PUT", SETTINGS, headers=headers, body={})
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/json ; Charset=utf-8",
        "application/json; profile=x",
    ],
)
def test_content_type_is_case_insensitive(service: Running, alice: Account, content_type: str):
    """HT-04, RFC 9110 section 8.3.1."""
    headers = {**alice.bearer, "Content-Type": content_type}
    assert service.ask("PUT", SETTINGS, headers=headers, body={}).status == 200


def test_two_content_types_are_rejected(service: Running, alice: Account):
    """HT-04."""
    headers = {**alice.bearer, "content-type": "text/plain"}
    answer = service.ask("PUT", SETTINGS, headers=headers, body={})
    assert (answer.status, answer.code) == (400, "malformed_request")


def test_operation_without_body_accepts_any_content_type(service: Running, alice: Account):
    """HT-04: the PHP example of the Hyperclast page sends a form's content type and no byte."""
    form = {**alice.bearer, "Content-Type": "application/x-www-form-urlencoded"}
    path = "/api/v1/me/verify-email"
    chunked = {**form, "Content-Length": None, "Transfer-Encoding": "chunked"}
    for headers, body in (
        (form, None),
        ({**form, "Content-Length": "0"}, None),
        (chunked, b"0\r\n\r\n"),
    ):
        answer = service.ask("POST", path, headers=headers, body=body)
        assert answer.status == 200
    for headers, body in ((form, b"x"), (form, b"{}"), (chunked, b"1\r\nx\r\n0\r\n\r\n")):
        answer = service.ask("POST", path, headers=headers, body=body)
        assert (answer.status, answer.code) == (400, "unexpected_body")


# ── Nothing is echoed ────────────────────────────────────────────────────────────────────────────

#: By its defect: an operation, and a body with a canary in place of a secret.
REJECTED: dict[str, tuple[str, str, object]] = {
    "a password that is too long": (
        "POST",
        "/v1/me/password",
        {"current_password": CANARY * 60, "new_password": "x"},
    ),
    "a password of the wrong type": (
        "POST",
        "/v1/me/password",
        {"current_password": [CANARY], "new_password": "x"},
    ),
    "a weak password": (
        "POST",
        "/api/v1/me/password",
        {"current_password": "x", "new_password": f"{CANARY}\u0007"},
    ),
    "an unknown name of a field": ("POST", "/v1/auth/login", {f"{CANARY} {CANARY}": 1}),
    "an unknown field": (
        "POST",
        "/v1/auth/login",
        {"email": "a@example.com", "password": "x", "x": CANARY},
    ),
    "a value that breaks a pattern": (
        "PATCH",
        "/resources/me/profile",
        {"picture": f"http://{CANARY}.example"},
    ),
    "a value that is none of a list": ("POST", "/v1/api-keys", {"name": "x", "scopes": [CANARY]}),
    "a name with a control character": ("PATCH", "/api/v1/me", {"first_name": f"{CANARY}\u0007"}),
    "a telephone number that is none": ("PATCH", "/api/v1/me", {"phone": CANARY}),
    "a time zone that is none": ("PATCH", "/api/v1/me", {"timezone": CANARY}),
    "a locale that is none": ("PATCH", "/api/v1/me", {"locale": CANARY}),
    "an address that is none": ("POST", "/resources/me/email/change", {"email": CANARY}),
    "a secret that is too long": (
        "POST",
        "/resources/me/email/validate",
        {"identityId": CANARY, "secret": CANARY * 20},
    ),
    "no JSON": ("POST", "/v1/auth/login", f'{{"password":"{CANARY}"'.encode()),
    "a name twice": ("POST", "/v1/auth/login", f'{{"{CANARY}":1,"{CANARY}":2}}'.encode()),
    "not an object": ("POST", "/v1/auth/login", [CANARY]),
    "a body that none was asked for": ("POST", "/api/v1/me/verify-email", CANARY),
}


@pytest.mark.parametrize(("method", "path", "body"), REJECTED.values(), ids=REJECTED.keys())
def test_rejected_value_is_in_neither_answer_nor_log(
    service: Running, alice: Account, method: str, path: str, body: object
):
    """HT-03, LO-06."""
    answer = service.ask(method, path, headers=alice.bearer, body=body)
    assert answer.status in {400, 422}
    assert CANARY.encode() not in answer.body
    assert len(answer.body) <= 8192
    service.line_of(answer)
    assert CANARY not in service.log


@pytest.mark.parametrize(
    "value",
    ["v" * 3_000_000, ["v" * 3_000_000], {"v" * 3_000_000: 1}],
    ids=["text", "list", "name"],
)
def test_refusal_of_a_long_body_is_short(roomy: Running, value: object):
    """HT-03."""
    body = {"email": "a@example.com", "password": value}
    answer = roomy.ask("POST", "/v1/auth/login", body=body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert len(answer.body) <= 8192
    assert len(roomy.log) < 100_000
    assert "vvv" not in roomy.log


def test_refusal_of_many_fields_is_short(service: Running, alice: Account):
    """HT-03."""
    body = {f"unknown_{number}": number for number in range(3_000)}
    for method, path in (("PATCH", "/api/v1/me"), ("PATCH", "/resources/me/profile")):
        answer = service.ask(method, path, headers=alice.bearer, body=body)
        assert answer.status in {400, 422}
        assert len(answer.body) <= 8192
