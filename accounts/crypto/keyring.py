"""Keys for all stored secrets, derived from a root secret."""

import base64
import hmac
import secrets
from collections.abc import Iterable
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_ROOT_BYTES = 32
_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12  # NIST SP 800-38D section 5.2.1.1
_TAG_BYTES = 16

_VERSION = 1
_NONCE_AT = 1 + _KEY_ID_BYTES
_CIPHERTEXT_AT = _NONCE_AT + _NONCE_BYTES


class Purpose(StrEnum):
    """The purpose of a key; the value is part of the derivation and must never change."""

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
    LOGGED_ACCOUNT = "logged-account"
    EVENT_CHAIN = "event-chain"
    EVENT_SEAL = "event-seal"
    EVENT_FILE = "event-file"
    EVENT_HEAD = "event-head"
    CURSOR = "cursor"
    IDEMPOTENCY = "idempotency"
    CSRF_TOKEN = "csrf-token"  # noqa: S105 - the name of a purpose
    POLICIES = "policies"
    TOTP = "totp"
    RECOVERY_CODE = "recovery-code"
    LOGIN_CHALLENGE = "login-challenge"
    ROOT_CHECK = "root-check"
    PEPPER = "pepper"


#: Purposes whose digests are verified as long as there are events: also under retired roots.
_OF_EVENTS = frozenset({Purpose.EVENT_CHAIN, Purpose.EVENT_FILE})


class SealBroken(Exception):
    """A sealed value cannot be opened: it belongs to another root secret, purpose or row."""


class _Root:
    """The keys of one root secret, derived once by HKDF-SHA-256 (RFC 5869)."""

    __slots__ = ("ciphers", "digest_keys", "key_id")

    def __init__(self, root: bytes) -> None:
        if len(root) < _ROOT_BYTES:
            raise ValueError(
                f"The root secret has {len(root)} bytes and must have at least {_ROOT_BYTES}."
            )
        self.key_id = _derive(root, "key-id", _KEY_ID_BYTES)
        self.digest_keys = {purpose: _derive(root, purpose) for purpose in Purpose}
        # An access token has a digest and a seal in one row, and no key may serve two purposes.
        self.ciphers = {purpose: AESGCM(_derive(root, f"{purpose}/seal")) for purpose in Purpose}


class Keyring:
    """The keys of the current root secret, and of previous ones that rows are still stored under.

    New rows use the current root secret. `key_id` names it by eight hex digits that reveal nothing
    about it. `key_ids` are all root secrets that rows may be stored under, the current one first.
    `events` are retired root secrets, which only verify links and archives of the event chain;
    `event_key_ids` are all root secrets that links may be under, these included.
    """

    __slots__ = ("_current", "_event_roots", "_roots", "event_key_ids", "key_id", "key_ids")

    def __init__(self, root: bytes, *previous: bytes, events: Iterable[bytes] = ()) -> None:
        """Derive every key once.

        Raises:
            ValueError: A root secret has less than 32 bytes, or the same key id as another one.
        """
        retired_roots = list(events)
        self._current = _Root(root)
        self._roots = _by_key_id(self._current, *map(_Root, previous))
        self._event_roots = self._roots | _by_key_id(*map(_Root, retired_roots))
        self.key_id = self._current.key_id.hex()
        self.key_ids = tuple(self._roots)
        self.event_key_ids = tuple(self._event_roots)
        if len(self._event_roots) < len({root, *previous, *retired_roots}):
            # One in 2 ** 32: values under one root would be opened with the keys of the other.
            raise ValueError("Two root secrets have the same key id: make another one.")

    def digest(self, purpose: Purpose, token: str) -> bytes:
        """Return the 32 bytes of HMAC-SHA-256 that are stored in place of a token."""
        return _digest(self._current, purpose, token)

    def digests(self, purpose: Purpose, token: str) -> list[bytes]:
        """Return every digest that a token may be stored as, the one of the current root first.

        A digest cannot be recomputed without the token. After a rotation the token is therefore
        looked up under both root secrets until it is used again.
        """
        roots = self._event_roots if purpose in _OF_EVENTS else self._roots
        return [_digest(root, purpose, token) for root in roots.values()]

    def matches(self, purpose: Purpose, token: str, digest: bytes) -> bool:
        """Return whether the digest is that of the token; every mismatch takes the same time."""
        return any(
            [hmac.compare_digest(candidate, digest) for candidate in self.digests(purpose, token)]  # noqa: C419 # compare all
        )

    def pepper(self, password: bytes, key_id: str | None = None) -> bytes:
        """Return the 64 bytes to hash: base64 of HMAC-SHA-384, without a NUL.

        `key_id` names the root secret of an older record, one of `key_ids`.
        """
        # bcrypt takes at most 72 bytes and stops at a NUL; SHA-512 would have 88 in base64.
        root = self._roots[key_id or self.key_id]
        return base64.b64encode(hmac.digest(root.digest_keys[Purpose.PEPPER], password, "sha384"))

    def seal(self, purpose: Purpose, plaintext: str, row: str) -> bytes:
        """Encrypt a text with AES-256-GCM, bound to its row.

        The result is the version (1 byte), key id (4), nonce (12), and ciphertext with its tag.
        """
        # Random nonces are safe for 2 ** 32 seals under one key (NIST SP 800-38D section 8.3).
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._current.ciphers[purpose].encrypt(
            nonce, plaintext.encode(), _bound_to(self._current, purpose, row)
        )
        return bytes([_VERSION]) + self._current.key_id + nonce + sealed

    def open(self, purpose: Purpose, sealed: bytes, row: str) -> str:
        """Decrypt a value that `seal` made for the same purpose and row, under any root secret.

        Raises:
            SealBroken: The value belongs to another root secret, purpose or row, or was changed.
        """
        root = self._roots.get(sealed[1:_NONCE_AT].hex())
        if sealed[:1] != bytes([_VERSION]) or root is None:
            raise SealBroken("It has another format or belongs to another root secret.")
        if len(sealed) < _CIPHERTEXT_AT + _TAG_BYTES:
            raise SealBroken("It is cut short.")
        nonce, ciphertext = sealed[_NONCE_AT:_CIPHERTEXT_AT], sealed[_CIPHERTEXT_AT:]
        try:
            plaintext = root.ciphers[purpose].decrypt(
                nonce, ciphertext, _bound_to(root, purpose, row)
            )
        except InvalidTag as error:
            raise SealBroken("It was changed, or belongs to another purpose or row.") from error
        return plaintext.decode()

    def check_value(self, key_id: str | None = None) -> bytes:
        """Return the 32 bytes to store, by which a start with another root secret is detected."""
        return _digest(self._roots[key_id or self.key_id], Purpose.ROOT_CHECK, "oneself")

    def knows(self, key_id: str, check_value: bytes) -> bool:
        """Return whether a root secret, retired or not, has this id and this check value."""
        root = self._event_roots.get(key_id)
        return root is not None and hmac.compare_digest(
            _digest(root, Purpose.ROOT_CHECK, "oneself"), check_value
        )


def _by_key_id(*roots: _Root) -> dict[str, _Root]:
    return {root.key_id.hex(): root for root in roots}


def _digest(root: _Root, purpose: Purpose, token: str) -> bytes:
    # A lone surrogate has no UTF-8. Such a text is never a token; the caller rejects it, and this
    # must not fail before.
    return hmac.digest(root.digest_keys[purpose], token.encode(errors="surrogatepass"), "sha256")


def _bound_to(root: _Root, purpose: Purpose, row: str) -> bytes:
    return f"{_VERSION}|{root.key_id.hex()}|{purpose}|{row}".encode()


def _derive(root: bytes, purpose: str, length: int = _KEY_BYTES) -> bytes:
    # No salt: the root is random already (RFC 5869 section 3.1).
    info = f"oneself/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(root)
