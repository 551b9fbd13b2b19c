"""What the mail says, and that nobody else says anything in it."""

import email
import email.policy

import pytest

from accounts.errors import InvalidRequest
from accounts.outbox import MessageKind
from models import OutboxMessage
from oneself.messages import compose

HOST = "accounts.example"
PARAMETERS = {"secret": "ots_canary", "new_address": "new@example.com"}


def _message(clock, kind=MessageKind.EMAIL_VERIFICATION, recipient="alice@example.com"):
    return OutboxMessage(
        id="msg_0a1b2c3d4e5f",
        kind=kind,
        recipient=recipient,
        parameters_sealed=b"",
        key_id="00000000",
        created_at=clock.now,
    )


def _compose(message, **parameters):
    return compose(message, PARAMETERS | parameters, public_url=f"https://{HOST}")


def _read(mail):
    """The mail as whoever receives its bytes reads it."""
    return email.message_from_bytes(bytes(mail), policy=email.policy.default)


@pytest.mark.parametrize("kind", MessageKind)
def test_every_kind_of_message_can_be_written(clock, kind):
    """It has a subject and a text, and goes to the person alone."""
    mail = _read(_compose(_message(clock, kind)))
    assert mail["Subject"]
    assert mail.get_content()
    assert [str(address) for address in mail["To"].addresses] == ["alice@example.com"]
    assert mail["Cc"] is mail["Bcc"] is None


def test_the_head_says_from_whom_and_when(clock):
    """It is the same each time that the message is written (EM-18)."""
    mail = _read(_compose(_message(clock)))
    assert mail["From"].addresses[0].addr_spec == "no-reply@accounts.example"
    assert mail["Date"].datetime == clock.now
    assert mail["Message-ID"] == "<msg_0a1b2c3d4e5f@accounts.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert bytes(_compose(_message(clock))) == bytes(_compose(_message(clock)))


def test_only_the_mail_that_asks_for_an_act_has_a_secret(clock):
    """Whoever is only told of a change cannot complete it (EM-02, PW-18)."""
    with_the_secret = [
        kind
        for kind in MessageKind
        if "ots_canary" in _read(_compose(_message(clock, kind))).get_content()
    ]
    assert with_the_secret == [MessageKind.EMAIL_VERIFICATION, MessageKind.PASSWORD_RESET]


def test_the_notice_names_the_new_address(clock):
    """The owner sees where to it would go; the other notice names nobody (EM-02, EM-13)."""
    notice = _read(_compose(_message(clock, MessageKind.EMAIL_CHANGE_NOTICE))).get_content()
    assert "    new@example.com\n" in notice
    told = _read(_compose(_message(clock, MessageKind.EMAIL_ALREADY_IN_USE))).get_content()
    assert "@" not in told


def test_no_text_is_taken_for_a_head(clock):
    """Line breaks in what a caller chose stay in the body (EM-15)."""
    hostile = "a\r\nBcc: all@example.com\r\n\r\n<img src=x>{secret}%s"
    mail = _read(_compose(_message(clock, MessageKind.EMAIL_CHANGE_NOTICE), new_address=hostile))
    assert mail["Bcc"] is None
    assert mail.get_content_type() == "text/plain"
    assert "{secret}%s" in mail.get_content()


@pytest.mark.parametrize(
    "recipient",
    [
        "alice@example.com\r\nBcc: all@example.com",
        "alice\n@example.com",
        "alice@example.com,all@example.com",
        "Alice <alice@example.com>",
        "a b@example.com",
        "",
    ],
)
def test_no_recipient_is_taken_for_more_than_one(clock, recipient):
    """What is stored is an address; were it anything else, no mail would be made (EM-15)."""
    with pytest.raises(InvalidRequest):
        _compose(_message(clock, recipient=recipient))


def test_an_internationalised_domain_is_written_in_ascii(clock):
    """SMTP without an extension takes no other, and an encoded word is no domain (RFC 2047)."""
    mail = _compose(_message(clock, recipient="Alice@bücher.example"))
    assert b"\nTo: Alice@xn--bcher-kva.example\n" in bytes(mail)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_host_may_be_any_that_the_service_has(clock, host):
    """A service on loopback sends mail too."""
    mail = _read(compose(_message(clock), PARAMETERS, host=host))
    assert mail["Message-ID"] == f"<msg_0a1b2c3d4e5f@{host}>"


def test_a_long_address_stays_whole(clock):
    """However the lines of the mail are folded."""
    address = f"{'l' * 64}@{'d' * 60}.{'e' * 60}.{'f' * 59}.example"
    message = _message(clock, MessageKind.EMAIL_CHANGE_NOTICE, recipient=address)
    mail = _read(_compose(message, new_address=address))
    assert mail["To"].addresses[0].addr_spec == address
    assert address in mail.get_content()
    assert all(len(line) <= 998 for line in bytes(_compose(message)).splitlines())
