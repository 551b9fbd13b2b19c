"""Ending the sessions of a user whose account is under attack, and mailing a reset link."""

from collections.abc import Mapping
from typing import NamedTuple

from accounts.errors import NotLocalUser
from accounts.services import users
from accounts.services.credentials import (
    REFRESH_TOKEN,
    SESSION,
    count_live,
    revoke_all,
    revoke_everything,
    revoke_jwts,
)
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.one_time_secrets import SecretPurpose, issue_secret
from accounts.services.recovery_address import recovery_address
from accounts.services.user_views import find_user_view
from models import User


class LogOut(NamedTuple):
    """The numbers of live credentials by kind: those that ended, and those that remain."""

    ended: Mapping[str, int]
    remaining: Mapping[str, int]


def log_out_user(session: AccountSession, user: User, *, everything: bool = False) -> LogOut:
    """End every session of a user, and with them all refresh tokens and JWTs.

    API keys, personal access tokens and the access token were created on purpose and may be in use
    by programs; they end only with `everything`, which replaces the access token.
    """
    lock_account(session, user.id)
    view = find_user_view(session, user.id)
    before = count_live(session, user.id)
    if everything:
        revoke_everything(session, view)
    else:
        revoke_all(session, view, [SESSION, REFRESH_TOKEN])
        revoke_jwts(session, view)
    record_event(
        session,
        EventKind.ADMINISTRATION,
        view,
        act="user_logged_out",
        scope="everything" if everything else "sessions",
    )
    remaining = count_live(session, user.id)
    return LogOut({kind: before[kind] - remaining[kind] for kind in before}, remaining)


def mail_reset(session: AccountSession, user: User, *, expire_password: bool = False) -> str:
    """Mail a reset link to the recovery address of a user, and return that address.

    An earlier link is superseded. With `expire_password`, the present password stops working at
    once: it may be the attacker who knows it.

    Raises:
        NotLocalUser: An identity provider has the password.
    """
    if user.provider != "local":
        raise NotLocalUser
    lock_account(session, user.id)
    address = recovery_address(session, user.id)
    view = find_user_view(session, user.id)
    secret = issue_secret(session, SecretPurpose.PASSWORD_RESET, user.id, address)
    post_message(session, MessageKind.PASSWORD_RESET, view, to=address.entered, secret=secret)
    if expire_password:
        users.expire_password(session, user.id)
    record_event(
        session,
        EventKind.ADMINISTRATION,
        view,
        act="password_reset_mailed",
        password="expired" if expire_password else "kept",
    )
    return address.entered
