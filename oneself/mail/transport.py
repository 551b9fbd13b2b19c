"""Letters, what takes them, and why one was not taken."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from email.message import EmailMessage
from typing import NamedTuple, Protocol

__all__ = [
    "Email",
    "EmailDeferred",
    "EmailRejected",
    "MailProblem",
    "Transport",
    "TransportUnavailable",
]


class Email(NamedTuple):
    """A mail in its envelope; both addresses are stored ones, and not read out of the mail."""

    id: str
    sender: str
    recipient: str
    mail: EmailMessage


class MailProblem(Exception):
    """Why a letter was not taken, in a sentence of ours.

    What a server said is not in it: that is a stranger's text, and often has the address in it.
    """


class EmailRejected(MailProblem):
    """This letter will never be taken."""


class EmailDeferred(MailProblem):
    """This letter was not taken now; the next one may be."""


class TransportUnavailable(MailProblem):
    """No letter is taken now: the next one would fare the same."""


class Transport(Protocol):
    """What takes letters; those there are stand in oneself/mail/smtp.py."""

    @property
    def seconds(self) -> float:
        """The longest that it takes for one letter."""

    def open(self) -> AbstractContextManager[Callable[[Email], None]]:
        """Give what is called for each letter, and raises a `MailProblem` if it was not taken."""
