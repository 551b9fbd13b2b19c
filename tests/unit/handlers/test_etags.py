"""Tags of what is answered, by which a client knows what it has."""

import pytest

from accounts.errors import InvalidRequest
from handlers.errors import PreconditionFailed
from handlers.etags import is_held, require_match, strong_tag, tag_of
from handlers.exchange import Reply

TAG = strong_tag("9f86d081")
BODY = {"theme": "dark", "size": 1}


def test_a_digest_becomes_a_strong_tag():
    """HT-17: in quotes, and without the mark of a weak one (RFC 9110, section 8.8.3)."""
    assert TAG == '"9f86d081"'


@pytest.mark.parametrize(
    "sent",
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
def test_what_a_client_has_is_known_again(sent):
    """HT-17: alone, among others, or weak, since reading compares weakly (section 13.1.2)."""
    assert is_held(sent, TAG)


@pytest.mark.parametrize(
    "sent",
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
def test_what_a_client_has_not_is_sent(sent):
    """HT-17: byte for byte, and a star is one only by itself."""
    assert not is_held(sent, TAG)


def test_the_tag_of_nothing_is_no_tag_of_something():
    """HT-17: an empty tag is one as well, and only of what has it."""
    assert is_held('""', strong_tag(""))
    assert not is_held('""', TAG)


def test_every_byte_of_an_answer_counts_for_its_tag():
    """HT-17: for Python 1, 1.0 and true are the same, and for whoever reads them they are not."""
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


def test_an_answer_to_be_changed_bears_the_tag_of_its_body():
    reply = Reply.tagged(BODY)
    assert (reply.body, reply.headers) == (BODY, {"ETag": tag_of(BODY)})


@pytest.mark.parametrize("sent", [None, "*", " * ", "{}", '"other", {}', 'W/"other" , {} '])
def test_what_was_read_may_be_changed(sent):
    """HT-16: and so it may without the header, since the dialects' pages know none."""
    require_match(sent and sent.format(tag_of(BODY)), BODY)


@pytest.mark.parametrize("sent", ["W/{}", '"other"', '""', '"*"', '"other", W/{}', ',"other",'])
def test_what_is_not_what_was_read_is_not_changed(sent):
    """HT-16, HT-17: a weak tag is never the same (RFC 9110, section 13.1.1)."""
    with pytest.raises(PreconditionFailed):
        require_match(sent.format(tag_of(BODY)), BODY)


@pytest.mark.parametrize("sent", ["", " ", ",", "9f86d081", "**", '"other', '*, "other"', "{} x"])
def test_what_is_no_list_of_tags_is_refused_as_none(sent):
    """HT-16: a tag without its quotes would else be an old one, again and again."""
    with pytest.raises(InvalidRequest) as refused:
        require_match(sent.format(tag_of(BODY)), BODY)
    assert [each.field for each in refused.value.violations] == [("If-Match",)]
