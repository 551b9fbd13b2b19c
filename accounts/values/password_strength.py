"""What a password must look like, judged before any of the cost of hashing it is spent."""

import re
import unicodedata
from collections.abc import Iterable

from zxcvbn_rs_py import zxcvbn

from accounts.errors import WeakPassword
from accounts.limits import Limits

__all__ = ["normalise", "validate"]

_CASES = (
    ("Lu", "must have an upper-case letter"),
    ("Ll", "must have a lower-case letter"),
    ("Nd", "must have a digit"),
)

_LETTER = r"[^\W\d_]"
_OWN_WORD = re.compile(_LETTER + "{4,}")

# zxcvbn holds the GIL, and its time grows with the length and with the number of different
# characters that it takes for letters: 100 of these are half a second. These bounds keep it to
# a few ms. A password is weighed by how it begins, for weighing none would let any through.
_LOOKALIKES = frozenset("4@8({[<36&9!1|0$5+7%2")
_MAX_LOOKALIKES = 10
_WEIGHED = 32
_WEIGHED_WITH_MANY_LOOKALIKES = 12
_GUESSABLE = 1  # zxcvbn's score for fewer than 10 ** 6 guesses


def validate(
    password: str, *, limits: Limits, own_words: Iterable[str], field: str = "new_password"
) -> str:
    """Give the form in which a new password is hashed; `own_words` are any texts of the account's.

    Raises:
        WeakPassword: It breaks at least one rule; every one that it breaks is named.

    """
    if not _fits(password, limits.password_max_bytes):
        raise WeakPassword.of(field, [f"must have at most {limits.password_max_bytes} bytes"])
    if not _printable(password):
        raise WeakPassword.of(field, ["must not have control characters or lone surrogates"])
    form = _opaque(password)
    broken = []
    if len(form) < limits.password_min_length:
        broken.append(f"must have at least {limits.password_min_length} characters")
    categories = {unicodedata.category(character) for character in form}
    broken += [rule for category, rule in _CASES if category not in categories]
    words = _words(own_words)
    if _made_of(words, form):
        broken.append("must not be made of the account's own words")
    if _guessable(form, words):
        broken.append("must not be a common or easily guessed password")
    if form.casefold() in limits.leaked_passwords:
        broken.append("must not be a password that is known to have leaked")
    if broken:
        raise WeakPassword.of(field, broken)
    return form


def normalise(password: str, *, max_bytes: int = 1024) -> str | None:
    """Give the form in which an entered password is checked, or None for what never was accepted.

    It is the OpaqueString of RFC 8265 section 4.2: spaces to U+0020, then NFC.
    """
    if not _fits(password, max_bytes) or not _printable(password):
        return None
    return _opaque(password)


def _fits(password: str, max_bytes: int) -> bool:
    # As it was entered, since normalising is the work that the limit is there to bound.
    return len(password.encode(errors="surrogatepass")) <= max_bytes


def _printable(password: str) -> bool:
    return {"Cc", "Cs"}.isdisjoint(map(unicodedata.category, password))


def _opaque(password: str) -> str:
    spaced = (" " if unicodedata.category(char) == "Zs" else char for char in password)
    return unicodedata.normalize("NFC", "".join(spaced))


def _words(texts: Iterable[str]) -> set[str]:
    folded = (unicodedata.normalize("NFC", text).casefold() for text in texts)
    return {word for text in folded for word in _OWN_WORD.findall(text)}


def _made_of(words: set[str], password: str) -> bool:
    # zxcvbn is given the words too and sees through l33t, but two of them in a row, or one and
    # a few signs, are enough for it (PW-09). Taken away, not matched by `(a|b)+`: the words are the
    # caller's, and such an expression can take for ever.
    letters = "".join(re.findall(_LETTER, password.casefold()))
    rest = letters
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return letters != "" and rest == ""


def _guessable(password: str, words: set[str]) -> bool:
    start = password[:_WEIGHED]
    if len(_LOOKALIKES.intersection(start)) > _MAX_LOOKALIKES:
        start = start[:_WEIGHED_WITH_MANY_LOOKALIKES]
    return int(zxcvbn(start, sorted(words)).score) <= _GUESSABLE
