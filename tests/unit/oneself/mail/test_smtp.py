"""Where mail goes: a folder, and servers that are true, broken, slow or not what they say."""

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
from oneself.mail.smtp import Folder, Security, SmtpServer, parse_smtp_url
from oneself.mail.transport import Email, EmailDeferred, EmailRejected, TransportUnavailable
from oneself.settings import Settings
from tests.support.ports import free_port

ALICE = "alice@example.com"
SENDER = "no-reply@accounts.example"
USER, PASSWORD = "mailer", "c4nary/s3cret"
#: So long does a test wait for what does not come.
A_MOMENT = 0.4


def _letter(number=1, *, to=ALICE, text="To the reader.\n"):
    mail = EmailMessage()
    mail["From"] = Address("oneself", addr_spec=SENDER)
    mail["To"] = Address(addr_spec=ALICE)
    mail["Subject"] = "A subject"
    mail["Message-ID"] = f"<msg_{number}@accounts.example>"
    mail.set_content(text)
    return Email(f"msg_{number}", SENDER, to, mail)


def _deliver(mailbox, *letters):
    """Send letters over one opening; what each raised, or None."""
    outcomes = []
    with mailbox.open() as take:
        for letter in letters or (_letter(),):
            try:
                take(letter)
            except (EmailDeferred, EmailRejected, TransportUnavailable) as problem:
                outcomes.append(problem)
            else:
                outcomes.append(None)
    return outcomes


def _problem(mailbox, *letters):
    """Send a letter, and give the class and the sentence of why it was not taken."""
    outcome = _deliver(mailbox, *letters)[-1]
    return type(outcome), str(outcome)


def _text(received):
    """The text of a mail, as its reader sees it."""
    mail = email.message_from_bytes(received.content, policy=email.policy.default)
    return mail.get_content().replace("\r\n", "\n")


# A server of the library, which takes mail as servers do.


class Post:
    """What the server was told; a test can give other replies to a command, one for each time."""

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
def post():
    return Post()


@pytest.fixture
def start(post):
    """Starts a server that gives what it gets to `post`; returns its port."""
    running = []

    def start(**options):
        if options.pop("logins", None):
            options |= {"authenticator": post.authenticate, "auth_required": True}
        controller = Controller(post, hostname="127.0.0.1", port=free_port(), **options)
        controller.start()
        running.append(controller)
        return controller.port

    yield start
    for controller in running:
        controller.stop()


# Servers of a few lines, which do what no good server does.


@pytest.fixture
def script():
    """Starts a server that does what a function does to each connection; returns its port."""
    listening, threads, over = [], [], threading.Event()

    def serve(server, act):
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                act(connection, over)

    def script(act):
        server = create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(server, act))
        thread.start()
        listening.append(server)
        threads.append(thread)
        return server.getsockname()[1]

    yield script
    over.set()
    for server in listening:
        server.shutdown(2)
        server.close()
    for thread in threads:
        thread.join(10)


def _answer(connection, *replies):
    """Read what comes for each reply, after the greeting."""
    connection.sendall(b"220 ready\r\n")
    for reply in replies:
        connection.recv(1000)
        connection.sendall(reply)


# Certificates.


class Authority:
    """A certificate authority, and the certificates that it gives out."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
        own = self._sign(self._name, self._key.public_key(), datetime.now(UTC), ca=True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def context(self, *names, since=timedelta(0)):
        """What a server needs for being one of these names."""
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
    """A mailbox on this machine, which trusts the authority of the test."""

    def smtp(port, scheme="smtp", *, login="", ca_file=authority.file, seconds=10.0):
        url = f"{scheme}://{login}127.0.0.1:{port}"
        return parse_smtp_url(url, ca_file=ca_file, seconds=seconds)

    return smtp


@pytest.fixture
def plain(smtp):
    """A mailbox on this machine without TLS."""
    return lambda port, **options: smtp(port, "smtp+plain", **options)


# The URL.


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
def test_a_url_names_a_server(url, expected):
    """EM-19: TLS is what a scheme says by itself, and never a guess."""
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
def test_any_other_url_is_refused_without_showing_it(url):
    """LO-01: half a password is read as a port by who reads URLs, and shown in the error."""
    with pytest.raises(ValueError, match=r"^must ") as refused:
        parse_smtp_url(url)
    assert refused.value.__cause__ is None
    assert not any(part in str(refused.value) for part in ("canary", "ary", "mail.example"))


def test_a_server_can_be_shown(smtp):
    """LO-01: in a traceback or a log it stands without its password."""
    assert "canary" not in repr(smtp(25, login="u:canary@"))


# The folder.


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_letter_becomes_a_file(tmp_path):
    """EM-18: it is called by the message's id, and is a whole mail."""
    folder = Folder(tmp_path / "mail" / "out")
    assert _deliver(folder) == [None]
    assert [path.name for path in folder.path.iterdir()] == ["msg_1.eml"]
    mail = email.message_from_bytes(
        folder.file_of("msg_1").read_bytes(), policy=email.policy.default
    )
    assert mail["To"].addresses[0].addr_spec == ALICE
    assert mail.get_content() == "To the reader.\n"


def test_only_the_service_reads_its_mail(tmp_path):
    """TK-03: there are secrets in it."""
    folder = Folder(tmp_path / "mail")
    _deliver(folder)
    assert _mode(folder.file_of("msg_1")) == 0o600
    assert _mode(folder.path) == 0o700


def test_a_mail_that_was_taken_outlasts_a_power_cut(disk, tmp_path):
    """EM-18: the outbox keeps nothing of it that could be sent again."""
    folder = Folder(tmp_path / "mail" / "out")
    assert _deliver(folder, _letter(1), _letter(2)) == [None, None]
    assert disk.keeps(folder.file_of("msg_1"))
    assert disk.keeps(folder.file_of("msg_2"))


def test_half_a_file_is_written_over(tmp_path):
    """EM-18: a crash within the writing leaves a part, and never a mail that is cut short."""
    (tmp_path / "msg_1.part").write_bytes(b"half" * 10_000)
    folder = Folder(tmp_path)
    _deliver(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["msg_1.eml"]
    assert b"half" not in folder.file_of("msg_1").read_bytes()


def test_a_folder_that_cannot_be_written_takes_nothing(tmp_path):
    """DB-06: which is for the folder and not for one letter, and says no path."""
    (tmp_path / "mail").write_bytes(b"a file in the way")
    problem = _problem(Folder(tmp_path / "mail"))
    assert problem == (TransportUnavailable, "The folder cannot be written (EEXIST).")


# TLS.


def test_a_mail_is_sent_over_starttls(post, start, smtp, authority):
    """EM-19: with the certificate verified, and nothing of the mail before it."""
    port = start(tls_context=authority.context("127.0.0.1"), require_starttls=True)
    assert _deliver(smtp(port)) == [None]
    (received,) = post.received
    assert received.over_tls
    assert (received.sender, received.recipients) == (SENDER, [ALICE])
    assert b"\r\nMessage-ID: <msg_1@accounts.example>\r\n" in received.content
    assert _text(received) == "To the reader.\n"


def test_a_mail_is_sent_over_tls_from_the_start(post, start, smtp, authority):
    """EM-19: as port 465 has it (RFC 8314 section 3.3)."""
    port = start(ssl_context=authority.context("127.0.0.1"))
    assert _deliver(smtp(port, "smtps")) == [None]
    assert len(post.received) == 1


def test_a_server_is_verified_by_its_name(post, start, authority):
    """EM-19: the host of the URL, also where that is no address."""
    port = start(tls_context=authority.context("localhost"), require_starttls=True)
    server = SmtpServer("localhost", port, Security.STARTTLS, ca_file=authority.file)
    assert _deliver(server) == [None]
    assert len(post.received) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize(
    ("names", "since", "trusted", "code"),
    [
        (["127.0.0.1"], timedelta(0), False, 20),  # its issuer is not there
        (["mail.example"], timedelta(0), True, 64),  # the address is another
        (["127.0.0.1"], timedelta(days=1), True, 10),  # expired
    ],
    ids=["unknown", "another", "expired"],
)
def test_a_certificate_that_does_not_verify_gets_no_mail(  # noqa: PLR0917 # fixtures and parameters
    post, start, smtp, authority, scheme, names, since, trusted, code
):
    """EM-19: neither a mail nor a password, and no second try in plain text."""
    context = authority.context(*names, since=since)
    tls = {"ssl_context": context} if scheme == "smtps" else {"tls_context": context}
    port = start(**tls, logins=True)
    login = f"{USER}:c4nary%2Fs3cret@"
    server = smtp(port, scheme, login=login, ca_file=authority.file if trusted else None)
    assert _problem(server) == (
        TransportUnavailable,
        f"The certificate of the server does not verify (OpenSSL: {code}).",
    )
    assert not post.received
    assert not post.logins
    assert not {"MAIL", "DATA"} & set(post.commands)


@pytest.mark.parametrize("logins", [False, True])
def test_a_server_without_starttls_gets_no_mail(post, start, smtp, logins):
    """EM-19: whoever sits in between could have taken the offer out of the answer."""
    with _unwarned(logins):
        port = start(logins=logins, auth_require_tls=False)
        login = f"{USER}:c4nary%2Fs3cret@" if logins else ""
        problem = _problem(smtp(port, login=login))
    assert problem == (TransportUnavailable, "The server does not offer STARTTLS.")
    assert not post.received
    assert not post.logins
    assert not {"MAIL", "DATA"} & set(post.commands)


@contextmanager
def _unwarned(expected):
    """The library warns of a server that takes passwords without TLS, and that is what it is."""
    if not expected:
        yield
        return
    with pytest.warns(UserWarning, match="AUTH"):
        yield


def test_a_server_that_refuses_starttls_gets_no_mail(script, smtp):
    """EM-19: having offered it."""
    seen = Queue()

    def act(connection, _over):
        _answer(connection, b"250-hello\r\n250 STARTTLS\r\n", b"454 not now\r\n")
        seen.put(connection.recv(1000))

    problem = _problem(smtp(script(act)))
    assert problem == (TransportUnavailable, "The server refused STARTTLS (454).")
    assert seen.get(timeout=10) == b""


def test_a_server_whose_tls_is_none_gets_no_mail(script, smtp):
    """EM-19: which is found out before anything is said."""

    def act(connection, _over):
        _answer(connection, b"250-hello\r\n250 STARTTLS\r\n", b"220 go on\r\n", b"250 hello\r\n")

    assert _problem(smtp(script(act))) == (TransportUnavailable, "TLS with the server failed.")


def test_what_came_in_plain_text_is_no_answer_over_tls(script, smtp, authority):
    """EM-19: a reply put behind the 220 is not taken for the server's own (CVE-2011-0411)."""
    context = authority.context("127.0.0.1")
    seen = Queue()

    def act(connection, _over):
        put_behind = b"220 go on\r\n250-hello\r\n250 AUTH PLAIN\r\n"
        _answer(connection, b"250-hello\r\n250 STARTTLS\r\n", put_behind)
        with context.wrap_socket(connection, server_side=True) as protected:
            seen.put(protected.recv(1000)[:4])
            protected.sendall(b"250 hello\r\n")
            seen.put(protected.recv(1000)[:4])

    problem = _problem(smtp(script(act), login="u:canary@"))
    assert problem == (TransportUnavailable, "The server offers no login with a password.")
    assert [seen.get(timeout=10) for _ in range(2)] == [b"ehlo", b""]


@pytest.mark.parametrize(
    ("content", "what"), [(None, "ENOENT"), (b"no certificate", "no certificate")]
)
def test_an_authority_that_cannot_be_read_is_named(start, smtp, tmp_path, content, what):
    """EM-19: it is not left out, which would be to trust whom the system trusts."""
    file = tmp_path / "other.pem"
    if content is not None:
        file.write_bytes(content)
    problem = _problem(smtp(start(), ca_file=file))
    assert problem == (TransportUnavailable, f"ONESELF_SMTP_CA_FILE cannot be read ({what}).")


# Logging in.


@pytest.mark.parametrize(("mechanism", "excluded"), [("PLAIN", []), ("LOGIN", ["PLAIN"])])
def test_a_login_happens_over_tls(  # noqa: PLR0917 # fixtures and parameters
    post, start, smtp, authority, mechanism, excluded
):
    """EM-19: by either mechanism that servers have."""
    context = authority.context("127.0.0.1")
    port = start(tls_context=context, logins=True, auth_exclude_mechanism=excluded)
    assert _deliver(smtp(port, login=f"{USER}:c4nary%2Fs3cret@")) == [None]
    assert post.logins == [(mechanism, True, True)]
    assert [received.logged_in for received in post.received] == [True]


def test_a_login_that_is_refused_says_so(post, start, smtp, authority):
    """LO-01: with the code, and without what the server says or what was sent."""
    port = start(tls_context=authority.context("127.0.0.1"), logins=True)
    assert _problem(smtp(port, login=f"{USER}:wrong@")) == (
        TransportUnavailable,
        "The server refused the login (535).",
    )
    assert not post.received


# What a server says to a letter.


@pytest.mark.parametrize(
    ("command", "reply", "expected"),
    [
        ("RCPT", "450", (EmailDeferred, "The server refused the recipient (450).")),
        ("RCPT", "550", (EmailRejected, "The server refused the recipient (550).")),
        ("RCPT", "421", (TransportUnavailable, "The server refused the recipient (421).")),
        ("DATA", "451", (EmailDeferred, "The server refused the message (451).")),
        ("DATA", "554", (EmailRejected, "The server refused the message (554).")),
        ("DATA", "421", (TransportUnavailable, "The server refused the message (421).")),
        # The sender is the same for each letter, and it is not the letter that is wrong.
        ("MAIL", "451", (TransportUnavailable, "The server refused the sender (451).")),
        ("MAIL", "550", (TransportUnavailable, "The server refused the sender (550).")),
    ],
)
def test_a_refusal_is_for_good_or_for_now(  # noqa: PLR0917 # fixtures and parameters
    post, start, plain, command, reply, expected
):
    """EM-18, LO-01: told by the code; what the server says has the address in it."""
    post.replies[command] = [f"{reply} no, {ALICE} {PASSWORD}"]
    assert _problem(plain(start())) == expected
    assert not post.received


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
def test_the_letter_behind_one_that_failed_is_sent(  # noqa: PLR0917 # fixtures and parameters
    post, start, plain, command, reply, connections
):
    """EM-18: over the same connection, if that is still one."""
    post.replies[command] = [reply]
    failed, sent = _deliver(plain(start()), _letter(1), _letter(2))
    assert (failed is None, sent) == (False, None)
    assert [b"<msg_2@" in received.content for received in post.received] == [True]
    assert len(post.connections) == connections


def test_a_connection_that_breaks_in_a_mail_is_tried_again(post, start, plain):
    """EM-18: nobody knows whether the server has it."""
    post.replies["DATA"] = ["drop"]
    assert _problem(plain(start())) == (EmailDeferred, "The connection broke off.")


def test_many_letters_go_over_one_connection(post, start, plain):
    """EM-18: with a RSET between, so that nothing of one letter is in the next."""
    assert _deliver(plain(start()), *map(_letter, range(5))) == [None] * 5
    assert len(post.connections) == 1
    between = ["RSET", "MAIL", "RCPT", "DATA"]
    assert post.commands[1:] == between[1:] + between * 4


def test_a_connection_that_ended_between_two_letters_is_made_again(post, start, plain):
    """EM-18: servers close one that they have seen enough of."""
    post.replies["RSET"] = ["421 enough"]
    assert _deliver(plain(start()), _letter(1), _letter(2)) == [None, None]
    assert len(post.connections) == 2


def test_the_envelope_is_not_read_from_the_mail(post, start, plain):
    """EM-17: whatever the head says, it goes where the outbox says, as that is written there."""
    stored = "A.b!#$%&'*+/=?^_`{|}~-c@xn--mnchen-3ya.example"
    assert _deliver(plain(start()), _letter(to=stored)) == [None]
    assert [received.recipients for received in post.received] == [[stored]]


def test_a_text_says_nothing_to_the_server(post, start, plain):
    """EM-15: a line with a dot ends no mail and begins no other (RFC 5321 section 4.5.2)."""
    text = "Dear reader\n.\nMAIL FROM:<eve@example.net>\r\n.\r\nRCPT TO:<bob@example.org>\n..\n.\n"
    assert _deliver(plain(start()), _letter(text=text), _letter(2)) == [None, None]
    assert len(post.received) == 2
    assert _text(post.received[0]) == text.replace("\r\n", "\n")


def test_a_mail_is_sent_in_seven_bits(post, start, plain):
    """RFC 5321 section 2.4: in lines of at most 998, which every server takes."""
    text = "Grüße aus München, 東京\n" * 100
    assert _deliver(plain(start()), _letter(text=text)) == [None]
    (received,) = post.received
    assert received.content.isascii()
    assert max(map(len, received.content.split(b"\r\n"))) <= 998
    assert _text(received) == text


def test_the_name_of_this_machine_is_not_told(post, start, plain):
    """IN-01: nor is the DNS asked for it, which can take as long as it likes."""
    _deliver(plain(start()))
    assert post.commands[0] == "EHLO [127.0.0.1]"


# Servers that do not answer.


def _never(_connection, over):
    over.wait(60)


#: What a server says until it has the text of a mail.
_TAKING = (b"250 hello\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go on\r\n")


def _never_after_the_mail(connection, over):
    _answer(connection, *_TAKING)
    over.wait(60)


def _a_byte_now_and_then(connection, over):
    """Which is never long enough for the timeout of a socket."""
    while not over.is_set():
        connection.sendall(b"2")
        time.sleep(A_MOMENT / 8)


def _a_line_now_and_then(connection, over):
    connection.sendall(b"220 ready\r\n")
    connection.recv(1000)
    while not over.is_set():
        connection.sendall(b"250-and more\r\n")
        time.sleep(A_MOMENT / 8)


@pytest.mark.parametrize(
    "act", [_never, _never_after_the_mail, _a_byte_now_and_then, _a_line_now_and_then]
)
def test_a_server_that_hangs_is_left(script, plain, act):
    """EM-18, EM-19: whatever it does, a letter has its time and no more."""
    problem = _problem(plain(script(act), seconds=A_MOMENT))
    assert problem == (TransportUnavailable, "The server did not answer in time.")


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_handshake_that_hangs_is_left(script, smtp, scheme):
    """EM-19: TLS has the socket by then, and its time is limited all the same."""

    def act(connection, over):
        if scheme == "smtp":
            _answer(connection, b"250-hello\r\n250 STARTTLS\r\n", b"220 go on\r\n")
        while not over.is_set():
            # A record of a handshake that will never be whole (RFC 8446 section 5.1).
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            time.sleep(A_MOMENT / 8)

    problem = _problem(smtp(script(act), scheme, seconds=A_MOMENT))
    assert problem[0] is TransportUnavailable


def test_half_a_reply_is_none(script, plain):
    """EM-18: a 250 that was cut off within its line is nobody's word for having the mail."""

    def act(connection, over):
        _answer(connection, *_TAKING)
        connection.recv(10_000)
        connection.sendall(b"250")
        over.wait(60)

    problem = _problem(plain(script(act), seconds=A_MOMENT))
    assert problem == (TransportUnavailable, "The server did not answer in time.")


def test_leaving_waits_for_nobody(script, plain):
    """OP-01: a server that does not say goodbye keeps nobody."""
    seen = Queue()

    def act(connection, _over):
        _answer(connection, *_TAKING, b"250 OK\r\n")
        connection.settimeout(10)
        with suppress(TimeoutError):
            seen.put(connection.recv(1000))
            seen.put(connection.recv(1000))
        seen.put("the client waits")

    assert _deliver(plain(script(act), seconds=60)) == [None]
    assert [seen.get(timeout=20) for _ in range(2)] == [b"quit\r\n", b""]


def test_a_server_that_is_not_there_is_named_by_its_error(plain):
    """OP-03: it is the server's, and not this letter's."""
    problem = _problem(plain(free_port()))
    assert problem == (TransportUnavailable, "The server cannot be reached (ECONNREFUSED).")


def test_a_name_that_is_nobodys_is_told():
    """OP-03: RFC 6761 section 6.4 sees to it that this one never is."""
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
            lambda connection, _: _answer(connection, b"502 what\r\n"),
            "The server does not speak ESMTP (502).",
        ),
    ],
    ids=["silent", "refusing", "ancient"],
)
def test_a_server_that_is_none_takes_no_mail(script, plain, act, problem):
    """OP-03: and it is said which part of the conversation it failed at."""
    assert _problem(plain(script(act))) == (TransportUnavailable, problem)


# The settings.


def test_without_a_server_mail_goes_into_the_folder(env, tmp_path):
    """EM-18: for who tries the service out."""
    delivery = open_delivery(Settings(data_dir=tmp_path), env.database)
    assert delivery.mailbox == Folder(tmp_path / "mail")
    assert delivery.sender == "no-reply@localhost"


def test_the_settings_name_the_server(env, monkeypatch):
    """EM-19: with what it is verified by, and how long it may take."""
    monkeypatch.setenv("ONESELF_SMTP_URL", "smtps://u:p@mail.example")
    monkeypatch.setenv("ONESELF_SMTP_CA_FILE", "/etc/authority.pem")
    monkeypatch.setenv("ONESELF_SMTP_SECONDS", "7")
    monkeypatch.setenv("ONESELF_MAIL_FROM", "Accounts@münchen.example")
    delivery = open_delivery(Settings(), env.database)
    assert delivery.mailbox == SmtpServer(
        "mail.example", 465, Security.TLS, "u", "p", Path("/etc/authority.pem"), 7.0
    )
    assert delivery.sender == "Accounts@xn--mnchen-3ya.example"


# Before any letter.


def test_a_server_is_greeted_and_gets_no_letter(start, post, smtp, authority):
    """EM-19: with TLS and the login, as before a letter."""
    port = start(tls_context=authority.context("127.0.0.1"), require_starttls=True, logins=True)
    smtp(port, login=f"{USER}:{PASSWORD.replace('/', '%2F')}@").greet()
    assert post.logins[-1][1:] == (True, True)
    assert post.received == []
    with pytest.raises(TransportUnavailable, match="refused the login"):
        smtp(port, login=f"{USER}:wrong@").greet()


def test_a_greeting_tells_why_a_server_cannot_be_used(start, smtp, script, authority):
    """EM-19: another's certificate, nobody there, and one that says nothing."""
    other = start(tls_context=authority.context("192.0.2.1"), require_starttls=True)
    with pytest.raises(TransportUnavailable, match="does not verify"):
        smtp(other).greet()
    with pytest.raises(TransportUnavailable, match="cannot be reached"):
        smtp(free_port()).greet()
    with pytest.raises(TransportUnavailable, match="did not answer in time"):
        smtp(script(lambda _line, over: over.wait()), seconds=A_MOMENT).greet()
