"""Interface of mail transports, and the errors that they raise."""

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from email.message import EmailMessage
from typing import NamedTuple, Protocol


class Email(NamedTuple):
    """A mail with its envelope. The addresses are stored ones, not parsed from the mail."""

    id: str
    sender: str
    recipient: str
    mail: EmailMessage


class MailProblem(Exception):
    """Sending failed; the message is one sentence of our own.

    It contains no reply of the server: that is untrusted text, and often has the address in it.
    """


class EmailRejected(MailProblem):
    """The email was rejected for good."""


class EmailDeferred(MailProblem):
    """The email was not accepted this time; the next one may be."""


class TransportUnavailable(MailProblem):
    """No email can be sent now: the next one would fail in the same way."""


class Transport(Protocol):
    """A way to send mail; implementations are `Folder` and `SmtpServer`."""

    @property
    def seconds(self) -> float:
        """Upper bound of the time that sending one email takes."""

    def open(self) -> AbstractContextManager[Callable[[Email], None]]:
        """Return a context with a function that sends one email, or raises a `MailProblem`."""


def errno_name(error: OSError) -> str:
    """Return the name of an error, which has no path or address in it."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
