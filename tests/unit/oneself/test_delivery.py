"""Taking mail out of the outbox."""

import email
import email.policy
import logging
import stat

import pytest
from sqlalchemy.exc import IntegrityError

from accounts.outbox import MessageKind, post_message
from oneself.delivery import Delivery


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mail" / "out"


@pytest.fixture
def delivery(house, folder):
    return Delivery(house.database, folder, host="accounts.example")


@pytest.fixture
def post(house, alice):
    """Puts a message into the outbox; returns its id."""

    def post():
        before = {message.id for message in house.messages()}
        house.act(post_message, MessageKind.EMAIL_VERIFICATION, alice.person, secret="ots_canary")
        (posted,) = {message.id for message in house.messages()} - before
        return posted

    return post


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_message_becomes_a_file(delivery, folder, post):
    """It is called by the message's id, and is a whole mail."""
    message_id = post()
    assert delivery.deliver_pending() == 1
    assert _names(folder) == [f"{message_id}.eml"]
    content = (folder / f"{message_id}.eml").read_bytes()
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert mail["To"].addresses[0].addr_spec == "alice@example.com"
    assert "ots_canary" in mail.get_content()


def test_only_the_service_reads_its_mail(delivery, folder, post):
    """There are secrets in it (TK-03)."""
    message_id = post()
    delivery.deliver_pending()
    assert _mode(folder / f"{message_id}.eml") == 0o600
    assert _mode(folder) == 0o700


def test_what_was_delivered_is_not_kept(house, delivery, post):
    """The row says when, and what was in it is gone (TK-08)."""
    post()
    house.clock.move(minutes=1)
    delivery.deliver_pending()
    (message,) = house.messages()
    assert (message.delivered_at, message.parameters_sealed) == (house.clock.now, b"")


def test_a_message_is_delivered_once(delivery, folder, post):
    """The second time there is nothing to do, and nothing to make a folder for."""
    assert delivery.deliver_pending() == 0
    assert not folder.exists()
    post()
    assert [delivery.deliver_pending(), delivery.deliver_pending()] == [1, 0]


def test_a_crash_before_the_row_delivers_again_to_the_same_name(house, delivery, folder, post):
    """At least once, and idempotent: the file is the same, byte for byte (EM-18)."""
    message_id = post()
    house.execute(
        "CREATE TRIGGER crash BEFORE UPDATE ON outbox_message"
        " BEGIN SELECT RAISE(ABORT, 'crash'); END"
    )
    with pytest.raises(IntegrityError):
        delivery.deliver_pending()
    written = (folder / f"{message_id}.eml").read_bytes()
    assert house.messages()[0].delivered_at is None
    house.execute("DROP TRIGGER crash")
    house.clock.move(hours=1)
    assert delivery.deliver_pending() == 1
    assert _names(folder) == [f"{message_id}.eml"]
    assert (folder / f"{message_id}.eml").read_bytes() == written


def test_half_a_file_is_written_over(delivery, folder, post):
    """A crash within the writing leaves a part, and never a mail that is cut short (EM-18)."""
    message_id = post()
    folder.mkdir(parents=True)
    (folder / f"{message_id}.part").write_bytes(b"half" * 10_000)
    delivery.deliver_pending()
    assert _names(folder) == [f"{message_id}.eml"]
    assert b"half" not in (folder / f"{message_id}.eml").read_bytes()


def test_a_folder_that_cannot_be_written_loses_nothing(house, delivery, folder, post):
    """The message waits for better times (DB-06)."""
    post()
    folder.parent.write_bytes(b"a file in the way")
    with pytest.raises(OSError, match="mail"):
        delivery.deliver_pending()
    assert house.messages()[0].delivered_at is None
    folder.parent.unlink()
    assert delivery.deliver_pending() == 1


def test_messages_are_delivered_in_batches(delivery, folder, post):
    """What is left over is next."""
    for _ in range(51):
        post()
    assert [delivery.deliver_pending() for _ in range(3)] == [50, 1, 0]
    assert len(_names(folder)) == 51


def test_the_oldest_message_goes_first(house, delivery, folder, post):
    """Of more than a batch, the latest waits."""
    earlier = [post() for _ in range(50)]
    house.clock.move(minutes=1)
    post()
    delivery.deliver_pending()
    assert _names(folder) == sorted(f"{message_id}.eml" for message_id in earlier)


def test_a_message_that_cannot_be_read_is_not_in_the_way(house, delivery, folder, post, caplog):
    """It stays where it is, is said once, and the mail behind it goes out (TK-05)."""
    broken, good = post(), post()
    house.execute("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", broken)
    with caplog.at_level(logging.ERROR):
        assert [delivery.deliver_pending() for _ in range(3)] == [1, 0, 0]
    assert _names(folder) == [f"{good}.eml"]
    assert [record.message_id for record in caplog.records] == [broken]
    kept = next(message for message in house.messages() if message.id == broken)
    assert kept.delivered_at is None


def test_a_batch_that_cannot_be_read_is_not_in_the_way(house, delivery, post):
    """However many there are, the next are read after them."""
    for _ in range(50):
        post()
    house.execute("UPDATE outbox_message SET parameters_sealed = x'00'")
    house.clock.move(minutes=1)
    post()
    assert [delivery.deliver_pending() for _ in range(3)] == [0, 1, 0]


@pytest.mark.parametrize(
    "broken",
    [
        "kind = 'newer'",
        "recipient = 'nobody'",
    ],
)
def test_a_message_that_cannot_be_written_is_not_in_the_way(house, delivery, post, caplog, broken):
    """A kind that a newer version has put there waits for it (EM-18, DB-15)."""
    unknown, _ = post(), post()
    house.execute(f"UPDATE outbox_message SET {broken} WHERE id = ?", unknown)  # noqa: S608 # ours
    with caplog.at_level(logging.ERROR):
        assert [delivery.deliver_pending() for _ in range(2)] == [1, 0]
    assert [record.message_id for record in caplog.records] == [unknown]
    waiting = [message.id for message in house.messages() if message.delivered_at is None]
    assert waiting == [unknown]
