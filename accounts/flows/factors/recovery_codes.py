"""Recovery codes: ten, shown once, each good once in place of a second factor."""

from typing import NamedTuple

from sqlalchemy import delete
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.errors import NotFound
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.factors.codes import CodeMethod, digested
from accounts.services.user_views import UserView, find_user_view
from accounts.values.identifiers import new_id
from accounts.values.recovery_codes import make_code
from models import RecoveryCode

_NUMBER = 10


class RecoveryCodes(NamedTuple):
    """New recovery codes; the only time that they are known."""

    codes: tuple[str, ...]


def regenerate_codes(session: AccountSession, user: UserView) -> RecoveryCodes:
    """Replace the recovery codes of a user who has a second factor.

    Raises:
        NotFound: The user has none.
    """
    lock_account(session, user.user_id)
    if not find_user_view(session, user.user_id).has_second_factor:
        raise NotFound
    return renew_codes(session, user)


def renew_codes(session: AccountSession, user: UserView) -> RecoveryCodes:
    """Replace the recovery codes of a user. To be called while the account is locked."""
    delete_codes(session, user.user_id)
    codes = tuple(make_code() for _ in range(_NUMBER))
    for code in codes:
        digest = session.keys.digest(Purpose.RECOVERY_CODE, digested(user.user_id, code))
        session.add(
            RecoveryCode(
                id=new_id("rcc_"),
                user_id=user.user_id,
                code_digest=digest,
                key_id=session.keys.key_id,
                created_at=session.now,
            )
        )
    kind = EventKind.TOKEN_CREATED
    record_event(session, kind, user, credential=CodeMethod.RECOVERY_CODE, number=_NUMBER)
    return RecoveryCodes(codes)


def delete_codes(session: AccountSession, user_id: str) -> None:
    """Delete the recovery codes of a user."""
    session.core.execute(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))
