"""Changing the password of a user who knows the current one."""

from sqlalchemy import exists, update
from sqlmodel import col

from accounts.crypto import password_hashing
from accounts.errors import NotLocalUser, WeakPassword, WrongPassword
from accounts.services import throttling
from accounts.services.credentials import SESSION, revoke_all
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.mail.outbox import MessageKind, post_notification
from accounts.services.one_time_secrets import SecretPurpose, supersede_secrets
from accounts.services.principal import Principal
from accounts.services.user_views import ENABLED, UserView
from accounts.services.users import find_password_record
from accounts.values import password_strength
from models import PasswordRecord, Tenant, User

# Correlated with the one record that is written. For IN, SQLite would first list all users.
_IS_OF_ENABLED = exists().where(
    col(User.id) == col(PasswordRecord.user_id), col(Tenant.id) == col(User.tenant_id), ENABLED
)


def change_password(
    session: AccountSession, principal: Principal, *, current: str, new: str
) -> None:
    """Change the password of a user who knows the current one.

    Sessions stay, as documented on the Users page of ipto, unless the limits say otherwise. A
    pending address change and a pending reset are superseded: the user may be changing the
    password because of them (EM-09).

    The new password is validated before an attempt is counted or a hash computed.

    Raises:
        NotLocalUser: An identity provider has the password.
        WeakPassword: The new password breaks a rule, or is the current one.
        TooManyAttempts: The session has failed too often or, here or at a login, its source has.
        WrongPassword: `current` is not the current password, or it was changed meanwhile.
        InvalidToken: The credential of the request was revoked meanwhile.
    """
    user = principal.user
    if user.provider != "local":
        raise NotLocalUser
    new_password = validate_for(session, user, new)
    current_password = password_strength.normalise(current)
    if current_password == new_password:
        raise WeakPassword.of("new_password", "must differ from the current password")
    reservation = throttling.reserve_password_attempt(session, principal)
    record = find_password_record(session, user.user_id)
    new_record = None
    with session.outside_transaction():
        if password_hashing.verify(current_password, record, session.keys, session.limits):
            new_record = password_hashing.hash_password(new_password, session.keys, session.limits)
    lock_account(session, user.user_id)
    session.authenticate_again()
    if new_record is None or not swap_password(session, user, before=record, after=new_record):
        record_event(session, EventKind.PASSWORD_CHANGE_FAIL, user)
        raise WrongPassword
    throttling.refund_attempt(session, reservation)
    supersede_secrets(session, SecretPurpose.EMAIL_CHANGE, user.user_id)
    if session.limits.password_change_ends_other_sessions:
        revoke_all(session, user, [SESSION], except_id=principal.credential.session_id)


def validate_for(session: AccountSession, user: UserView, new: str) -> str:
    """Validate a new password of a user, and return it normalised.

    Raises:
        WeakPassword: It breaks a rule, or is made of the user's own words.
    """
    return password_strength.validate(
        new,
        limits=session.limits,
        own_words=(user.email, user.name, user.username, user.tenant_display_name),
        field="new_password",
    )


def swap_password(
    session: AccountSession, user: UserView, *, before: str | None, after: str
) -> bool:
    """Replace the password record that was read before the hash; return False if it has changed.

    Compare and swap: of two changes with the same old password exactly one wins, and none if the
    user was disabled meanwhile. The user is notified by mail, without any secret (PW-18), and
    pending resets are superseded.
    """
    swapped = session.core.execute(
        update(PasswordRecord)
        .where(
            col(PasswordRecord.user_id) == user.user_id,
            col(PasswordRecord.record) == before,
            _IS_OF_ENABLED,
        )
        .values(record=after, changed_at=session.now)
    )
    if not swapped.rowcount:
        return False
    supersede_secrets(session, SecretPurpose.PASSWORD_RESET, user.user_id)
    record_event(session, EventKind.PASSWORD_CHANGE, user)
    post_notification(session, MessageKind.PASSWORD_CHANGED, user)
    return True
