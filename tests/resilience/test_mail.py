"""Mail survives killed senders and hanging mail servers."""

import email
import email.policy
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from socket import create_server

import pytest
from aiosmtpd.controller import Controller

from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.user_views import find_user_view
from accounts.services.users import open_tenant, open_user
from oneself.commands.console.session_setup import load_settings, open_database
from oneself.database import open_engine
from tests.http.running import open_account, running
from tests.support.databases import translate_sql
from tests.support.deadlines import patient
from tests.support.ports import free_port

REPOSITORY = Path(__file__).parents[2]
SECONDS = 60
MESSAGES = 25
#: Runs `python -m oneself mail deliver`.
DELIVER = "from oneself.commands.mail import app; app(['deliver'])"


class KillingServer:
    """A mail server that keeps what it receives, and kills the sender at a chosen moment."""

    def __init__(self):
        self.received = []
        self.commands = 0
        self.victim = None
        self.should_kill = lambda _command: False

    @property
    def ids(self):
        return [mail["Message-ID"] for mail in self.received]

    def _on_command(self, command):
        self.commands += 1
        if self.victim is not None and self.should_kill(command):
            self.victim.kill()
            self.victim.wait(patient(SECONDS))
            self.victim = None

    async def handle_MAIL(self, _server, _session, envelope, address, _options):  # noqa: N802 # the library's name
        self._on_command("MAIL")
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802 # as above
        self._on_command("RCPT")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 # as above
        self.received.append(
            email.message_from_bytes(envelope.content, policy=email.policy.default)
        )
        self._on_command("DATA")
        return "250 OK"


@pytest.fixture
def folder(storage, tmp_path, monkeypatch):
    """The data folder of the settings."""
    for name in [name for name in os.environ if name.startswith("ONESELF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    for name, value in storage.settings().items():
        monkeypatch.setenv(f"ONESELF_{name.upper()}", value)
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")
    return tmp_path / "data"


@pytest.fixture
def sql(folder):  # noqa: ARG001 # sets the environment
    """Runs a statement on the database, without the service."""

    def sql(statement):
        engine = open_engine(load_settings().location, timeout=SECONDS * 1000)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            result = connection.exec_driver_sql(translate_sql(engine.dialect.name, statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    return sql


@pytest.fixture
def start_smtp(monkeypatch):
    """Starts a mail server that the settings point to."""
    running = []

    def start_smtp(handler, port=None):
        port = port or free_port()
        controller = Controller(handler, hostname="127.0.0.1", port=port)
        controller.start()
        running.append(controller)
        monkeypatch.setenv("ONESELF_SMTP_URL", f"smtp+plain://127.0.0.1:{port}")

    yield start_smtp
    for controller in running:
        controller.stop()


@pytest.fixture
def posted(folder):  # noqa: ARG001 # sets the environment
    """The Message-IDs of all mail in the outbox."""
    with open_database(load_settings(), make=True) as database:
        with database.transaction(writing=True) as session:
            user = open_user(
                session,
                open_tenant(session, "Example"),
                email="alice@example.com",
                display_name="Alice",
                record=None,
                provider="oidc",
            )
            recipient = find_user_view(session, user.id)
            for number in range(MESSAGES):
                kind = MessageKind.EMAIL_VERIFICATION
                post_message(session, kind, recipient, secret=f"ots_{number}")
        with database.transaction(writing=False) as session:
            ids = session.core.exec_driver_sql("SELECT id FROM outbox_message").scalars().all()
    return {f"<{message_id}@localhost>" for message_id in ids}


def _start_delivery():
    return subprocess.Popen(
        [sys.executable, "-c", DELIVER],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _end_leases(sql):
    """End the leases, as a wait of some minutes would."""
    sql("UPDATE outbox_message SET leased_until = created_at WHERE leased_until IS NOT NULL")


def _deliver_rest(sql):
    """Deliver the remaining mail, undisturbed."""
    _end_leases(sql)
    process = _start_delivery()
    _, errors = process.communicate(timeout=patient(SECONDS))
    assert process.returncode == 0, errors.decode()
    assert sql("SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL") == [(0,)]
    assert sql("SELECT count(*) FROM outbox_message WHERE parameters_sealed != x''") == [(0,)]


def _texts_by_id(killing_server):
    """Return the distinct texts that were received under each Message-ID."""
    texts = {}
    for mail in killing_server.received:
        text = mail.get_body(("plain",)).get_content()
        texts.setdefault(mail["Message-ID"], set()).add(text)
    return texts


@pytest.mark.parametrize(
    ("command", "repeated"),
    [
        # Leased, not sent.
        ("MAIL", 0),
        ("RCPT", 0),
        # Sent, not marked: the server has received it, but delivery was not recorded.
        ("DATA", 1),
    ],
)
def test_mail_survives_sigkill_of_its_sender(start_smtp, posted, sql, command, repeated):
    """EM-18: a repeated mail has the same Message-ID and text."""
    killing_server = KillingServer()
    killing_server.should_kill = lambda current: (
        current == command and len(killing_server.received) >= MESSAGES // 2
    )
    start_smtp(killing_server)
    killing_server.victim = process = _start_delivery()
    process.communicate(timeout=patient(SECONDS))
    assert process.returncode == -signal.SIGKILL
    undelivered = sql("SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL")
    assert undelivered == [(MESSAGES - len(killing_server.received) + repeated,)]
    _deliver_rest(sql)
    assert set(killing_server.ids) == posted
    assert len(killing_server.received) == MESSAGES + repeated
    assert all(len(texts) == 1 for texts in _texts_by_id(killing_server).values())


@pytest.mark.nightly
def test_mail_survives_repeated_kills_of_its_sender(start_smtp, posted, sql, outcomes):
    """EM-18: at random moments; each kill repeats one message at most."""
    killing_server = KillingServer()
    start_smtp(killing_server)
    statuses = []
    for _ in range(5):
        # Shortly after some command: between two, or while the delivery is being recorded.
        count = killing_server.commands + random.randint(1, 20)  # noqa: S311 # no secret
        killing_server.victim = process = _start_delivery()
        reached = threading.Event()
        killing_server.should_kill = lambda _command, count=count, reached=reached: _reach(
            killing_server, count, reached
        )
        while process.poll() is None and not reached.wait(0.05):
            pass
        time.sleep(random.uniform(0, 0.01))  # noqa: S311 # as above
        process.kill()
        process.communicate(timeout=patient(SECONDS))
        killing_server.victim = None
        statuses.append(process.returncode)
        _end_leases(sql)
    _deliver_rest(sql)
    assert set(killing_server.ids) == posted
    kills = statuses.count(-signal.SIGKILL)
    outcome = outcomes["sender of mail killed"]
    outcome.rounds += kills
    outcome.journal.acknowledged += len(posted)
    assert kills > 0
    assert len(killing_server.received) <= MESSAGES + kills
    assert all(len(texts) == 1 for texts in _texts_by_id(killing_server).values())


def _reach(killing_server, count, reached):
    """Report the moment, and kill nothing here: the server goes on answering meanwhile."""
    if killing_server.commands >= count:
        reached.set()
    return False


class HangingServer:
    """A server that accepts connections and sends nothing."""

    def __init__(self, port):
        self._listener = create_server(("127.0.0.1", port))
        self._connections = []
        self.connected = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                self._connections.append(self._listener.accept()[0])
            except OSError:
                return
            self.connected.set()

    def close(self):
        self._listener.shutdown(2)
        self._thread.join(SECONDS)
        for connection in (self._listener, *self._connections):
            connection.close()


@pytest.fixture
def hanging(monkeypatch):
    port = free_port()
    monkeypatch.setenv("ONESELF_SMTP_URL", f"smtp+plain://127.0.0.1:{port}")
    hanging = HangingServer(port)
    yield hanging
    hanging.close()


def _status_of(port, method, path, session=None):
    connection = HTTPConnection("127.0.0.1", port, timeout=patient(SECONDS))
    connection.request(method, path, headers={"Authorization": f"Bearer {session}"})
    status = connection.getresponse().status
    connection.close()
    return status


def _serve(port, log):
    """Start the service, and wait until it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "oneself", "serve", "--port", str(port)], cwd=REPOSITORY, stderr=log
    )
    deadline = time.monotonic() + patient(SECONDS)
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if _status_of(port, "GET", "/healthz") == HTTPStatus.OK:
                return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    process.wait()
    raise AssertionError(Path(log.name).read_text())


@pytest.mark.nightly
def test_hanging_mail_server_delays_no_request_and_no_stop(
    monkeypatch, tmp_path, sql, hanging, outcomes
):
    """EM-18, OP-03, OP-01: and no mail is lost."""
    port = free_port()
    monkeypatch.setenv("ONESELF_PUBLIC_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("ONESELF_SMTP_SECONDS", "15")
    demo = subprocess.run(
        [sys.executable, "-m", "oneself", "demo", "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    session = json.loads(demo.stdout)["base"]["session_token"]
    sql("DELETE FROM outbox_message")
    sql('UPDATE "user" SET email_verified_at = NULL')
    with (tmp_path / "log").open("wb") as log:
        service = _serve(port, log)
        try:
            status = _status_of(port, "POST", "/api/v1/me/verify-email", session)
            assert status == HTTPStatus.OK
            assert hanging.connected.wait(patient(SECONDS))
            # From here on the job waits for the server; more requests follow than there are
            # threads.
            outcome = outcomes["mail server hangs"]
            for _ in range(8):
                assert _status_of(port, "GET", "/v1/me", session) == HTTPStatus.OK
                outcome.count_answer(HTTPStatus.OK, faulty=True)
                assert _status_of(port, "GET", "/readyz") == HTTPStatus.OK
            assert sql("SELECT attempts FROM outbox_message") == [(0,)]
            service.send_signal(signal.SIGTERM)
            service.wait(patient(SECONDS))
        finally:
            service.kill()
            service.wait()
    assert service.returncode == 0, (tmp_path / "log").read_text()
    # The delivery in progress timed out, and was counted as a failed attempt.
    kept = sql("SELECT attempts, leased_until, delivered_at FROM outbox_message")
    assert kept == [(1, None, None)]
    assert "@example" not in (tmp_path / "log").read_text()


def test_uses_are_recorded_when_the_mail_server_outlasts_the_drain(tmp_path, sql, hanging):
    """OP-01, LO-02."""
    settings = {
        name.removeprefix("ONESELF_").lower(): value
        for name, value in os.environ.items()
        if name.startswith("ONESELF_")
    }
    settings |= {"smtp_seconds": "60", "drain_seconds": "5"}
    with running(tmp_path, **settings) as service:
        open_account(service, "alice@example.com")
        assert hanging.connected.wait(patient(SECONDS))
        assert sql("SELECT count(*) FROM login_session WHERE last_used_at IS NOT NULL") == [(0,)]
    assert "Killing worker-1" in service.log
    assert sql("SELECT count(*) FROM login_session WHERE last_used_at IS NOT NULL") == [(1,)]
    assert sql("SELECT count(*) FROM security_event WHERE kind = 'sensitive_read'") == [(1,)]


def test_service_starts_without_its_mail_server(storage, tmp_path, outcomes):
    """OP-03: it is ready, users can log in, and their mail waits."""
    settings = {**storage.settings(), "smtp_url": "smtp+plain://127.0.0.1:9"}
    with running(tmp_path, password_cost=10, **settings) as service:
        alice = open_account(service, "alice@example.com")
        credentials = {"email": alice.email, "password": alice.password}
        for method, target, body in (
            ("GET", "/readyz", None),
            ("POST", "/v1/auth/login", credentials),
            ("POST", "/v1/auth/password/forgot", {"email": alice.email}),
            ("POST", "/api/v1/me/verify-email", None),
            ("GET", "/v1/me", None),
        ):
            response = service.ask(method, target, headers=alice.bearer, body=body)
            assert response.status < 300, response
            outcomes["mail server unavailable"].count_answer(response.status, faulty=True)
        assert service.process.poll() is None
