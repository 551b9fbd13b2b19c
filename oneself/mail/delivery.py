"""Sending the messages of the outbox, after the commit that posted them."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from email.headerregistry import Address
from functools import partial
from typing import NamedTuple

from accounts.services.database import AccountSession
from accounts.services.mail.outbox_queue import (
    Lease,
    has_due_messages,
    holds_lease,
    lease_duration,
    lease_messages,
    mark_delivered,
    record_failure,
    release_leases,
)
from accounts.values.email_address import parse_address
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

_log = logging.getLogger("oneself.mail.delivery")


class Run(NamedTuple):
    """Counts of delivered, failed and unreadable messages, and the last problem."""

    delivered: int
    failed: int
    unreadable: int
    problem: str | None


class Delivery:
    """Sends the mail of the outbox, each message at least once.

    It leases a batch of messages, commits, sends them, and marks each in a transaction of its own.
    After a crash between sending and marking, a message is sent again when its lease expires, with
    the same Message-ID, so that mail programs can recognise the duplicate (EM-18). A hanging mail
    server can outlast a database connection, so every transaction is retried, and is idempotent.
    """

    def __init__(
        self, database: Database, transport: Transport, messages: Messages, *, sender: str
    ) -> None:
        self._database = database
        self.transport = transport
        self._messages = messages
        self.sender = sender
        self._time_to_send = timedelta(seconds=transport.seconds)
        self._lease = lease_duration(transport.seconds)
        self._stopping = threading.Event()
        self._unreadable: set[str] = set()

    def stop(self) -> None:
        """Stop the run after the current message, and prevent further runs. Thread-safe.

        The remaining messages stay in the outbox: a hanging server must not delay the shutdown of
        the service (OP-01).
        """
        self._stopping.set()

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
        # One connection for the whole run: it is closed once no message is due.
        with self.transport.open() as send:
            while not self._stopping.is_set() and (batch := self._claim()) is not None:
                for position, claim in enumerate(batch):
                    if self._stopping.is_set() or not self._has_lease(claim):
                        self._release(batch[position:])
                        break
                    email = self._compose(claim)
                    if email is None:
                        continue
                    try:
                        send(email)
                    except TransportUnavailable as away:
                        yield from self._record_failure(batch[position:], away)
                        return
                    except Exception as problem:  # noqa: BLE001 # a defect affects one message only
                        yield from self._record_failure([claim], problem)
                    else:
                        message_id = claim.message.id
                        run_act(self._database, partial(mark_delivered, message_id=message_id))
                        yield None

    def _claim(self) -> list[Lease] | None:
        """Lease the next messages and open them; return None if none is available."""
        if not self._read(lambda session: has_due_messages(session, skip=self._unreadable)):
            return None
        claims, left = run_act(
            self._database,
            lambda session: lease_messages(session, self._lease, skip=self._unreadable),
        )
        for claim, error in left:
            self._skip(claim, error)
        # Due messages that another transaction has locked are left to the next run: this one would
        # look for them hundreds of times a second until that transaction ends.
        return claims if claims or left else None

    def _compose(self, claim: Lease) -> Email | None:
        """Return the message in its envelope; if it cannot be composed, skip it and return None."""
        message = claim.message
        try:
            mail = self._messages.compose(message, claim.parameters)
            local, _, domain = self.sender.rpartition("@")
            product = mail["From"].addresses[0].display_name
            del mail["From"]
            mail["From"] = Address(product, local, domain)
            # The stored address (EM-17), and not one that is parsed from the header.
            recipient = parse_address(message.recipient).mailbox
        except Exception as error:  # noqa: BLE001 # every error affects this message only
            self._release([claim])
            self._skip(claim, error)
            return None
        return Email(message.id, self.sender, recipient, mail)

    def _skip(self, claim: Lease, error: Exception) -> None:
        """Skip a message that is sealed with another key, or was posted by a newer version.

        It is logged once, without the error's message, which can contain a parameter. Its lease is
        released already, since another replica may be able to read it.
        """
        self._unreadable.add(claim.message.id)
        _log.error(
            "unreadable message",
            extra={"message_id": claim.message.id, "problem": type(error).__name__},
        )

    def _has_lease(self, claim: Lease) -> bool:
        """Return whether the lease lasts until the message is sent; a slow batch can outlast it."""
        return self._read(lambda session: holds_lease(session, claim, self._time_to_send))

    def _read(self, question: Callable[[AccountSession], bool]) -> bool:
        def look() -> bool:
            with self._database.transaction(writing=False) as session:
                return question(session)

        return self._database.attempt(look)

    def _release(self, batch: Sequence[Lease]) -> None:
        run_act(self._database, lambda session: release_leases(session, batch))

    def _record_failure(self, claims: Sequence[Lease], problem: Exception) -> list[str]:
        """Postpone messages or give them up; return the reason, once for each message."""
        known = isinstance(problem, MailProblem)
        reason = str(problem) if known else f"It could not be sent ({type(problem).__name__})."
        _log.warning("mail was not taken", extra={"problem": reason, "messages": len(claims)})

        rejected = isinstance(problem, EmailRejected)
        given_up = run_act(
            self._database,
            lambda session: record_failure(session, claims, reason, is_final=rejected),
        )
        for message_id in given_up:
            _log.error("mail was given up", extra={"message_id": message_id})
        return [reason] * len(claims)
