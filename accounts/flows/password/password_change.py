"""Changing the password."""

from sqlalchemy import exists, select, update
from sqlmodel import col

from accounts.crypto import password_hashing
from accounts.errors import NotLocalUser, WeakPassword, WrongPassword
from accounts.services import throttling
from accounts.services.credentials import SESSION, revoke_all
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.notifications import post_notification
from accounts.services.one_time_secrets import SecretPurpose, supersede_secrets
from accounts.services.outbox import MessageKind
from accounts.services.principal import Principal
from accounts.services.user_views import ENABLED, UserView
from accounts.values import password_strength
from models import PasswordRecord, Tenant, User

__all__ = ["change_password", "swap_password", "validate_for"]

# Of the one record that is written to. As a list for IN, SQLite would make it of all users first.
_IS_OF_ENABLED = exists().where(
    col(User.id) == col(PasswordRecord.user_id), col(Tenant.id) == col(User.tenant_id), ENABLED
)


def change_password(
    session: AccountSession,
    principal: Principal,
    *,
    current: str,
    new: str,
) -> None:
    """Change the password of a person who knows the current one.

    Sessions stay, as the Users page of ipto has it, unless the rules say otherwise; a pending
    change of the address or a pending reset does not, since whoever began it may be why the
    password changes (EM-09).

    The form of the new password is new_password before any attempt is counted or hash computed.

    Raises:
        NotLocalUser: Another provider keeps the password.
        WeakPassword: The new password breaks a rule, or is the current one.
        TooManyAttempts: The account or the source has failed too often, here or at a login.
        WrongPassword: `current` is not the current password, or was changed by somebody meanwhile.
        InvalidToken: The session has ended meanwhile.
    """
    user = principal.user
    if user.provider != "local":
        raise NotLocalUser
    new_password = validate_for(session, user, new)
    entered = password_strength.normalise(current)
    if entered == new_password:
        raise WeakPassword.of("new_password", ["must differ from the current password"])
    # The login's own budgets: two doors to one password are no reason for twice the attempts.
    reservation = throttling.reserve_attempt(
        session, throttling.RateLimitScope.PASSWORD, user.user_id
    )
    record = session.core.execute(
        select(col(PasswordRecord.record)).where(col(PasswordRecord.user_id) == user.user_id)
    ).scalar()
    changed = None
    with session.outside_transaction():
        cost = session.limits.password_cost
        if password_hashing.verify(entered, record, session.keys, cost):
            changed = password_hashing.hash_password(new_password, session.keys, cost)
    lock_account(session, user.user_id)
    session.authenticate_again()
    if changed is None or not swap_password(session, user, before=record, after=changed):
        record_event(session, EventKind.PASSWORD_CHANGE_FAIL, user)
        raise WrongPassword
    throttling.refund_attempt(session, reservation)
    supersede_secrets(session, SecretPurpose.EMAIL_CHANGE, user.user_id)
    if session.limits.password_change_ends_other_sessions:
        revoke_all(session, user, [SESSION], except_id=principal.credential.session_id)


def validate_for(session: AccountSession, user: UserView, new: str) -> str:
    """Judge a new password for a person, and give it normalised.

    Raises:
        WeakPassword: It breaks a rule, or is made of the person's own words.
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
    """Put a new record in the place of the one that was read before the hash; tell if it was there.

    Compare and swap: of two changes with the same old password exactly one wins, and none if the
    person was disabled meanwhile. The person is
    told by mail, without any secret (PW-18), and pending resets end.
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
