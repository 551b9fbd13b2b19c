"""Checking a code of a second factor: that of an authenticator app, or a recovery code.

Each is used once, by one conditional UPDATE: of concurrent requests with one code exactly one wins.
"""

import re
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlmodel import col

from accounts.crypto import totp
from accounts.crypto.keyring import Purpose, SealBroken
from accounts.errors import WrongCode
from accounts.services import throttling
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.mail.outbox import MessageKind, post_notification
from accounts.services.user_views import UserView
from accounts.values.recovery_codes import normalize_code
from models import RecoveryCode, TotpFactor

_TOTP_CODE = re.compile(r"[0-9]{6}")
#: As many unused recovery codes, or fewer, are told to the user with each use.
_FEW = 2


class CodeMethod(StrEnum):
    """The ways in which a code is made, as in `methods` of a challenge."""

    TOTP = "totp"
    RECOVERY_CODE = "backup_code"


class Attempt(NamedTuple):
    """A counted attempt at a code of a user."""

    user: UserView
    reservation: throttling.Reservation


def reserve_code_attempt(
    session: AccountSession, user: UserView, *, session_id: str | None = None
) -> Attempt:
    """Count an attempt at a code, to be committed before the code is checked.

    Raises:
        TooManyAttempts: Too many failed attempts at the codes of this account.
    """
    scope = throttling.RateLimitScope.SECOND_FACTOR
    reservation = throttling.reserve_attempt(session, scope, user.user_id, session_id=session_id)
    return Attempt(user, reservation)


def use_code(session: AccountSession, attempt: Attempt, code: str) -> CodeMethod:
    """Use a code, and return how it was made. To be called while the account is locked.

    Raises:
        WrongCode: It is none of the user's, or was used before.
    """
    user = attempt.user
    if _use_totp(session, user.user_id, code):
        method = CodeMethod.TOTP
    elif _use_recovery_code(session, user.user_id, code):
        method = CodeMethod.RECOVERY_CODE
        left = str(count_recovery_codes(session, user.user_id))
        few = {"left": left} if int(left) <= _FEW else {}
        post_notification(session, MessageKind.RECOVERY_CODE_USED, user, **few)
    else:
        record_event(session, EventKind.LOGIN_FAIL, user, method="code")
        raise WrongCode
    throttling.refund_attempt(session, attempt.reservation)
    return method


def count_recovery_codes(session: AccountSession, user_id: str) -> int:
    """Count the recovery codes of a user that were not used."""
    unused = select(func.count()).where(
        col(RecoveryCode.user_id) == user_id, col(RecoveryCode.used_at).is_(None)
    )
    return session.core.execute(unused).scalar_one()


def digested(user_id: str, code: str) -> str:
    """Return the text whose digest stands for a recovery code: no two users share one."""
    return f"{user_id}|{normalize_code(code)}"


def find_totp_step(
    session: AccountSession, factor_id: str, secret_sealed: bytes, code: str
) -> int | None:
    """Return the time step of a code of an authenticator app; None for another code.

    A secret that cannot be unsealed, since its root was retired, makes no code.
    """
    if not _TOTP_CODE.fullmatch(code):
        return None
    try:
        secret = session.keys.open(Purpose.TOTP, secret_sealed, factor_id)
    except SealBroken:
        return None
    return totp.find_step(secret, code, session.now)


def _use_totp(session: AccountSession, user_id: str, code: str) -> bool:
    factor = session.core.execute(
        select(col(TotpFactor.id), col(TotpFactor.secret_sealed)).where(
            col(TotpFactor.user_id) == user_id, col(TotpFactor.confirmed_at).is_not(None)
        )
    ).first()
    step = find_totp_step(session, factor.id, factor.secret_sealed, code) if factor else None
    if factor is None or step is None:
        return False
    used = session.core.execute(
        update(TotpFactor)
        .where(col(TotpFactor.id) == factor.id, col(TotpFactor.last_step) < step)
        .values(last_step=step, last_used_at=session.now)
    )
    return bool(used.rowcount)


def _use_recovery_code(session: AccountSession, user_id: str, code: str) -> bool:
    digests = session.keys.digests(Purpose.RECOVERY_CODE, digested(user_id, code))
    used = session.core.execute(
        update(RecoveryCode)
        .where(
            col(RecoveryCode.user_id) == user_id,
            col(RecoveryCode.code_digest).in_(digests),
            col(RecoveryCode.used_at).is_(None),
        )
        .values(used_at=session.now)
    )
    return bool(used.rowcount)
