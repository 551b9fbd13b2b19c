"""Resetting a forgotten password by mail."""

from collections.abc import Sequence

from sqlalchemy import bindparam, text
from sqlmodel import col, select

from accounts.crypto import password_hashing
from accounts.crypto.keyring import Purpose, SealBroken
from accounts.errors import SecondFactorRequired, SecretInvalid
from accounts.flows.password.password_change import swap_password, validate_for
from accounts.services import throttling
from accounts.services.credentials import revoke_everything
from accounts.services.database import AccountSession, lock_account
from accounts.services.factors.codes import reserve_code_attempt, use_code
from accounts.services.mail.address_mail import mail_claims_of, mail_undo_again, tell_of_undo
from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.one_time_secrets import (
    SecretPurpose,
    authorise_secret,
    is_link_due,
    issue_secret,
    read_secret,
    redeem_secret,
    supersede_secrets,
)
from accounts.services.principal import PublicCredential
from accounts.services.recovery_address import own_address, recovery_address
from accounts.services.user_views import ENABLED, UserView, find_user_view
from accounts.values import email_address
from accounts.values.email_address import Address
from models import OneTimeSecret, PasswordRecord, PasswordResetRequest, Tenant, User
from models.columns import UtcDateTime

_BATCH = 50

# An address has one row, however many requests wait for the job: they ask for the same link.
_RECORD_REQUEST = text(
    """
    INSERT INTO password_reset_request (id, address_sealed, key_id, created_at)
    VALUES (:id, :address_sealed, :key_id, :created_at) ON CONFLICT (id) DO NOTHING
    """
).bindparams(bindparam("created_at", type_=UtcDateTime))


def request_password_reset(session: AccountSession, email: str) -> None:
    """Record a request to reset the password of the account with this address.

    A job looks the account up afterwards, so that existing and unknown addresses cost the same
    statements and the same time. Requests are not limited by address: an attacker could use the
    limit up, and keep the owner from requesting a reset. Instead, `is_link_due` merges them.

    Raises:
        InvalidRequest: It is not an email address.
        Forbidden: A policy forbids it.
        TooManyAttempts: Too many requests from this source.
    """
    session.authorise_public(None, PublicCredential.NONE)
    address = email_address.parse_address(email)
    throttling.consume_for_source(
        session, throttling.RateLimitScope.MAIL, session.limits.source_budget
    )
    digest = session.keys.digest(Purpose.RESET_REQUEST, address.canonical)
    request_id = f"prr_{digest[:6].hex()}"
    row = {
        "id": request_id,
        "address_sealed": session.keys.seal(Purpose.RESET_REQUEST, address.entered, request_id),
        "key_id": session.keys.key_id,
        "created_at": session.now,
    }
    session.core.execute(_RECORD_REQUEST, row)


def mail_requested_resets(session: AccountSession) -> int:
    """Mail a secret for each requested address of an account; returns how many were requested.

    The mail goes to the address that the account owns, also if the request names one that it only
    claims: otherwise an attacker who claims one in a stolen session could take over the account.
    The reader of a claimed address is asked about the claim, and the reader of an address that can
    still be restored gets another undo link. No mail is sent while the link of an earlier one
    serves.
    """
    requests = session.exec(
        select(PasswordResetRequest)
        .order_by(col(PasswordResetRequest.created_at), col(PasswordResetRequest.id))
        .limit(_BATCH)
    ).all()
    for request in requests:
        try:
            email = session.keys.open(Purpose.RESET_REQUEST, request.address_sealed, request.id)
        except SealBroken:
            email = ""  # sealed under a root that was retired; the user can request another reset
        canonical = email_address.canonical(email) or ""
        for user in _find_resettable(session, canonical):
            lock_account(session, user.id)
            address = recovery_address(session, user.id)
            if not is_link_due(session, SecretPurpose.PASSWORD_RESET, user.id, address):
                continue
            secret = issue_secret(session, SecretPurpose.PASSWORD_RESET, user.id, address)
            post_message(
                session,
                MessageKind.PASSWORD_RESET,
                find_user_view(session, user.id),
                to=address.entered,
                secret=secret,
            )
        mail_claims_of(session, canonical)
        mail_undo_again(session, canonical)
        session.delete(request)
    return len(requests)


def reset_password(
    session: AccountSession, *, secret: str, new: str, code: str | None = None
) -> None:
    """Set a new password by the mailed secret, and revoke every credential of the user.

    Sessions, refresh tokens, JWTs, API keys and personal access tokens are revoked and the access
    token is regenerated, since the reason for the reset may be that another person knew the old
    password. The address that the secret was mailed to is verified by it, and a claim of another
    one ends. An account with a second factor needs a code of it as well: otherwise its mailbox
    could end every session and key.

    Raises:
        SecretInvalid: There is no such secret, or its user cannot log in here or owns another
            address by now.
        SecretUsed: It was used before.
        SecretExpired: It is older than an hour.
        SecretSuperseded: A later request or a password change superseded it.
        Forbidden: A policy forbids it; the secret stays valid.
        WeakPassword: The new password breaks a rule; the secret stays valid.
        SecondFactorRequired: The account has a second factor, and there is no code; the secret
            stays valid.
        WrongCode: It is no code of the user, or was used before; the secret stays valid.
        TooManyAttempts: Too many failed attempts at the codes of this account.
    """
    pending = read_secret(session, SecretPurpose.PASSWORD_RESET, secret)
    user, before = _find_user_view(session, pending)
    authorise_secret(session, pending)  # before the hash, and again when it is redeemed
    new_password = validate_for(session, user, new)
    attempt = None
    if user.has_second_factor:
        if code is None:
            raise SecondFactorRequired
        attempt = reserve_code_attempt(session, user)
    with session.outside_transaction():
        record = password_hashing.hash_password(new_password, session.keys, session.limits)
    if attempt is not None:
        lock_account(session, user.user_id)
        use_code(session, attempt, code or "")
    # Checked again: the user may have been disabled during the hash.
    redeem_secret(session, SecretPurpose.PASSWORD_RESET, secret)
    _find_user_view(session, pending)
    if not swap_password(session, user, before=before, after=record):
        raise SecretInvalid
    # An attacker may be waiting for mail to an address of their own.
    supersede_secrets(session, SecretPurpose.EMAIL_CHANGE, user.user_id)
    supersede_secrets(session, SecretPurpose.EMAIL_VERIFICATION, user.user_id)
    revoke_everything(session, user)
    throttling.make_source_known(session, user.user_id)
    owner = session.get_one(User, user.user_id, populate_existing=True)
    address = Address(pending.address, pending.address_canonical)
    own_address(session, owner, address, verified=True)
    tell_of_undo(session, user.user_id)


def _find_resettable(session: AccountSession, canonical: str) -> Sequence[User]:
    """Return the enabled local users who own or claim this address, the owner first.

    Any number of accounts can claim it, and only so many are mailed at one request.
    """
    users: list[User] = []
    for column in (col(User.email_canonical), col(User.claimed_email_canonical)):
        users += session.exec(
            select(User)
            .join(Tenant, col(Tenant.id) == col(User.tenant_id))
            .where(column == canonical, col(User.provider) == "local", ENABLED)
            .limit(_BATCH)
        )
    return users


def _find_user_view(session: AccountSession, pending: OneTimeSecret) -> tuple[UserView, str]:
    """Return the user of a secret and their password record, if the secret may still reset it.

    Raises:
        SecretInvalid: The user is disabled or not local, or owns another address by now.
    """
    record = session.core.execute(
        select(col(PasswordRecord.record))
        .join(User, col(User.id) == col(PasswordRecord.user_id))
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            col(User.id) == pending.user_id,
            col(User.email_canonical) == pending.address_canonical,
            col(User.provider) == "local",
            ENABLED,
        )
    ).scalar()
    if record is None:
        raise SecretInvalid
    return find_user_view(session, pending.user_id), record
