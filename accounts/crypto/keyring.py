"""The keys that everything secret is stored under, all made from a root secret."""

import base64
import hmac
import secrets
from collections.abc import Iterable
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
_NONCE_AT = 1 + _KEY_ID_BYTES
_CIPHERTEXT_AT = _NONCE_AT + _NONCE_BYTES


class Purpose(StrEnum):
    """What a key is for; the value goes into the derivation, so it is stable for ever."""

    SESSION = "session"
    ACCESS_TOKEN = "access-token"  # noqa: S105 - the name of a purpose
    API_KEY = "api-key"
    PAT = "pat"
    REFRESH_TOKEN = "refresh-token"  # noqa: S105 - the name of a purpose
    CLIENT_SECRET = "client-secret"  # noqa: S105 - the name of a purpose
    ONE_TIME_SECRET = "one-time-secret"  # noqa: S105 - the name of a purpose
    SIGNING_KEY = "signing-key"
    OUTBOX = "outbox"
    RESET_REQUEST = "reset-request"
    ATTEMPTS = "attempts"
    EVENT_CHAIN = "event-chain"
    CURSOR = "cursor"
    IDEMPOTENCY = "idempotency"
    ROOT_CHECK = "root-check"
    PEPPER = "pepper"


class SealBroken(Exception):
    """What was stored cannot be opened: another root secret sealed it, or another row had it."""


class _Root:
    """The keys of one root secret, by HKDF-SHA-256 (RFC 5869), each derived once."""

    __slots__ = ("ciphers", "digest_keys", "key_id")

    def __init__(self, root: bytes) -> None:
        if len(root) < _ROOT_BYTES:
            raise ValueError(
                f"The root secret has {len(root)} bytes and must have at least {_ROOT_BYTES}."
            )
        self.key_id = _derive(root, "key-id", _KEY_ID_BYTES)
        self.digest_keys = {purpose: _derive(root, purpose) for purpose in Purpose}
        # An access token has a digest and a seal in one row, and no key does two things.
        self.ciphers = {purpose: AESGCM(_derive(root, f"{purpose}/seal")) for purpose in Purpose}


class Keyring:
    """The keys of the present root secret, and of former ones that rows are still stored under.

    New rows are stored under the present one only. `key_id` names it: eight hex digits that tell
    nothing about it. `key_ids` are all that rows may be stored under, the present one first.
    `events` are retired roots: links of the chain of events are still verified under them, and
    nothing else is. `event_key_ids` are all that links may be under, these among them.
    """

    __slots__ = ("_known", "_present", "_roots", "event_key_ids", "key_id", "key_ids")

    def __init__(self, root: bytes, *former: bytes, events: Iterable[bytes] = ()) -> None:
        """Derive every key once.

        Raises:
            ValueError: A root has less than 32 bytes, or the key id of another.
        """
        retired = list(events)
        self._present = _Root(root)
        self._roots = _by_key_id(self._present, *map(_Root, former))
        self._known = self._roots | _by_key_id(*map(_Root, retired))
        self.key_id = self._present.key_id.hex()
        self.key_ids = tuple(self._roots)
        self.event_key_ids = tuple(self._known)
        if len(self._known) < len({root, *former, *retired}):
            # One in 2 ** 32. What was stored under the one would be opened with the other's keys.
            raise ValueError("Two root secrets have the same key id: make another one.")

    def digest(self, purpose: Purpose, token: str) -> bytes:
        """Give the 32 bytes of HMAC-SHA-256 that are stored in place of a token."""
        return _digest(self._present, purpose, token)

    def digests(self, purpose: Purpose, token: str) -> list[bytes]:
        """Give each digest that a token may be stored as, under whichever root; the present first.

        What is stored as a digest only cannot be stored anew without the token, so after a
        rotation it is looked for under both roots until it is next used.
        """
        roots = self._known if purpose is Purpose.EVENT_CHAIN else self._roots
        return [_digest(root, purpose, token) for root in roots.values()]

    def matches(self, purpose: Purpose, token: str, digest: bytes) -> bool:
        """Tell whether the digest is of this token, in the same time for any that is not."""
        return any(
            [hmac.compare_digest(each, digest) for each in self.digests(purpose, token)]  # noqa: C419 # all are compared
        )

    def pepper(self, password: bytes, key_id: str | None = None) -> bytes:
        """Give the 64 bytes that bcrypt is given: base64 of HMAC-SHA-384, without a NUL.

        `key_id` is the root of an older record, one of `key_ids`.
        """
        # bcrypt takes no more than 72 bytes and stops at a NUL; SHA-512 would be 88 in base64.
        root = self._roots[key_id or self.key_id]
        return base64.b64encode(hmac.digest(root.digest_keys[Purpose.PEPPER], password, "sha384"))

    def seal(self, purpose: Purpose, plaintext: str, row: str) -> bytes:
        """Encrypt a text so that it opens in this row only, with AES-256-GCM.

        The result is the version (1 byte), key id (4), nonce (12), and ciphertext with its tag.
        """
        # Random nonces are safe for 2 ** 32 seals under one key (NIST SP 800-38D section 8.3).
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._present.ciphers[purpose].encrypt(
            nonce, plaintext.encode(), _bound_to(self._present, purpose, row)
        )
        return bytes([_VERSION]) + self._present.key_id + nonce + sealed

    def open(self, purpose: Purpose, sealed: bytes, row: str) -> str:
        """Decrypt what `seal` made for the same purpose and row, under any of the roots.

        Raises:
            SealBroken: It is for another root, purpose or row, or not as it was made.

        """
        root = self._roots.get(sealed[1:_NONCE_AT].hex())
        if sealed[:1] != bytes([_VERSION]) or root is None:
            raise SealBroken("It was sealed in another format or under another root secret.")
        if len(sealed) < _CIPHERTEXT_AT + _TAG_BYTES:
            raise SealBroken("It is cut short.")
        nonce, ciphertext = sealed[_NONCE_AT:_CIPHERTEXT_AT], sealed[_CIPHERTEXT_AT:]
        try:
            plaintext = root.ciphers[purpose].decrypt(
                nonce, ciphertext, _bound_to(root, purpose, row)
            )
        except InvalidTag as wrong:
            raise SealBroken("It was changed, or sealed for another purpose or row.") from wrong
        return plaintext.decode()

    def check_value(self, key_id: str | None = None) -> bytes:
        """Give the 32 bytes to store, by which a start with another root secret is noticed."""
        return _digest(self._roots[key_id or self.key_id], Purpose.ROOT_CHECK, "oneself")

    def knows(self, key_id: str, check_value: bytes) -> bool:
        """Tell whether a root with this id and this check value is here, retired or not."""
        root = self._known.get(key_id)
        return root is not None and hmac.compare_digest(
            _digest(root, Purpose.ROOT_CHECK, "oneself"), check_value
        )


def _by_key_id(*roots: _Root) -> dict[str, _Root]:
    return {root.key_id.hex(): root for root in roots}


def _digest(root: _Root, purpose: Purpose, token: str) -> bytes:
    # A lone surrogate has no UTF-8. Such a text is no token of ours, but it is the caller's part
    # to say so, and this must not fail before it is said.
    return hmac.digest(root.digest_keys[purpose], token.encode(errors="surrogatepass"), "sha256")


def _bound_to(root: _Root, purpose: Purpose, row: str) -> bytes:
    return f"{_VERSION}|{root.key_id.hex()}|{purpose}|{row}".encode()


def _derive(root: bytes, purpose: str, length: int = _KEY_BYTES) -> bytes:
    # No salt: the root is random already (RFC 5869 section 3.1).
    info = f"oneself/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(root)
