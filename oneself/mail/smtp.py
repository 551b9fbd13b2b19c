"""Mail transport: an SMTP server.

The SMTP client is the standard library's, which blocks its thread. The job that sends mail has a
thread of its own, so an asynchronous client would only add a dependency.
"""

import email.policy
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

from oneself.mail.transport import (
    Email,
    EmailDeferred,
    EmailRejected,
    TransportUnavailable,
    errno_name,
)
from oneself.settings_parsers import is_loopback

# Not every server accepts 8-bit text (RFC 6152).
_AS_SENT = email.policy.SMTP.clone(cte_type="7bit")

# A host name can have several addresses, and one that does not respond must not use up the time.
_SHARE_OF_CONNECTING = 4
_SECONDS_TO_LEAVE = 1.0
# Servers limit it themselves, and this is what most allow.
_EMAILS_OF_A_CONNECTION = 100
# RFC 5321 section 4.2.3; codes that begin with 5 are permanent.
_READY, _DONE, _CLOSING, _PERMANENT = 220, 250, 421, 5

_URL = re.compile(
    r"(?P<scheme>smtp|smtps|smtp\+plain)://"
    r"(?:(?P<user>[^/?#@:\s]+):(?P<password>[^/?#@\s]+)@)?"
    r"(?P<host>[\w-]{1,63}(?:\.[\w-]{1,63})*|\[[0-9a-fA-F:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?/?",
    re.ASCII,
)

# The first matching class applies.
_TROUBLES: tuple[tuple[type[OSError], str], ...] = (
    (ssl.SSLCertVerificationError, "The certificate of the server does not verify (OpenSSL: {})."),
    (ssl.SSLError, "TLS with the server failed."),
    (socket.gaierror, "The name of the server cannot be resolved."),
    (smtplib.SMTPAuthenticationError, "The server refused the login ({})."),
    (smtplib.SMTPServerDisconnected, "The server closed the connection."),
    (smtplib.SMTPException, "The server offers no login with a password."),
    (OSError, "The server cannot be reached ({})."),
)


class Security(StrEnum):
    """Protection of the connection to a server; the values are the schemes of its URL."""

    STARTTLS = "smtp"
    TLS = "smtps"
    NONE = "smtp+plain"


_PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A server for mail submission (RFC 6409), whose certificate is verified (EM-19)."""

    host: str
    port: int
    security: Security
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    seconds: float = 20.0

    @contextmanager
    def open(self) -> Iterator[Callable[[Email], None]]:
        """Return a context with a function that sends one email; all share one connection.

        It is opened for the first email, and again after it broke.
        """
        with closing(_Connection(self)) as connection:
            yield connection.send

    def greet(self) -> None:
        """Connect and log in without sending mail, to check the settings.

        Raises:
            TransportUnavailable: The server cannot be reached, is not authentic, or refuses.
        """
        with closing(_Connection(self)) as connection:
            connection.greet()


def parse_smtp_url(url: str, *, ca_file: Path | None = None, seconds: float = 20.0) -> SmtpServer:
    """Parse `smtp://user:password@host:587`, `smtps://…:465` or `smtp+plain://localhost:1025`.

    The first requires STARTTLS, the second uses TLS from the start, and the third is for loopback
    hosts only.

    Raises:
        ValueError: The URL is malformed; the message contains no part of it.
    """
    # Not urlsplit: it takes an unescaped password for a port, and its error shows it.
    match = _URL.fullmatch(url)
    user, password = (unquote(match[name] or "") if match else "" for name in ("user", "password"))
    # RFC 4616 allows UTF-8 in a login, but smtplib does not.
    ascii_only = (user + password).isascii() and (user + password).isprintable()
    if match is None or not ascii_only or int(match["port"] or 1) not in range(65_536):
        raise ValueError(
            "must be smtp://user:password@host:port, or begin with smtps:// or smtp+plain://; in"
            " user and password, which are ASCII, / ? # @ : % and spaces are %2F and so on"
        )
    security, host = Security(match["scheme"]), match["host"].strip("[]").lower()
    if security is Security.NONE and (user or not is_loopback(host)):
        raise ValueError("must have TLS (smtp:// or smtps://) for a password or another machine")
    port = int(match["port"] or _PORTS[security])
    return SmtpServer(host, port, security, user, password, ca_file, seconds)


class _Connection:
    """A connection to a server, closed when sending one email takes too long.

    A socket's timeout restarts with each byte, so a server that sends a byte now and then would
    block the thread for ever. A timer therefore shuts the socket down below its readers.
    """

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._smtp: smtplib.SMTP | None = None
        self._line: socket.socket | None = None
        self._late = False
        self._sent = 0

    def send(self, message: Email) -> None:
        """Send an email, and return once the server has taken responsibility for it."""
        content = message.mail.as_bytes(policy=_AS_SENT)
        if self._sent >= _EMAILS_OF_A_CONNECTION:
            self.close()
        try:
            with self._limited(self._server.seconds):
                try:
                    self._ready().sendmail(message.sender, [message.recipient], content)
                except smtplib.SMTPSenderRefused as refused:
                    if refused.smtp_code != _CLOSING or not self._sent:
                        raise
                    # The server allows no more emails on this connection.
                    self._drop()
                    self._ready().sendmail(message.sender, [message.recipient], content)
            self._sent += 1
        except OSError as error:
            raise self._problem(error) from None
        except BaseException:
            self._drop()
            raise

    def greet(self) -> None:
        """Connect, start TLS and log in."""
        try:
            with self._limited(self._server.seconds):
                self._ready()
        except TimeoutError as error:
            raise TransportUnavailable(self._trouble(error)) from None

    def close(self) -> None:
        """Close the connection, with QUIT if it is open."""
        if self._smtp is not None:
            with suppress(OSError), self._limited(_SECONDS_TO_LEAVE):
                self._smtp.quit()
        self._drop()

    def _ready(self) -> smtplib.SMTP:
        """Return the connection, reset after the last email, or a new one."""
        if self._smtp is not None:
            with suppress(OSError):
                if self._smtp.rset()[0] == _DONE:
                    return self._smtp
            # A server may close the connection between two emails.
            self._drop()
        try:
            return self._begin()
        except (OSError, TransportUnavailable) as error:
            raise TransportUnavailable(self._trouble(error)) from None

    def _begin(self) -> smtplib.SMTP:
        server = self._server
        trust = None if server.security is Security.NONE else _trust(server.ca_file)
        # Without a host it does not connect by itself, which it would do without our timeout.
        self._smtp = smtp = smtplib.SMTP(local_hostname="")
        smtp.sock = line = socket.create_connection(
            (server.host, server.port), timeout=server.seconds / _SHARE_OF_CONNECTING
        )
        line.settimeout(2 * server.seconds)  # never reached: the timer fires first
        # A duplicate for the timer, since TLS takes the socket over.
        self._line = line.dup()
        if self._late:
            raise TimeoutError
        # An address literal (RFC 5321 section 4.1.3); smtplib would look our name up in the DNS.
        address = line.getsockname()[0].partition("%")[0]
        smtp.local_hostname = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        if trust is not None and server.security is Security.TLS:
            self._protect(smtp, line, trust)
        _require(smtp.getreply(), _READY, "did not greet")
        _require(smtp.ehlo(), _DONE, "does not speak ESMTP")
        if trust is not None and server.security is Security.STARTTLS:
            # An attacker on the path can remove the offer, so there is no fallback to plain text.
            if not smtp.has_extn("starttls"):
                raise TransportUnavailable("The server does not offer STARTTLS.")
            _require(smtp.docmd("STARTTLS"), _READY, "refused STARTTLS")
            self._protect(smtp, line, trust)
            # Extensions that were offered in plain text are discarded (RFC 3207 section 4.2).
            _require(smtp.ehlo(), _DONE, "does not speak ESMTP over TLS")
        if server.user and server.password:
            smtp.login(server.user, server.password)
        return smtp

    def _protect(self, smtp: smtplib.SMTP, line: socket.socket, trust: ssl.SSLContext) -> None:
        """Start TLS. `SMTP.starttls` knows the host to verify only if it connected by itself."""
        # Discard replies that an attacker injected in plain text after the 220 (CVE-2011-0411).
        if smtp.file is not None:
            smtp.file.close()
            smtp.file = None
        smtp.sock = trust.wrap_socket(line, server_hostname=self._server.host)

    def _problem(self, error: OSError) -> Exception:
        match error:
            case smtplib.SMTPRecipientsRefused():
                [(code, _)], part = error.recipients.values(), "recipient"
            case smtplib.SMTPSenderRefused(smtp_code=code):
                part = "sender"
            case smtplib.SMTPDataError(smtp_code=code):
                part = "message"
            case smtplib.SMTPServerDisconnected() if not self._late:
                # This email may be the reason for the disconnect, so the next one is tried.
                self._drop()
                return EmailDeferred("The connection broke off.")
            case _:
                self._drop()
                return TransportUnavailable(self._trouble(error))
        sentence = f"The server refused the {part} ({code})."
        if part == "sender" or code == _CLOSING:
            return TransportUnavailable(sentence)
        return EmailRejected(sentence) if code // 100 == _PERMANENT else EmailDeferred(sentence)

    def _trouble(self, error: OSError | TransportUnavailable) -> str:
        if self._late or isinstance(error, TimeoutError):
            return "The server did not answer in time."
        if isinstance(error, TransportUnavailable):
            return str(error)
        code = getattr(error, "smtp_code", None) or getattr(error, "verify_code", errno_name(error))
        return next(text for kind, text in _TROUBLES if isinstance(error, kind)).format(code)

    @contextmanager
    def _limited(self, seconds: float) -> Iterator[None]:
        """Shut the connection down when the time is over."""
        self._late = False
        timer = Timer(seconds, self._cut)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
        # A reply that was cut off can read like a complete one, even like a 250.
        if self._late:
            raise TimeoutError

    def _cut(self) -> None:
        self._late = True
        line = self._line
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        for connection in (self._smtp, self._line):
            if connection is not None:
                connection.close()
        self._smtp = self._line = None
        self._sent = 0


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return the trusted authorities, read for each connection, since they are renewed."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        reason = "no certificate" if isinstance(error, ssl.SSLError) else errno_name(error)
        raise TransportUnavailable(f"ONESELF_SMTP_CA_FILE cannot be read ({reason}).") from None


def _require(reply: tuple[int, bytes], code: int, otherwise: str) -> None:
    if reply[0] != code:
        raise TransportUnavailable(f"The server {otherwise} ({reply[0]}).")
