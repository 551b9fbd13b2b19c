"""The keys that everything secret is stored under, all made from one root secret."""

import base64
import hmac
import secrets
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["Keyring", "Purpose", "SealBroken"]

_ROOT_BYTES = 32
_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12  # NIST SP 800-38D section 5.2.1.1
_TAG_BYTES = 16

_VERSION = 1
_CIPHERTEXT_AT = 1 + _KEY_ID_BYTES + _NONCE_BYTES


class Purpose(StrEnum):
    """What a key is for; the value goes into the derivation, so it is stable for ever."""

    SESSION = "session"
    ACCESS_TOKEN = "access-token"  # noqa: S105 - the name of a purpose
    API_KEY = "api-key"
    PAT = "pat"
    CLIENT_SECRET = "client-secret"  # noqa: S105 - the name of a purpose
    ONE_TIME_SECRET = "one-time-secret"  # noqa: S105 - the name of a purpose
    OUTBOX = "outbox"
    ROOT_CHECK = "root-check"
    PEPPER = "pepper"


class SealBroken(Exception):
    """What was stored cannot be opened: another root secret sealed it, or another row had it."""


class Keyring:
    """Keys by HKDF-SHA-256 (RFC 5869), one per purpose, from a root of at least 32 bytes."""

    __slots__ = ("_ciphers", "_digest_keys", "_key_id", "key_id")

    def __init__(self, root: bytes) -> None:
        """Derive every key once.

        Raises:
            ValueError: The root is too short.

        """
        if len(root) < _ROOT_BYTES:
            raise ValueError(
                f"The root secret has {len(root)} bytes and must have at least {_ROOT_BYTES}."
            )
        self._key_id = _derive(root, "key-id", _KEY_ID_BYTES)
        #: Eight hex digits that name the root secret and tell nothing about it.
        self.key_id = self._key_id.hex()
        self._digest_keys = {purpose: _derive(root, purpose) for purpose in Purpose}
        # An access token has a digest and a seal in one row, and no key does two things.
        self._ciphers = {purpose: AESGCM(_derive(root, f"{purpose}/seal")) for purpose in Purpose}

    def digest(self, purpose: Purpose, token: str) -> bytes:
        """Give the 32 bytes of HMAC-SHA-256 that are stored in place of a token."""
        # A lone surrogate has no UTF-8. Such a text is no token of ours, but it is the caller's
        # part to say so, and this must not fail before it is said.
        return hmac.digest(
            self._digest_keys[purpose], token.encode(errors="surrogatepass"), "sha256"
        )

    def matches(self, purpose: Purpose, token: str, digest: bytes) -> bool:
        """Tell whether the digest is of this token, in the same time for any that is not."""
        return hmac.compare_digest(self.digest(purpose, token), digest)

    def pepper(self, password: bytes) -> bytes:
        """Give the 64 bytes that bcrypt is given: base64 of HMAC-SHA-384, without a NUL."""
        # bcrypt takes no more than 72 bytes and stops at a NUL; SHA-512 would be 88 in base64.
        mac = hmac.digest(self._digest_keys[Purpose.PEPPER], password, "sha384")
        return base64.b64encode(mac)

    def seal(self, purpose: Purpose, plaintext: str, row: str) -> bytes:
        """Encrypt a text so that it opens in this row only, with AES-256-GCM.

        The result is the version (1 byte), key id (4), nonce (12), and ciphertext with its tag.
        """
        # Random nonces are safe for 2 ** 32 seals under one key (NIST SP 800-38D section 8.3).
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[purpose].encrypt(
            nonce, plaintext.encode(), self._bound_to(purpose, row)
        )
        return bytes([_VERSION]) + self._key_id + nonce + sealed

    def open(self, purpose: Purpose, sealed: bytes, row: str) -> str:
        """Decrypt what `seal` made for the same purpose and row.

        Raises:
            SealBroken: It is for another root, purpose or row, or not as it was made.

        """
        if not sealed.startswith(bytes([_VERSION]) + self._key_id):
            raise SealBroken("It was sealed in another format or under another root secret.")
        if len(sealed) < _CIPHERTEXT_AT + _TAG_BYTES:
            raise SealBroken("It is cut short.")
        nonce, ciphertext = sealed[1 + _KEY_ID_BYTES : _CIPHERTEXT_AT], sealed[_CIPHERTEXT_AT:]
        try:
            plaintext = self._ciphers[purpose].decrypt(
                nonce, ciphertext, self._bound_to(purpose, row)
            )
        except InvalidTag as wrong:
            raise SealBroken("It was changed, or sealed for another purpose or row.") from wrong
        return plaintext.decode()

    def check_value(self) -> bytes:
        """Give the 32 bytes to store, by which a start with another root secret is noticed."""
        return self.digest(Purpose.ROOT_CHECK, "oneself")

    def _bound_to(self, purpose: Purpose, row: str) -> bytes:
        return f"{_VERSION}|{self.key_id}|{purpose}|{row}".encode()


def _derive(root: bytes, purpose: str, length: int = _KEY_BYTES) -> bytes:
    # No salt: the root is random already (RFC 5869 section 3.1).
    info = f"oneself/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(root)
