"""Putting mail into the outbox; sending it is not an act, and happens after the commit."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import orjson
from sqlalchemy import ColumnElement, func, or_, select, true, update
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.errors import NotFound
from accounts.services.database import AccountSession, columns_of
from accounts.services.user_views import UserView
from accounts.values.identifiers import new_id
from models import OutboxMessage

__all__ = [
    "Message",
    "MessageKind",
    "MessageState",
    "OutboxState",
    "count_undelivered",
    "delete_dead_messages",
    "find_message",
    "list_messages",
    "measure_outbox",
    "open_parameters",
    "post_message",
    "retry_messages",
]

_DEAD_ARE_KEPT = timedelta(days=7)


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


class MessageState(StrEnum):
    """The state of a message, derived from its row and the time."""

    WAITING = "waiting"
    LEASED = "leased"
    DELIVERED = "delivered"
    DEAD = "dead"


class Message(NamedTuple):
    """A message as stored; its parameters stay sealed."""

    id: str
    kind: str
    recipient: str
    locale: str | None
    parameters_sealed: bytes
    created_at: datetime
    due_at: datetime
    leased_until: datetime | None
    attempts: int
    last_problem: str | None
    delivered_at: datetime | None
    gave_up_at: datetime | None

    def state(self, now: datetime) -> MessageState:
        """Return the state of the message at a time; `_is_in` is the same for the database."""
        if self.delivered_at is not None:
            return MessageState.DELIVERED
        if self.gave_up_at is not None:
            return MessageState.DEAD
        is_leased = self.leased_until is not None and self.leased_until > now
        return MessageState.LEASED if is_leased else MessageState.WAITING


#: Kinds that tell the account's owner where the act came from. Other kinds can reach the address of
#: a person who has nothing to do with the client.
_WITH_ORIGIN = frozenset(
    {
        MessageKind.EMAIL_CHANGE_NOTICE,
        MessageKind.PASSWORD_CHANGED,
        MessageKind.API_KEY_CREATED,
        MessageKind.PAT_CREATED,
    }
)


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

    waiting: int
    oldest: datetime | None
    given_up: int


def measure_outbox(session: AccountSession) -> OutboxState:
    """Count what is not delivered."""
    waits = col(OutboxMessage.gave_up_at).is_(None)
    waiting, oldest, undelivered = session.core.execute(
        select(
            func.count().filter(waits),
            func.min(col(OutboxMessage.created_at)).filter(waits),
            func.count(),
        ).where(col(OutboxMessage.delivered_at).is_(None))
    ).one()
    return OutboxState(waiting, oldest, undelivered - waiting)


def open_parameters(session: AccountSession, message: Message) -> Mapping[str, str]:
    """Unseal what the text of a message is made from.

    Raises:
        SealBroken: The message was sealed with another key, or under another id.
    """
    opened = session.keys.open(Purpose.OUTBOX, message.parameters_sealed, message.id)
    parameters: dict[str, str] = orjson.loads(opened)
    return parameters


def list_messages(
    session: AccountSession, states: Iterable[MessageState], *, limit: int
) -> list[Message]:
    """List messages in these states, newest first."""
    rows = session.core.execute(
        select(*columns_of(OutboxMessage, Message))
        .where(or_(*(_is_in(state, session.now) for state in states)))
        .order_by(col(OutboxMessage.created_at).desc(), col(OutboxMessage.id).desc())
        .limit(limit)
    )
    return [Message._make(row) for row in rows]


def find_message(session: AccountSession, message_id: str) -> Message:
    """Return a message.

    Raises:
        NotFound: There is none of this id.
    """
    row = session.core.execute(
        select(*columns_of(OutboxMessage, Message)).where(col(OutboxMessage.id) == message_id)
    ).first()
    if row is None:
        raise NotFound
    return Message._make(row)


def retry_messages(session: AccountSession, message_id: str | None) -> int:
    """Make one message due now, or all of them; returns how many.

    Messages that are delivered, leased or emptied stay as they are.
    """
    return session.core.execute(
        update(OutboxMessage)
        .where(
            col(OutboxMessage.id) == message_id if message_id is not None else true(),
            or_(
                *(_is_in(state, session.now) for state in (MessageState.WAITING, MessageState.DEAD))
            ),
            col(OutboxMessage.parameters_sealed) != b"",
        )
        .values(due_at=session.now, leased_until=None, attempts=0, gave_up_at=None)
    ).rowcount


def count_undelivered(session: AccountSession, *, created_before: datetime) -> int:
    """Count the messages older than a time that are neither delivered nor given up."""
    return session.core.execute(
        select(func.count(col(OutboxMessage.id))).where(
            col(OutboxMessage.delivered_at).is_(None),
            col(OutboxMessage.gave_up_at).is_(None),
            col(OutboxMessage.created_at) < created_before,
        )
    ).scalar_one()


def _is_in(state: MessageState, now: datetime) -> ColumnElement[bool]:
    delivered = col(OutboxMessage.delivered_at).is_not(None)
    dead = ~delivered & col(OutboxMessage.gave_up_at).is_not(None)
    live = ~delivered & col(OutboxMessage.gave_up_at).is_(None)
    leased_until = col(OutboxMessage.leased_until)
    return {
        MessageState.DELIVERED: delivered,
        MessageState.DEAD: dead,
        MessageState.LEASED: live & (leased_until > now),
        MessageState.WAITING: live & (leased_until.is_(None) | (leased_until <= now)),
    }[state]


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
