"""Mail transports: a folder, and servers that are sound, broken, slow or malicious."""

import email
import email.policy
import ipaddress
import ssl
import stat
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from queue import Queue
from socket import create_server
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oneself.mail.factory import open_delivery
from oneself.mail.folder import Folder
from oneself.mail.smtp import Security, SmtpServer, parse_smtp_url
from oneself.mail.transport import Email, EmailDeferred, EmailRejected, TransportUnavailable
from oneself.settings import Settings
from tests.support.deadlines import patient
from tests.support.ports import free_port

ALICE = "alice@example.com"
SENDER = "no-reply@accounts.example"
USER, PASSWORD = "mailer", "c4nary/s3cret"
#: Timeout in seconds, for tests that wait for it.
TIMEOUT = 0.4


def _email(number=1, *, to=ALICE, text="To the reader.\n"):
    mail = EmailMessage()
    mail["From"] = Address("oneself", addr_spec=SENDER)
    mail["To"] = Address(addr_spec=ALICE)
    mail["Subject"] = "A subject"
    mail["Message-ID"] = f"<msg_{number}@accounts.example>"
    mail.set_content(text)
    return Email(f"msg_{number}", SENDER, to, mail)


def _send(transport, *emails):
    """Send emails with one opened transport; return the error of each, or None."""
    outcomes = []
    with transport.open() as send:
        for message in emails or (_email(),):
            try:
                send(message)
            except (EmailDeferred, EmailRejected, TransportUnavailable) as problem:
                outcomes.append(problem)
            else:
                outcomes.append(None)
    return outcomes


def _problem(transport, *emails):
    """Send emails, and return the class and the message of the last error."""
    outcome = _send(transport, *emails)[-1]
    return type(outcome), str(outcome)


def _text(received):
    """Return the text of a received mail."""
    mail = email.message_from_bytes(received.content, policy=email.policy.default)
    return mail.get_content().replace("\r\n", "\n")


# A server of the library, with regular behaviour


class Handler:
    """Handler of the server, which records mail and commands.

    `replies` are for the next times that a command is received.
    """

    def __init__(self):
        self.received = []
        self.commands = []
        self.logins = []
        self.replies = {}
        self.connections = set()

    def _reply(self, command, session, usual="250 OK"):
        self.connections.add(session.peer)
        self.commands.append(command)
        waiting = self.replies.get(command)
        return (waiting.pop(0) if waiting else None) or usual

    async def handle_EHLO(self, _server, session, _envelope, hostname, responses):  # noqa: N802 # the library's name
        session.host_name = hostname
        self.commands.append(f"EHLO {hostname}")
        return responses

    async def handle_RSET(self, _server, session, _envelope):  # noqa: N802 # the library's name
        return self._reply("RSET", session)

    async def handle_MAIL(self, _server, session, envelope, address, _options):  # noqa: N802 # the library's name
        reply = self._reply("MAIL", session)
        if reply.startswith("250"):
            envelope.mail_from = address
        return reply

    async def handle_RCPT(self, _server, session, envelope, address, _options):  # noqa: N802 # the library's name
        reply = self._reply("RCPT", session)
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 # the library's name
        reply = self._reply("DATA", session)
        if reply == "drop":
            server.transport.abort()
            return "451 it is over"
        if reply.startswith("250"):
            self.received.append(
                SimpleNamespace(
                    sender=envelope.mail_from,
                    recipients=envelope.rcpt_tos,
                    content=envelope.content,
                    over_tls=session.ssl is not None,
                    logged_in=bool(session.authenticated),
                )
            )
        return reply

    def authenticate(self, _server, session, _envelope, mechanism, data):
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.logins.append((mechanism, good, session.ssl is not None))
        return AuthResult(success=good, handled=good)


@pytest.fixture
def handler():
    return Handler()


@pytest.fixture
def start(handler):
    """Start a server with the handler `handler`, and return its port."""
    running = []

    def start(**options):
        if options.pop("logins", None):
            options |= {"authenticator": handler.authenticate, "auth_required": True}
        controller = Controller(handler, hostname="127.0.0.1", port=free_port(), **options)
        controller.start()
        running.append(controller)
        return controller.port

    yield start
    for controller in running:
        controller.stop()


# Scripted servers, with irregular behaviour


@pytest.fixture
def script():
    """Start a server that calls a function with each connection, and return its port."""
    listening, threads, stop = [], [], threading.Event()

    def serve(server, act):
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                act(connection, stop)

    def script(act):
        server = create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(server, act))
        thread.start()
        listening.append(server)
        threads.append(thread)
        return server.getsockname()[1]

    yield script
    stop.set()
    for server in listening:
        server.shutdown(2)
        server.close()
    for thread in threads:
        thread.join(10)


def _reply_with(connection, *replies):
    """Send the greeting, and then a reply to each command."""
    connection.sendall(b"220 ready\r\n")
    for reply in replies:
        connection.recv(1000)
        connection.sendall(reply)


# Certificates


class Authority:
    """A certificate authority, which issues certificates."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
        own = self._sign(self._name, self._key.public_key(), datetime.now(UTC), ca=True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def context(self, *names, since=timedelta(0)):
        """Return the TLS context of a server with these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A server")])
        certificate = self._sign(subject, key.public_key(), datetime.now(UTC) - since, names=names)
        file = self._folder / "server.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _sign(self, subject, public_key, begins, *, names=(), ca=False):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins - timedelta(hours=1))
            .not_valid_after(begins + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            alternatives = [
                x509.IPAddress(ipaddress.ip_address(name))
                if name[0].isdigit()
                else x509.DNSName(name)
                for name in names
            ]
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def smtp(authority):
    """Make a transport to a port of this machine, which trusts the authority of the test."""

    def smtp(port, scheme="smtp", *, login="", ca_file=authority.file, seconds=10.0):
        url = f"{scheme}://{login}127.0.0.1:{port}"
        return parse_smtp_url(url, ca_file=ca_file, seconds=seconds)

    return smtp


@pytest.fixture
def plain(smtp):
    """Make a transport to a port of this machine, without TLS."""
    return lambda port, **options: smtp(port, "smtp+plain", **options)


# The URL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 587, Security.STARTTLS, "", "")),
        ("smtp://u:p@Mail.Example:25/", ("mail.example", 25, Security.STARTTLS, "u", "p")),
        ("smtps://mail.example", ("mail.example", 465, Security.TLS, "", "")),
        ("smtps://u:p@192.0.2.7:2465", ("192.0.2.7", 2465, Security.TLS, "u", "p")),
        ("smtps://[2001:db8::7]", ("2001:db8::7", 465, Security.TLS, "", "")),
        ("smtp+plain://localhost:1025", ("localhost", 1025, Security.NONE, "", "")),
        ("smtp+plain://127.0.0.1", ("127.0.0.1", 25, Security.NONE, "", "")),
        ("smtp+plain://[::1]:65535", ("::1", 65535, Security.NONE, "", "")),
        ("smtp://a%40b:%2F%3a%25%20@mail.example", ("mail.example", 587, "smtp", "a@b", "/:% ")),
        ("smtp://u:a:b@mail.example", ("mail.example", 587, "smtp", "u", "a:b")),
    ],
)
def test_url_is_parsed(url, expected):
    """EM-19: the scheme alone decides on TLS."""
    server = parse_smtp_url(url)
    assert (server.host, server.port, server.security, server.user, server.password) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example:587",
        "http://mail.example",
        "smtp:mail.example",
        "SMTP+PLAIN://localhost",
        "smtp://",
        "smtp://:587",
        "smtp://mail.example:0",
        "smtp://mail.example:65536",
        "smtp://mail.example:99999",
        "smtp://mail.example:x",
        "smtp://mail.example/path",
        "smtp://mail.example?starttls=no",
        "smtp://mail..example",
        "smtp://mail.example\n",
        "smtp://mäil.example",
        "smtp://canary@mail.example",
        "smtp://u:@mail.example",
        "smtp://:canary@mail.example",
        "smtp://u:can/ary@mail.example",
        "smtp://u:25/canary@mail.example",
        "smtp://u:25#canary@mail.example",
        "smtp://u:can?ary@mail.example",
        "smtp://u:can ary@mail.example",
        "smtp://u:canary@x@mail.example",
        "smtp://u:canary%0d%0a@mail.example",
        "smtp://u:canary%00@mail.example",
        "smtp://u:canary%C3%A9@mail.example",
        "smtp+plain://mail.example",
        "smtp+plain://192.0.2.7",
        "smtp+plain://localhost.example",
        "smtp+plain://u:canary@localhost",
    ],
)
def test_malformed_url_is_rejected_without_its_parts(url):
    """LO-01: a URL parser can take half of a password for a port, and show it in the error."""
    with pytest.raises(ValueError, match=r"^must ") as error:
        parse_smtp_url(url)
    assert error.value.__cause__ is None
    assert not any(part in str(error.value) for part in ("canary", "ary", "mail.example"))


def test_repr_of_a_server_has_no_password(smtp):
    """LO-01: tracebacks and logs can show it."""
    assert "canary" not in repr(smtp(25, login="u:canary@"))


# The folder


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_email_is_written_to_a_file(tmp_path):
    """EM-18: named after the message."""
    folder = Folder(tmp_path / "mail" / "out")
    assert _send(folder) == [None]
    assert [path.name for path in folder.path.iterdir()] == ["msg_1.eml"]
    mail = email.message_from_bytes(
        folder.file_of("msg_1").read_bytes(), policy=email.policy.default
    )
    assert mail["To"].addresses[0].addr_spec == ALICE
    assert mail.get_content() == "To the reader.\n"


def test_files_are_readable_by_their_owner_only(tmp_path):
    """TK-03: they contain secrets."""
    folder = Folder(tmp_path / "mail")
    _send(folder)
    assert _mode(folder.file_of("msg_1")) == 0o600
    assert _mode(folder.path) == 0o700


def test_written_mail_survives_a_power_cut(disk, tmp_path):
    """EM-18: the outbox deletes its content after delivery."""
    folder = Folder(tmp_path / "mail" / "out")
    assert _send(folder, _email(1), _email(2)) == [None, None]
    assert disk.keeps(folder.file_of("msg_1"))
    assert disk.keeps(folder.file_of("msg_2"))


def test_partial_file_is_overwritten(tmp_path):
    """EM-18: a crash during a write leaves a .part file, and never a truncated mail."""
    (tmp_path / "msg_1.part").write_bytes(b"half" * 10_000)
    folder = Folder(tmp_path)
    _send(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["msg_1.eml"]
    assert b"half" not in folder.file_of("msg_1").read_bytes()


def test_unwritable_folder_is_unavailable(tmp_path):
    """DB-06: the error is not for one email, and names no path."""
    (tmp_path / "mail").write_bytes(b"a file in the way")
    problem = _problem(Folder(tmp_path / "mail"))
    assert problem == (TransportUnavailable, "The folder cannot be written (EEXIST).")


# TLS


def test_mail_is_sent_over_starttls(handler, start, smtp, authority):
    """EM-19: with a verified certificate, and no part of the mail in plain text."""
    port = start(tls_context=authority.context("127.0.0.1"), require_starttls=True)
    assert _send(smtp(port)) == [None]
    (received,) = handler.received
    assert received.over_tls
    assert (received.sender, received.recipients) == (SENDER, [ALICE])
    assert b"\r\nMessage-ID: <msg_1@accounts.example>\r\n" in received.content
    assert _text(received) == "To the reader.\n"


def test_mail_is_sent_over_implicit_tls(handler, start, smtp, authority):
    """EM-19: as on port 465 (RFC 8314 section 3.3)."""
    port = start(ssl_context=authority.context("127.0.0.1"))
    assert _send(smtp(port, "smtps")) == [None]
    assert len(handler.received) == 1


def test_certificate_is_verified_for_the_host_of_the_url(handler, start, authority):
    """EM-19."""
    port = start(tls_context=authority.context("localhost"), require_starttls=True)
    server = SmtpServer("localhost", port, Security.STARTTLS, ca_file=authority.file)
    assert _send(server) == [None]
    assert len(handler.received) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize(
    ("names", "since", "trusted", "code"),
    [
        (["127.0.0.1"], timedelta(0), False, 20),  # its issuer is not trusted
        (["mail.example"], timedelta(0), True, 64),  # it is for another host
        (["127.0.0.1"], timedelta(days=1), True, 10),  # expired
    ],
    ids=["untrusted", "other host", "expired"],
)
def test_server_with_an_invalid_certificate_gets_no_mail(  # noqa: PLR0917 # fixtures and parameters
    handler, start, smtp, authority, scheme, names, since, trusted, code
):
    """EM-19: nor a password, and there is no second attempt in plain text."""
    context = authority.context(*names, since=since)
    tls = {"ssl_context": context} if scheme == "smtps" else {"tls_context": context}
    port = start(**tls, logins=True)
    login = f"{USER}:c4nary%2Fs3cret@"
    server = smtp(port, scheme, login=login, ca_file=authority.file if trusted else None)
    assert _problem(server) == (
        TransportUnavailable,
        f"The certificate of the server does not verify (OpenSSL: {code}).",
    )
    assert not handler.received
    assert not handler.logins
    assert not {"MAIL", "DATA"} & set(handler.commands)


@pytest.mark.parametrize("logins", [False, True])
def test_server_without_starttls_gets_no_mail(handler, start, smtp, logins):
    """EM-19: an attacker on the path could have removed the offer from the reply."""
    with _expect_warning(logins):
        port = start(logins=logins, auth_require_tls=False)
        login = f"{USER}:c4nary%2Fs3cret@" if logins else ""
        problem = _problem(smtp(port, login=login))
    assert problem == (TransportUnavailable, "The server does not offer STARTTLS.")
    assert not handler.received
    assert not handler.logins
    assert not {"MAIL", "DATA"} & set(handler.commands)


@contextmanager
def _expect_warning(is_expected):
    """Expect the library's warning of a server that accepts passwords without TLS."""
    if not is_expected:
        yield
        return
    with pytest.warns(UserWarning, match="AUTH"):
        yield


def test_server_that_refuses_starttls_gets_no_mail(script, smtp):
    """EM-19: after it has offered it."""
    seen = Queue()

    def act(connection, _stop):
        _reply_with(connection, b"250-hello\r\n250 STARTTLS\r\n", b"454 not now\r\n")
        seen.put(connection.recv(1000))

    problem = _problem(smtp(script(act)))
    assert problem == (TransportUnavailable, "The server refused STARTTLS (454).")
    assert seen.get(timeout=patient(10)) == b""


def test_server_that_fails_at_tls_gets_no_mail(script, smtp):
    """EM-19."""

    def act(connection, _stop):
        _reply_with(
            connection, b"250-hello\r\n250 STARTTLS\r\n", b"220 go on\r\n", b"250 hello\r\n"
        )

    assert _problem(smtp(script(act))) == (TransportUnavailable, "TLS with the server failed.")


def test_injected_plain_text_reply_is_discarded(script, smtp, authority):
    """EM-19: a reply behind the 220 is not taken for one over TLS (CVE-2011-0411)."""
    context = authority.context("127.0.0.1")
    seen = Queue()

    def act(connection, _stop):
        injected = b"220 go on\r\n250-hello\r\n250 AUTH PLAIN\r\n"
        _reply_with(connection, b"250-hello\r\n250 STARTTLS\r\n", injected)
        with context.wrap_socket(connection, server_side=True) as protected:
            seen.put(protected.recv(1000)[:4])
            protected.sendall(b"250 hello\r\n")
            seen.put(protected.recv(1000)[:4])

    problem = _problem(smtp(script(act), login="u:canary@"))
    assert problem == (TransportUnavailable, "The server offers no login with a password.")
    assert [seen.get(timeout=patient(10)) for _ in range(2)] == [b"ehlo", b""]


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "ENOENT"), (b"no certificate", "no certificate")]
)
def test_unreadable_ca_file_is_an_error(start, smtp, tmp_path, content, reason):
    """EM-19: without it the authorities of the system would be trusted."""
    file = tmp_path / "other.pem"
    if content is not None:
        file.write_bytes(content)
    problem = _problem(smtp(start(), ca_file=file))
    assert problem == (TransportUnavailable, f"ONESELF_SMTP_CA_FILE cannot be read ({reason}).")


# Login


@pytest.mark.parametrize(("mechanism", "excluded"), [("PLAIN", []), ("LOGIN", ["PLAIN"])])
def test_login_is_sent_over_tls(  # noqa: PLR0917 # fixtures and parameters
    handler, start, smtp, authority, mechanism, excluded
):
    """EM-19: with each of the common mechanisms."""
    context = authority.context("127.0.0.1")
    port = start(tls_context=context, logins=True, auth_exclude_mechanism=excluded)
    assert _send(smtp(port, login=f"{USER}:c4nary%2Fs3cret@")) == [None]
    assert handler.logins == [(mechanism, True, True)]
    assert [received.logged_in for received in handler.received] == [True]


def test_refused_login_is_reported_with_its_code(handler, start, smtp, authority):
    """LO-01: without the server's text and the credentials."""
    port = start(tls_context=authority.context("127.0.0.1"), logins=True)
    assert _problem(smtp(port, login=f"{USER}:wrong@")) == (
        TransportUnavailable,
        "The server refused the login (535).",
    )
    assert not handler.received


# Replies to an email


@pytest.mark.parametrize(
    ("command", "reply", "expected"),
    [
        ("RCPT", "450", (EmailDeferred, "The server refused the recipient (450).")),
        ("RCPT", "550", (EmailRejected, "The server refused the recipient (550).")),
        ("RCPT", "421", (TransportUnavailable, "The server refused the recipient (421).")),
        ("DATA", "451", (EmailDeferred, "The server refused the message (451).")),
        ("DATA", "554", (EmailRejected, "The server refused the message (554).")),
        ("DATA", "421", (TransportUnavailable, "The server refused the message (421).")),
        # All emails have the same sender, so the problem is not this email.
        ("MAIL", "451", (TransportUnavailable, "The server refused the sender (451).")),
        ("MAIL", "550", (TransportUnavailable, "The server refused the sender (550).")),
    ],
)
def test_reply_code_decides_whether_an_email_is_retried(  # noqa: PLR0917 # fixtures and parameters
    handler, start, plain, command, reply, expected
):
    """EM-18, LO-01: the error has the code, and not the server's text, which has the address."""
    handler.replies[command] = [f"{reply} no, {ALICE} {PASSWORD}"]
    assert _problem(plain(start())) == expected
    assert not handler.received


@pytest.mark.parametrize(
    ("command", "reply", "connections"),
    [
        ("RCPT", "550 no", 1),
        ("RCPT", "450 no", 1),
        ("DATA", "554 no", 1),
        ("DATA", "drop", 2),
        ("RCPT", "421 no", 2),
    ],
)
def test_next_email_is_sent_after_a_failure(  # noqa: PLR0917 # fixtures and parameters
    handler, start, plain, command, reply, connections
):
    """EM-18: over the same connection if it is still open."""
    handler.replies[command] = [reply]
    failed, sent = _send(plain(start()), _email(1), _email(2))
    assert (failed is None, sent) == (False, None)
    assert [b"<msg_2@" in received.content for received in handler.received] == [True]
    assert len(handler.connections) == connections


def test_email_is_deferred_when_the_connection_breaks(handler, start, plain):
    """EM-18: the server may have received it."""
    handler.replies["DATA"] = ["drop"]
    assert _problem(plain(start())) == (EmailDeferred, "The connection broke off.")


def test_emails_share_one_connection(handler, start, plain):
    """EM-18: with RSET between them, so that no part of one email gets into the next."""
    assert _send(plain(start()), *map(_email, range(5))) == [None] * 5
    assert len(handler.connections) == 1
    commands = ["RSET", "MAIL", "RCPT", "DATA"]
    assert handler.commands[1:] == commands[1:] + commands * 4


def test_connection_closed_between_two_emails_is_reopened(handler, start, plain):
    """EM-18."""
    handler.replies["RSET"] = ["421 enough"]
    assert _send(plain(start()), _email(1), _email(2)) == [None, None]
    assert len(handler.connections) == 2


@pytest.mark.parametrize("reply", ["421 enough", "451 later"])
def test_email_that_a_kept_connection_refuses_is_sent_over_a_new_one(handler, start, plain, reply):
    """EM-18, reliability finding 14: a 421 alone means that the server allows no more on it."""
    handler.replies["MAIL"] = [None, reply]
    outcomes = _send(plain(start()), *map(_email, range(2)))
    if reply.startswith("421"):
        assert (outcomes, len(handler.connections)) == ([None, None], 2)
    else:
        assert [type(outcome) for outcome in outcomes] == [type(None), TransportUnavailable]


def test_new_connection_that_is_refused_is_not_tried_again(handler, start, plain):
    """EM-18: the server is busy, and would be at once again."""
    handler.replies["MAIL"] = ["421 busy"]
    assert _problem(plain(start()))[0] is TransportUnavailable
    assert handler.commands.count("MAIL") == 1


def test_connection_carries_a_limited_number_of_emails(handler, start, plain, monkeypatch):
    """EM-18, reliability finding 14: many more than ten, and then another one."""
    monkeypatch.setattr("oneself.mail.smtp._EMAILS_OF_A_CONNECTION", 25)
    assert _send(plain(start()), *map(_email, range(60))) == [None] * 60
    assert len(handler.connections) == 3


def test_envelope_has_the_stored_recipient(handler, start, plain):
    """EM-17: not the one of the mail's header."""
    stored = "A.b!#$%&'*+/=?^_`{|}~-c@xn--mnchen-3ya.example"
    assert _send(plain(start()), _email(to=stored)) == [None]
    assert [received.recipients for received in handler.received] == [[stored]]


def test_text_cannot_inject_smtp_commands(handler, start, plain):
    """EM-15: a line with a dot does not end the mail (RFC 5321 section 4.5.2)."""
    text = "Dear reader\n.\nMAIL FROM:<eve@example.net>\r\n.\r\nRCPT TO:<bob@example.org>\n..\n.\n"
    assert _send(plain(start()), _email(text=text), _email(2)) == [None, None]
    assert len(handler.received) == 2
    assert _text(handler.received[0]) == text.replace("\r\n", "\n")


def test_mail_is_sent_in_seven_bits_and_short_lines(handler, start, plain):
    """RFC 5321 section 2.4: at most 998 characters, which every server accepts."""
    text = "Grüße aus München, 東京\n" * 100
    assert _send(plain(start()), _email(text=text)) == [None]
    (received,) = handler.received
    assert received.content.isascii()
    assert max(map(len, received.content.split(b"\r\n"))) <= 998
    assert _text(received) == text


def test_host_name_of_this_machine_is_not_sent(handler, start, plain):
    """IN-01: nor is it looked up in the DNS, which can take long."""
    _send(plain(start()))
    assert handler.commands[0] == "EHLO [127.0.0.1]"


# Servers that do not respond


def _never(_connection, stop):
    stop.wait(patient(60))


#: The replies of a server up to the text of a mail.
_TAKING = (b"250 hello\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go on\r\n")


def _never_after_the_mail(connection, stop):
    _reply_with(connection, *_TAKING)
    stop.wait(patient(60))


def _a_byte_now_and_then(connection, stop):
    """Send bytes so often that a socket never times out."""
    while not stop.is_set():
        connection.sendall(b"2")
        time.sleep(TIMEOUT / 8)


def _a_line_now_and_then(connection, stop):
    connection.sendall(b"220 ready\r\n")
    connection.recv(1000)
    while not stop.is_set():
        connection.sendall(b"250-and more\r\n")
        time.sleep(TIMEOUT / 8)


@pytest.mark.parametrize(
    "act", [_never, _never_after_the_mail, _a_byte_now_and_then, _a_line_now_and_then]
)
def test_hanging_server_times_out(script, plain, act):
    """EM-18, EM-19: the time for one email is limited as a whole."""
    problem = _problem(plain(script(act), seconds=TIMEOUT))
    assert problem == (TransportUnavailable, "The server did not answer in time.")


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_hanging_tls_handshake_times_out(script, smtp, scheme):
    """EM-19."""

    def act(connection, stop):
        if scheme == "smtp":
            _reply_with(connection, b"250-hello\r\n250 STARTTLS\r\n", b"220 go on\r\n")
        while not stop.is_set():
            # A record of a handshake that is never completed (RFC 8446 section 5.1).
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            time.sleep(TIMEOUT / 8)

    problem = _problem(smtp(script(act), scheme, seconds=TIMEOUT))
    assert problem[0] is TransportUnavailable


def test_truncated_reply_does_not_count(script, plain):
    """EM-18: a 250 without its line end does not confirm the mail."""

    def act(connection, stop):
        _reply_with(connection, *_TAKING)
        connection.recv(10_000)
        connection.sendall(b"250")
        stop.wait(patient(60))

    problem = _problem(plain(script(act), seconds=TIMEOUT))
    assert problem == (TransportUnavailable, "The server did not answer in time.")


def test_closing_does_not_wait_for_the_server(script, plain):
    """OP-01: it may never reply to QUIT."""
    seen = Queue()

    def act(connection, _stop):
        _reply_with(connection, *_TAKING, b"250 OK\r\n")
        connection.settimeout(10)
        with suppress(TimeoutError):
            seen.put(connection.recv(1000))
            seen.put(connection.recv(1000))
        seen.put("the client waits")

    assert _send(plain(script(act), seconds=60)) == [None]
    assert [seen.get(timeout=patient(20)) for _ in range(2)] == [b"quit\r\n", b""]


def test_unreachable_server_is_reported_with_the_error(plain):
    """OP-03: the problem is the server, and not this email."""
    problem = _problem(plain(free_port()))
    assert problem == (TransportUnavailable, "The server cannot be reached (ECONNREFUSED).")


def test_unknown_host_name_is_reported():
    """OP-03: RFC 6761 section 6.4 guarantees that this name does not exist."""
    server = SmtpServer("mail.invalid", 587, Security.STARTTLS)
    assert _problem(server) == (TransportUnavailable, "The name of the server cannot be resolved.")


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (lambda *_: None, "The server closed the connection."),
        (
            lambda connection, _: connection.sendall(b"554 go away\r\n"),
            "The server did not greet (554).",
        ),
        (
            lambda connection, _: _reply_with(connection, b"502 what\r\n"),
            "The server does not speak ESMTP (502).",
        ),
    ],
    ids=["silent", "refusing", "ancient"],
)
def test_server_that_is_not_a_mail_server_is_reported(script, plain, act, problem):
    """OP-03: with the step that failed."""
    assert _problem(plain(script(act))) == (TransportUnavailable, problem)


# Settings


def test_mail_is_written_to_a_folder_without_a_server(env, tmp_path):
    """EM-18."""
    delivery = open_delivery(Settings(data_dir=tmp_path), env.database)
    assert delivery.transport == Folder(tmp_path / "mail")
    assert delivery.sender == "no-reply@localhost"


def test_server_is_that_of_the_settings(env, monkeypatch):
    """EM-19: with its authority and its timeout."""
    monkeypatch.setenv("ONESELF_SMTP_URL", "smtps://u:p@mail.example")
    monkeypatch.setenv("ONESELF_SMTP_CA_FILE", "/etc/authority.pem")
    monkeypatch.setenv("ONESELF_SMTP_SECONDS", "7")
    monkeypatch.setenv("ONESELF_MAIL_FROM", "Accounts@münchen.example")
    delivery = open_delivery(Settings(), env.database)
    assert delivery.transport == SmtpServer(
        "mail.example", 465, Security.TLS, "u", "p", Path("/etc/authority.pem"), 7.0
    )
    assert delivery.sender == "Accounts@xn--mnchen-3ya.example"


# The check of the settings


def test_greeting_logs_in_and_sends_no_mail(start, handler, smtp, authority):
    """EM-19: over TLS, as before an email."""
    port = start(tls_context=authority.context("127.0.0.1"), require_starttls=True, logins=True)
    smtp(port, login=f"{USER}:{PASSWORD.replace('/', '%2F')}@").greet()
    assert handler.logins[-1][1:] == (True, True)
    assert handler.received == []
    with pytest.raises(TransportUnavailable, match="refused the login"):
        smtp(port, login=f"{USER}:wrong@").greet()


def test_greeting_reports_an_unusable_server(start, smtp, script, authority):
    """EM-19: a wrong certificate, a closed port, and a server that does not respond."""
    wrong = start(tls_context=authority.context("192.0.2.1"), require_starttls=True)
    with pytest.raises(TransportUnavailable, match="does not verify"):
        smtp(wrong).greet()
    with pytest.raises(TransportUnavailable, match="cannot be reached"):
        smtp(free_port()).greet()
    with pytest.raises(TransportUnavailable, match="did not answer in time"):
        smtp(script(lambda _line, stop: stop.wait()), seconds=TIMEOUT).greet()
