"""Notifying users by mail of changes to their account."""

from accounts.errors import TooManyAttempts
from accounts.services.database import AccountSession
from accounts.services.outbox import MessageKind, post_message
from accounts.services.recovery_address import recovery_address
from accounts.services.throttling import consume_notification
from accounts.services.user_views import UserView

__all__ = ["post_notification"]


def post_notification(
    session: AccountSession, kind: MessageKind, user: UserView, **parameters: str
) -> None:
    """Notify a user at the current address, and at the recovery address if that is another one.

    An attacker may have set the current address, and the owner must learn of it. Beyond the rate
    limit of mails to one user nothing more is mailed, and the act still succeeds: the user was
    notified often enough, and an attacker cannot make the service flood an unverified address.
    """
    try:
        consume_notification(session, user.user_id, kind)
    except TooManyAttempts:
        return
    recovery = recovery_address(session, user.user_id).entered
    for address in dict.fromkeys((user.email, recovery)):
        post_message(session, kind, user, to=address, **parameters)
