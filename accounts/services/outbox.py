"""Putting mail into the outbox; sending it is not an act, and happens after the commit."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import orjson
from sqlalchemy import func, select, update
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.services.database import AccountSession
from accounts.services.user_views import UserView
from accounts.values.identifiers import new_id
from models import OutboxMessage

__all__ = [
    "MessageKind",
    "OutboxState",
    "delete_dead_messages",
    "measure_outbox",
    "open_parameters",
    "post_message",
]

_DEAD_ARE_KEPT = timedelta(days=7)

#: Kinds that tell the account's owner where the act came from. Other kinds can reach the address of
#: a person who has nothing to do with the client.
_WITH_ORIGIN = frozenset(
    {"email_change_notice", "password_changed", "api_key_created", "pat_created"}
)


class MessageKind(StrEnum):
    """What a message tells its reader."""

    EMAIL_VERIFICATION = "email_verification"
    EMAIL_CHANGE_CONFIRMATION = "email_change_confirmation"
    EMAIL_CHANGE_NOTICE = "email_change_notice"
    EMAIL_ALREADY_IN_USE = "email_already_in_use"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 # the name of a message
    PASSWORD_RESET = "password_reset"  # noqa: S105 # as above
    API_KEY_CREATED = "api_key_created"
    PAT_CREATED = "pat_created"


def post_message(
    session: AccountSession,
    kind: MessageKind,
    user: UserView,
    *,
    to: str | None = None,
    **parameters: str,
) -> None:
    """Put a message to a person into the outbox, in the transaction of the act it tells of.

    It goes to a stored address, never to one from the request (EM-17): to the present one, or
    `to` one that was verified. The parameters can hold a secret, so they are sealed: a dump of the
    database opens nothing (TK-08).
    """
    message_id = new_id("msg_")
    if kind in _WITH_ORIGIN and session.origin.address is not None:
        parameters["ip_address"] = session.origin.address
    sealed = session.keys.seal(Purpose.OUTBOX, orjson.dumps(parameters).decode(), message_id)
    session.add(
        OutboxMessage(
            id=message_id,
            kind=kind,
            recipient=to or user.email,
            locale=user.locale,
            parameters_sealed=sealed,
            key_id=session.keys.key_id,
            created_at=session.now,
            due_at=session.now,
        )
    )


class OutboxState(NamedTuple):
    """How many messages wait, since when the oldest does, and how many were given up."""

    blocking: int
    oldest: datetime | None
    given_up: int


def measure_outbox(session: AccountSession) -> OutboxState:
    """Count what is not delivered."""
    waits = col(OutboxMessage.gave_up_at).is_(None)
    blocking, oldest, undelivered = session.core.execute(
        select(
            func.count().filter(waits),
            func.min(col(OutboxMessage.created_at)).filter(waits),
            func.count(),
        ).where(col(OutboxMessage.delivered_at).is_(None))
    ).one()
    return OutboxState(blocking, oldest, undelivered - blocking)


def open_parameters(session: AccountSession, message: OutboxMessage) -> Mapping[str, str]:
    """Unseal what the text of a message is made from.

    Raises:
        SealBroken: The message was sealed with another key, or under another id.
    """
    opened = session.keys.open(Purpose.OUTBOX, message.parameters_sealed, message.id)
    parameters: dict[str, str] = orjson.loads(opened)
    return parameters


def delete_dead_messages(session: AccountSession) -> int:
    """Empty what was given up a week ago; returns how many messages that was.

    Until then somebody can repair what was wrong, and `mail retry` sends them: a notice is worth
    reading days later, and undoing a change of address can be done for a week. By then no secret
    that is sealed here is good for anything.
    """
    return session.core.execute(
        update(OutboxMessage)
        .where(
            # What is dead was not delivered, and there is an index of that and none of the dead.
            col(OutboxMessage.delivered_at).is_(None),
            col(OutboxMessage.gave_up_at) <= session.now - _DEAD_ARE_KEPT,
            col(OutboxMessage.parameters_sealed) != b"",
        )
        .values(parameters_sealed=b"")
    ).rowcount
