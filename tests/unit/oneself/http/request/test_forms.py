"""Tests of reading forms."""

from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.errors import InvalidRequest
from oneself.http.request.forms import parse_form


def _rule(body):
    with pytest.raises(InvalidRequest) as refused:
        parse_form(body)
    [violation] = refused.value.violations
    assert (violation.place, violation.field) == ("body", ())
    return violation.rule


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"grant_type=refresh_token", {"grant_type": "refresh_token"}),
        (b"scope=me%2Fprofile%3Aread+keys:read", {"scope": "me/profile:read keys:read"}),
        (b"a=b=c&d=%3D", {"a": "b=c", "d": "="}),
        (b"name=%C3%BC", {"name": "\u00fc"}),
        (b"=nameless", {"": "nameless"}),
        (b"a;b=1", {"a;b": "1"}),
    ],
)
def test_form_is_parsed(body, fields):
    """RFC 6749 appendix B: percent-encoded UTF-8, with a plus for a space."""
    assert parse_form(body) == fields


def test_empty_field_counts_as_absent():
    """RFC 6749 section 3.2: it is no empty scope and no empty secret."""
    assert parse_form(b"scope=&audience=x&client_id=") == {"audience": "x"}


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a=1&a=1", b"a=&a=1", b"a=1&%61=2", b"a=&a="])
def test_repeated_field_is_rejected(body):
    """RFC 6749 section 3.2: two parsers could pick different ones."""
    assert _rule(body) == "must not have a field twice"


@pytest.mark.parametrize(
    "body",
    [
        b"a",
        b"a&b=1",
        b"a=1&",
        b"&a=1",
        b"a=1&&b=2",
        b'{"grant_type": "refresh_token"}',
        b"a=%FF",
        b"%FF=a",
        b"a=%C3",
        b"a=%ED%A0%80",
        b"a=\xc3\xbc",
        b"\x00\xff",
        b"&".join(b"a%d=1" % number for number in range(51)),
    ],
)
def test_malformed_form_is_rejected(body):
    """RFC 6749 appendix B: nothing is guessed or repeated."""
    assert _rule(body) == "must be name=value pairs in percent-encoded UTF-8"


def test_fifty_fields_are_accepted():
    """The work is bounded, and no form of the document has ten."""
    assert len(parse_form(b"&".join(b"a%d=1" % number for number in range(50)))) == 50


@given(st.dictionaries(st.text(max_size=9), st.text(min_size=1, max_size=30), max_size=20))
def test_form_survives_a_round_trip(fields):
    """RFC 6749 appendix B: with any characters, as a secret can have."""
    assert parse_form(urlencode(fields).encode()) == fields


@given(st.binary(max_size=200))
@example(b"a=%")
@example(b"a=%zz")
@example(b"=")
def test_random_bytes_are_parsed_or_rejected(body):
    """RFC 6749 section 3.2."""
    try:
        fields = parse_form(body)
    except InvalidRequest:
        return
    assert all(fields.values())
