"""Delivery of the outbox: leases, retries, dead messages, and crashes in between."""

import email
import email.policy
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from socket import create_server

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from accounts.services.mail.outbox import (
    MessageKind,
    delete_dead_messages,
    post_message,
    unseal_parameters,
)
from models import OutboxMessage
from oneself.database import Database
from oneself.logging import LineFormatter
from oneself.mail.delivery import Delivery, Run
from oneself.mail.folder import Folder
from oneself.mail.messages import Messages
from oneself.mail.smtp import Security, SmtpServer
from oneself.settings import Settings
from oneself.templating import Templates
from tests.support.deadlines import patient
from tests.support.postgresql import direct_connection
from tests.support.statements import record_statements
from tests.unit.oneself.mail.test_messages import PARAMETERS

SECRET = "ots_canary"
URL = "https://accounts.example"
MESSAGES = Messages(Templates(), public_url=URL)
SENDER = "no-reply@mail.example"
#: The time limit of one email, which makes a lease ten times as long plus a minute.
SECONDS = 10.0
LEASE = timedelta(seconds=10 * SECONDS + 60)
REFUSED = ("554 spam", Run(0, 3, 0, "The server refused the message (554)."))


class Handler:
    """Handler of a mail server. A test can set its replies, and a hook that runs before each."""

    def __init__(self):
        self.received = []
        self.replies = []
        self.sessions = set()
        self.happen = lambda: None
        self.port = None

    @property
    def ids(self):
        return [mail["Message-ID"] for mail in self.received]

    async def handle_DATA(self, _server, session, envelope):  # noqa: N802 # the library's name
        self.sessions.add(session.peer)
        self.happen()
        reply = self.replies.pop(0) if self.replies else "250 OK"
        # Counted for every reply: a server may have the mail although it reports an error.
        self.received.append(
            email.message_from_bytes(envelope.content, policy=email.policy.default)
        )
        return reply


@pytest.fixture
def mail_server():
    """A mail server on this machine."""
    post = Handler()
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    controller = Controller(post, hostname="127.0.0.1", port=port)
    controller.start()
    post.port = port
    yield post
    controller.stop()


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "mail" / "out", seconds=SECONDS)


@pytest.fixture
def server(mail_server):
    return SmtpServer("127.0.0.1", mail_server.port, Security.NONE, seconds=SECONDS)


@pytest.fixture
def make_delivery(env):
    """Make a delivery to a transport; each acts as another replica."""

    def make_delivery(transport, database=env.database):
        return Delivery(database, transport, MESSAGES, sender=SENDER)

    return make_delivery


@pytest.fixture
def delivery(make_delivery, folder):
    return make_delivery(folder)


@pytest.fixture
def by_smtp(make_delivery, server):
    return make_delivery(server)


@pytest.fixture
def post(env, alice):
    """Handler messages in one transaction, and return their ids."""

    def post(count=1):
        before = {message.id for message in env.messages()}
        with env.database.transaction(writing=True) as session:
            for _ in range(count):
                post_message(session, MessageKind.EMAIL_VERIFICATION, alice.view, secret=SECRET)
        return sorted({message.id for message in env.messages()} - before)

    return post


def _message(env, message_id):
    return next(message for message in env.messages() if message.id == message_id)


def _names(folder):
    return sorted(path.stem for path in folder.path.iterdir())


def _text(mail):
    """Return the plain text of a mail."""
    return mail.get_body(("plain",)).get_content()


def _counts(run):
    return run.delivered, run.failed, run.unreadable


# Delivery


def test_message_is_delivered_as_mail(delivery, folder, post):
    """EM-18: with its id, from the sender of the settings, to the stored address (EM-17)."""
    (message_id,) = post()
    assert delivery.deliver_pending() == Run(1, 0, 0, None)
    mail = email.message_from_bytes(
        folder.file_of(message_id).read_bytes(), policy=email.policy.default
    )
    assert mail["Message-ID"] == f"<{message_id}@accounts.example>"
    assert mail["From"].addresses[0].addr_spec == SENDER
    assert mail["To"].addresses[0].addr_spec == "alice@example.com"
    assert SECRET in _text(mail)


def test_envelope_has_the_stored_address(env, by_smtp, mail_server, post):
    """EM-17: with its domain in ASCII."""
    post()
    env.execute("UPDATE outbox_message SET recipient = 'Alice@münchen.example'")
    envelopes = []
    original = mail_server.handle_DATA

    async def handle_DATA(server, session, envelope):  # noqa: N802 # the library's name
        envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        return await original(server, session, envelope)

    mail_server.handle_DATA = handle_DATA
    by_smtp.deliver_pending()
    assert envelopes == [(SENDER, ["Alice@xn--mnchen-3ya.example"])]


def test_content_is_deleted_after_delivery(env, delivery, post):
    """TK-08: only the time of delivery is kept."""
    (message_id,) = post()
    env.clock.move(minutes=1)
    delivery.deliver_pending()
    message = _message(env, message_id)
    assert (message.delivered_at, message.parameters_sealed) == (env.clock.now, b"")
    assert (message.leased_until, message.attempts) == (None, 0)


def test_message_is_delivered_once(delivery, folder, post):
    """EM-18: without messages, not even the folder is created."""
    assert delivery.deliver_pending() == Run(0, 0, 0, None)
    assert not folder.path.exists()
    post()
    assert [delivery.deliver_pending().delivered for _ in range(2)] == [1, 0]


def test_run_delivers_all_messages_in_batches(by_smtp, mail_server, post):
    """EM-18, reliability finding 14: all over one connection, which is closed at the end."""
    posted = post(25)
    assert by_smtp.deliver_pending().delivered == 25
    assert sorted(mail_server.ids) == [f"<{message_id}@accounts.example>" for message_id in posted]
    assert len(mail_server.sessions) == 1
    post()
    by_smtp.deliver_pending()
    assert len(mail_server.sessions) == 2


AWAITED = [
    MessageKind.PASSWORD_RESET,
    MessageKind.EMAIL_VERIFICATION,
    MessageKind.EMAIL_CHANGE_CONFIRMATION,
    MessageKind.ACCOUNT_DELETED,
]


@pytest.fixture
def post_kinds(env, alice, clock):
    """Post a message of each kind, a second apart."""

    def post_kinds(*kinds):
        for kind in kinds:
            clock.move(seconds=1)
            env.act(post_message, kind, alice.view, **PARAMETERS)

    return post_kinds


def _kinds(env, mail_server):
    """The kinds of the delivered messages, in the order of their delivery."""
    kinds = {f"<{message.id}@accounts.example>": message.kind for message in env.messages()}
    return [kinds[message_id] for message_id in mail_server.ids]


def test_awaited_mail_is_delivered_before_notices(env, by_smtp, mail_server, post_kinds):
    """EM-18, reliability finding 14: and each of the two in the order of posting."""
    post_kinds(*MessageKind, *MessageKind)
    by_smtp.deliver_pending()
    awaited = [kind for kind in MessageKind if kind in AWAITED]
    notices = [kind for kind in MessageKind if kind not in AWAITED]
    assert _kinds(env, mail_server) == awaited * 2 + notices * 2


def test_reset_does_not_wait_for_a_backlog_of_notices(env, by_smtp, mail_server, post_kinds):
    """EM-18, reliability finding 14: only for the batch that is being sent."""
    post_kinds(*[MessageKind.NEW_LOGIN] * 35)

    def request_a_reset():
        mail_server.happen = lambda: None
        post_kinds(MessageKind.PASSWORD_RESET)

    mail_server.happen = request_a_reset
    by_smtp.deliver_pending()
    assert _kinds(env, mail_server).index(MessageKind.PASSWORD_RESET) == 10
    assert len(mail_server.ids) == 36


def test_messages_are_sent_in_the_order_of_their_due_times(env, by_smtp, mail_server, post):
    """EM-18: not in the order in which they were posted."""
    (late,) = post()
    env.clock.move(minutes=5)
    (early,) = post()
    env.execute("UPDATE outbox_message SET due_at = '2026-04-05 09:00:00' WHERE id = ?", early)
    by_smtp.deliver_pending()
    assert mail_server.ids == [f"<{message_id}@accounts.example>" for message_id in (early, late)]


def test_message_is_not_sent_before_it_is_due(env, delivery, post):
    """EM-18."""
    (message_id,) = post()
    env.execute("UPDATE outbox_message SET due_at = '2026-04-05 10:05:00'")
    env.clock.move(minutes=4, seconds=59)
    assert delivery.deliver_pending().delivered == 0
    env.clock.move(seconds=1)
    assert delivery.deliver_pending().delivered == 1
    assert _message(env, message_id).delivered_at == env.clock.now


def test_no_lock_is_held_while_mail_is_sent(env, by_smtp, mail_server, post):
    """EM-18, OP-03: a slow server does not block writers."""
    post()
    writers = []

    def write():
        with env.database.transaction(writing=True, blocking=False) as session:
            session.core.exec_driver_sql("UPDATE tenant SET display_name = 'Written'")
            writers.append(threading.current_thread().name)

    mail_server.happen = write
    assert by_smtp.deliver_pending().delivered == 1
    assert len(writers) == 1


# Failures


def test_deferred_mail_is_retried(env, by_smtp, mail_server, post):
    """EM-18: with the same Message-ID and the same text."""
    (message_id,) = post()
    mail_server.replies = ["451 greylisted, alice@example.com"]
    assert by_smtp.deliver_pending() == Run(0, 1, 0, "The server refused the message (451).")
    message = _message(env, message_id)
    assert (message.attempts, message.delivered_at, message.gave_up_at) == (1, None, None)
    assert message.last_problem == "The server refused the message (451)."
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)
    env.clock.move(minutes=1)
    assert by_smtp.deliver_pending() == Run(1, 0, 0, None)
    assert len(mail_server.received) == 2
    assert len(set(mail_server.ids)) == 1
    assert len(set(map(_text, mail_server.received))) == 1


def test_pauses_between_retries_grow_to_an_hour(env, by_smtp, mail_server, post):
    """EM-18: doubled each time, with up to a fifth of jitter."""
    (message_id,) = post()
    mail_server.replies = ["451 no"] * 9
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60, 60):
        before = env.clock.now
        by_smtp.deliver_pending()
        pause = _message(env, message_id).due_at - before
        assert timedelta(minutes=minutes) * 0.8 <= pause <= timedelta(minutes=minutes)
        env.clock.now += pause
    assert _message(env, message_id).attempts == 9


def test_messages_that_failed_together_are_retried_at_different_times(
    env, by_smtp, mail_server, post
):
    """EM-18: a recovering server is not overloaded."""
    post(8)
    mail_server.replies = ["451 no"] * 8
    by_smtp.deliver_pending()
    assert len({message.due_at for message in env.messages()}) == 8


def test_mail_is_given_up_after_a_day(env, by_smtp, mail_server, post):
    """EM-18: its content stays sealed, so that an operator can retry it."""
    (message_id,) = post()
    mail_server.replies = ["451 no"] * 100
    began = env.clock.now
    while (message := _message(env, message_id)).gave_up_at is None:
        env.clock.now = message.due_at
        assert by_smtp.deliver_pending().failed == 1
    assert timedelta(hours=23) < env.clock.now - began <= timedelta(hours=24)
    assert message.gave_up_at == env.clock.now
    with env.database.transaction(writing=False) as session:
        assert unseal_parameters(session, message) == {"secret": SECRET}
    env.clock.move(days=30)
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)


def test_old_mail_is_not_given_up_at_the_first_failure(env, by_smtp, mail_server, post):
    """EM-18: after days without a running service, a server may well reply 451 first."""
    (message_id,) = post()
    env.clock.move(days=3)
    mail_server.replies = ["451 no"] * 100
    for _ in range(4):
        assert by_smtp.deliver_pending().failed == 1
        assert _message(env, message_id).gave_up_at is None
        env.clock.now = _message(env, message_id).due_at
    by_smtp.deliver_pending()
    assert _message(env, message_id).gave_up_at == env.clock.now


def test_rejected_mail_is_given_up_at_once(env, by_smtp, mail_server, post):
    """EM-18: and the next mail is sent."""
    post(2)
    mail_server.replies = ["554 spam"]
    assert by_smtp.deliver_pending() == Run(1, 1, 0, "The server refused the message (554).")
    (dead,) = (message for message in env.messages() if message.delivered_at is None)
    assert (dead.gave_up_at, dead.attempts, dead.leased_until) == (env.clock.now, 1, None)
    env.clock.move(days=1)
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)


def test_dead_message_is_emptied_after_a_week(env, by_smtp, mail_server, post):
    """TK-08: until then it can be retried; waiting messages stay as they are."""
    (message_id,) = post()
    mail_server.replies = ["554 spam"]
    by_smtp.deliver_pending()
    (waiting,) = post()
    env.clock.move(days=6, hours=23, minutes=59)
    assert env.act(delete_dead_messages) == 0
    env.clock.move(minutes=1)
    assert [env.act(delete_dead_messages) for _ in range(2)] == [1, 0]
    assert _message(env, message_id).parameters_sealed == b""
    assert _message(env, waiting).parameters_sealed != b""


def test_unavailable_server_is_tried_once_for_a_batch(env, by_smtp, mail_server, post):
    """EM-18: the messages of the batch are postponed, and the run ends."""
    post(25)
    mail_server.replies = ["421 closing"]
    expected = Run(0, 10, 0, "The server refused the message (421).")
    assert by_smtp.deliver_pending() == expected
    assert len(mail_server.received) == 1
    assert sorted(message.attempts for message in env.messages()) == [0] * 15 + [1] * 10
    assert {message.leased_until for message in env.messages()} == {None}
    env.clock.move(minutes=1)
    assert by_smtp.deliver_pending().delivered == 25


def test_message_waits_while_the_folder_cannot_be_written(env, delivery, folder, post):
    """DB-06."""
    (message_id,) = post()
    folder.path.parent.write_bytes(b"a file in the way")
    assert delivery.deliver_pending() == Run(0, 1, 0, "The folder cannot be written (ENOTDIR).")
    assert _message(env, message_id).delivered_at is None
    folder.path.parent.unlink()
    env.clock.move(minutes=1)
    assert delivery.deliver_pending().delivered == 1


class Broken:
    """A transport with a defect that shows with certain messages."""

    seconds = SECONDS

    def __init__(self, *failing):
        self.failing = set(failing)
        self.sent = []
        self.happen = lambda: None

    @contextmanager
    def open(self):
        yield self._send

    def _send(self, message):
        if message.id in self.failing:
            raise KeyError(SECRET, message.recipient)
        self.happen()
        self.sent.append(message.id)


def test_defect_affects_one_message_only(env, make_delivery, post):
    """OP-03, LO-01: it counts as any other failure, and is reported by its class."""
    failing, *others = post(3)
    transport = Broken(failing)
    assert make_delivery(transport).deliver_pending() == Run(
        2, 1, 0, "It could not be sent (KeyError)."
    )
    assert sorted(transport.sent) == others
    assert _message(env, failing).attempts == 1


# Unreadable messages


def test_unreadable_message_is_skipped(env, delivery, folder, post, caplog):
    """TK-05: it stays in the outbox, is logged once, and the next mail is sent."""
    broken, good = post(2)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", broken)
    with caplog.at_level(logging.ERROR):
        runs = [delivery.deliver_pending() for _ in range(3)]
    assert [_counts(run) for run in runs] == [(1, 0, 1), (0, 0, 1), (0, 0, 1)]
    assert _names(folder) == [good]
    assert [record.message_id for record in caplog.records] == [broken]
    kept = _message(env, broken)
    assert (kept.delivered_at, kept.gave_up_at, kept.attempts) == (None, None, 0)


def test_unreadable_batches_are_skipped(env, delivery, post):
    """TK-05."""
    post(25)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00'")
    env.clock.move(minutes=1)
    post()
    assert _counts(delivery.deliver_pending()) == (1, 0, 25)


def test_any_number_of_messages_can_be_skipped(env, delivery, folder, post, caplog):
    """TK-05, OP-03: even more than the 65,535 parameters of a statement of PostgreSQL."""
    broken, _ = post(2)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", broken)
    skipped = {f"msg_{number}" for number in range(70_000)}
    delivery._unreadable |= skipped  # noqa: SLF001 # to post as many takes minutes
    with caplog.at_level(logging.ERROR):
        assert [_counts(delivery.deliver_pending()) for _ in range(2)] == [
            (1, 0, 70_001),
            (0, 0, 70_001),
        ]
    assert [record.message_id for record in caplog.records] == [broken]
    assert len(_names(folder)) == 1


@pytest.mark.parametrize("change", ["kind = 'newer'", "recipient = 'malformed'"])
def test_message_that_cannot_be_composed_is_skipped(env, delivery, post, caplog, change):
    """EM-18, DB-15: a kind of a newer version waits for that version."""
    unknown, _ = post(2)
    env.execute(f"UPDATE outbox_message SET {change} WHERE id = ?", unknown)  # noqa: S608 # ours
    with caplog.at_level(logging.ERROR):
        assert [_counts(delivery.deliver_pending()) for _ in range(2)] == [(1, 0, 1), (0, 0, 1)]
    assert [record.message_id for record in caplog.records] == [unknown]
    waiting = [message.id for message in env.messages() if message.delivered_at is None]
    assert waiting == [unknown]


def test_message_that_one_replica_cannot_read_is_free_for_another(
    env, delivery, make_delivery, folder, post
):
    """DB-15: at once, without waiting for a lease to expire."""
    (message_id,) = post()
    (message,) = env.messages()
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00'")
    assert _counts(delivery.deliver_pending()) == (0, 0, 1)
    env.execute("UPDATE outbox_message SET parameters_sealed = ?", message.parameters_sealed)
    assert _counts(make_delivery(folder).deliver_pending()) == (1, 0, 0)
    assert _names(folder) == [message_id]


# Leases


def test_leased_batch_is_not_delivered_by_another_replica(by_smtp, delivery, mail_server, post):
    """EM-18."""
    post(10)
    runs = []
    mail_server.happen = lambda: runs.append(delivery.deliver_pending())
    assert by_smtp.deliver_pending().delivered == 10
    assert runs == [Run(0, 0, 0, None)] * 10


def test_unmarked_message_is_sent_again_when_its_lease_expires(  # noqa: PLR0917 # fixtures
    env, by_smtp, make_delivery, server, mail_server, post
):
    """EM-18: at least once, with the same Message-ID, and not while its sender may be alive."""
    (message_id,) = post()
    with env.failing_on("outbox_message", "UPDATE OF delivered_at"), pytest.raises(IntegrityError):
        by_smtp.deliver_pending()
    assert _message(env, message_id).leased_until == env.clock.now + LEASE
    env.clock.now += LEASE - timedelta(seconds=1)
    assert make_delivery(server).deliver_pending().delivered == 0
    env.clock.move(seconds=1)
    assert make_delivery(server).deliver_pending().delivered == 1
    assert mail_server.ids == [f"<{message_id}@accounts.example>"] * 2


@pytest.mark.parametrize("reply", ["250 OK", "451 no", "554 no"])
def test_replica_sends_no_more_after_its_lease_has_expired(  # noqa: PLR0917 # fixtures and parameters
    env, by_smtp, delivery, folder, mail_server, post, reply
):
    """EM-18: nor does it write to messages that another replica has taken over."""
    posted = post(3)

    def take_over():
        env.clock.now += LEASE
        assert delivery.deliver_pending().delivered == 3

    mail_server.happen = take_over
    mail_server.replies = [reply]
    by_smtp.deliver_pending()
    assert len(mail_server.received) == 1
    assert _names(folder) == posted
    assert {message.delivered_at for message in env.messages()} == {env.clock.now}
    assert {message.gave_up_at for message in env.messages()} == {None}
    assert {message.last_problem for message in env.messages()} == {None}


def test_replica_sends_no_more_after_losing_its_lease(env, by_smtp, mail_server, post):
    """EM-18: for example to a replica whose clock is ahead."""
    post(3)

    def take_over():
        env.execute("UPDATE outbox_message SET leased_until = '2026-04-05 10:10:00'")

    mail_server.happen = take_over
    assert by_smtp.deliver_pending().delivered == 1
    assert len(mail_server.received) == 1
    left = [message for message in env.messages() if message.delivered_at is None]
    assert {message.leased_until for message in left} == {datetime(2026, 4, 5, 10, 10, tzinfo=UTC)}


def _longest_allowed():
    constraints = Settings.model_fields["smtp_seconds"].metadata
    [limit] = [constraint.le for constraint in constraints if hasattr(constraint, "le")]
    return float(limit)


def test_lease_of_a_replica_with_a_longer_timeout_is_respected(env, make_delivery, post):
    """EM-18: ONESELF_SMTP_SECONDS is changed on one replica after the other."""
    post()
    slow, fast = Broken(), Broken()
    slow.seconds, fast.seconds = _longest_allowed(), 1.0
    runs = []
    slow.happen = lambda: runs.append(make_delivery(fast).deliver_pending())
    assert make_delivery(slow).deliver_pending().delivered == 1
    assert runs == [Run(0, 0, 0, None)]
    assert fast.sent == []
    assert env.messages()[0].delivered_at


def test_rest_of_a_slow_batch_is_leased_again(env, by_smtp, mail_server, post):
    """EM-18: if the lease could expire during a message; everything is sent once."""
    posted = post(3)

    def be_slow():
        mail_server.happen = lambda: None
        env.clock.now += LEASE - timedelta(seconds=SECONDS - 1)

    mail_server.happen = be_slow
    assert by_smtp.deliver_pending() == Run(3, 0, 0, None)
    assert sorted(mail_server.ids) == [f"<{message_id}@accounts.example>" for message_id in posted]


@pytest.fixture
def cut(env):
    """Terminate all connections to the database, as a failover does."""

    def cut():
        with direct_connection(env.location) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    return cut


@pytest.mark.only_on("postgresql")
@pytest.mark.parametrize(("reply", "run"), [("250 OK", Run(3, 0, 0, None)), REFUSED])
def test_lost_database_connection_sends_nothing_twice(  # noqa: PLR0917 # fixtures and parameters
    env, by_smtp, mail_server, post, cut, reply, run
):
    """EM-18, DB-12: the outcomes are marked over a new connection."""
    post(3)
    mail_server.happen, mail_server.replies = cut, [reply] * 3
    assert by_smtp.deliver_pending() == run
    env.clock.now += LEASE
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)
    assert len(set(mail_server.ids)) == len(mail_server.ids) == 3


@pytest.mark.only_on("postgresql")
def test_lost_database_connection_between_two_runs_is_replaced(env, delivery, post, cut, caplog):
    """DB-12: an unreadable message is still logged once."""
    broken, *_ = post(2)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", broken)
    cut()
    with caplog.at_level(logging.ERROR):
        assert _counts(delivery.deliver_pending()) == (1, 0, 1)
    assert [record.message_id for record in caplog.records] == [broken]


def test_shutdown_waits_for_one_mail_only(env, by_smtp, delivery, mail_server, post):
    """OP-01: the leases of the rest are released, so that another replica can send it at once."""
    post(3)
    mail_server.happen = by_smtp.stop
    assert by_smtp.deliver_pending() == Run(1, 0, 0, None)
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)
    left = [message for message in env.messages() if message.delivered_at is None]
    assert [(message.leased_until, message.attempts) for message in left] == [(None, 0)] * 2
    assert delivery.deliver_pending().delivered == 2


@pytest.mark.only_on("postgresql")
def test_locked_message_is_left_to_the_next_run(env, delivery, post):
    """EM-18: the run does not poll for it, and sends the others."""
    locked, *_ = post(12)
    with env.database.transaction(writing=True) as session, ThreadPoolExecutor(1) as pool:
        lock = select(OutboxMessage.id).where(OutboxMessage.id == locked).with_for_update()
        session.core.execute(lock).all()
        running = pool.submit(delivery.deliver_pending)
        try:
            assert running.result(timeout=patient(5)).delivered == 11
        finally:
            delivery.stop()
    left = [message.id for message in env.messages() if message.delivered_at is None]
    assert left == [locked]


def test_leases_are_released_in_one_statement(env, by_smtp, mail_server, post):
    """OP-01, HT-21: a large batch delays neither the shutdown nor writers."""
    post(10)
    mail_server.happen = by_smtp.stop
    with record_statements("sqlite" if env.on_sqlite else "postgresql") as statements:
        by_smtp.deliver_pending()
    released = "UPDATE outbox_message SET leased_until=? WHERE outbox_message.id IN (…)"
    assert [statement.form.startswith(released) for statement in statements].count(True) == 1


def test_two_replicas_send_each_message_once(env, make_delivery, server, mail_server, post):
    """EM-18: five hundred messages, over two database connections."""
    posted = post(500)
    other_database = Database(env.location, keys=env.keys, limits=env.limits, clock=env.clock)
    deliveries = [make_delivery(server), make_delivery(server, other_database)]
    runs = []
    ready = threading.Barrier(2)

    def run(delivery):
        ready.wait(patient(10))
        runs.append(delivery.deliver_pending())

    threads = [threading.Thread(target=run, args=(delivery,)) for delivery in deliveries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    other_database.close()
    assert sum(run.delivered for run in runs) == 500
    assert all(run.delivered for run in runs)
    assert sorted(mail_server.ids) == [f"<{message_id}@accounts.example>" for message_id in posted]


# Logs


@pytest.mark.parametrize("reply", ["250 OK", "451 no", "554 no", "421 no"])
def test_no_secret_and_no_address_is_logged_or_kept(  # noqa: PLR0917 # fixtures and parameters
    env, by_smtp, make_delivery, mail_server, post, caplog, reply
):
    """LO-01: neither of ours nor of the server's text."""
    unreadable, unknown, malformed, failing, *_ = post(6)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", unreadable)
    env.execute("UPDATE outbox_message SET kind = 'newer' WHERE id = ?", unknown)
    env.execute("UPDATE outbox_message SET recipient = '<alice>' WHERE id = ?", malformed)
    env.execute("UPDATE outbox_message SET due_at = '2026-04-05 09:00:00' WHERE id = ?", failing)
    mail_server.replies = [f"{reply} alice@example.com {SECRET}"]
    with caplog.at_level(logging.DEBUG):
        assert make_delivery(Broken(failing)).deliver_pending().failed == 1
        post()
        by_smtp.deliver_pending()
    # The mail server of the test logs all that it receives.
    records = [record for record in caplog.records if record.name != "mail.log"]
    assert len(records) >= 5
    problems = [message.last_problem or "" for message in env.messages()]
    for line in [*map(LineFormatter().format, records), *problems]:
        assert "alice" not in line.lower()
        assert "canary" not in line
