"""Where mail goes: into a folder, or to an SMTP server that passes it on.

The client is the standard library's, which blocks its thread: the job that sends mail has a thread
of its own already, so that an event loop's client would bring a dependency and nothing else.
"""

import email.policy
import errno
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Timer
from urllib.parse import unquote

from oneself.mail.transport import Email, EmailDeferred, EmailRejected, TransportUnavailable
from oneself.runtime.durable_files import make_folder, put, write
from oneself.settings_parsers import is_loopback

__all__ = ["Folder", "Security", "SmtpServer", "parse_smtp_url"]

# Not every server takes 8-bit text, and this way it is never asked (RFC 6152).
_AS_SENT = email.policy.SMTP.clone(cte_type="7bit")

# A name can have several addresses, and one that does not answer is not to use up all the time.
_SHARE_OF_CONNECTING = 4
_SECONDS_TO_LEAVE = 1.0
# RFC 5321 section 4.2.3; what begins with 5 is for ever.
_READY, _DONE, _CLOSING, _PERMANENT = 220, 250, 421, 5

_URL = re.compile(
    r"(?P<scheme>smtp|smtps|smtp\+plain)://"
    r"(?:(?P<user>[^/?#@:\s]+):(?P<password>[^/?#@\s]+)@)?"
    r"(?P<host>[\w-]{1,63}(?:\.[\w-]{1,63})*|\[[0-9a-fA-F:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?/?",
    re.ASCII,
)

# The first that an error is one of.
_TROUBLES: tuple[tuple[type[OSError], str], ...] = (
    (ssl.SSLCertVerificationError, "The certificate of the server does not verify (OpenSSL: {})."),
    (ssl.SSLError, "TLS with the server failed."),
    (socket.gaierror, "The name of the server cannot be resolved."),
    (smtplib.SMTPAuthenticationError, "The server refused the login ({})."),
    (smtplib.SMTPServerDisconnected, "The server closed the connection."),
    (smtplib.SMTPException, "The server offers no login with a password."),
    (OSError, "The server cannot be reached ({})."),
)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of `.eml` files, for who has no SMTP server."""

    path: Path
    seconds: float = 5.0

    @contextmanager
    def open(self) -> Iterator[Callable[[Email], None]]:
        """Write files; nothing has to be opened for it."""
        yield self._take

    def file_of(self, letter_id: str) -> Path:
        """Where a letter is, or will be."""
        return self.path / f"{letter_id}.eml"

    def _take(self, letter: Email) -> None:
        """Write a file whole or not at all, readable by its owner only: a secret is in it."""
        path = self.file_of(letter.id)
        part = path.with_suffix(".part")
        try:
            make_folder(path.parent)
            write(part, bytes(letter.mail))
            put(part, path)
        except OSError as error:
            raise TransportUnavailable(f"The folder cannot be written ({_errno(error)}).") from None


class Security(StrEnum):
    """How the connection to a server is protected; the values are the schemes of its URL."""

    STARTTLS = "smtp"
    TLS = "smtps"
    NONE = "smtp+plain"


_PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A server to submit mail to (RFC 6409), with its certificate verified (EM-19)."""

    host: str
    port: int
    security: Security
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    seconds: float = 20.0

    @contextmanager
    def open(self) -> Iterator[Callable[[Email], None]]:
        """One connection for all letters, made for the first and again after one that broke."""
        with closing(_Connection(self)) as connection:
            yield connection.take

    def greet(self) -> None:
        """Do all that comes before a letter, and send none.

        Raises:
            MailboxAway: The server cannot be reached, is not the one that it should be, or refuses.
        """
        with closing(_Connection(self)) as connection:
            connection.greet()


def parse_smtp_url(url: str, *, ca_file: Path | None = None, seconds: float = 20.0) -> SmtpServer:
    """Read `smtp://user:password@host:587`, `smtps://…:465` or `smtp+plain://localhost:1025`.

    The first requires STARTTLS, the second is TLS from the start, the third is for a loopback host.

    Raises:
        ValueError: It is none of them; the sentence has no part of the URL in it.
    """
    # Not urlsplit: of a password that is not escaped it makes a port, and an error that shows it.
    found = _URL.fullmatch(url)
    user, password = (unquote(found[name] or "") if found else "" for name in ("user", "password"))
    # RFC 4616 has UTF-8 in a login, and smtplib has not.
    ascii_only = (user + password).isascii() and (user + password).isprintable()
    if found is None or not ascii_only or int(found["port"] or 1) not in range(65_536):
        raise ValueError(
            "must be smtp://user:password@host:port, or begin with smtps:// or smtp+plain://; in"
            " user and password, which are ASCII, / ? # @ : % and spaces are %2F and so on"
        )
    security, host = Security(found["scheme"]), found["host"].strip("[]").lower()
    if security is Security.NONE and (user or not is_loopback(host)):
        raise ValueError("must have TLS (smtp:// or smtps://) for a password or another machine")
    port = int(found["port"] or _PORTS[security])
    return SmtpServer(host, port, security, user, password, ca_file, seconds)


class _Connection:
    """A conversation with a server, cut off when a letter has taken too long.

    A timeout of a socket begins anew with each byte, and a server that sends one now and then would
    hold the thread for ever. So a timer ends the connection below whatever reads from it.
    """

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._smtp: smtplib.SMTP | None = None
        self._line: socket.socket | None = None
        self._late = False

    def take(self, letter: Email) -> None:
        """Send a letter; returns once the server has said that it is responsible for it."""
        content = letter.mail.as_bytes(policy=_AS_SENT)
        try:
            with self._limited(self._server.seconds):
                self._ready().sendmail(letter.sender, [letter.recipient], content)
        except OSError as error:
            raise self._problem(error) from None
        except BaseException:
            self._drop()
            raise

    def greet(self) -> None:
        """Connect, protect the connection and log in."""
        try:
            with self._limited(self._server.seconds):
                self._ready()
        except TimeoutError as error:
            raise TransportUnavailable(self._trouble(error)) from None

    def close(self) -> None:
        """End the conversation, politely if there is one."""
        if self._smtp is not None:
            with suppress(OSError), self._limited(_SECONDS_TO_LEAVE):
                self._smtp.quit()
        self._drop()

    def _ready(self) -> smtplib.SMTP:
        """The connection, after the last letter was put out of the server's mind."""
        if self._smtp is not None:
            with suppress(OSError):
                if self._smtp.rset()[0] == _DONE:
                    return self._smtp
            # Servers close a connection between two letters as they like; then there is another.
            self._drop()
        try:
            return self._begin()
        except (OSError, TransportUnavailable) as error:
            raise TransportUnavailable(self._trouble(error)) from None

    def _begin(self) -> smtplib.SMTP:
        server = self._server
        trust = None if server.security is Security.NONE else _trust(server.ca_file)
        # Without a host it does not connect by itself, which it would do for as long as it takes.
        self._smtp = smtp = smtplib.SMTP(local_hostname="")
        smtp.sock = line = socket.create_connection(
            (server.host, server.port), timeout=server.seconds / _SHARE_OF_CONNECTING
        )
        line.settimeout(2 * server.seconds)  # never reached: the timer comes first
        # The timer's own hold on the connection, since TLS takes the socket over.
        self._line = line.dup()
        if self._late:
            raise TimeoutError
        # An address is a name too (RFC 5321 section 4.1.3), and smtplib would ask the DNS for ours.
        address = line.getsockname()[0].partition("%")[0]
        smtp.local_hostname = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        if trust is not None and server.security is Security.TLS:
            self._protect(smtp, line, trust)
        _require(smtp.getreply(), _READY, "did not greet")
        _require(smtp.ehlo(), _DONE, "does not speak ESMTP")
        if trust is not None and server.security is Security.STARTTLS:
            # Whoever sits in between can take the offer away. There is no going on without.
            if not smtp.has_extn("starttls"):
                raise TransportUnavailable("The server does not offer STARTTLS.")
            _require(smtp.docmd("STARTTLS"), _READY, "refused STARTTLS")
            self._protect(smtp, line, trust)
            # What it offered in plain text counts no longer (RFC 3207 section 4.2).
            _require(smtp.ehlo(), _DONE, "does not speak ESMTP over TLS")
        if server.user and server.password:
            smtp.login(server.user, server.password)
        return smtp

    def _protect(self, smtp: smtplib.SMTP, line: socket.socket, trust: ssl.SSLContext) -> None:
        """Put TLS over it. `SMTP.starttls` knows whom to verify only if it connected by itself."""
        # Replies that came in plain text behind the 220 are not read (CVE-2011-0411).
        if smtp.file is not None:
            smtp.file.close()
            smtp.file = None
        smtp.sock = trust.wrap_socket(line, server_hostname=self._server.host)

    def _problem(self, error: OSError) -> Exception:
        match error:
            case smtplib.SMTPRecipientsRefused():
                [(code, _)], what = error.recipients.values(), "recipient"
            case smtplib.SMTPSenderRefused(smtp_code=code):
                what = "sender"
            case smtplib.SMTPDataError(smtp_code=code):
                what = "message"
            case smtplib.SMTPServerDisconnected() if not self._late:
                # It may be for this letter that the server breaks off, so the next one is tried.
                self._drop()
                return EmailDeferred("The connection broke off.")
            case _:
                self._drop()
                return TransportUnavailable(self._trouble(error))
        sentence = f"The server refused the {what} ({code})."
        if what == "sender" or code == _CLOSING:
            return TransportUnavailable(sentence)
        return EmailRejected(sentence) if code // 100 == _PERMANENT else EmailDeferred(sentence)

    def _trouble(self, error: OSError | TransportUnavailable) -> str:
        if self._late or isinstance(error, TimeoutError):
            return "The server did not answer in time."
        if isinstance(error, TransportUnavailable):
            return str(error)
        code = getattr(error, "smtp_code", None) or getattr(error, "verify_code", _errno(error))
        return next(text for kind, text in _TROUBLES if isinstance(error, kind)).format(code)

    @contextmanager
    def _limited(self, seconds: float) -> Iterator[None]:
        """Cut the connection off once so much time is over."""
        self._late = False
        timer = Timer(seconds, self._cut)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
        # What was cut off within a reply reads like a whole one, a 250 among others.
        if self._late:
            raise TimeoutError

    def _cut(self) -> None:
        self._late = True
        line = self._line
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        for each in (self._smtp, self._line):
            if each is not None:
                each.close()
        self._smtp = self._line = None


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whose certificates are good; read anew for each connection, since authorities are renewed."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        wrong = "no certificate" if isinstance(error, ssl.SSLError) else _errno(error)
        raise TransportUnavailable(f"ONESELF_SMTP_CA_FILE cannot be read ({wrong}).") from None


def _require(reply: tuple[int, bytes], code: int, otherwise: str) -> None:
    if reply[0] != code:
        raise TransportUnavailable(f"The server {otherwise} ({reply[0]}).")


def _errno(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
