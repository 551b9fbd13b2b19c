"""Mail composed from templates."""

import email
import email.policy
import html.parser
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from accounts.errors import InvalidRequest
from accounts.limits import Limits
from accounts.services.mail.outbox import MessageKind
from models import OutboxMessage
from oneself.branding.accent import parse_accent
from oneself.branding.brand import Brand, parse_support, require_product_name
from oneself.mail.messages import Messages
from oneself.templating import TemplateBroken, Templates
from tests.support.languages import LANGUAGES

MAIL = Path(__file__).parents[4] / "templates" / "mail"
HOST = "accounts.example"
PUBLIC_URL = f"https://{HOST}"
SECRET = "ots_canary+/=&? ü"
SHIPPED = Templates(brand=Brand(HOST))
#: What the product name adds to a subject.
SUFFIX = f" \N{EN DASH} {HOST}"
PARAMETERS = {
    "secret": SECRET,
    "identity_id": "0b5c1f8e-0000-4000-8000-000000000000",
    "new_address": "new@example.com",
    "former_address": "f…@e….org",
    "name": "Nightly build",
    "program": "Firefox, Linux",
    "failures": "1711",
    "networks": "423",
    "number": "17",
    "ip_address": "192.0.2.7",
}
RESET_LINK = f"{PUBLIC_URL}/reset-password"
HOSTILE = "<img src=x onerror='alert(1)'>&\"x\"</p>"

PAGES = {
    MessageKind.ACCOUNT_DELETED: "/restore",
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
    MessageKind.PAT_REUSED: "name",
    MessageKind.TOKENS_EXPIRING: "name",
}
#: Values that no user has written.
OUR_WORDS = {
    MessageKind.EMAIL_CHANGED: ("former_address",),
    MessageKind.FAILED_LOGINS: ("failures", "networks"),
    MessageKind.TOKENS_EXPIRING: ("number",),
}
#: Kinds that tell the owner of an account about an act that may not be their own.
ALERTS = {
    MessageKind.EMAIL_CHANGE_NOTICE,
    MessageKind.PASSWORD_CHANGED,
    MessageKind.API_KEY_CREATED,
    MessageKind.PAT_CREATED,
    MessageKind.PAT_REUSED,
    MessageKind.NEW_LOGIN,
    MessageKind.ACCOUNT_DELETED,
    MessageKind.SECOND_FACTOR_ADDED,
    MessageKind.SECOND_FACTOR_REMOVED,
    MessageKind.RECOVERY_CODE_USED,
}
#: Kinds with a link to the form that requests a reset link.
WITH_RESET_LINK = (ALERTS | {MessageKind.EMAIL_ALREADY_IN_USE, MessageKind.FAILED_LOGINS}) - {
    MessageKind.EMAIL_CHANGE_NOTICE,
    MessageKind.ACCOUNT_DELETED,
}
#: Kinds about an account that the reader may not own: they name it, and bring a way to refuse.
ABOUT_AN_ACCOUNT = (
    MessageKind.EMAIL_VERIFICATION,
    MessageKind.EMAIL_CHANGE_CONFIRMATION,
    MessageKind.EMAIL_ALREADY_IN_USE,
)
BY_USERS = {kind: name for kind, name in SHOWN.items() if name != "secret"}

every_mail = pytest.mark.parametrize(
    ("kind", "language"), [(kind, language) for kind in MessageKind for language in LANGUAGES]
)
by_users = pytest.mark.parametrize(
    ("kind", "language"), [(kind, language) for kind in BY_USERS for language in LANGUAGES]
)


@pytest.fixture
def message(clock):
    """Make a message of the outbox."""

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
def custom(tmp_path):
    folder = tmp_path / "custom"
    folder.mkdir()
    return folder


@pytest.fixture
def put(custom):
    """Write a template of the operator, and return its path."""

    def put(path, text):
        file = custom / "mail" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return put


@cache
def _templates_of(host):
    return Templates(brand=Brand(host))


def compose(message, parameters, *, public_url, templates=None):
    """Compose a message; the product has the name of the host, as without a setting."""
    templates = templates or _templates_of(urlsplit(public_url).hostname)
    return Messages(templates, public_url=public_url).compose(message, parameters)


def _compose(message, **parameters):
    return compose(message, PARAMETERS | parameters, public_url=PUBLIC_URL)


def _read(mail):
    """Return the mail as its recipient parses it."""
    return email.message_from_bytes(bytes(mail), policy=email.policy.default)


def _parts(mail):
    """Return the plain text and the HTML."""
    text, html_part = _read(mail).iter_parts()
    return text.get_content(), html_part.get_content()


class _Page(html.parser.HTMLParser):
    """The tags of an HTML page, and the text between them."""

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
def test_every_message_has_text_and_html_for_one_recipient(message, kind, language):
    """The preferred alternative is last (RFC 2046 section 5.1.4)."""
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
def test_no_placeholder_is_left(message, kind, language):
    """No braces, and no text that Python prints for a missing value."""
    mail = _compose(message(kind, language))
    for text in (mail["Subject"], *_parts(mail)):
        assert not re.search(r"[{}]|None|Undefined|%[sd(]", text)


@every_mail
def test_text_and_html_have_the_same_sentences(message, kind, language):
    """Only the line breaks and the labels of buttons differ."""
    text, source = _parts(_compose(message(kind, language)))
    page = _Page(source.partition("</h1>")[2])
    flat = re.sub(r"\W+", " ", text)
    paragraphs = [re.sub(r"\W+", " ", line).strip() for line in page.text.splitlines()]
    labels = re.findall(r"<a [^>]*>([^<]*)</a>", re.sub("-", " ", source))
    missing = [line for line in paragraphs if line not in flat and line not in labels]
    assert not missing


@every_mail
def test_links_lead_to_the_public_url(message, kind, language):
    """EM-12: to the page of the mail with the secret, and to the form that resets a password."""
    text, source = _parts(_compose(message(kind, language)))
    links = re.findall(r"\S*://\S*", text)
    assert links == _Page(source).links
    assert all(f"\n    {link}\n" in text for link in links)
    if kind in WITH_RESET_LINK:
        assert links.pop() == RESET_LINK
    if kind not in PAGES:
        assert links == []
        return
    [link] = links
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", HOST, PAGES[kind])
    assert "secret=ots_canary%2B%2F%3D%26%3F%20%C3%BC" in link
    expected = {"secret": [SECRET]}
    if kind is MessageKind.EMAIL_CHANGE_CONFIRMATION:
        expected["identity"] = [PARAMETERS["identity_id"]]
    assert parse_qs(parts.query, strict_parsing=True) == expected


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ABOUT_AN_ACCOUNT)
def test_mail_about_an_account_names_it_and_can_be_refused(message, kind, language):
    """EM-02, attack finding 1: by its masked address and its age, in both parts."""
    opened_at = datetime(2025, 2, 3, 4, 5, tzinfo=UTC)
    parameters = {"account": "e…@e….example", "opened_at": opened_at.isoformat()}
    parts = _parts(_compose(message(kind, language), **parameters))
    link = f"{PUBLIC_URL}/release-email?secret=ots_canary%2B%2F%3D%26%3F%20%C3%BC"
    for part in parts:
        assert "e…@e….example" in part
        assert SHIPPED.format_time(opened_at, language) in part
    assert f"\n    {link}\n" in parts[0]
    assert link in _Page(parts[1]).links
    assert all("release-email" not in part for part in _parts(_compose(message(kind, language))))


@pytest.mark.parametrize("kind", [MessageKind.EMAIL_CHANGED, MessageKind.EMAIL_CHANGE_NOTICE])
def test_mail_about_a_change_tells_until_when_it_can_be_undone(message, kind):
    """EM-02, attack finding 1."""
    until = datetime(2026, 4, 12, 4, 5, tzinfo=UTC)
    for language in LANGUAGES:
        for part in _parts(_compose(message(kind, language), until=until.isoformat())):
            words = " ".join(part.split())
            assert SHIPPED.format_time(until, language) in words


@every_mail
def test_mail_has_the_time_of_the_event(message, clock, kind, language):
    clock.move(hours=1)
    time = Templates().format_time(clock.now, language)
    assert all(time in part for part in _parts(_compose(message(kind, language))))


@every_mail
def test_only_alerts_have_the_client_address_and_its_device(message, kind, language):
    """Newcomer F21. Other mail can reach a person who has nothing to do with the client."""
    for part in _parts(_compose(message(kind, language))):
        assert ("192.0.2.7" in part) is (kind in ALERTS)
        assert ("Firefox, Linux" in part) is (kind in ALERTS)


@pytest.mark.parametrize("kind", sorted(ALERTS | {MessageKind.FAILED_LOGINS}))
def test_every_alert_has_a_link_to_act_on_it(message, kind):
    """Newcomer F21."""
    text, source = _parts(_compose(message(kind)))
    [link] = _Page(source).links
    assert link == RESET_LINK or urlsplit(link).path == PAGES[kind]
    assert f"\n    {link}\n" in text


@pytest.mark.parametrize("kind", sorted(ALERTS))
def test_alert_without_a_client_address_is_composed(message, kind):
    """Messages of an earlier version, of jobs and of the command line have none."""
    origin = ("ip_address", "program")
    parameters = {name: value for name, value in PARAMETERS.items() if name not in origin}
    mail = compose(message(kind), parameters, public_url=PUBLIC_URL)
    assert not [part for part in _parts(mail) if re.search("IP address|Device", part)]


@every_mail
def test_only_mail_with_a_page_has_a_secret(message, kind, language):
    """EM-02, PW-18: a notification alone gives no access."""
    mail = _compose(message(kind, language))
    has_secret = "ots_canary" in "".join([str(mail.items()), *_parts(mail)])
    assert has_secret is (kind in PAGES)
    assert "ots_canary" not in str(mail.items())


def test_templates_get_only_the_parameters_of_their_kind(message):
    """EM-02: a notification could not show a secret even if its parameters had one."""
    for kind in set(MessageKind) - set(PAGES):
        shown = {BY_USERS[kind]: PARAMETERS[BY_USERS[kind]]} if kind in BY_USERS else {}
        shown |= {name: PARAMETERS[name] for name in OUR_WORDS.get(kind, ())}
        shown |= {name: PARAMETERS[name] for name in ("ip_address", "program") if kind in ALERTS}
        for language in LANGUAGES:
            bare = compose(message(kind, language), shown, public_url=PUBLIC_URL)
            assert bytes(bare) == bytes(_compose(message(kind, language)))


def test_only_the_verification_mail_has_the_secret_outside_of_the_link(message):
    """A program can ask the user for it (ScaiKey, verify-email/confirm)."""
    for kind in MessageKind:
        for language in LANGUAGES:
            text, source = _parts(_compose(message(kind, language), secret="ots_canary"))
            is_verification = kind is MessageKind.EMAIL_VERIFICATION
            assert ("\n    ots_canary\n" in text) is is_verification
            assert (">ots_canary<" in source) is is_verification


@pytest.mark.parametrize(
    ("kind", "lifetime", "words"),
    [
        (MessageKind.EMAIL_VERIFICATION, Limits().one_time_secret_lifetime, "24 hours|24 Stunden"),
        (
            MessageKind.EMAIL_CHANGE_CONFIRMATION,
            Limits().one_time_secret_lifetime,
            "24 hours|24 Stunden",
        ),
        (MessageKind.EMAIL_CHANGE_NOTICE, Limits().undo_lifetime, "7 days|7 Tagen"),
        (MessageKind.PASSWORD_RESET, Limits().reset_lifetime, "an hour|einer Stunde"),
    ],
)
def test_mail_tells_the_lifetime_of_its_link(message, kind, lifetime, words):
    """EM-05: the lifetime of the limits, in each language and part."""
    numbers = {
        timedelta(hours=24): "24 ",
        timedelta(days=7): "7 ",
        timedelta(hours=1): "an |einer ",
    }
    assert re.match(numbers[lifetime], words)
    for language in LANGUAGES:
        assert all(re.search(words, part) for part in _parts(_compose(message(kind, language))))


@every_mail
def test_text_lines_are_short(message, kind, language):
    """RFC 5322 section 2.1.1: at most 78 characters, except for links, which must not be broken."""
    text, _ = _parts(_compose(message(kind, language)))
    long = [line for line in text.splitlines() if len(line) > 78 and "://" not in line]
    assert not long
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\n\n\n" not in text


@every_mail
def test_html_loads_and_runs_nothing(message, kind, language):
    """EM-20: styles are inline."""
    _, source = _parts(_compose(message(kind, language)))
    page = _Page(source)
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "title", "body", "div", "h1", "p", "br", "a", "bdi")
    }
    assert {name for _, attributes in page.tags for name in attributes} <= {
        *("lang", "charset", "name", "content", "style", "href")
    }
    assert "url(" not in source
    [attributes] = [attributes for tag, attributes in page.tags if tag == "html"]
    assert attributes == {"lang": language}
    subject = _compose(message(kind, language))["Subject"].removesuffix(SUFFIX)
    assert f"<title>{subject}</title>" in source
    assert f">{subject}</h1>" in source


@pytest.mark.parametrize("language", LANGUAGES)
def test_subjects_differ_between_kinds_and_languages(message, language):
    subjects = {_compose(message(kind, language))["Subject"] for kind in MessageKind}
    assert len(subjects) == len(MessageKind)
    assert subjects.isdisjoint(
        _compose(message(kind, other_language))["Subject"]
        for kind in MessageKind
        for other_language in set(LANGUAGES) - {language}
    )


@pytest.mark.parametrize("kind", MessageKind)
def test_german_is_polite_and_well_set(message, kind):
    """No "du", no straight quotation marks, no hyphen for a dash."""
    text, source = _parts(_compose(message(kind, "de")))
    for part in (text, _Page(source).text):
        assert not re.search(r"\b([Dd]u|[Dd]ich|[Dd]ir|[Dd]ein\w*)\b", part)
        assert re.search(r"\b(Sie|Ihr\w*)\b", part)
        assert not re.search(r"[\"'`]| - |--", part)


# The files


def test_every_kind_has_its_three_templates():
    expected = {
        f"{kind}.{part}.j2" for kind in MessageKind for part in ("subject.txt", "txt", "html")
    }
    shared = {"layout.html.j2", "footer.txt.j2", "parts.html.j2", "parts.txt.j2"}
    assert {path.name for path in MAIL.iterdir()} == expected | shared


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
def test_mail_is_in_the_language_of_the_reader(message, locale, language):
    mail = _compose(message(locale=locale))
    assert mail["Content-Language"] == language
    assert bytes(mail) == bytes(_compose(message(locale=language)))


# Header fields


def test_header_fields_are_the_same_each_time(message, clock):
    """EM-18: and so is the body."""
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
def test_user_input_cannot_inject_header_fields(message, kind, language, line_break):
    """EM-15: a line break in it begins no header field, no part and no paragraph."""
    value = line_break.join(
        ["a", "Bcc: all@example.com", "", "--=_msg_0a1b2c3d4e5f", "", "Call us: {{ secret }}%s"]
    )
    mail = _compose(message(kind, language), **{BY_USERS[kind]: value})
    assert set(mail.keys()) == set(_compose(message(kind, language)).keys())
    assert _read(mail)["Bcc"] is None
    text, _ = _parts(mail)
    on_one_line = "a Bcc: all@example[.]com --=_msg_0a1b2c3d4"
    end = "e5f Call us: {{ secret }}%s" if BY_USERS[kind] == "new_address" else "…"
    assert f"\n\n    {on_one_line}{end}\n\n" in text


@every_mail
def test_subject_has_no_user_input(message, kind, language):
    """EM-15."""
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
def test_malformed_recipient_is_rejected(message, recipient):
    """EM-15: a stored value that is not one address gets no mail."""
    with pytest.raises(InvalidRequest):
        _compose(message(recipient=recipient))


def test_internationalised_domain_is_written_in_ascii(message):
    """SMTP without an extension takes no other, and an encoded word is not a domain (RFC 2047)."""
    mail = _compose(message(recipient="Alice@bücher.example"))
    assert b"\nTo: Alice@xn--bcher-kva.example\n" in bytes(mail)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_loopback_host_is_accepted(message, host):
    """The port is in links, and not in the Message-ID and the sender."""
    mail = _read(compose(message(), PARAMETERS, public_url=f"http://{host}:8080"))
    assert mail["Message-ID"] == f"<msg_0a1b2c3d4e5f@{host}>"
    assert mail["From"].addresses[0].addr_spec == f"no-reply@{host}"
    assert not mail["Message-ID"].defects
    text, _ = _parts(mail)
    assert f"\n    http://{host}:8080/verify-email?secret=" in text


def test_final_slash_of_the_public_url_is_not_doubled(message):
    """Pydantic adds one to the setting."""
    for public_url in (PUBLIC_URL, f"{PUBLIC_URL}/"):
        mail = compose(message(), PARAMETERS, public_url=public_url)
        assert bytes(mail) == bytes(_compose(message()))


def test_host_in_mail_is_that_of_the_settings(message):
    """EM-12: GHSA-2wmj-46rj-qm2w."""
    parameters = PARAMETERS | {"secret": "ots_canary"}
    here = bytes(_compose(message(), **parameters))
    there = bytes(compose(message(), parameters, public_url="https://other.example"))
    assert HOST.encode() not in there
    assert there.replace(b"other.example", HOST.encode()) == here


# The brand


BRAND = Brand(
    'A&B <b>"Ü"</b>, Inc.',
    accent=parse_accent("#7a1f5c"),
    support=parse_support("help@example.com"),
    app_url="https://app.example.com/?a=1&b=2",
)


@every_mail
def test_brand_is_in_every_mail(message, kind, language):
    """Newcomer F21, F22: the product, its colour, its app and the way to get help."""
    mail = compose(message(kind, language), PARAMETERS, public_url=PUBLIC_URL, templates=_branded())
    read = _read(mail)
    assert read["Subject"].endswith(f" \N{EN DASH} {BRAND.name}")
    [sender] = read["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (BRAND.name, "no-reply@accounts.example")
    text, source = _parts(mail)
    page = _Page(source)
    assert BRAND.name in text
    assert BRAND.name in page.text
    assert "<b>" not in source
    assert "#7a1f5c" in source
    for link in (BRAND.app_url, "help@example.com"):
        assert f"\n    {link}\n" in text
    assert page.links[-2:] == [BRAND.app_url, "mailto:help@example.com"]


@cache
def _branded():
    return Templates(brand=BRAND)


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\u2028", "\x85"])
def test_product_name_cannot_inject_header_fields(line_break):
    """EM-15."""
    for name in (f"Acme{line_break}Bcc: all@example.com", line_break, "Acme\u202e"):
        with pytest.raises(ValueError, match="must"):
            require_product_name(name)


# User input


@by_users
def test_user_input_is_escaped_in_html(message, kind, language):
    """EM-16: CVE-2024-55224."""
    _, plain = _parts(_compose(message(kind, language)))
    _, source = _parts(_compose(message(kind, language), **{BY_USERS[kind]: HOSTILE}))
    assert HOSTILE not in source
    assert _Page(source).tags == _Page(plain).tags
    assert HOSTILE in _Page(source).text


@by_users
def test_user_input_is_on_a_line_of_its_own(message, kind, language):
    """It must not be mistaken for a sentence of the service (CVE-2025-7365)."""
    text, source = _parts(_compose(message(kind, language), **{BY_USERS[kind]: "Call us"}))
    assert text.count("Call us") == source.count("Call us") == 1
    assert "\n\n    Call us\n\n" in text
    assert "<bdi>Call us</bdi></p>" in source


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Nightly build no. 7", None),
        ("v1.2", "v1[.]2"),
        ("https://evil.example/login", "https[:]//evil[.]example/login"),
        ("www.evil.example.", "www[.]evil[.]example."),
        ("evil\u3002example", "evil[\u3002]example"),
        ("mailto:me@localhost tel:+1900555", "mailto[:]me@localhost tel[:]+1900555"),
        ("7:30 build: all", None),
        ("a\n\t b", "a b"),
        ("n" * 40, None),
        ("n" * 41, "n" * 40 + "…"),
        ("n" * 39 + " two", "n" * 39 + "…"),
        ("n" * 37 + "a.example", "n" * 37 + "a[.]e…"),
    ],
    ids=ascii,
)
def test_names_are_short_and_no_links(message, name, shown):
    """EM-16, attack finding 14: mail programs make links of addresses in plain text."""
    mail = _compose(message(MessageKind.PAT_CREATED), name=name)
    text, source = _parts(mail)
    assert f"\n    {shown or name}\n" in text
    assert f"<bdi>{shown or name}</bdi>" in source


@pytest.mark.parametrize("kind", sorted(BY_USERS))
def test_mail_without_user_input_is_composed(message, kind):
    """EM-16, attack finding 14: an unverified address gets none."""
    parameters = {name: value for name, value in PARAMETERS.items() if name != BY_USERS[kind]}
    for language in LANGUAGES:
        mail = compose(message(kind, language), parameters, public_url=PUBLIC_URL)
        text, source = _parts(mail)
        assert "\n\n\n" not in text
        assert "<bdi>" not in source
        assert text.partition("\n\n")[0].endswith(".")


def test_mail_to_the_owner_of_a_taken_address_names_no_other_user(message):
    """EM-13: neither the person who entered it nor their account."""
    for language in LANGUAGES:
        for part in _parts(_compose(message(MessageKind.EMAIL_ALREADY_IN_USE, language))):
            assert "@" not in part


def test_long_address_survives_folding(message):
    """In both forms of the mail that a server can ask for."""
    address = f"{'l' * 64}@{'d' * 60}.{'e' * 60}.{'f' * 59}.example"
    for language in LANGUAGES:
        row = message(MessageKind.EMAIL_CHANGE_NOTICE, language, recipient=address)
        for policy in (email.policy.default, email.policy.SMTP.clone(cte_type="7bit")):
            content = _compose(row, new_address=address).as_bytes(policy=policy)
            mail = email.message_from_bytes(content, policy=email.policy.default)
            assert mail["To"].addresses[0].addr_spec == address
            shown = address.replace(".", "[.]")
            assert all(shown in part.get_content() for part in mail.iter_parts())
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
def test_transfer_encoding_is_the_most_readable_one(message, language, name, public_url, encoding):
    """Every server takes it (RFC 5321 section 4.5.3.1.6), and links can be copied from a file."""
    mail = compose(
        message(MessageKind.PAT_CREATED, language), {"name": name}, public_url=public_url
    )
    parts = list(_read(mail).iter_parts())
    assert [part["Content-Transfer-Encoding"] for part in parts] == [encoding] * 2
    assert all(name[:40] in part.get_content() for part in parts)
    assert bytes(mail).isascii()
    assert max(map(len, bytes(mail).splitlines())) <= 998


# Messages that cannot be composed


def test_unknown_kind_is_rejected(message):
    """It stays in the outbox, for a version that knows it."""
    with pytest.raises(ValueError, match="unheard_of"):
        _compose(message("unheard_of"))


@every_mail
def test_our_own_values_are_shown(message, kind, language):
    """LG-15: numbers and the name of a program, in both parts."""
    for part in _parts(_compose(message(kind, language))):
        for name in ("former_address", "failures", "networks"):
            assert (PARAMETERS[name] in part) is (name in OUR_WORDS.get(kind, ()))


@pytest.mark.parametrize("kind", sorted({*PAGES, *OUR_WORDS}))
def test_missing_parameter_is_rejected(message, kind):
    with pytest.raises(KeyError):
        compose(message(kind), {}, public_url=PUBLIC_URL)


# Operators' templates


def _messages(custom):
    return Messages(Templates(custom, brand=Brand(HOST)), public_url=PUBLIC_URL)


def _compose_custom(custom, row):
    return _messages(custom).compose(row, PARAMETERS)


def test_shipped_templates_and_an_empty_folder_pass_the_check(custom):
    Messages(Templates(), public_url=PUBLIC_URL).check()
    _messages(custom).check()


def test_operator_replaces_one_text_in_one_language(message, custom, put):
    """Its HTML, its subject, other languages and other mails stay the same."""
    put("de/password_reset.txt.j2", "\nBitte: {{ link }}\n\n")
    _messages(custom).check()
    row = message(MessageKind.PASSWORD_RESET, "de")
    text, source = _parts(_compose_custom(custom, row))
    assert text.startswith("Bitte: https://")
    assert len(text.splitlines()) == 1
    assert source == _parts(_compose(row))[1]
    for kind in MessageKind:
        for language in LANGUAGES:
            if (kind, language) != (MessageKind.PASSWORD_RESET, "de"):
                other_row = message(kind, language)
                assert bytes(_compose_custom(custom, other_row)) == bytes(_compose(other_row))


def test_operator_replaces_a_subject(message, custom, put):
    """EM-15: it is on one line, even if its file has several."""
    put("de/password_changed.subject.txt.j2", "\nNeues\r\nPasswort bei {{ host }} ({{ language }})")
    _messages(custom).check()
    mail = _compose_custom(custom, message(MessageKind.PASSWORD_CHANGED, "de"))
    subject = "Neues Passwort bei accounts.example (de)"
    assert mail["Subject"] == subject + SUFFIX
    assert f"<title>{subject}</title>" in _parts(mail)[1]


def test_operator_replaces_a_text_in_all_languages(message, custom, put):
    put("password_reset.txt.j2", "{{ _('Set a new password') }}: {{ link }}")
    _messages(custom).check()
    english, german = (
        _parts(_compose_custom(custom, message(MessageKind.PASSWORD_RESET, language)))[0]
        for language in ("en", "de")
    )
    assert english.startswith("Set a new password: https://")
    assert german.startswith("Neues Passwort festlegen: https://")


def test_operator_adds_a_language(message, custom):
    catalog = custom / "locales" / "fr" / "LC_MESSAGES" / "oneself.po"
    catalog.parent.mkdir(parents=True)
    catalog.write_text('msgid "Reset your password"\nmsgstr "Nouveau mot de passe"\n')
    _messages(custom).check()
    mail = _compose_custom(custom, message(MessageKind.PASSWORD_RESET, "fr-CA"))
    assert mail["Subject"] == "Nouveau mot de passe" + SUFFIX
    assert mail["Content-Language"] == "fr"
    assert '<html lang="fr">' in _parts(mail)[1]


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
    ("pasword_reset.txt.j2", "{{ link }}", None, "no mail is made from it."),
    ("de/pasword_reset.txt.j2", "{{ link }}", None, "no mail is made from it."),
    ("fr/password_reset.txt.j2", "{{ link }}", None, "no mail is made from it."),
]


@pytest.mark.parametrize("case", BROKEN, ids=range(len(BROKEN)))
def test_broken_template_fails_the_check(custom, put, case):
    """It is named with its file, and with its line if that is known."""
    path, text, line, problem = case
    file = put(path, text)
    with pytest.raises(TemplateBroken) as broken:
        _messages(custom).check()
    assert str(broken.value).endswith(problem)
    expected = MAIL / "email_verification.html.j2" if text == "no block" else file
    assert (broken.value.file, broken.value.line) == (expected, line)


def test_template_that_fails_without_a_client_address_fails_the_check(custom, put):
    put("password_changed.txt.j2", "{% if not ip_address %}{{ nmae }}{% endif %}")
    with pytest.raises(TemplateBroken, match="nmae"):
        _messages(custom).check()


def test_template_that_is_hidden_by_those_for_each_language_fails_the_check(custom, put):
    for language in LANGUAGES:
        put(f"{language}/password_reset.txt.j2", "{{ link }}")
    file = put("password_reset.txt.j2", "{{ link }}")
    with pytest.raises(TemplateBroken, match="no mail is made from it") as broken:
        _messages(custom).check()
    assert broken.value.file == file


def test_template_that_fails_at_run_time_is_replaced_by_the_shipped_one(
    message, custom, put, caplog
):
    """No mail is lost for a case that the samples do not cover; the failure is logged once."""
    put(
        "de/pat_created.txt.j2", "{% if name == 'Nightly build' %}{{ nmae }}{% endif %}{{ name }}\n"
    )
    messages = _messages(custom)
    messages.check()
    row = message(MessageKind.PAT_CREATED, "de")
    for _ in range(3):
        assert bytes(messages.compose(row, PARAMETERS)) == bytes(_compose(row))
    assert len(caplog.records) == 1
    assert "Nightly build" not in repr(caplog.records[0].__dict__)
    assert _parts(messages.compose(row, {"name": "CI"}))[0] == "CI\n"
