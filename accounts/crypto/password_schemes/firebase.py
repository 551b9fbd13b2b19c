"""The scrypt of Firebase Authentication, which encrypts a key of the project.

Its digest is the signer key, encrypted with AES-256-CTR and a zero counter under scrypt of the
password. The key stream alone, which is digest XOR signer key, verifies a password as well: so
records hold no key of the other project. Source: github.com/firebase/scrypt.

GoTrue writes `$fbscrypt$v=1,n=14,r=8,p=1,ss=…,sk=…$salt$hash`: `ss` is the salt separator and `sk`
the signer key of the project, in base64.
"""

import re

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from accounts.crypto.password_schemes.memory_hard import scrypt, scrypt_kib, scrypt_rounds
from accounts.crypto.password_schemes.scheme import (
    MAX_DIGEST_BYTES,
    MIN_DIGEST_BYTES,
    ForeignHash,
    Parameters,
    Scheme,
    decode,
)

_AES_KEY_BYTES = 32

_GOTRUE = re.compile(
    r"\$fbscrypt\$v=1,n=(?P<n>\d{1,2}),r=(?P<r>\d{1,3}),p=(?P<p>\d{1,2})"
    r"(?:,ss=(?P<separator>[^,$]*))?,sk=(?P<key>[^,$]+)\$(?P<salt>[^$]+)\$(?P<hash>[^$]+)"
)


def _derive(password: bytes, parameters: Parameters, salt: bytes) -> bytes:
    log_n, r, p, length = parameters
    key = scrypt(password, log_n, r, p, salt=salt, length=64)[:_AES_KEY_BYTES]
    return Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(length))


_SCHEME = Scheme(
    "firebase-scrypt",
    _derive,
    lambda parameters: scrypt_rounds(*parameters[:3]),
    ((1, 20), (1, 64), (1, 8), (MIN_DIGEST_BYTES, MAX_DIGEST_BYTES)),
    kib=lambda parameters: scrypt_kib(*parameters[:2]),
)
SCHEMES = (_SCHEME,)


def read(hashed: str) -> ForeignHash | None:
    """Return the parts of a Firebase hash, or None for another one.

    Raises:
        ValueError: It is malformed.
    """
    parts = _GOTRUE.fullmatch(hashed)
    if parts is None:
        return None
    encrypted, signer_key = decode(parts["hash"]), decode(parts["key"])
    key_stream = bytes(a ^ b for a, b in zip(encrypted, signer_key, strict=True))
    salt = decode(parts["salt"]) + decode(parts["separator"] or "")
    costs = (int(parts["n"]), int(parts["r"]), int(parts["p"]), len(key_stream))
    return ForeignHash(_SCHEME, costs, salt, key_stream)
