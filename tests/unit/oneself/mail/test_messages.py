"""What the mail says, and that nobody else says anything in it."""

import email
import email.policy
import html.parser
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jinja2.meta
import pytest

from accounts.errors import InvalidRequest
from accounts.limits import Limits
from accounts.services.outbox import MessageKind
from models import OutboxMessage
from oneself.mail.messages import Messages, compose
from oneself.templating import LANGUAGES, TemplateBroken, Templates

MAIL = Path(__file__).parents[4] / "templates" / "mail"
HOST = "accounts.example"
PUBLIC_URL = f"https://{HOST}"
SECRET = "ots_canary+/=&? ü"
PARAMETERS = {
    "secret": SECRET,
    "identity_id": "0b5c1f8e-0000-4000-8000-000000000000",
    "new_address": "new@example.com",
    "name": "Nightly build",
}
HOSTILE = "<img src=x onerror='alert(1)'>&\"x\"</p>"

PAGES = {
    MessageKind.EMAIL_VERIFICATION: "/verify-email",
    MessageKind.EMAIL_CHANGE_CONFIRMATION: "/change-email",
    MessageKind.EMAIL_CHANGE_NOTICE: "/undo-email-change",
    MessageKind.PASSWORD_RESET: "/reset-password",
}
SHOWN = {
    MessageKind.EMAIL_VERIFICATION: "secret",
    MessageKind.EMAIL_CHANGE_NOTICE: "new_address",
    MessageKind.API_KEY_CREATED: "name",
    MessageKind.PAT_CREATED: "name",
}
BY_USERS = {kind: name for kind, name in SHOWN.items() if name != "secret"}

every_mail = pytest.mark.parametrize(
    ("kind", "language"), [(kind, language) for kind in MessageKind for language in LANGUAGES]
)
by_users = pytest.mark.parametrize(
    ("kind", "language"), [(kind, language) for kind in BY_USERS for language in LANGUAGES]
)


@pytest.fixture
def message(clock):
    """Makes a message of the outbox."""

    def message(kind=MessageKind.EMAIL_VERIFICATION, locale=None, recipient="alice@example.com"):
        return OutboxMessage(
            id="msg_0a1b2c3d4e5f",
            kind=kind,
            recipient=recipient,
            locale=locale,
            parameters_sealed=b"",
            key_id="00000000",
            created_at=clock.now,
            due_at=clock.now,
        )

    return message


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


@pytest.fixture
def put(own):
    """Writes a template of the operator's; returns its file."""

    def put(path, text):
        file = own / "mail" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return put


def _compose(message, **parameters):
    return compose(message, PARAMETERS | parameters, public_url=PUBLIC_URL)


def _read(mail):
    """The mail as whoever receives its bytes reads it."""
    return email.message_from_bytes(bytes(mail), policy=email.policy.default)


def _parts(mail):
    """The plain text and the HTML."""
    text, html_part = _read(mail).iter_parts()
    return text.get_content(), html_part.get_content()


class _Page(html.parser.HTMLParser):
    """What a browser makes of HTML: its tags, and the text between them."""

    def __init__(self, source):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    @property
    def links(self):
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]


# Every kind in every language


@every_mail
def test_every_kind_of_message_can_be_written(message, kind, language):
    """Text first, HTML for who prefers it, to the person alone (RFC 2046 section 5.1.4)."""
    mail = _read(_compose(message(kind, language)))
    assert mail.get_content_type() == "multipart/alternative"
    parts = list(mail.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert [part.get_content_charset() for part in parts] == ["utf-8", "utf-8"]
    assert all(HOST in part.get_content() for part in parts)
    assert [str(address) for address in mail["To"].addresses] == ["alice@example.com"]
    assert mail["Cc"] is mail["Bcc"] is None
    assert mail["Subject"]
    assert mail["Content-Language"] == language


@every_mail
def test_nothing_is_left_to_be_filled_in(message, kind, language):
    """A reader sees no braces, and nothing that Python prints for want of a value."""
    mail = _compose(message(kind, language))
    for text in (mail["Subject"], *_parts(mail)):
        assert not re.search(r"[{}]|None|Undefined|%[sd(]", text)


@every_mail
def test_both_parts_say_the_same(message, kind, language):
    """Each sentence of the HTML is in the text, whose lines are only broken elsewhere."""
    text, source = _parts(_compose(message(kind, language)))
    page = _Page(source.partition("</h1>")[2])
    flat = re.sub(r"\W+", " ", text)
    paragraphs = [re.sub(r"\W+", " ", line).strip() for line in page.text.splitlines()]
    labels = re.findall(r"<a [^>]*>([^<]*)</a>", source)
    missing = [line for line in paragraphs if line not in flat and line not in labels]
    assert not missing


@every_mail
def test_a_mail_has_the_one_link_that_it_is_about(message, kind, language):
    """EM-12: to a page of ours by the public address, with the secret whole; or none at all."""
    text, source = _parts(_compose(message(kind, language)))
    in_text, in_html = re.findall(r"\S*://\S*", text), _Page(source).links
    assert in_text == in_html
    if kind not in PAGES:
        assert in_text == []
        return
    [link] = in_text
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", HOST, PAGES[kind])
    assert "secret=ots_canary%2B%2F%3D%26%3F%20%C3%BC" in link
    expected = {"secret": [SECRET]}
    if kind is MessageKind.EMAIL_CHANGE_CONFIRMATION:
        expected["identity"] = [PARAMETERS["identity_id"]]
    assert parse_qs(parts.query, strict_parsing=True) == expected
    assert f"\n    {link}\n" in text


@every_mail
def test_only_mail_that_asks_for_an_act_has_a_secret(message, kind, language):
    """EM-02, PW-18: whoever is only told of something can do nothing by it."""
    mail = _compose(message(kind, language))
    has_one = "ots_canary" in "".join([str(mail.items()), *_parts(mail)])
    assert has_one is (kind in PAGES)
    assert "ots_canary" not in str(mail.items())


def test_a_message_is_given_no_more_than_it_says(message):
    """EM-02: even if its parameters had a secret, what only tells could not show it."""
    for kind in set(MessageKind) - set(PAGES):
        shown = {BY_USERS[kind]: "Nightly build"} if kind in BY_USERS else {}
        for language in LANGUAGES:
            bare = compose(message(kind, language), shown, public_url=PUBLIC_URL)
            assert bytes(bare) == bytes(_compose(message(kind, language)))


def test_the_secret_alone_is_where_a_program_asks_for_it(message):
    """In the mail that verifies an address, and in no other (ScaiKey, verify-email/confirm)."""
    for kind in MessageKind:
        for language in LANGUAGES:
            text, source = _parts(_compose(message(kind, language), secret="ots_canary"))
            alone = kind is MessageKind.EMAIL_VERIFICATION
            assert ("\n    ots_canary\n" in text) is alone
            assert (">ots_canary<" in source) is alone


@pytest.mark.parametrize(
    ("kind", "lifetime", "words"),
    [
        (MessageKind.EMAIL_VERIFICATION, Limits().one_time_secret_lifetime, "24 hours|24 Stunden"),
        (
            MessageKind.EMAIL_CHANGE_CONFIRMATION,
            Limits().one_time_secret_lifetime,
            "24 hours|24 Stunden",
        ),
        (MessageKind.EMAIL_CHANGE_NOTICE, Limits().undo_lifetime, "7 days|7 Tage"),
        (MessageKind.PASSWORD_RESET, Limits().reset_lifetime, "an hour|eine Stunde"),
    ],
)
def test_a_mail_says_how_long_its_link_lives(message, kind, lifetime, words):
    """EM-05: as long as the rules have it, in each language and part."""
    known = {timedelta(hours=24): "24 ", timedelta(days=7): "7 ", timedelta(hours=1): "an |eine "}
    assert re.match(known[lifetime], words)
    for language in LANGUAGES:
        assert all(re.search(words, part) for part in _parts(_compose(message(kind, language))))


@every_mail
def test_lines_of_text_are_short(message, kind, language):
    """RFC 5322 section 2.1.1: at most 78 characters, but for a link, which must not be broken."""
    text, _ = _parts(_compose(message(kind, language)))
    long = [line for line in text.splitlines() if len(line) > 78 and "://" not in line]
    assert not long
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@every_mail
def test_html_is_plain(message, kind, language):
    """EM-20: nothing is loaded from anywhere, and nothing runs; the styles are inline."""
    _, source = _parts(_compose(message(kind, language)))
    page = _Page(source)
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "title", "body", "div", "h1", "p", "a", "bdi")
    }
    assert {name for _, attributes in page.tags for name in attributes} <= {
        *("lang", "charset", "name", "content", "style", "href")
    }
    assert "url(" not in source
    [attributes] = [attributes for tag, attributes in page.tags if tag == "html"]
    assert attributes == {"lang": language}
    subject = _compose(message(kind, language))["Subject"]
    assert f"<title>{subject}</title>" in source
    assert f">{subject}</h1>" in source


@pytest.mark.parametrize("language", LANGUAGES)
def test_subjects_are_all_different(message, language):
    """A reader tells them apart in a list, and none is left in another language."""
    subjects = {_compose(message(kind, language))["Subject"] for kind in MessageKind}
    assert len(subjects) == len(MessageKind)
    others = set(LANGUAGES) - {language}
    assert subjects.isdisjoint(
        _compose(message(kind, other))["Subject"] for kind in MessageKind for other in others
    )


@pytest.mark.parametrize("kind", MessageKind)
def test_german_is_polite_and_in_german_type(message, kind):
    """No `du`, no straight quotation marks, no hyphen for a dash."""
    text, source = _parts(_compose(message(kind, "de")))
    for part in (text, _Page(source).text):
        assert not re.search(r"\b([Dd]u|[Dd]ich|[Dd]ir|[Dd]ein\w*)\b", part)
        assert re.search(r"\b(Sie|Ihr\w*)\b", part)
        assert not re.search(r"[\"'`]| - |--", part)


# The files


def test_each_language_has_every_file():
    """A text that is missing in one would be in another there."""
    expected = {
        f"{kind}.{part}.j2" for kind in MessageKind for part in ("subject.txt", "txt", "html")
    }
    for language in LANGUAGES:
        assert {path.name for path in (MAIL / language).iterdir()} == expected
    languages = {path.name for path in MAIL.iterdir() if path.is_dir()}
    assert languages == set(LANGUAGES)


def test_each_language_has_the_same_placeholders():
    """What one tells, the other tells."""
    environment = jinja2.Environment(autoescape=True)
    for path in (MAIL / LANGUAGES[0]).iterdir():
        asked = {
            language: jinja2.meta.find_undeclared_variables(
                environment.parse((MAIL / language / path.name).read_text("utf-8"))
            )
            for language in LANGUAGES
        }
        assert len({frozenset(names) for names in asked.values()}) == 1, path.name


# The language


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("de_CH", "de"),
        ("fr-CA", "en"),
        ("en-GB", "en"),
        (None, "en"),
    ],
)
def test_the_language_is_the_reader_s(message, locale, language):
    """Where we have it; in its regions too, and in English else."""
    mail = _compose(message(locale=locale))
    assert mail["Content-Language"] == language
    assert bytes(mail) == bytes(_compose(message(locale=language)))


# The head


def test_the_head_says_from_whom_and_when(message, clock):
    """It is the same each time that the message is written, and so is all below it (EM-18)."""
    mail = _read(_compose(message()))
    assert mail["From"].addresses[0].addr_spec == "no-reply@accounts.example"
    assert mail["Date"].datetime == clock.now
    assert mail["Message-ID"] == "<msg_0a1b2c3d4e5f@accounts.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert set(mail.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Language"),
        *("MIME-Version", "Content-Type"),
    }
    assert bytes(_compose(message())) == bytes(_compose(message()))


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\u2028", "\x85", "\x0b", "\x1d"])
@by_users
def test_no_value_is_taken_for_a_head(message, kind, language, line_break):
    """EM-15: line breaks in what a user wrote begin no head, no part and no paragraph."""
    value = line_break.join(
        ["a", "Bcc: all@example.com", "", "--=_msg_0a1b2c3d4e5f", "", "Call us: {{ secret }}%s"]
    )
    mail = _compose(message(kind, language), **{BY_USERS[kind]: value})
    assert set(mail.keys()) == set(_compose(message(kind, language)).keys())
    assert _read(mail)["Bcc"] is None
    text, _ = _parts(mail)
    on_one_line = "a Bcc: all@example.com  --=_msg_0a1b2c3d4e5f  Call us: {{ secret }}%s"
    assert f"\n\n    {on_one_line}\n\n" in text


@every_mail
def test_no_subject_has_what_a_user_wrote(message, kind, language):
    """EM-15: whatever it is, the subject is the same."""
    hostile = dict.fromkeys(PARAMETERS, HOSTILE)
    mail = compose(message(kind, language), hostile, public_url=PUBLIC_URL)
    assert mail["Subject"] == _compose(message(kind, language))["Subject"]


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
def test_no_recipient_is_taken_for_more_than_one(message, recipient):
    """What is stored is an address; were it anything else, no mail would be made (EM-15)."""
    with pytest.raises(InvalidRequest):
        _compose(message(recipient=recipient))


def test_an_internationalised_domain_is_written_in_ascii(message):
    """SMTP without an extension takes no other, and an encoded word is no domain (RFC 2047)."""
    mail = _compose(message(recipient="Alice@bücher.example"))
    assert b"\nTo: Alice@xn--bcher-kva.example\n" in bytes(mail)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_host_may_be_any_that_the_service_has(message, host):
    """A service on loopback sends mail too, and the port is no part of a mail's names."""
    mail = _read(compose(message(), PARAMETERS, public_url=f"http://{host}:8080"))
    assert mail["Message-ID"] == f"<msg_0a1b2c3d4e5f@{host}>"
    assert mail["From"].addresses[0].addr_spec == f"no-reply@{host}"
    assert not mail["Message-ID"].defects
    text, _ = _parts(mail)
    assert f"\n    http://{host}:8080/verify-email?secret=" in text


def test_a_slash_after_the_public_address_is_not_doubled(message):
    """The setting is a URL, and pydantic gives it one."""
    for public_url in (PUBLIC_URL, f"{PUBLIC_URL}/"):
        mail = compose(message(), PARAMETERS, public_url=public_url)
        assert bytes(mail) == bytes(_compose(message()))


def test_nothing_of_a_request_is_in_a_mail(message):
    """EM-12: the host in it is the setting's, and all the rest the same (GHSA-2wmj-46rj-qm2w)."""
    parameters = PARAMETERS | {"secret": "ots_canary"}
    here = bytes(_compose(message(), **parameters))
    there = bytes(compose(message(), parameters, public_url="https://other.example"))
    assert HOST.encode() not in there
    assert there.replace(b"other.example", HOST.encode()) == here


# What users wrote


@by_users
def test_what_a_user_wrote_is_escaped_in_html(message, kind, language):
    """EM-16: a name with markup is a name (CVE-2024-55224)."""
    _, plain = _parts(_compose(message(kind, language)))
    _, source = _parts(_compose(message(kind, language), **{BY_USERS[kind]: HOSTILE}))
    assert HOSTILE not in source
    assert _Page(source).tags == _Page(plain).tags
    assert HOSTILE in _Page(source).text


@by_users
def test_what_a_user_wrote_stands_on_a_line_of_its_own(message, kind, language):
    """Nobody takes it for a sentence of ours (CVE-2025-7365)."""
    text, source = _parts(_compose(message(kind, language), **{BY_USERS[kind]: "Call us"}))
    assert text.count("Call us") == source.count("Call us") == 1
    assert "\n\n    Call us\n\n" in text
    assert "<bdi>Call us</bdi></p>" in source


def test_the_mail_to_an_owner_of_a_taken_address_names_nobody(message):
    """EM-13: neither who asked for it, nor for which account."""
    for language in LANGUAGES:
        for part in _parts(_compose(message(MessageKind.EMAIL_ALREADY_IN_USE, language))):
            assert "@" not in part


def test_a_long_address_stays_whole(message):
    """However the lines of the mail are folded, in each form that a server may ask for."""
    address = f"{'l' * 64}@{'d' * 60}.{'e' * 60}.{'f' * 59}.example"
    for language in LANGUAGES:
        row = message(MessageKind.EMAIL_CHANGE_NOTICE, language, recipient=address)
        for policy in (email.policy.default, email.policy.SMTP.clone(cte_type="7bit")):
            content = _compose(row, new_address=address).as_bytes(policy=policy)
            mail = email.message_from_bytes(content, policy=email.policy.default)
            assert mail["To"].addresses[0].addr_spec == address
            assert all(address in part.get_content() for part in mail.iter_parts())
            assert all(len(line) <= 998 for line in content.splitlines())


@pytest.mark.parametrize(
    ("language", "name", "public_url", "encoding"),
    [
        ("en", "Nightly build", PUBLIC_URL, "7bit"),
        ("en", "Nächtlich", PUBLIC_URL, "quoted-printable"),
        ("de", "Nightly build", PUBLIC_URL, "quoted-printable"),
        ("en", "Nightly build" * 100, PUBLIC_URL, "quoted-printable"),
    ],
)
def test_a_part_is_as_readable_as_can_be(message, language, name, public_url, encoding):
    """Every server takes it (RFC 5321 section 4.5.3.1.6), and links can be copied out of a file."""
    mail = compose(
        message(MessageKind.PAT_CREATED, language), {"name": name}, public_url=public_url
    )
    parts = list(_read(mail).iter_parts())
    assert [part["Content-Transfer-Encoding"] for part in parts] == [encoding] * 2
    assert all(name in part.get_content() for part in parts)
    assert bytes(mail).isascii()
    assert max(map(len, bytes(mail).splitlines())) <= 998


# What cannot be written


def test_a_message_of_another_version_is_not_guessed_at(message):
    """It stays in the outbox, for a service that knows it."""
    with pytest.raises(ValueError, match="unheard_of"):
        _compose(message("unheard_of"))


@pytest.mark.parametrize("kind", sorted({*PAGES, *SHOWN}))
def test_a_mail_with_a_gap_is_not_written(message, kind):
    """A link without its secret would lead nowhere."""
    with pytest.raises(KeyError):
        compose(message(kind), {}, public_url=PUBLIC_URL)


# An operator's templates


def _messages(own):
    return Messages(Templates(own), public_url=PUBLIC_URL)


def _own_mail(own, row):
    return _messages(own).compose(row, PARAMETERS)


def test_what_we_ship_can_be_used(own):
    """So can a folder that has nothing in it."""
    Messages(Templates(), public_url=PUBLIC_URL).check()
    _messages(own).check()


def test_an_operator_replaces_one_text_in_one_language(message, own, put):
    """The HTML beside it, the subject, the other language and the other mails stay."""
    put("de/password_reset.txt.j2", "\nBitte: {{ link }}\n\n")
    _messages(own).check()
    row = message(MessageKind.PASSWORD_RESET, "de")
    text, source = _parts(_own_mail(own, row))
    assert text.startswith("Bitte: https://")
    assert len(text.splitlines()) == 1
    assert source == _parts(_compose(row))[1]
    for kind in MessageKind:
        for language in LANGUAGES:
            if (kind, language) != (MessageKind.PASSWORD_RESET, "de"):
                other = message(kind, language)
                assert bytes(_own_mail(own, other)) == bytes(_compose(other))


def test_an_operator_replaces_a_subject(message, own, put):
    """On one line, whatever its file looks like (EM-15)."""
    put("de/password_changed.subject.txt.j2", "\nNeues\r\nPasswort bei {{ host }} ({{ language }})")
    _messages(own).check()
    mail = _own_mail(own, message(MessageKind.PASSWORD_CHANGED, "de"))
    assert mail["Subject"] == "Neues Passwort bei accounts.example (de)"
    assert f"<title>{mail['Subject']}</title>" in _parts(mail)[1]


def test_a_mail_is_in_one_language(message, own, put):
    """What is in English only makes the mail English, and it says so."""
    put("en/password_reset.txt.j2", "Please: {{ link }}")
    _messages(own).check()
    german, english = (
        _own_mail(own, message(MessageKind.PASSWORD_RESET, each)) for each in ("de", "en")
    )
    assert bytes(german) == bytes(english)
    assert german["Content-Language"] == "en"
    assert _parts(german)[0].startswith("Please: ")
    assert '<html lang="en">' in _parts(german)[1]
    other = _own_mail(own, message(MessageKind.PASSWORD_CHANGED, "de"))
    assert other["Content-Language"] == "de"


BROKEN = [
    ("de/password_reset.txt.j2", "{{ link }}\n{{ nmae }}", 2, "'nmae' is undefined"),
    ("de/password_reset.html.j2", "{{ link }", 1, "unexpected '}'"),
    ("de/password_reset.txt.j2", "{{ link }}{{ secret }}", 1, "'secret' is undefined"),
    ("en/email_change_notice.txt.j2", "{{ link }}{{ secret }}", 1, "'secret' is undefined"),
    ("en/password_changed.txt.j2", "\n{{ link }}", 2, "'link' is undefined"),
    ("en/pat_created.subject.txt.j2", "{{ name }}", 1, "'name' is undefined"),
    ("en/pat_created.subject.txt.j2", " \n", None, "it is empty."),
    ("en/email_verification.txt.j2", "{{ secret }}", None, "{{ link }} is not in it."),
    ("de/email_verification.html.j2", "{{ secret }}", None, "{{ link }} is not in it."),
    ("en/pat_created.html.j2", "{{ name | safe }}", None, "a value is in it that is not escaped."),
    (
        "de/email_change_notice.html.j2",
        "{{ link }}{% include 'mail/email_change_notice.txt.j2' %}",
        None,
        "a value is in it that is not escaped.",
    ),
    ("layout.html.j2", "{{ logo }}{% block letter %}{% endblock %}", 1, "'logo' is undefined"),
    ("layout.html.j2", "no block", None, "{{ link }} is not in it."),
    ("de/pasword_reset.txt.j2", "{{ link }}", None, "no mail is made from it."),
    ("fr/password_reset.txt.j2", "{{ link }}", None, "no mail is made from it."),
]


@pytest.mark.parametrize("broken_one", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_template_is_found_before_the_start(own, put, broken_one):
    """It is named with its file, and with its line where there is one."""
    path, text, line, problem = broken_one
    file = put(path, text)
    with pytest.raises(TemplateBroken) as broken:
        _messages(own).check()
    assert str(broken.value).endswith(problem)
    expected = MAIL / "en" / "email_verification.html.j2" if text == "no block" else file
    assert (broken.value.file, broken.value.line) == (expected, line)


def test_a_template_that_nobody_would_see_is_found(own, put):
    """In one language only, since another part makes the mail English."""
    put("en/password_reset.html.j2", "{{ link }}")
    file = put("de/password_reset.txt.j2", "{{ link }}")
    with pytest.raises(TemplateBroken, match="no mail is made from it") as broken:
        _messages(own).check()
    assert broken.value.file == file


def test_what_fails_later_gives_way_to_ours(message, own, put, caplog):
    """No mail is lost at night for a case that no sample has; it is logged once."""
    put(
        "de/pat_created.txt.j2", "{% if name == 'Nightly build' %}{{ nmae }}{% endif %}{{ name }}\n"
    )
    messages = _messages(own)
    messages.check()
    row = message(MessageKind.PAT_CREATED, "de")
    for _ in range(3):
        assert bytes(messages.compose(row, PARAMETERS)) == bytes(_compose(row))
    assert len(caplog.records) == 1
    assert "Nightly build" not in repr(caplog.records[0].__dict__)
    assert _parts(messages.compose(row, {"name": "CI"}))[0] == "CI\n"
