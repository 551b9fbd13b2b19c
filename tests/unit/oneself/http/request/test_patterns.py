"""The patterns of the document say what the service accepts and makes: no less and no more."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.crypto import tokens
from accounts.errors import InvalidRequest
from accounts.flows.event_log import list_events
from accounts.flows.sign_in.sessions import log_in
from accounts.values.phone_number import parse_phone
from handlers.errors import PreconditionFailed
from handlers.etags import require_match
from oneself.document import load_document
from oneself.http.request.schemas import Schemas

DOCUMENT = load_document()
SCHEMAS = Schemas(DOCUMENT)
COMPONENTS = DOCUMENT["components"]["schemas"]

#: The grammar of RFC 9110 (sections 8.8.3 and 5.6.1), read loosely: empty elements, and tags
#: without a comma between them, are accepted as well.
_ENTITY_TAG = re.compile(r'(W/)?"[!\x23-\x7e\x80-\xff]*"')


def _is_valid(schema: dict[str, Any], value: Any) -> bool:
    return SCHEMAS.validator(schema).is_valid(value)


def _parameter(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = DOCUMENT["components"]["parameters"][name]["schema"]
    return schema


def _reads_as_if_match(header: str) -> bool:
    """Read a header as tags or a star, without a regular expression for the whole."""
    if header == "*":
        return True
    tags = [match.span() for match in _ENTITY_TAG.finditer(header)]
    between = "".join(
        header[end:start]
        for (_, end), (start, _) in zip([(0, 0), *tags], [*tags, (len(header), 0)], strict=True)
    )
    return bool(tags) and not between.strip(" \t,")


#: Header values as HTTP delivers them: without white space around them (RFC 9110, section 5.5).
header_values = st.lists(
    st.sampled_from([*'*"W/, \t!~a', "\x7f", "\x80", "\xff", '"a"', 'W/"b"', '""', "9f86"]),
    max_size=9,
).map(lambda parts: "".join(parts).strip(" \t"))


@given(header_values)
def test_if_match_is_tags_or_a_star(header):
    """HT-16, contract F9, section 2: a tag without its quotes would fail again and again."""
    assert _is_valid(_parameter("IfMatch"), header) == _reads_as_if_match(header)


@pytest.mark.parametrize(
    "header", ["", ",", "9f86d081", "**", '"other', '*, "other"', '"a" x', '"a b"', "w/", '"\x7f"']
)
def test_malformed_if_match_is_rejected(header):
    """HT-16."""
    assert not _is_valid(_parameter("IfMatch"), header)


@pytest.mark.parametrize("header", ["*", '"a"', 'W/"a"', ', ,"a"', '"a","b"', '"" , "é"', '"a",'])
def test_well_formed_if_match_is_compared(header):
    """HT-16: and fails for its tag, not for its form."""
    assert _is_valid(_parameter("IfMatch"), header)
    if header != "*":
        with pytest.raises(PreconditionFailed):
            require_match(header, {})


def test_if_none_match_has_no_pattern():
    """RFC 9110, section 13.1.2: the service sends the response for any other text."""
    assert "pattern" not in _parameter("IfNoneMatch")


def _parsed(value: str) -> str | None:
    try:
        return parse_phone(value)
    except InvalidRequest:
        return None


phones = st.one_of(
    st.from_regex(r"\+(0?1|44|49)[0-9 ().\-/]{1,18}", fullmatch=True),
    st.from_regex(r"\+(1|44|49)[0-9]{6,11}", fullmatch=True),
    st.text("+0123456789 ().-/xtel:;\u0661\uff0b\n", max_size=20),
)


@given(phones)
def test_accepted_telephone_number_matches_and_is_shown_in_e164(value):
    """Clients C10: the pattern refuses no number that the service takes."""
    number = _parsed(value)
    if number is not None:
        assert _is_valid(COMPONENTS["NewPhone"], value)
        assert _is_valid(COMPONENTS["NullablePhone"], number)
        assert _is_valid(COMPONENTS["NewPhone"], number)


@pytest.mark.parametrize("value", ["", "x", "0555 0100123", "+1 555 010 0123 x4", "+1\n5550100123"])
def test_telephone_number_of_another_form_matches_no_pattern(value):
    """Clients C10: a validator of the client rejects what the service rejects."""
    assert _parsed(value) is None
    for name in ("NewPhone", "NullablePhone"):
        assert not _is_valid(COMPONENTS[name], value)


def test_cursor_has_the_form_of_the_document(env, alice, clock):
    """Contract F9, section 2: 136 characters, and another form was never issued."""
    for step in (0, 10**5):
        clock.move(microseconds=step)
        env.act(log_in, email=alice.view.email, password=alice.password, user_agent=None)
        page = env.act(list_events, alice.user_id, limit=1, cursor=None)
        assert _is_valid(_parameter("EventCursor"), page.next_cursor)
        shown = COMPONENTS["IptoEventPage"]["properties"]["next_cursor"]
        assert _is_valid(shown, page.next_cursor)
        assert _is_valid(shown, None)
        for other in (page.next_cursor[:-1], page.next_cursor + "A", page.next_cursor + "="):
            assert not _is_valid(_parameter("EventCursor"), other)
            with pytest.raises(InvalidRequest):
                env.act(list_events, alice.user_id, limit=1, cursor=other)


#: The schemas of opaque tokens that responses contain, by prefix.
ISSUED = {
    tokens.SESSION: COMPONENTS["SessionToken"],
    tokens.ACCESS_TOKEN: COMPONENTS["AccessToken"],
    tokens.PAT: COMPONENTS["HanteraCreatedPat"]["properties"]["token"],
    tokens.REFRESH_TOKEN: COMPONENTS["OauthToken"]["properties"]["refresh_token"],
    tokens.ONE_TIME_SECRET: COMPONENTS["IssuedSecret"],
}


@pytest.mark.parametrize("prefix", ISSUED)
def test_minted_token_matches_and_another_form_does_not(prefix):
    schema = ISSUED[prefix]
    for _ in range(20):
        token = tokens.mint(prefix)
        assert _is_valid(schema, token)
        for other in (token[:-1], token + "a", f"x{token}", token.replace("_", "-"), f"{token}\n"):
            assert not _is_valid(schema, other)
            assert not tokens.is_well_formed(other, prefix)


@pytest.mark.parametrize("brand", ["ipto", "a1", "b" * 16])
def test_minted_api_key_matches(brand):
    made = tokens.mint_api_key(brand)
    created = COMPONENTS["IptoCreatedApiKey"]["properties"]
    assert _is_valid(created["key"], made.key)
    assert created["secret"]["pattern"] == created["key"]["pattern"]
    assert _is_valid(COMPONENTS["ApiKeyPrefix"], made.prefix)
