"""The keys that secrets are kept with, all derived from one root secret."""

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
_NONCE_BYTES = 12
_VERSION = b"\x01"
_KEY_ID_BYTES = 4
_HEAD_BYTES = 1 + _KEY_ID_BYTES + _NONCE_BYTES


class Purpose(StrEnum):
    """What a key is for; each purpose has a key of its own, so none can stand in for another."""

    SESSION = "session"
    ACCESS_TOKEN = "access-token"  # noqa: S105 # the name of a purpose
    API_KEY = "api-key"
    PAT = "pat"
    CLIENT_SECRET = "client-secret"  # noqa: S105 # the name of a purpose
    ONE_TIME_SECRET = "one-time-secret"  # noqa: S105 # the name of a purpose
    OUTBOX = "outbox"
    PEPPER = "pepper"
    ROOT_CHECK = "root-check"


class SealBroken(Exception):
    """What was sealed cannot be opened: another key, another row, or altered."""


class Keyring:
    """The keys derived from one root secret by HKDF-SHA-256 (RFC 5869).

    Raises:
        ValueError: The root secret has fewer than 32 bytes.
    """

    def __init__(self, root: bytes) -> None:
        if len(root) < _ROOT_BYTES:
            message = f"the root secret must have at least {_ROOT_BYTES} bytes"
            raise ValueError(message)
        self._keys = {purpose: _derive(root, purpose.encode()) for purpose in Purpose}
        self._ciphers = {
            purpose: AESGCM(_derive(root, f"seal/{purpose}".encode())) for purpose in Purpose
        }
        self._key_id = _derive(root, b"key-id")[:_KEY_ID_BYTES]

    @property
    def key_id(self) -> str:
        """Eight hexadecimal digits that name the root secret and tell nothing of it."""
        return self._key_id.hex()

    def check_value(self) -> bytes:
        """32 bytes by which the right root secret is recognised later."""
        return self._keys[Purpose.ROOT_CHECK]

    def digest(self, purpose: Purpose, token: str) -> bytes:
        """The HMAC-SHA-256 of a token, 32 bytes: all that is kept of a secret that is never shown
        again, and of no use without the root secret (TK-08)."""
        return hmac.digest(self._keys[purpose], token.encode(), "sha256")

    def matches(self, purpose: Purpose, token: str, digest: bytes) -> bool:
        """Whether a digest is this token's, compared whole and in constant time (TK-09)."""
        return hmac.compare_digest(self.digest(purpose, token), digest)

    def pepper(self, password: bytes) -> bytes:
        """64 bytes for bcrypt in the place of a password: the base64 of its HMAC-SHA-384.

        bcrypt stops at 72 bytes and at a NUL; base64 has neither (PW-03, PW-04).
        """
        return base64.b64encode(hmac.digest(self._keys[Purpose.PEPPER], password, "sha384"))

    def seal(self, purpose: Purpose, plaintext: str, row: str) -> bytes:
        """Encrypt a text by AES-256-GCM, for one row: version, key id, nonce, then the ciphertext.

        Random nonces of 96 bits are good for 2^32 texts under one key (NIST SP 800-38D).
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[purpose].encrypt(
            nonce, plaintext.encode(), self._associated(purpose, row)
        )
        return _VERSION + self._key_id + nonce + sealed

    def open(self, purpose: Purpose, sealed: bytes, row: str) -> str:
        """Decrypt what `seal` made for the same purpose and row.

        Raises:
            SealBroken: It was made with another key or for another row, or was altered (TK-05).
        """
        if sealed[: 1 + _KEY_ID_BYTES] != _VERSION + self._key_id:
            raise SealBroken
        nonce = sealed[1 + _KEY_ID_BYTES : _HEAD_BYTES]
        try:
            plaintext = self._ciphers[purpose].decrypt(
                nonce, sealed[_HEAD_BYTES:], self._associated(purpose, row)
            )
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error
        return plaintext.decode()

    def _associated(self, purpose: Purpose, row: str) -> bytes:
        return b"|".join((_VERSION, self._key_id, purpose.encode(), row.encode()))


def _derive(root: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"oneself/" + purpose).derive(root)
