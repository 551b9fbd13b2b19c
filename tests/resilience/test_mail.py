"""Mail, while whoever sends it is killed, or the server that takes it hangs."""

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

from accounts.services.outbox import MessageKind, post_message
from accounts.services.user_views import find_user_view
from accounts.services.users import open_tenant, open_user
from oneself.commands.console.session_setup import load_settings, open_database
from oneself.database import open_engine
from tests.http.running import open_account, running
from tests.support.databases import in_words_of
from tests.support.ports import free_port

REPOSITORY = Path(__file__).parents[2]
SECONDS = 60
MESSAGES = 25
#: As `python -m oneself mail deliver` does.
DELIVER = "from oneself.commands.mail import app; app(['deliver'])"


class Killer:
    """A server that keeps what it gets, and kills who brings it, at a moment of the test's."""

    def __init__(self):
        self.received = []
        self.commands = 0
        self.victim = None
        self.moment = lambda _command: False

    @property
    def ids(self):
        return [mail["Message-ID"] for mail in self.received]

    def _look(self, command):
        self.commands += 1
        if self.victim is not None and self.moment(command):
            self.victim.kill()
            self.victim.wait(SECONDS)
            self.victim = None

    async def handle_MAIL(self, _server, _session, envelope, address, _options):  # noqa: N802 # the library's name
        self._look("MAIL")
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802 # as above
        self._look("RCPT")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 # as above
        self.received.append(
            email.message_from_bytes(envelope.content, policy=email.policy.default)
        )
        self._look("DATA")
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
def sql(folder):  # noqa: ARG001 # it is what the settings name
    """Runs a statement behind the back of the service."""

    def sql(statement):
        engine = open_engine(load_settings().location, timeout=SECONDS * 1000)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            found = connection.exec_driver_sql(in_words_of(engine.dialect.name, statement))
            rows = [tuple(row) for row in found] if found.returns_rows else []
        engine.dispose()
        return rows

    return sql


@pytest.fixture
def start_smtp(monkeypatch):
    """Starts a server, and lets the settings name it."""
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
def posted(folder):  # noqa: ARG001 # it is what the settings name
    """The Message-IDs of all that is in the outbox."""
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
            person = find_user_view(session, user.id)
            for number in range(MESSAGES):
                kind = MessageKind.EMAIL_VERIFICATION
                post_message(session, kind, person, secret=f"ots_{number}")
        with database.transaction(writing=False) as session:
            ids = session.core.exec_driver_sql("SELECT id FROM outbox_message").scalars().all()
    return {f"<{message_id}@localhost>" for message_id in ids}


def _deliverer():
    return subprocess.Popen(
        [sys.executable, "-c", DELIVER],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _let_leases_pass(sql):
    """As they do by themselves, minutes later."""
    sql("UPDATE outbox_message SET leased_until = created_at WHERE leased_until IS NOT NULL")


def _drain(sql):
    """Deliver what is left, with nobody in the way."""
    _let_leases_pass(sql)
    process = _deliverer()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors.decode()
    assert sql("SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL") == [(0,)]
    assert sql("SELECT count(*) FROM outbox_message WHERE parameters_sealed != x''") == [(0,)]


def _texts(killer):
    """What each Message-ID was a message of."""
    texts = {}
    for mail in killer.received:
        text = mail.get_body(("plain",)).get_content()
        texts.setdefault(mail["Message-ID"], set()).add(text)
    return texts


@pytest.mark.parametrize(
    ("command", "again"),
    [
        # Claimed and not sent: nobody has it yet.
        ("MAIL", 0),
        ("RCPT", 0),
        # Sent and not marked: the server has it, and nobody was told that it does.
        ("DATA", 1),
    ],
)
def test_who_is_killed_while_sending_loses_no_mail(start_smtp, posted, sql, command, again):
    """EM-18: and what is sent twice has the same Message-ID and text each time."""
    killer = Killer()
    killer.moment = lambda seen: seen == command and len(killer.received) >= MESSAGES // 2
    start_smtp(killer)
    killer.victim = process = _deliverer()
    process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL
    blocking = sql("SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL")
    assert blocking == [(MESSAGES - len(killer.received) + again,)]
    _drain(sql)
    assert set(killer.ids) == posted
    assert len(killer.received) == MESSAGES + again
    assert all(len(texts) == 1 for texts in _texts(killer).values())


def test_who_is_killed_again_and_again_loses_no_mail(start_smtp, posted, sql, outcomes):
    """EM-18: at moments that nobody chose; each kill repeats one message at most."""
    killer = Killer()
    start_smtp(killer)
    statuses = []
    for _ in range(5):
        # Some time after some command: between two, or while the mark is being written.
        last = killer.commands + random.randint(1, 20)  # noqa: S311 # it is no secret
        killer.victim = process = _deliverer()
        reached = threading.Event()
        killer.moment = lambda _seen, last=last, reached=reached: _reach(killer, last, reached)
        while process.poll() is None and not reached.wait(0.05):
            pass
        time.sleep(random.uniform(0, 0.01))  # noqa: S311 # as above
        process.kill()
        process.communicate(timeout=SECONDS)
        killer.victim = None
        statuses.append(process.returncode)
        _let_leases_pass(sql)
    _drain(sql)
    assert set(killer.ids) == posted
    kills = statuses.count(-signal.SIGKILL)
    outcome = outcomes["whoever sends mail is killed"]
    outcome.rounds += kills
    outcome.books.acknowledged += len(posted)
    assert kills > 0
    assert len(killer.received) <= MESSAGES + kills
    assert all(len(texts) == 1 for texts in _texts(killer).values())


def _reach(killer, last, reached):
    """Say that it is time, and kill nobody from here: the server goes on answering meanwhile."""
    if killer.commands >= last:
        reached.set()
    return False


class Hanging:
    """A server that takes connections and says nothing."""

    def __init__(self, port):
        self._listening = create_server(("127.0.0.1", port))
        self._connections = []
        self.asked = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                self._connections.append(self._listening.accept()[0])
            except OSError:
                return
            self.asked.set()

    def close(self):
        self._listening.shutdown(2)
        self._thread.join(SECONDS)
        for each in (self._listening, *self._connections):
            each.close()


@pytest.fixture
def hanging(monkeypatch):
    port = free_port()
    monkeypatch.setenv("ONESELF_SMTP_URL", f"smtp+plain://127.0.0.1:{port}")
    hanging = Hanging(port)
    yield hanging
    hanging.close()


def _ask(port, method, path, session=None):
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request(method, path, headers={"Authorization": f"Bearer {session}"})
    status = connection.getresponse().status
    connection.close()
    return status


def _serve(port, log):
    """Start the service; it answers when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-m", "oneself", "serve", "--port", str(port)],
        cwd=REPOSITORY,
        stderr=log,
    )
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if _ask(port, "GET", "/healthz") == HTTPStatus.OK:
                return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    process.wait()
    raise AssertionError(Path(log.name).read_text())


def test_a_server_that_hangs_keeps_nobody_waiting(monkeypatch, tmp_path, sql, hanging, outcomes):
    """EM-18, OP-03, OP-01: requests are answered meanwhile, the end comes, and nothing is lost."""
    port = free_port()
    monkeypatch.setenv("ONESELF_PUBLIC_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("ONESELF_SMTP_SECONDS", "15")
    made = subprocess.run(
        [sys.executable, "-m", "oneself", "demo", "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    session = json.loads(made.stdout)["base"]["session_token"]
    sql("DELETE FROM outbox_message")
    sql('UPDATE "user" SET email_verified_at = NULL')
    with (tmp_path / "log").open("wb") as log:
        service = _serve(port, log)
        try:
            asked = _ask(port, "POST", "/api/v1/me/verify-email", session)
            assert asked == HTTPStatus.OK
            assert hanging.asked.wait(SECONDS)
            # From here on the job waits for the server, and more is asked than there are threads.
            outcome = outcomes["the mail server hangs"]
            for _ in range(8):
                assert _ask(port, "GET", "/v1/me", session) == HTTPStatus.OK
                outcome.count_answer(HTTPStatus.OK, faulty=True)
                assert _ask(port, "GET", "/readyz") == HTTPStatus.OK
            assert sql("SELECT attempts FROM outbox_message") == [(0,)]
            service.send_signal(signal.SIGTERM)
            service.wait(SECONDS)
        finally:
            service.kill()
            service.wait()
    assert service.returncode == 0, (tmp_path / "log").read_text()
    # The message in flight had its time, and was counted as one that failed.
    kept = sql("SELECT attempts, leased_until, delivered_at FROM outbox_message")
    assert kept == [(1, None, None)]
    assert "@example" not in (tmp_path / "log").read_text()


def test_a_server_that_hangs_costs_nothing_that_was_noted(tmp_path, sql, hanging):
    """OP-01, LO-02: not even one that outlasts the time that the service has to end."""
    settings = {
        name.removeprefix("ONESELF_").lower(): value
        for name, value in os.environ.items()
        if name.startswith("ONESELF_")
    }
    settings |= {"smtp_seconds": "60", "drain_seconds": "5"}
    with running(tmp_path, **settings) as service:
        open_account(service, "alice@example.com")
        assert hanging.asked.wait(SECONDS)
        assert sql("SELECT count(*) FROM login_session WHERE last_used_at IS NOT NULL") == [(0,)]
    assert "Killing worker-1" in service.log
    assert sql("SELECT count(*) FROM login_session WHERE last_used_at IS NOT NULL") == [(1,)]
    assert sql("SELECT count(*) FROM security_event WHERE kind = 'sensitive_read'") == [(1,)]


def test_a_mail_server_that_is_away_keeps_nobody_from_starting(storage, tmp_path, outcomes):
    """OP-03: the service is ready, people log in, and what is mailed to them waits."""
    settings = {**storage.settings(), "smtp_url": "smtp+plain://127.0.0.1:9"}
    with running(tmp_path, password_cost=10, **settings) as service:
        alice = open_account(service, "alice@example.com")
        entered = {"email": alice.email, "password": alice.password}
        for method, target, body in (
            ("GET", "/readyz", None),
            ("POST", "/v1/auth/login", entered),
            ("POST", "/v1/auth/password/forgot", {"email": alice.email}),
            ("POST", "/api/v1/me/verify-email", None),
            ("GET", "/v1/me", None),
        ):
            answer = service.ask(method, target, headers=alice.bearer, body=body)
            assert answer.status < 300, answer
            outcomes["the mail server is away"].count_answer(answer.status, faulty=True)
        assert service.process.poll() is None
