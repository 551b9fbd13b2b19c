"""Refused attempts at passwords and client secrets, as the log names them.

The log has the client address of such an attempt, to be blocked, and a keyed digest of the account,
by which an operator who knows an email address finds the attempts at it. Without the root secret
the digest reveals no address, and it is the same whether or not there is an account.
"""

from collections.abc import Mapping
from typing import NamedTuple

from accounts.crypto.keyring import Keyring, Purpose
from accounts.errors import (
    AccountError,
    InvalidClient,
    InvalidCredentials,
    TooManyAttempts,
    WrongPassword,
)
from accounts.services.database import AccountSession
from accounts.values import email_address

_REFUSALS = (InvalidClient, InvalidCredentials, TooManyAttempts, WrongPassword)
#: Bytes of a digest: short enough to be read out, and long enough for a million accounts.
_BYTES = 6


class RefusedAttempt(NamedTuple):
    """The client address of an attempt, if known, and the digest of the account."""

    address: str | None
    account: str


def find_refused_attempt(session: AccountSession, refusal: AccountError) -> RefusedAttempt | None:
    """Return the attempt at the secret of an account that was refused, if it was one."""
    if session.attempted is None or not isinstance(refusal, _REFUSALS):
        return None
    digests = digests_of(session.keys, session.attempted)
    return RefusedAttempt(session.origin.address, digests[session.keys.key_id])


def digests_of(keys: Keyring, account: str) -> Mapping[str, str]:
    """Return the digests of an address or a client id under each root secret, by its key id.

    All spellings of an address have one digest.
    """
    name = email_address.canonical(account) or account
    digests = keys.digests(Purpose.LOGGED_ACCOUNT, name)
    return {
        key_id: digest[:_BYTES].hex() for key_id, digest in zip(keys.key_ids, digests, strict=True)
    }
