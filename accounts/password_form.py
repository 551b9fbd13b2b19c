"""Judging passwords before any hash is computed: their form, and how easily they are guessed."""

import re
import unicodedata
from collections.abc import Iterable

from zxcvbn_rs_py import zxcvbn

from accounts.errors import WeakPassword
from accounts.rules import Rules

__all__ = ["judge", "normalise"]

#: Scores are 0 to 4; up to this one a password is among the first million that anybody would try.
_GUESSABLE_SCORE = 1
#: The estimate is not linear in the length, and what is beyond this adds nothing to be judged.
_JUDGED_CHARACTERS = 100
_SHORTEST_OWN_WORD = 3
_MOST_BYTES = 1024


def judge(
    password: str, *, rules: Rules, own_words: Iterable[str], field: str = "new_password"
) -> str:
    """A new password in its normal form, if it is strong enough.

    `own_words` are texts that whoever knows the account knows: address, names, tenant.

    Raises:
        WeakPassword: By each rule that it breaks.
    """
    normal = normalise(password)
    if normal is None:
        rule = f"must have at most {_MOST_BYTES} bytes and no control characters"
        raise WeakPassword.of(field, [rule])
    words = sorted(
        {word for text in own_words for word in re.findall(r"\w+", text.casefold())}, key=len
    )
    categories = {unicodedata.category(character) for character in normal}
    broken = [
        rule
        for rule, kept in (
            (
                f"must have at least {rules.password_min_length} characters",
                len(normal) >= rules.password_min_length,
            ),
            ("must contain an upper-case letter", "Lu" in categories),
            ("must contain a lower-case letter", "Ll" in categories),
            ("must contain a digit", "Nd" in categories),
        )
        if not kept
    ]
    if not broken and _made_of(normal, words):
        broken = ["must not be made of the account's own words"]
    if not broken and _guessable(normal, words):
        broken = ["must not be easy to guess"]
    if broken:
        raise WeakPassword.of(field, broken)
    return normal


def normalise(password: str) -> str | None:
    """The form in which a password is compared, or None for what no password can be.

    RFC 8265, OpaqueString: NFC, with every other space as the plain one. NFC and not NFKC, which
    would make different characters equal.
    """
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    normal = unicodedata.normalize("NFC", spaced)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in normal):
        return None
    return normal if len(normal.encode()) <= _MOST_BYTES else None


def _made_of(password: str, words: list[str]) -> bool:
    """Whether nothing but own words is left of a password without its digits and signs."""
    letters = "".join(character for character in password.casefold() if character.isalpha())
    for word in reversed(words):
        if len(word) >= _SHORTEST_OWN_WORD:
            letters = letters.replace(word, "")
    return not letters


def _guessable(password: str, words: list[str]) -> bool:
    return int(zxcvbn(password[:_JUDGED_CHARACTERS], words).score) <= _GUESSABLE_SCORE
