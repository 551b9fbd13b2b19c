"""Telling a person by mail what was done in their account."""

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
    """Tell a person at the present address, and at the recovery address where that is another.

    Whoever changed the address may be whom the owner has to be told of. Past the budget of mails to
    one person nothing more is mailed: it was told often enough, the act itself is not refused, and
    nobody has this service mail a stranger without end, who may never have verified the address.
    """
    try:
        consume_notification(session, user.user_id, kind)
    except TooManyAttempts:
        return
    recovery = recovery_address(session, user.user_id).entered
    for address in dict.fromkeys((user.email, recovery)):
        post_message(session, kind, user, to=address, **parameters)
