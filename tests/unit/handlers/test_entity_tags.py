"""Tags of what is answered, by which a client knows what it has."""

import pytest

from handlers.entity_tags import is_held, strong_tag

TAG = strong_tag("9f86d081")


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
