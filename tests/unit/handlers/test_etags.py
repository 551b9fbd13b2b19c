"""Tests of entity tags and of the preconditions."""

import pytest

from handlers.errors import PreconditionFailed
from handlers.etags import is_held, require_match, strong_tag, tag_of
from handlers.exchange import Reply

TAG = strong_tag("9f86d081")
BODY = {"theme": "dark", "size": 1}


def test_strong_tag_is_quoted():
    """HT-17, RFC 9110 section 8.8.3: without the mark of a weak tag."""
    assert TAG == '"9f86d081"'


@pytest.mark.parametrize(
    "header",
    [
        '"9f86d081"',
        'W/"9f86d081"',
        "*",
        "  * ",
        ' "9f86d081" ',
        '"other", "9f86d081"',
        '"other","9f86d081"',
        'W/"other" , W/"9f86d081"',
        '"9f86d081", "other"',
        ', ,"9f86d081"',
        '"a,b", "9f86d081"',
        '"", "9f86d081"',
        '"W/", "9f86d081"',
        '"\xe9", "9f86d081"',
    ],
)
def test_matching_if_none_match(header):
    """HT-17: alone, in a list, or weak, since reads compare weakly (section 13.1.2)."""
    assert is_held(header, TAG)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        '""',
        '"other"',
        '"9F86D081"',
        '"9f86d08"',
        '"9f86d0811"',
        '"9f86d081',
        '9f86d081"',
        "9f86d081",
        "'9f86d081'",
        '"9f86 d081"',
        '" 9f86d081 "',
        '"*"',
        '"a"9f86d081"b"',
        '"9f86d081*"',
        '*, "other"',
        "**",
    ],
)
def test_other_if_none_match_does_not_match(header):
    """HT-17: byte for byte, and a star counts only by itself."""
    assert not is_held(header, TAG)


def test_empty_tag_matches_only_itself():
    """HT-17."""
    assert is_held('""', strong_tag(""))
    assert not is_held('""', TAG)


def test_tag_depends_on_every_byte():
    """HT-17: 1, 1.0 and true are equal in Python and differ in JSON."""
    bodies = [
        BODY,
        {"size": 1, "theme": "dark"},
        {**BODY, "size": 1.0},
        {**BODY, "size": True},
        {**BODY, "size": "1"},
        {},
    ]
    assert len({tag_of(each) for each in bodies}) == len(bodies)
    assert tag_of({**BODY}) == tag_of(BODY)


def test_tagged_reply_has_the_tag_of_its_body():
    reply = Reply.tagged(BODY)
    assert (reply.body, reply.headers) == (BODY, {"ETag": tag_of(BODY)})


@pytest.mark.parametrize("header", [None, "*", "{}", '"other", {}', 'W/"other" , {} '])
def test_matching_if_match_passes(header):
    """HT-16: so does a request without the header, as the dialects' pages have it."""
    require_match(header and header.format(tag_of(BODY)), BODY)


@pytest.mark.parametrize("header", ["W/{}", '"other"', '""', '"*"', '"other", W/{}', ',"other",'])
def test_other_if_match_fails(header):
    """HT-16, HT-17: a weak tag never matches (RFC 9110 section 13.1.1)."""
    with pytest.raises(PreconditionFailed):
        require_match(header.format(tag_of(BODY)), BODY)
