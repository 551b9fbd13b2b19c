"""Sending the messages of the outbox, after the commit that posted them."""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from email.headerregistry import Address
from typing import NamedTuple

from sqlalchemy import JSON, func, literal, or_, update
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from accounts.crypto.keyring import SealBroken
from accounts.services.database import AccountSession
from accounts.services.outbox import open_parameters
from accounts.values.clock_skew import has_come
from accounts.values.email_address import parse_address
from models import OutboxMessage
from oneself.database import Database
from oneself.mail.messages import Messages
from oneself.mail.transport import (
    Email,
    EmailRejected,
    MailProblem,
    Transport,
    TransportUnavailable,
)
from oneself.runtime.jobs import run_act

__all__ = ["Delivery", "Run"]

_log = logging.getLogger("oneself.mail.delivery")

_BATCH = 10
#: What a lease has beyond the time of the whole batch, for all that is not sending, in seconds.
_SPARE = 60.0
#: The longest that ONESELF_SMTP_SECONDS may be (oneself/settings.py): the lease of another replica
#: is as long as its own settings make it, which are changed on one after the other.
_LONGEST_SECONDS = 120.0
_LONGEST_LEASE = timedelta(seconds=_BATCH * _LONGEST_SECONDS + _SPARE)

_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
_LONGEST_TRYING = timedelta(hours=24)
#: What was put down long ago, while no service ran, is not given up at the first 4xx.
_FEWEST_TRIES = 5


class Run(NamedTuple):
    """Counts of delivered, failed and unreadable messages, and the last problem."""

    delivered: int
    failed: int
    unreadable: int
    problem: str | None


class _Claim(NamedTuple):
    """A message that this process alone may send, until a moment that no other claim of it has."""

    message: OutboxMessage
    parameters: Mapping[str, str]
    until: datetime


class Delivery:
    """Sends the mail of the outbox, each message at least once.

    It leases a batch of messages, commits, sends them, and marks each in a transaction of its own.
    After a crash between sending and marking, a message is sent again when its lease expires, with
    the same Message-ID, so that mail programs can recognise the duplicate (EM-18). A hanging mail
    server can outlast a database connection, so every transaction is retried, and is idempotent.
    """

    def __init__(
        self, database: Database, mailbox: Transport, messages: Messages, *, sender: str
    ) -> None:
        self._database = database
        self.mailbox = mailbox
        self._messages = messages
        self.sender = sender
        self._time_to_send = timedelta(seconds=mailbox.seconds)
        self._lease = timedelta(seconds=_BATCH * mailbox.seconds + _SPARE)
        self._ending = threading.Event()
        self._unreadable: set[str] = set()

    def stop(self) -> None:
        """Stop the run after the current message, and prevent further runs. Thread-safe.

        The remaining messages stay in the outbox: a hanging server must not delay the shutdown of
        the service (OP-01).
        """
        self._ending.set()

    def deliver_pending(self) -> Run:
        """Deliver all due messages, until none is left or the transport is unavailable.

        Raises:
            sqlalchemy.exc.OperationalError: The database does not respond.
        """
        outcomes = list(self._outcomes())
        problems = [problem for problem in outcomes if problem is not None]
        delivered, last = len(outcomes) - len(problems), problems[-1] if problems else None
        return Run(delivered, len(problems), len(self._unreadable), last)

    def _outcomes(self) -> Iterator[str | None]:
        """Yield the problem of each attempted message, or None if it was sent."""
        while not self._ending.is_set() and (batch := self._claim()) is not None:
            with self.mailbox.open() as take:
                for position, claim in enumerate(batch):
                    if self._ending.is_set() or not self._holds(claim):
                        self._release(batch[position:])
                        break
                    letter = self._compose(claim)
                    if letter is None:
                        continue
                    try:
                        take(letter)
                    except TransportUnavailable as away:
                        yield from self._count_failure(batch[position:], away)
                        return
                    except Exception as problem:  # noqa: BLE001 # a defect too stops one letter only
                        yield from self._count_failure([claim], problem)
                    else:
                        self._mark_delivered(claim)
                        yield None

    def _claim(self) -> list[_Claim] | None:
        """Lease the next messages, and open them; None if there is none to be had."""
        if not self._look(self._is_any_due):
            return None
        claims, left = run_act(self._database, self._lease_next)
        for claim, error in left:
            self._leave(claim, error)
        # What is due, and locked by another transaction, is for the next run: until its end this
        # one would look for it hundreds of times a second.
        return claims if claims or left else None

    def _is_any_due(self, session: AccountSession) -> bool:
        # A look takes no lock, and there is one each second.
        return session.core.execute(self._due(session).limit(1)).first() is not None

    def _lease_next(
        self, session: AccountSession
    ) -> tuple[list[_Claim], list[tuple[_Claim, Exception]]]:
        """The messages that may be sent, and those that cannot be read, whose leases are over."""
        claims: list[_Claim] = []
        left: list[tuple[_Claim, Exception]] = []
        until = session.now + self._lease
        # In a CTE: PostgreSQL may do a subselect with a LIMIT several times over. SQLite has no
        # FOR UPDATE, SQLAlchemy leaves it out there, and the transaction has the lock already.
        due = self._due(session).limit(_BATCH).with_for_update(skip_locked=True).cte("due")
        claimed = session.core.execute(
            update(OutboxMessage)
            .where(col(OutboxMessage.id).in_(select(due.c.id)))
            .values(leased_until=until)
            .returning(col(OutboxMessage.id))
        ).scalars()
        messages = session.exec(
            select(OutboxMessage)
            .where(col(OutboxMessage.id).in_(list(claimed)))
            .order_by(col(OutboxMessage.due_at), col(OutboxMessage.id))
        ).all()
        for message in messages:
            try:
                claims.append(_Claim(message, open_parameters(session, message), until))
            except (SealBroken, ValueError) as error:
                left.append((_Claim(message, {}, until), error))
        if left:
            _end_lease(session, [claim for claim, _ in left])
        return claims, left

    def _due(self, session: AccountSession) -> SelectOfScalar[str]:
        due_at, leased_until = col(OutboxMessage.due_at), col(OutboxMessage.leased_until)
        due = (
            select(col(OutboxMessage.id))
            .where(
                has_come(due_at, session.now, _LONGEST_PAUSE),
                col(OutboxMessage.delivered_at).is_(None),
                col(OutboxMessage.gave_up_at).is_(None),
                or_(leased_until.is_(None), has_come(leased_until, session.now, _LONGEST_LEASE)),
            )
            .order_by(due_at, col(OutboxMessage.id))
        )
        if not self._unreadable:
            return due
        # In one parameter: neither database takes one each for all mail that a replica without the
        # right root secret has met, and to forget some would be to meet them again and again.
        on_sqlite = session.core.dialect.name == "sqlite"
        unnest = func.json_each if on_sqlite else func.json_array_elements_text
        unreadable = unnest(literal(list(self._unreadable), JSON())).table_valued("value")
        return due.where(col(OutboxMessage.id).not_in(select(unreadable.c.value)))

    def _compose(self, claim: _Claim) -> Email | None:
        """The message in its envelope; None if nobody can write it, and then it is left."""
        message = claim.message
        try:
            mail = self._messages.compose(message, claim.parameters)
            local, _, domain = self.sender.rpartition("@")
            del mail["From"]
            mail["From"] = Address("oneself", local, domain)
            # The stored address (EM-17), and not one that is parsed from the header.
            recipient = parse_address(message.recipient).mailbox
        except Exception as error:  # noqa: BLE001 # every error affects this message only
            self._release([claim])
            self._leave(claim, error)
            return None
        return Email(message.id, self.sender, recipient, mail)

    def _leave(self, claim: _Claim, error: Exception) -> None:
        """Let a message be that is sealed with another key, or that a newer version has put there.

        It is said once, without what the error says, which may be a parameter. Another replica may
        be able to read it, so that its lease is over by now.
        """
        self._unreadable.add(claim.message.id)
        _log.error(
            "unreadable message",
            extra={"message_id": claim.message.id, "problem": type(error).__name__},
        )

    def _holds(self, claim: _Claim) -> bool:
        """Whether the lease lasts until the message is sent; a slow batch could outlast it."""

        def holds(session: AccountSession) -> bool:
            message = session.get(OutboxMessage, claim.message.id)
            held = message is not None and message.leased_until == claim.until
            return held and session.now + self._time_to_send <= claim.until

        return self._look(holds)

    def _look(self, question: Callable[[AccountSession], bool]) -> bool:
        def look() -> bool:
            with self._database.transaction(writing=False) as session:
                return question(session)

        return self._database.attempt(look)

    def _release(self, batch: Sequence[_Claim]) -> None:
        run_act(self._database, lambda session: _end_lease(session, batch))

    def _mark_delivered(self, claim: _Claim) -> None:
        def mark(session: AccountSession) -> None:
            # Whoever holds the lease now. The text is no longer needed, and a secret is in it.
            session.core.execute(
                update(OutboxMessage)
                .where(col(OutboxMessage.id) == claim.message.id)
                .values(delivered_at=session.now, parameters_sealed=b"", leased_until=None)
            )

        run_act(self._database, mark)

    def _count_failure(self, claims: Sequence[_Claim], problem: Exception) -> list[str]:
        """Put messages off, or give them up; returns the reason, once for each."""
        known = isinstance(problem, MailProblem)
        reason = str(problem) if known else f"It could not be sent ({type(problem).__name__})."
        _log.warning("mail was not taken", extra={"problem": reason, "messages": len(claims)})

        def count(session: AccountSession) -> list[str]:
            given_up = []
            for claim in claims:
                attempts = claim.message.attempts + 1
                due_at = session.now + _pause(attempts)
                too_late = due_at > claim.message.created_at + _LONGEST_TRYING
                dead = isinstance(problem, EmailRejected) or (
                    too_late and attempts >= _FEWEST_TRIES
                )
                if dead:
                    given_up.append(claim.message.id)
                values = {"gave_up_at": session.now} if dead else {"due_at": due_at}
                _end_lease(session, [claim], attempts=attempts, last_problem=reason, **values)
            return given_up

        for message_id in run_act(self._database, count):
            _log.error("mail was given up", extra={"message_id": message_id})
        return [reason] * len(claims)


def _end_lease(session: AccountSession, batch: Sequence[_Claim], **values: object) -> None:
    """Write to messages that were claimed together, each while its lease is still this one.

    A later lease ends later, and nothing is written to what another has by now.
    """
    session.core.execute(
        update(OutboxMessage)
        .where(
            col(OutboxMessage.id).in_([claim.message.id for claim in batch]),
            col(OutboxMessage.leased_until) == batch[0].until,
        )
        .values(leased_until=None, **values)
    )


def _pause(attempts: int) -> timedelta:
    """One minute, two, four and so on to an hour, each up to a fifth shorter by chance.

    What failed together is not to come back together.
    """
    longest = min(_FIRST_PAUSE * 2 ** min(attempts - 1, 10), _LONGEST_PAUSE)
    chance = random.uniform(0.8, 1)  # noqa: S311 # nobody gains by guessing it
    return timedelta(seconds=longest.total_seconds() * chance)
