"""Changing the password."""

from sqlalchemy import select, update
from sqlmodel import col

from accounts import password_form, password_hashing
from accounts.database import AccountSession
from accounts.errors import NotLocalUser, WeakPassword, WrongPassword
from accounts.login_sessions import revoke_other_sessions
from accounts.one_time_secrets import SecretPurpose, supersede_secrets
from accounts.principal import Principal
from models import PasswordRecord

__all__ = ["change_password"]


def change_password(
    session: AccountSession,
    principal: Principal,
    *,
    current: str,
    new: str,
    called: str = "new_password",
) -> None:
    """Change the password of a person who knows the current one.

    Sessions stay, as the Users page of ipto has it, unless the rules say otherwise; a pending
    change of the address does not, since whoever began it may be why the password changes (EM-09).

    The form of the new password is judged before the current one, and both before any hash is
    computed for the new one. `called` is the new password's name in the caller's dialect.

    Raises:
        NotLocalUser: Another provider keeps the password.
        WeakPassword: The new password breaks a rule, or is the current one.
        WrongPassword: `current` is not the current password, or was changed by somebody meanwhile.
    """
    person = principal.person
    if person.provider != "local":
        raise NotLocalUser
    judged = password_form.judge(
        new,
        rules=session.rules,
        own_words=(person.email, person.name, person.username, person.tenant_display_name),
        field=called,
    )
    record = session.core.execute(
        select(col(PasswordRecord.record)).where(col(PasswordRecord.user_id) == person.user_id)
    ).scalar()
    entered = password_form.normalise(current)
    with session.outside_transaction():
        cost = session.rules.password_cost
        if not password_hashing.verify(entered, record, session.keys, cost):
            raise WrongPassword
        if entered == judged:
            raise WeakPassword.of(called, ["must differ from the current password"])
        changed = password_hashing.hash_password(judged, session.keys, cost)
    # Compare and swap: of two changes with the same old password exactly one wins.
    swapped = session.core.execute(
        update(PasswordRecord)
        .where(col(PasswordRecord.user_id) == person.user_id, col(PasswordRecord.record) == record)
        .values(record=changed, changed_at=session.now)
    )
    if not swapped.rowcount:
        raise WrongPassword
    supersede_secrets(session, SecretPurpose.EMAIL_CHANGE, person.user_id)
    if session.rules.password_change_ends_other_sessions:
        revoke_other_sessions(session, principal)
