"""Taking mail out of the outbox: leases, tries, dead letters, and crashes in between."""

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

from accounts.services.outbox import (
    MessageKind,
    delete_dead_messages,
    open_parameters,
    post_message,
)
from models import OutboxMessage
from oneself.database import Database
from oneself.logging import JsonFormatter
from oneself.mail.delivery import Delivery, Run
from oneself.mail.messages import Messages
from oneself.mail.smtp import Folder, Security, SmtpServer
from oneself.settings import Settings
from oneself.templating import Templates
from tests.support.postgresql import connected
from tests.support.statements import asked_of

SECRET = "ots_canary"
URL = "https://accounts.example"
SENDER = "no-reply@mail.example"
#: A letter has this long, and so a lease ten times as long and a minute.
SECONDS = 10.0
LEASE = timedelta(seconds=10 * SECONDS + 60)
REFUSED = ("554 spam", Run(0, 3, 0, "The server refused the message (554)."))


class Post:
    """What a server got. A test can give it other replies, and have something happen first."""

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
        # A server that says nothing good may have it all the same, so each is counted.
        self.received.append(
            email.message_from_bytes(envelope.content, policy=email.policy.default)
        )
        return reply


@pytest.fixture
def post_office():
    """A server on this machine."""
    post = Post()
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
def server(post_office):
    return SmtpServer("127.0.0.1", post_office.port, Security.NONE, seconds=SECONDS)


@pytest.fixture
def deliverer(env):
    """Makes what delivers to a mailbox; each is as another replica."""

    def deliverer(mailbox, database=env.database):
        return Delivery(database, mailbox, Messages(Templates(), public_url=URL), sender=SENDER)

    return deliverer


@pytest.fixture
def delivery(deliverer, folder):
    return deliverer(folder)


@pytest.fixture
def by_smtp(deliverer, server):
    return deliverer(server)


@pytest.fixture
def post(env, alice):
    """Puts messages into the outbox, all in one transaction; returns their ids."""

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
    """What a reader without HTML reads."""
    return mail.get_body(("plain",)).get_content()


def _counts(run):
    return run.delivered, run.failed, run.unreadable


# What is delivered.


def test_a_message_becomes_a_mail(delivery, folder, post):
    """EM-18: under its own id, from the sender of the settings, to the stored address (EM-17)."""
    (message_id,) = post()
    assert delivery.deliver_pending() == Run(1, 0, 0, None)
    mail = email.message_from_bytes(
        folder.file_of(message_id).read_bytes(), policy=email.policy.default
    )
    assert mail["Message-ID"] == f"<{message_id}@accounts.example>"
    assert mail["From"].addresses[0].addr_spec == SENDER
    assert mail["To"].addresses[0].addr_spec == "alice@example.com"
    assert SECRET in _text(mail)


def test_the_envelope_has_the_stored_address(env, by_smtp, post_office, post):
    """EM-17: as it is in the outbox, with its domain in ASCII."""
    post()
    env.execute("UPDATE outbox_message SET recipient = 'Alice@münchen.example'")
    seen = []
    taken = post_office.handle_DATA

    async def handle_DATA(server, session, envelope):  # noqa: N802 # the library's name
        seen.append((envelope.mail_from, envelope.rcpt_tos))
        return await taken(server, session, envelope)

    post_office.handle_DATA = handle_DATA
    by_smtp.deliver_pending()
    assert seen == [(SENDER, ["Alice@xn--mnchen-3ya.example"])]


def test_what_was_delivered_is_not_kept(env, delivery, post):
    """TK-08: the row says when, and what was in it is gone."""
    (message_id,) = post()
    env.clock.move(minutes=1)
    delivery.deliver_pending()
    message = _message(env, message_id)
    assert (message.delivered_at, message.parameters_sealed) == (env.clock.now, b"")
    assert (message.leased_until, message.attempts) == (None, 0)


def test_a_message_is_delivered_once(delivery, folder, post):
    """EM-18: the second time there is nothing to do, and nothing to make a folder for."""
    assert delivery.deliver_pending() == Run(0, 0, 0, None)
    assert not folder.path.exists()
    post()
    assert [delivery.deliver_pending().delivered for _ in range(2)] == [1, 0]


def test_a_run_goes_on_until_there_is_no_more(by_smtp, post_office, post):
    """EM-18: in batches, each over a connection of its own."""
    posted = post(25)
    assert by_smtp.deliver_pending().delivered == 25
    assert sorted(post_office.ids) == [f"<{each}@accounts.example>" for each in posted]
    assert len(post_office.sessions) == 3


def test_what_is_due_first_goes_first(env, by_smtp, post_office, post):
    """EM-18: whatever was put down first."""
    (late,) = post()
    env.clock.move(minutes=5)
    (early,) = post()
    env.execute("UPDATE outbox_message SET due_at = '2026-04-05 09:00:00' WHERE id = ?", early)
    by_smtp.deliver_pending()
    assert post_office.ids == [f"<{each}@accounts.example>" for each in (early, late)]


def test_what_is_not_due_waits(env, delivery, post):
    """EM-18: to the second."""
    (message_id,) = post()
    env.execute("UPDATE outbox_message SET due_at = '2026-04-05 10:05:00'")
    env.clock.move(minutes=4, seconds=59)
    assert delivery.deliver_pending().delivered == 0
    env.clock.move(seconds=1)
    assert delivery.deliver_pending().delivered == 1
    assert _message(env, message_id).delivered_at == env.clock.now


def test_nothing_is_locked_while_mail_is_sent(env, by_smtp, post_office, post):
    """EM-18, OP-03: whoever writes meanwhile is not kept waiting, however long the server takes."""
    post()
    written = []

    def write():
        with env.database.transaction(writing=True, blocking=False) as session:
            session.core.exec_driver_sql("UPDATE tenant SET display_name = 'Written'")
            written.append(threading.current_thread().name)

    post_office.happen = write
    assert by_smtp.deliver_pending().delivered == 1
    assert len(written) == 1


# What fails.


def test_a_mail_that_is_not_taken_now_is_tried_later(env, by_smtp, post_office, post):
    """EM-18: with the same Message-ID and the same text."""
    (message_id,) = post()
    post_office.replies = ["451 greylisted, alice@example.com"]
    assert by_smtp.deliver_pending() == Run(0, 1, 0, "The server refused the message (451).")
    message = _message(env, message_id)
    assert (message.attempts, message.delivered_at, message.gave_up_at) == (1, None, None)
    assert message.last_problem == "The server refused the message (451)."
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)
    env.clock.move(minutes=1)
    assert by_smtp.deliver_pending() == Run(1, 0, 0, None)
    assert len(post_office.received) == 2
    assert len(set(post_office.ids)) == 1
    assert len(set(map(_text, post_office.received))) == 1


def test_the_pauses_grow_to_an_hour(env, by_smtp, post_office, post):
    """EM-18: doubled each time, and up to a fifth shorter by chance."""
    (message_id,) = post()
    post_office.replies = ["451 no"] * 9
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60, 60):
        before = env.clock.now
        by_smtp.deliver_pending()
        pause = _message(env, message_id).due_at - before
        assert timedelta(minutes=minutes) * 0.8 <= pause <= timedelta(minutes=minutes)
        env.clock.now += pause
    assert _message(env, message_id).attempts == 9


def test_what_failed_together_does_not_come_back_together(env, by_smtp, post_office, post):
    """EM-18: a server that is up again is not overrun."""
    post(8)
    post_office.replies = ["451 no"] * 8
    by_smtp.deliver_pending()
    assert len({message.due_at for message in env.messages()}) == 8


def test_a_mail_is_given_up_after_a_day(env, by_smtp, post_office, post):
    """EM-18: what it would have said stays sealed, so that it can be retried."""
    (message_id,) = post()
    post_office.replies = ["451 no"] * 100
    began = env.clock.now
    while (message := _message(env, message_id)).gave_up_at is None:
        env.clock.now = message.due_at
        assert by_smtp.deliver_pending().failed == 1
    assert timedelta(hours=23) < env.clock.now - began <= timedelta(hours=24)
    assert message.gave_up_at == env.clock.now
    with env.database.transaction(writing=False) as session:
        assert open_parameters(session, message) == {"secret": SECRET}
    env.clock.move(days=30)
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)


def test_a_mail_that_lay_for_long_is_not_given_up_at_once(env, by_smtp, post_office, post):
    """EM-18: after a weekend without a service, a server that says 451 first is common."""
    (message_id,) = post()
    env.clock.move(days=3)
    post_office.replies = ["451 no"] * 100
    for _ in range(4):
        assert by_smtp.deliver_pending().failed == 1
        assert _message(env, message_id).gave_up_at is None
        env.clock.now = _message(env, message_id).due_at
    by_smtp.deliver_pending()
    assert _message(env, message_id).gave_up_at == env.clock.now


def test_a_mail_that_is_refused_for_good_is_dead(env, by_smtp, post_office, post):
    """EM-18: at once, and the mail behind it goes out."""
    post(2)
    post_office.replies = ["554 spam"]
    assert by_smtp.deliver_pending() == Run(1, 1, 0, "The server refused the message (554).")
    (dead,) = (message for message in env.messages() if message.delivered_at is None)
    assert (dead.gave_up_at, dead.attempts, dead.leased_until) == (env.clock.now, 1, None)
    env.clock.move(days=1)
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)


def test_a_dead_letter_is_emptied_after_a_week(env, by_smtp, post_office, post):
    """TK-08: until then it can be retried; nothing that waits is touched."""
    (message_id,) = post()
    post_office.replies = ["554 spam"]
    by_smtp.deliver_pending()
    (waiting,) = post()
    env.clock.move(days=6, hours=23, minutes=59)
    assert env.act(delete_dead_messages) == 0
    env.clock.move(minutes=1)
    assert [env.act(delete_dead_messages) for _ in range(2)] == [1, 0]
    assert _message(env, message_id).parameters_sealed == b""
    assert _message(env, waiting).parameters_sealed != b""


def test_a_server_that_is_away_is_asked_once_for_a_batch(env, by_smtp, post_office, post):
    """EM-18: the messages of the batch are put off, and the run ends."""
    post(25)
    post_office.replies = ["421 closing"]
    expected = Run(0, 10, 0, "The server refused the message (421).")
    assert by_smtp.deliver_pending() == expected
    assert len(post_office.received) == 1
    assert sorted(message.attempts for message in env.messages()) == [0] * 15 + [1] * 10
    assert {message.leased_until for message in env.messages()} == {None}
    env.clock.move(minutes=1)
    assert by_smtp.deliver_pending().delivered == 25


def test_a_folder_that_cannot_be_written_loses_nothing(env, delivery, folder, post):
    """DB-06: the message waits for better times."""
    (message_id,) = post()
    folder.path.parent.write_bytes(b"a file in the way")
    assert delivery.deliver_pending() == Run(0, 1, 0, "The folder cannot be written (ENOTDIR).")
    assert _message(env, message_id).delivered_at is None
    folder.path.parent.unlink()
    env.clock.move(minutes=1)
    assert delivery.deliver_pending().delivered == 1


class Broken:
    """A mailbox with a defect, which shows at one letter."""

    seconds = SECONDS

    def __init__(self, *wrong):
        self.wrong = set(wrong)
        self.taken = []
        self.happen = lambda: None

    @contextmanager
    def open(self):
        yield self._take

    def _take(self, letter):
        if letter.id in self.wrong:
            raise KeyError(SECRET, letter.recipient)
        self.happen()
        self.taken.append(letter.id)


def test_a_defect_stops_one_letter_only(env, deliverer, post):
    """OP-03, LO-01: it is counted like any other failure, and said by its class."""
    wrong, *right = post(3)
    mailbox = Broken(wrong)
    assert deliverer(mailbox).deliver_pending() == Run(2, 1, 0, "It could not be sent (KeyError).")
    assert sorted(mailbox.taken) == right
    assert _message(env, wrong).attempts == 1


# What cannot be read.


def test_a_message_that_cannot_be_read_is_not_in_the_way(env, delivery, folder, post, caplog):
    """TK-05: it stays where it is, is said once, and the mail behind it goes out."""
    broken, good = post(2)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", broken)
    with caplog.at_level(logging.ERROR):
        runs = [delivery.deliver_pending() for _ in range(3)]
    assert [_counts(run) for run in runs] == [(1, 0, 1), (0, 0, 1), (0, 0, 1)]
    assert _names(folder) == [good]
    assert [record.message_id for record in caplog.records] == [broken]
    kept = _message(env, broken)
    assert (kept.delivered_at, kept.gave_up_at, kept.attempts) == (None, None, 0)


def test_batches_that_cannot_be_read_are_not_in_the_way(env, delivery, post):
    """TK-05: however many there are, the next are read after them."""
    post(25)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00'")
    env.clock.move(minutes=1)
    post()
    assert _counts(delivery.deliver_pending()) == (1, 0, 25)


def test_as_much_as_there_is_can_be_left(env, delivery, folder, post, caplog):
    """TK-05, OP-03: more than a statement has parameters for, of which PostgreSQL takes 65,535."""
    broken, _ = post(2)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", broken)
    met = {f"msg_{number}" for number in range(70_000)}
    delivery._unreadable |= met  # noqa: SLF001 # to meet as many takes minutes
    with caplog.at_level(logging.ERROR):
        assert [_counts(delivery.deliver_pending()) for _ in range(2)] == [
            (1, 0, 70_001),
            (0, 0, 70_001),
        ]
    assert [record.message_id for record in caplog.records] == [broken]
    assert len(_names(folder)) == 1


@pytest.mark.parametrize("broken", ["kind = 'newer'", "recipient = 'nobody'"])
def test_a_message_that_cannot_be_written_is_left(env, delivery, post, caplog, broken):
    """EM-18, DB-15: a kind that a newer version has put there waits for it."""
    unknown, _ = post(2)
    env.execute(f"UPDATE outbox_message SET {broken} WHERE id = ?", unknown)  # noqa: S608 # ours
    with caplog.at_level(logging.ERROR):
        assert [_counts(delivery.deliver_pending()) for _ in range(2)] == [(1, 0, 1), (0, 0, 1)]
    assert [record.message_id for record in caplog.records] == [unknown]
    waiting = [message.id for message in env.messages() if message.delivered_at is None]
    assert waiting == [unknown]


def test_what_one_replica_cannot_read_another_may(env, delivery, deliverer, folder, post):
    """DB-15: it is not kept from it, not even for the time of a lease."""
    (message_id,) = post()
    (message,) = env.messages()
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00'")
    assert _counts(delivery.deliver_pending()) == (0, 0, 1)
    env.execute("UPDATE outbox_message SET parameters_sealed = ?", message.parameters_sealed)
    assert _counts(deliverer(folder).deliver_pending()) == (1, 0, 0)
    assert _names(folder) == [message_id]


# Leases.


def test_a_message_that_is_being_sent_is_nobody_elses(by_smtp, delivery, post_office, post):
    """EM-18: nor are the others of its batch."""
    post(10)
    meanwhile = []
    post_office.happen = lambda: meanwhile.append(delivery.deliver_pending())
    assert by_smtp.deliver_pending().delivered == 10
    assert meanwhile == [Run(0, 0, 0, None)] * 10


def test_a_crash_before_the_mark_sends_again_when_the_lease_is_over(  # noqa: PLR0917 # fixtures
    env, by_smtp, deliverer, server, post_office, post
):
    """EM-18: at least once, with the same Message-ID; and not before, which is who may be alive."""
    (message_id,) = post()
    with env.failing_on("outbox_message", "UPDATE OF delivered_at"), pytest.raises(IntegrityError):
        by_smtp.deliver_pending()
    assert _message(env, message_id).leased_until == env.clock.now + LEASE
    env.clock.now += LEASE - timedelta(seconds=1)
    assert deliverer(server).deliver_pending().delivered == 0
    env.clock.move(seconds=1)
    assert deliverer(server).deliver_pending().delivered == 1
    assert post_office.ids == [f"<{message_id}@accounts.example>"] * 2


@pytest.mark.parametrize("reply", ["250 OK", "451 no", "554 no"])
def test_whoever_outlasts_the_lease_sends_no_more(  # noqa: PLR0917 # fixtures and parameters
    env, by_smtp, delivery, folder, post_office, post, reply
):
    """EM-18: nor writes to what another has taken over, whatever became of it here."""
    posted = post(3)

    def take_over():
        env.clock.now += LEASE
        assert delivery.deliver_pending().delivered == 3

    post_office.happen = take_over
    post_office.replies = [reply]
    by_smtp.deliver_pending()
    assert len(post_office.received) == 1
    assert _names(folder) == posted
    assert {message.delivered_at for message in env.messages()} == {env.clock.now}
    assert {message.gave_up_at for message in env.messages()} == {None}
    assert {message.last_problem for message in env.messages()} == {None}


def test_whoever_has_lost_the_lease_sends_no_more(env, by_smtp, post_office, post):
    """EM-18: to a replica whose clock is ahead, though it should have lasted."""
    post(3)

    def take_over():
        env.execute("UPDATE outbox_message SET leased_until = '2026-04-05 10:10:00'")

    post_office.happen = take_over
    assert by_smtp.deliver_pending().delivered == 1
    assert len(post_office.received) == 1
    left = [message for message in env.messages() if message.delivered_at is None]
    assert {message.leased_until for message in left} == {datetime(2026, 4, 5, 10, 10, tzinfo=UTC)}


def _longest_allowed():
    [limit] = [
        each.le for each in Settings.model_fields["smtp_seconds"].metadata if hasattr(each, "le")
    ]
    return float(limit)


def test_the_lease_of_a_replica_with_more_patience_is_honoured(env, deliverer, post):
    """EM-18: as while ONESELF_SMTP_SECONDS is changed on one replica after the other."""
    post()
    patient, hasty = Broken(), Broken()
    patient.seconds, hasty.seconds = _longest_allowed(), 1.0
    meanwhile = []
    patient.happen = lambda: meanwhile.append(deliverer(hasty).deliver_pending())
    assert deliverer(patient).deliver_pending().delivered == 1
    assert meanwhile == [Run(0, 0, 0, None)]
    assert hasty.taken == []
    assert env.messages()[0].delivered_at


def test_a_lease_that_ends_before_the_mail_is_sent_is_too_short(env, by_smtp, post_office, post):
    """EM-18: the rest of the batch is leased anew, and everything is sent once."""
    posted = post(3)

    def be_slow():
        post_office.happen = lambda: None
        env.clock.now += LEASE - timedelta(seconds=SECONDS - 1)

    post_office.happen = be_slow
    assert by_smtp.deliver_pending() == Run(3, 0, 0, None)
    assert sorted(post_office.ids) == [f"<{each}@accounts.example>" for each in posted]
    assert len(post_office.sessions) == 2


@pytest.fixture
def cut(env):
    """Ends each connection to the database, as a failover does while a mail server thinks."""

    def cut():
        with connected(env.location) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    return cut


@pytest.mark.only_on("postgresql")
@pytest.mark.parametrize(("reply", "run"), [("250 OK", Run(3, 0, 0, None)), REFUSED])
def test_a_database_that_breaks_off_meanwhile_sends_nothing_twice(  # noqa: PLR0917 # fixtures and parameters
    env, by_smtp, post_office, post, cut, reply, run
):
    """EM-18, DB-12: what became of each is marked over another connection."""
    post(3)
    post_office.happen, post_office.replies = cut, [reply] * 3
    assert by_smtp.deliver_pending() == run
    env.clock.now += LEASE
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)
    assert len(set(post_office.ids)) == len(post_office.ids) == 3


@pytest.mark.only_on("postgresql")
def test_a_database_that_breaks_off_between_two_runs_is_asked_again(
    env, delivery, post, cut, caplog
):
    """DB-12: and what cannot be read is said once all the same."""
    broken, *_ = post(2)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", broken)
    cut()
    with caplog.at_level(logging.ERROR):
        assert _counts(delivery.deliver_pending()) == (1, 0, 1)
    assert [record.message_id for record in caplog.records] == [broken]


def test_the_end_waits_for_one_mail_only(env, by_smtp, delivery, post_office, post):
    """OP-01: the rest is put back, for the next start or another replica to send at once."""
    post(3)
    post_office.happen = by_smtp.stop
    assert by_smtp.deliver_pending() == Run(1, 0, 0, None)
    assert by_smtp.deliver_pending() == Run(0, 0, 0, None)
    left = [message for message in env.messages() if message.delivered_at is None]
    assert [(message.leased_until, message.attempts) for message in left] == [(None, 0)] * 2
    assert delivery.deliver_pending().delivered == 2


@pytest.mark.only_on("postgresql")
def test_what_another_transaction_has_locked_is_for_the_next_run(env, delivery, post):
    """EM-18: and not looked for again and again until that ends; what is free is sent."""
    locked, *_ = post(12)
    with env.database.transaction(writing=True) as session, ThreadPoolExecutor(1) as pool:
        lock = select(OutboxMessage.id).where(OutboxMessage.id == locked).with_for_update()
        session.core.execute(lock).all()
        running = pool.submit(delivery.deliver_pending)
        try:
            assert running.result(timeout=5).delivered == 11
        finally:
            delivery.stop()
    assert [each.id for each in env.messages() if each.delivered_at is None] == [locked]


def test_the_rest_is_put_back_in_one_statement(env, by_smtp, post_office, post):
    """OP-01, HT-21: the end is not the later, nor writers kept waiting, for a whole batch."""
    post(10)
    post_office.happen = by_smtp.stop
    with asked_of("sqlite" if env.on_sqlite else "postgresql") as asked:
        by_smtp.deliver_pending()
    released = "UPDATE outbox_message SET leased_until=? WHERE outbox_message.id IN (…)"
    assert [each.form.startswith(released) for each in asked].count(True) == 1


def test_two_replicas_send_each_message_once(env, deliverer, server, post_office, post):
    """EM-18: five hundred of them, over two connections to the database at once."""
    posted = post(500)
    other = Database(env.location, keys=env.keys, limits=env.limits, clock=env.clock)
    deliverers = [deliverer(server), deliverer(server, other)]
    runs = []
    ready = threading.Barrier(2)

    def run(delivery):
        ready.wait(10)
        runs.append(delivery.deliver_pending())

    threads = [threading.Thread(target=run, args=(each,)) for each in deliverers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    other.close()
    assert sum(run.delivered for run in runs) == 500
    assert all(run.delivered for run in runs)
    assert sorted(post_office.ids) == [f"<{each}@accounts.example>" for each in posted]


# What is said of it.


@pytest.mark.parametrize("reply", ["250 OK", "451 no", "554 no", "421 no"])
def test_no_secret_and_no_address_is_logged_or_kept(  # noqa: PLR0917 # fixtures and parameters
    env, by_smtp, deliverer, post_office, post, caplog, reply
):
    """LO-01: neither ours nor what the server says, whatever happens."""
    unreadable, unknown, nobody, wrong, *_ = post(6)
    env.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", unreadable)
    env.execute("UPDATE outbox_message SET kind = 'newer' WHERE id = ?", unknown)
    env.execute("UPDATE outbox_message SET recipient = '<alice>' WHERE id = ?", nobody)
    env.execute("UPDATE outbox_message SET due_at = '2026-04-05 09:00:00' WHERE id = ?", wrong)
    post_office.replies = [f"{reply} alice@example.com {SECRET}"]
    with caplog.at_level(logging.DEBUG):
        assert deliverer(Broken(wrong)).deliver_pending().failed == 1
        post()
        by_smtp.deliver_pending()
    # The server of the test has a log of its own, with all that it gets.
    records = [record for record in caplog.records if record.name != "mail.log"]
    assert len(records) >= 5
    kept = [message.last_problem or "" for message in env.messages()]
    for line in [*map(JsonFormatter().format, records), *kept]:
        assert "alice" not in line.lower()
        assert "canary" not in line
