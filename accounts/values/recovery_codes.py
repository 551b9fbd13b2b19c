"""Recovery codes as people write them down: two groups of five characters."""

import secrets

#: Crockford's base 32: no I, L, O or U, which are mistaken for others.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_GROUP, _LENGTH = 5, 10
_MISREAD = str.maketrans({"o": "0", "i": "1", "l": "1", "-": None, " ": None})


def make_code() -> str:
    """Return a new code of 50 bits."""
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return f"{code[:_GROUP]}-{code[_GROUP:]}"


def normalize_code(code: str) -> str:
    """Return a code without its dash and in lower case, with misread characters put right."""
    return code.strip().lower().translate(_MISREAD)
