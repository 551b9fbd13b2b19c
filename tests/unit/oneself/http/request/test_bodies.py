"""Tests of reading bodies: size, time, content type and JSON."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneself.http.request.bodies import (
    announces_at_most,
    expects_body,
    headers_of,
    media_type,
    parse_json,
    read_body,
)
from oneself.http.request.errors import (
    BodyTooLarge,
    MalformedBody,
    MalformedRequest,
    RequestTimeout,
    UnsupportedMediaType,
)
from tests.support.deadlines import patient

DEEP = 32


def _nested(depth, inner):
    return b"[" * depth + inner + b"]" * depth


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b" \t\r\n[1, -2.5, 1e2, true, false, null]\n", [1, -2.5, 100.0, True, False, None]),
        ('"\u00e9 \\u00e9 \\ud83d\\ude00"'.encode(), "é é 😀"),
        (b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}', {"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b'{"": ""}', {"": ""}),
        (b"-0", 0),
        (_nested(DEEP, b"1"), None),
        (_nested(DEEP, b'"\\u0041"'), None),
    ],
    ids=range(10),
)
def test_valid_json_is_parsed(body, value):
    read = parse_json(body)
    if value is not None:
        assert read == value


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "syntax"),
        (b" ", "syntax"),
        (b"{", "syntax"),
        (b"{}{}", "syntax"),
        (b"{} x", "syntax"),
        (b"[1,]", "syntax"),
        (b"{'a': 1}", "syntax"),
        (b"// a\n{}", "syntax"),
        (b"\xef\xbb\xbf{}", "syntax"),
        (b'"a\nb"', "syntax"),
        (b'"a\x00b"', "syntax"),
        (b"01", "syntax"),
        (b"+1", "syntax"),
        (b"0x10", "syntax"),
        (b"1.", "syntax"),
        (b"\xc2\xa0{}", "syntax"),
        (b"9" * 5000, "out of range"),
        (b"\xff", "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        ("{}".encode("utf-16"), "UTF-8"),
        ("{}".encode("utf-16-le"), "syntax"),
        (b"NaN", "NaN"),
        (b'{"a": Infinity}', "NaN"),
        (b"[-Infinity]", "NaN"),
        (b"1e400", "64 bits"),
        (b"-1e400", "64 bits"),
        (b"9223372036854775808", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b'{"a": 1, "a": 1}', "twice"),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', "twice"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'[{"a": ["\\ude00\\ud83d"]}]', "surrogate"),
        (_nested(DEEP + 1, b"1"), "32 levels"),
        (_nested(DEEP + 1, b'"\\u0041"'), "32 levels"),
        (b'{"a":' * (DEEP + 1) + b"1" + b"}" * (DEEP + 1), "32 levels"),
        (_nested(200_000, b""), "32 levels"),
    ],
    ids=range(37),
)
def test_malformed_json_is_rejected(body, rule):
    """HT-04, PW-05: nothing is guessed or repeated."""
    with pytest.raises(MalformedBody) as refused:
        parse_json(body)
    assert rule in str(refused.value)


@given(
    st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0d8e19-.', max_size=60).map(str.encode)
)
def test_random_bytes_are_parsed_or_rejected(body):
    """HT-04."""
    try:
        value = parse_json(body)
    except MalformedBody:
        return
    assert value is None or isinstance(value, bool | int | float | str | list | dict)


@given(st.binary(min_size=8, max_size=50))
def test_refusal_repeats_nothing_of_the_body(body):
    """HT-03: the rule is one of a few sentences."""
    with pytest.raises(MalformedBody) as refused:
        parse_json(b"canary" + body)
    assert "canary" not in str(refused.value)


def test_empty_array_counts_as_a_level():
    """HT-04."""
    parse_json(_nested(DEEP, b""))
    parse_json(b'{"a":' * DEEP + b"1" + b"}" * DEEP)
    with pytest.raises(MalformedBody):
        parse_json(_nested(DEEP + 1, b""))


class Sender:
    """An ASGI `receive` that returns given messages and then waits."""

    def __init__(self, *messages):
        self.messages = list(messages)

    async def __call__(self):
        if not self.messages:
            await asyncio.sleep(60)
        return self.messages.pop(0)


def _chunk(body, *, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def _read(sender, most_bytes=10, seconds=5):
    return asyncio.run(read_body(sender, most_bytes=most_bytes, seconds=seconds))


def test_body_in_chunks_is_joined():
    """HT-07: up to exactly the limit."""
    assert (
        _read(Sender(_chunk(b"12345"), _chunk(b""), _chunk(b"67890", more=False))) == b"1234567890"
    )
    assert _read(Sender({"type": "http.request"})) == b""


def test_oversized_body_is_rejected_while_it_arrives():
    """HT-07: the rest is not awaited."""
    sender = Sender(_chunk(b"1234567890"), _chunk(b"1"), _chunk(b"2", more=False))
    with pytest.raises(BodyTooLarge):
        _read(sender)
    assert len(sender.messages) == 1


def test_slow_body_times_out():
    """HT-08: the time is for the whole body, however often a part arrives."""
    began = time.perf_counter()
    with pytest.raises(RequestTimeout):
        _read(Sender(_chunk(b"1"), _chunk(b"2")), seconds=0.05)
    assert time.perf_counter() - began < patient(2)


def test_incomplete_body_is_rejected():
    """OP-09: the client left, or its chunks are malformed."""
    with pytest.raises(MalformedRequest, match="broke off"):
        _read(Sender(_chunk(b"1"), {"type": "http.disconnect"}))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({b"content-length": b"0"}, False),
        ({b"content-length": b"1"}, True),
        ({b"transfer-encoding": b"chunked"}, True),
        ({b"transfer-encoding": b"chunked", b"content-length": b"0"}, True),
    ],
)
def test_head_announces_a_body(headers, expected):
    """HT-07: by a length other than zero, or by chunks."""
    assert expects_body(headers) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({b"content-length": b"0"}, True),
        ({b"content-length": b"10"}, True),
        ({b"content-length": b"0000000010"}, True),
        ({b"content-length": b"11"}, False),
        ({b"content-length": b"18446744073709551615"}, False),
        ({b"content-length": b"9" * 5000}, False),
        ({b"content-length": b"0" * 5000}, False),
        ({b"content-length": b""}, False),
        ({b"content-length": b"-1"}, False),
        ({b"content-length": b"1\n"}, False),
        ({b"content-length": "\u0661".encode()}, False),
        ({b"transfer-encoding": b"chunked"}, False),
        ({b"transfer-encoding": b"chunked", b"content-length": b"1"}, False),
    ],
    ids=range(14),
)
def test_head_announces_a_small_body(headers, expected):
    """HT-07: without a length, a body may have any size."""
    assert announces_at_most(headers, 10) is expected


OFFERED = {"application/json": {}, "application/merge-patch+json": {}}


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (b"application/json", "application/json"),
        (b"Application/JSON; charset=UTF-8", "application/json"),
        (b'application/json;charset="utf-8"', "application/json"),
        (b"application/json; boundary=x", "application/json"),
        (b" application/merge-patch+json ;", "application/merge-patch+json"),
    ],
)
def test_offered_content_type_is_accepted(header, named):
    """In any case, and with parameters that change nothing."""
    assert media_type({b"content-type": header}, OFFERED) == named


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"text/plain",
        b"application/jsonp",
        b"application/json, text/plain",
        b"application/json; charset=latin-1",
        b"application/json; charset=utf-16",
        b"application/json; charset=utf-8; charset=utf-7",
        b"application/json; charset",
        b"\xff/\xff",
    ],
)
def test_other_content_type_is_rejected(header):
    """HT-04, SE-09: none is guessed from the body."""
    with pytest.raises(UnsupportedMediaType):
        media_type({b"content-type": header}, OFFERED)


def test_missing_content_type_is_rejected_with_one_that_is_read():
    """HT-04, newcomer F20."""
    with pytest.raises(UnsupportedMediaType, match=f"such as {next(iter(OFFERED))}, and not"):
        media_type({}, OFFERED)


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"br", b"identity, gzip", b"x"])
def test_compressed_body_is_rejected(coding):
    """HT-07, RFC 9110 section 15.5.16: also if it only claims to be compressed."""
    headers = {b"content-type": b"application/json", b"content-encoding": coding}
    with pytest.raises(UnsupportedMediaType):
        media_type(headers, OFFERED)
    headers[b"content-encoding"] = b"Identity"
    assert media_type(headers, OFFERED) == "application/json"


def test_repeated_list_headers_are_joined():
    """RFC 9110 section 5.3: or a matching tag would be lost."""
    lines = [(b"if-match", b'"a"'), (b"x", b"1"), (b"if-match", b'"b", "c"'), (b"x", b"2")]
    assert headers_of({"headers": lines}) == {b"if-match": b'"a", "b", "c"', b"x": b"2"}


def test_last_of_repeated_headers_is_read():
    """HT-09: the guard rejects those for which it matters."""
    assert headers_of({"headers": [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]}) == {
        b"a": b"3",
        b"b": b"2",
    }
