"""Adding an authenticator app, and removing second factors."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select, update
from sqlmodel import col

from accounts.crypto import password_hashing, totp
from accounts.crypto.keyring import Purpose
from accounts.errors import AlreadyEnrolled, NotFound, NotLocalUser, WrongCode, WrongPassword
from accounts.flows.factors.recovery_codes import RecoveryCodes, delete_codes, renew_codes
from accounts.services import throttling
from accounts.services.database import AccountSession, columns_of, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.factors.codes import CodeMethod, find_totp_step, reserve_code_attempt
from accounts.services.mail.outbox import MessageKind, post_notification
from accounts.services.principal import Principal
from accounts.services.recent_authentication import renew_authentication
from accounts.services.user_views import UserView, find_user_view
from accounts.services.users import find_password_record
from accounts.values import password_strength
from accounts.values.authentication_methods import MULTI_FACTOR, ONE_TIME_PASSWORD, PASSWORD
from accounts.values.identifiers import new_uuid
from models import TotpFactor


class ListedFactor(NamedTuple):
    """A second factor in force, as its owner sees it."""

    id: str
    created_at: datetime
    last_used_at: datetime | None


class Enrolment(NamedTuple):
    """A new authenticator app, which is not in force yet: its secret is known only now."""

    id: str
    secret: str
    uri: str


def list_factors(session: AccountSession, user_id: str) -> list[ListedFactor]:
    """List the second factors of a user that are in force."""
    rows = session.core.execute(
        select(*columns_of(TotpFactor, ListedFactor)).where(
            col(TotpFactor.user_id) == user_id, col(TotpFactor.confirmed_at).is_not(None)
        )
    )
    return [ListedFactor._make(row) for row in rows]


def enrol_totp(session: AccountSession, user: UserView) -> Enrolment:
    """Make a secret for an authenticator app; it is in force once a code confirms it.

    An earlier secret that was not confirmed is replaced.

    Raises:
        NotLocalUser: An identity provider logs the user in, and has the second factor.
        AlreadyEnrolled: The user has an authenticator app.
    """
    if user.provider != "local":
        raise NotLocalUser
    lock_account(session, user.user_id)
    if list_factors(session, user.user_id):
        raise AlreadyEnrolled
    session.core.execute(delete(TotpFactor).where(col(TotpFactor.user_id) == user.user_id))
    factor_id, secret = new_uuid(), totp.make_secret()
    session.add(
        TotpFactor(
            id=factor_id,
            user_id=user.user_id,
            secret_sealed=session.keys.seal(Purpose.TOTP, secret, factor_id),
            key_id=session.keys.key_id,
            created_at=session.now,
        )
    )
    product = session.limits.product_name
    uri = totp.otpauth_uri(secret, account=user.email, issuer=product)
    return Enrolment(factor_id, secret, uri)


def confirm_totp(
    session: AccountSession, principal: Principal, *, code: str, password: str
) -> RecoveryCodes:
    """Put an authenticator app in force, and return new recovery codes.

    The password is needed: otherwise a stolen session could add a factor that its owner lacks, and
    lock the owner out. The session has been authenticated by both from now on.

    Raises:
        NotFound: There is no authenticator app to confirm.
        AlreadyEnrolled: It is confirmed already.
        TooManyAttempts: The session has failed too often or, here or at a login, its source has.
        WrongPassword: It is not the password, or was changed meanwhile.
        WrongCode: It is not the present code.
        InvalidToken: The session was revoked meanwhile.
    """
    user = principal.user
    session_id = principal.credential.session_id
    reservation = throttling.reserve_password_attempt(session, principal)
    attempt = reserve_code_attempt(session, user, session_id=session_id)
    record = find_password_record(session, user.user_id)
    normalised = password_strength.normalise(password)
    with session.outside_transaction():
        ok = password_hashing.verify(normalised, record, session.keys, session.limits)
    lock_account(session, user.user_id)
    session.authenticate_again()
    if not ok or find_password_record(session, user.user_id) != record:
        record_event(session, EventKind.LOGIN_FAIL, user)
        raise WrongPassword
    factor = session.core.execute(
        select(
            col(TotpFactor.id), col(TotpFactor.secret_sealed), col(TotpFactor.confirmed_at)
        ).where(col(TotpFactor.user_id) == user.user_id)
    ).first()
    if factor is None:
        raise NotFound
    if factor.confirmed_at is not None:
        raise AlreadyEnrolled
    step = find_totp_step(session, factor.id, factor.secret_sealed, code)
    if step is None:
        raise WrongCode
    throttling.refund_attempt(session, reservation)
    throttling.refund_attempt(session, attempt.reservation)
    session.core.execute(
        update(TotpFactor)
        .where(col(TotpFactor.id) == factor.id)
        .values(confirmed_at=session.now, last_step=step, last_used_at=session.now)
    )
    record_event(
        session, EventKind.TOKEN_CREATED, user, credential=CodeMethod.TOTP, credential_id=factor.id
    )
    post_notification(session, MessageKind.SECOND_FACTOR_ADDED, user)
    methods = (PASSWORD, ONE_TIME_PASSWORD, MULTI_FACTOR)
    renew_authentication(session, principal, methods)
    return renew_codes(session, user)


def remove_factor(session: AccountSession, user: UserView, factor_id: str) -> None:
    """Remove a second factor; with the last one the recovery codes end.

    Raises:
        NotFound: The user has no such factor in force.
    """
    lock_account(session, user.user_id)
    if factor_id not in {factor.id for factor in list_factors(session, user.user_id)}:
        raise NotFound
    _remove(session, user)


def reset_factors(session: AccountSession, user_id: str) -> bool:
    """Remove all second factors of a user at the word of an operator; returns if there were any."""
    lock_account(session, user_id)
    user = find_user_view(session, user_id)
    if not user.has_second_factor:
        return False
    record_event(session, EventKind.ADMINISTRATION, user, act="second_factors_reset")
    _remove(session, user)
    return True


def _remove(session: AccountSession, user: UserView) -> None:
    removed = session.core.execute(
        delete(TotpFactor)
        .where(col(TotpFactor.user_id) == user.user_id)
        .returning(col(TotpFactor.id))
    )
    for factor_id in removed.scalars().all():
        record_event(
            session,
            EventKind.TOKEN_REVOKED,
            user,
            credential=CodeMethod.TOTP,
            credential_id=factor_id,
        )
    delete_codes(session, user.user_id)
    post_notification(session, MessageKind.SECOND_FACTOR_REMOVED, user)
