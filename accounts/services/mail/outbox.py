"""Outgoing mail: posted in the transaction of an act, and delivered after its commit."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import orjson
from sqlalchemy import ColumnElement, func, or_, select, true, update
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.errors import NotFound, TooManyAttempts
from accounts.origin import Origin
from accounts.services.database import AccountSession, columns_of
from accounts.services.recovery_address import recovery_address
from accounts.services.throttling import consume_notification
from accounts.services.user_views import UserView
from accounts.values.identifiers import new_id
from accounts.values.user_agent import describe_user_agent
from models import OutboxMessage, User

_RETENTION_OF_DEAD = timedelta(days=7)


class MessageKind(StrEnum):
    """The kinds of message; each has templates of its own."""

    EMAIL_VERIFICATION = "email_verification"
    EMAIL_CHANGE_CONFIRMATION = "email_change_confirmation"
    EMAIL_CHANGE_NOTICE = "email_change_notice"
    EMAIL_CHANGED = "email_changed"
    EMAIL_ALREADY_IN_USE = "email_already_in_use"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 # the name of a message
    PASSWORD_RESET = "password_reset"  # noqa: S105 # as above
    API_KEY_CREATED = "api_key_created"
    PAT_CREATED = "pat_created"
    PAT_REUSED = "pat_reused"
    TOKENS_EXPIRING = "tokens_expiring"
    NEW_LOGIN = "new_login"
    FAILED_LOGINS = "failed_logins"
    SECOND_FACTOR_ADDED = "second_factor_added"
    SECOND_FACTOR_REMOVED = "second_factor_removed"
    RECOVERY_CODE_USED = "recovery_code_used"
    ACCOUNT_DELETED = "account_deleted"


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


#: Kinds that a user is waiting for, because they contain a link. They are delivered first.
AWAITED = frozenset(
    {
        MessageKind.ACCOUNT_DELETED,
        MessageKind.EMAIL_VERIFICATION,
        MessageKind.EMAIL_CHANGE_CONFIRMATION,
        MessageKind.PASSWORD_RESET,
    }
)

#: Kinds that tell the account's owner where the act came from. Other kinds can reach the address of
#: a person who has nothing to do with the client.
_WITH_ORIGIN = frozenset(
    {
        MessageKind.ACCOUNT_DELETED,
        MessageKind.EMAIL_CHANGE_NOTICE,
        MessageKind.PASSWORD_CHANGED,
        MessageKind.API_KEY_CREATED,
        MessageKind.PAT_CREATED,
        MessageKind.PAT_REUSED,
        MessageKind.NEW_LOGIN,
        MessageKind.SECOND_FACTOR_ADDED,
        MessageKind.SECOND_FACTOR_REMOVED,
        MessageKind.RECOVERY_CODE_USED,
    }
)


#: Parameters that contain text of users. They are not mailed to an address that the user has never
#: verified: it may be another person's, and the mail would carry an attacker's text to them.
_TEXT_OF_USERS = frozenset({"name", "new_address"})

_UNDELIVERED = col(OutboxMessage.delivered_at).is_(None)

#: The condition that a message is neither delivered nor given up.
IS_OPEN = _UNDELIVERED & col(OutboxMessage.gave_up_at).is_(None)

#: Reads `Message`s, to be narrowed by conditions.
SELECT_MESSAGES = select(*columns_of(OutboxMessage, Message))


def post_message(
    session: AccountSession,
    kind: MessageKind,
    user: UserView,
    *,
    to: str | None = None,
    **parameters: str,
) -> None:
    """Post a message to a user, in the transaction of the act that it reports.

    It goes to a stored address, never to one from the request (EM-17): to the current one, or to
    the verified one in `to`. The parameters may contain a secret, so they are sealed, and a dump of
    the database does not reveal them (TK-08).
    """
    message_id = new_id("msg_")
    recipient = to or user.email
    if not _TEXT_OF_USERS.isdisjoint(parameters) and not _is_verified(session, user, recipient):
        parameters = {
            name: value for name, value in parameters.items() if name not in _TEXT_OF_USERS
        }
    if kind in _WITH_ORIGIN:
        parameters |= _describe_origin(session.origin)
    sealed = session.keys.seal(Purpose.OUTBOX, orjson.dumps(parameters).decode(), message_id)
    session.add(
        OutboxMessage(
            id=message_id,
            kind=kind,
            recipient=recipient,
            locale=user.locale,
            parameters_sealed=sealed,
            key_id=session.keys.key_id,
            created_at=session.now,
            due_at=session.now,
        )
    )


def _describe_origin(origin: Origin) -> Mapping[str, str]:
    """Return the client address and the program, as far as they are known."""
    known = {"ip_address": origin.address, "program": describe_user_agent(origin.user_agent)}
    return {name: value for name, value in known.items() if value}


def _is_verified(session: AccountSession, user: UserView, address: str) -> bool:
    """Return whether the account owns an address, and its reader has verified it."""
    verified = select(col(User.id)).where(
        col(User.id) == user.user_id,
        col(User.email) == address,
        col(User.email_verified_at).is_not(None),
    )
    return session.core.execute(verified).first() is not None


def post_notification(
    session: AccountSession, kind: MessageKind, user: UserView, **parameters: str
) -> None:
    """Notify a user at the address that the account owns.

    Not at a claimed one: its reader may have nothing to do with the account. Beyond the rate limit
    of mails to one user nothing more is mailed, and the act still succeeds: the user was notified
    often enough.
    """
    try:
        consume_notification(session, user.user_id, kind)
    except TooManyAttempts:
        return
    owned = recovery_address(session, user.user_id).entered
    post_message(session, kind, user, to=owned, **parameters)


class OutboxState(NamedTuple):
    """The number of waiting messages, the time of the oldest, and the number given up."""

    waiting: int
    oldest: datetime | None
    given_up: int


def measure_outbox(session: AccountSession) -> OutboxState:
    """Count the messages that are not delivered."""
    is_waiting = col(OutboxMessage.gave_up_at).is_(None)
    waiting, oldest, undelivered = session.core.execute(
        select(
            func.count().filter(is_waiting),
            func.min(col(OutboxMessage.created_at)).filter(is_waiting),
            func.count(),
        ).where(_UNDELIVERED)
    ).one()
    return OutboxState(waiting, oldest, undelivered - waiting)


def unseal_parameters(session: AccountSession, message: Message) -> Mapping[str, str]:
    """Return the unsealed parameters of a message.

    Raises:
        SealBroken: They were sealed with another key or for another message.
    """
    serialized = session.keys.open(Purpose.OUTBOX, message.parameters_sealed, message.id)
    parameters: dict[str, str] = orjson.loads(serialized)
    return parameters


def list_messages(
    session: AccountSession, states: Iterable[MessageState], *, limit: int
) -> list[Message]:
    """List messages in these states, newest first."""
    rows = session.core.execute(
        SELECT_MESSAGES.where(or_(*(_is_in(state, session.now) for state in states)))
        .order_by(col(OutboxMessage.created_at).desc(), col(OutboxMessage.id).desc())
        .limit(limit)
    )
    return [Message._make(row) for row in rows]


def find_message(session: AccountSession, message_id: str) -> Message:
    """Return a message.

    Raises:
        NotFound: There is none of this id.
    """
    row = session.core.execute(SELECT_MESSAGES.where(col(OutboxMessage.id) == message_id)).first()
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
            _is_in(MessageState.WAITING, session.now) | _is_in(MessageState.DEAD, session.now),
            col(OutboxMessage.parameters_sealed) != b"",
        )
        .values(due_at=session.now, leased_until=None, attempts=0, gave_up_at=None)
    ).rowcount


def count_undelivered(session: AccountSession, *, created_before: datetime) -> int:
    """Count the messages older than a time that are neither delivered nor given up."""
    return session.core.execute(
        select(func.count(col(OutboxMessage.id))).where(
            IS_OPEN, col(OutboxMessage.created_at) < created_before
        )
    ).scalar_one()


def count_retryable(session: AccountSession) -> int:
    """Count the dead messages that can still be retried, because they are not emptied yet."""
    return session.core.execute(
        select(func.count(col(OutboxMessage.id))).where(
            _is_in(MessageState.DEAD, session.now), col(OutboxMessage.parameters_sealed) != b""
        )
    ).scalar_one()


def _is_in(state: MessageState, now: datetime) -> ColumnElement[bool]:
    leased_until = col(OutboxMessage.leased_until)
    return {
        MessageState.DELIVERED: col(OutboxMessage.delivered_at).is_not(None),
        MessageState.DEAD: _UNDELIVERED & col(OutboxMessage.gave_up_at).is_not(None),
        MessageState.LEASED: IS_OPEN & (leased_until > now),
        MessageState.WAITING: IS_OPEN & (leased_until.is_(None) | (leased_until <= now)),
    }[state]


def delete_dead_messages(session: AccountSession) -> int:
    """Empty messages that were given up a week ago; returns how many.

    Until then an operator can fix the cause and send them with `mail retry`: a notice is useful
    days later, and an address change can be undone for a week. After a week no sealed secret is
    valid any more.
    """
    return session.core.execute(
        update(OutboxMessage)
        .where(
            # Implied by the next condition, and there is an index on this column only.
            _UNDELIVERED,
            col(OutboxMessage.gave_up_at) <= session.now - _RETENTION_OF_DEAD,
            col(OutboxMessage.parameters_sealed) != b"",
        )
        .values(parameters_sealed=b"")
    ).rowcount
