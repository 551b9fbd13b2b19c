"""The pages that mailed links open, called in process."""

import asyncio
import json
import logging
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from html.parser import HTMLParser
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.types import Receive, Scope, Send

from accounts.crypto import tokens
from accounts.errors import InvalidCredentials, OutcomeUnknown, WeakPassword
from accounts.flows.deletion.account_deletion import delete_account
from accounts.flows.factors.enrolment import confirm_totp, enrol_totp
from accounts.flows.sign_in.sessions import log_in
from accounts.limits import Limits, RateLimit
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.one_time_secrets import SecretPurpose, issue_secret, supersede_secrets
from accounts.services.policies.policy_set import Decision
from accounts.values.email_address import parse_address
from accounts.values.password_strength import validate
from oneself.branding.brand import Brand, parse_support
from oneself.http.guard import Guard
from oneself.http.response.dialects import Dialects
from oneself.logging import LineFormatter
from oneself.observability.access_log import log_request
from oneself.runtime.thread_pools import Pool
from oneself.templating import Templates
from oneself.web.frame import PageFrame
from oneself.web.page_forms import PAGES
from oneself.web.pages import Pages, PasswordRules
from oneself_conformance.http_client import FORM
from tests.support.authenticator import code_at
from tests.support.languages import LANGUAGES

HOST = "accounts.example.com"
FRAME = PageFrame(Templates(brand=Brand(HOST)), public_origin=f"https://{HOST}")
ALLOWED = Decision(allowed=True, code=None, notices=())
NEW = "Copper lantern 92 estuary"
VERIFY, CHANGE, UNDO, RELEASE, RESET, RESTORE = PAGES
UNUSABLE = ("secret_invalid", "secret_used", "secret_expired", "secret_superseded")
NEW_ADDRESS = "new@example.net"
_OF_NEW_ADDRESS = {CHANGE, RELEASE}
NOTHING: Mapping[str, str] = MappingProxyType({})
_VOID = {"img", "input", "link", "meta", "wbr"}

HEADINGS = {
    (VERIFY, "en"): ("Verify your email address", "Your email address is verified"),
    (VERIFY, "de"): ("Bestätigen Sie Ihre E-Mail-Adresse", "Ihre E-Mail-Adresse ist bestätigt"),
    (CHANGE, "en"): ("Change your email address", "Your email address was changed"),
    (CHANGE, "de"): ("Ihre E-Mail-Adresse ändern", "Ihre E-Mail-Adresse wurde geändert"),
    (UNDO, "en"): ("Undo the change of your email address", "Set a new password"),
    (UNDO, "de"): ("Änderung Ihrer E-Mail-Adresse rückgängig machen", "Neues Passwort festlegen"),
    (RELEASE, "en"): ("Release your email address", "Your email address is released"),
    (RELEASE, "de"): ("Ihre E-Mail-Adresse freigeben", "Ihre E-Mail-Adresse ist freigegeben"),
    (RESTORE, "en"): ("Restore your account", "Your account is restored"),
    (RESTORE, "de"): ("Ihr Konto wiederherstellen", "Ihr Konto ist wiederhergestellt"),
    (RESET, "en"): ("Set a new password", "Your new password is set"),
    (RESET, "de"): ("Neues Passwort festlegen", "Ihr neues Passwort ist festgelegt"),
}
POLICY_HEADINGS = {"en": "This is not allowed here", "de": "Das ist hier nicht erlaubt"}
REQUEST_HEADINGS = {"en": "Reset your password", "de": "Setzen Sie Ihr Passwort zurück"}
UNUSABLE_HEADINGS = {
    "en": (
        "This link does not work",
        "This link was already used",
        "This link has expired",
        "This link was replaced",
    ),
    "de": (
        "Dieser Link funktioniert nicht",
        "Dieser Link wurde schon benutzt",
        "Dieser Link ist abgelaufen",
        "Dieser Link wurde ersetzt",
    ),
}
WEAK = {
    "kürz": "must have at least 8 characters",
    "Q" + "y7" * 600: "must have at most 1024 bytes",
    "Cöpper\x07 lantern 92": "must not have control characters or lone surrogates",
    "copper lantern 92": "must have an upper-case letter",
    "COPPER LANTERN 92": "must have a lower-case letter",
    "Copper lantern estuary": "must have a digit",
    "ALICE@example1": "must not be made of the account's own words",
    "Password1": "must not be a common or easily guessed password",
}

every_page = pytest.mark.parametrize("path", PAGES)
every_language = pytest.mark.parametrize("language", LANGUAGES)


class Reader(HTMLParser):
    """Parses a page as strictly as XML, and collects its elements and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute is repeated"
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag] = self.texts.get(tag, "") + data

    def every(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def hidden(self) -> dict[str | None, str | None]:
        """The hidden fields of its form."""
        inputs = self.every("input")
        return {each["name"]: each["value"] for each in inputs if each["type"] == "hidden"}


@dataclass(frozen=True)
class Seen:
    """A response."""

    status: int
    headers: dict[str, str]
    html: str

    @property
    def page(self) -> Reader:
        return Reader(self.html)

    @property
    def words(self) -> str:
        """The text of the page, in one line."""
        return " ".join(self.page.texts["main"].split())

    @property
    def heading(self) -> str:
        return self.page.texts["h1"]


class Visitor:
    """A browser whose request headers a test sets."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] = NOTHING,
        receive: Any = None,
    ) -> Seen:
        sent: list[dict[str, Any]] = []

        async def whole() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        named = {"host": "localhost", **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            "client": ("192.0.2.7", 50_000),
        }
        asyncio.run(self._app(scope, receive or whole, send))
        start, end = sent
        answered = {name.decode(): value.decode() for name, value in start["headers"]}
        return Seen(start["status"], answered, end["body"].decode())

    def get(self, path: str, link: Mapping[str, str] = NOTHING, **headers: str) -> Seen:
        return self.ask("GET", path, query=urlencode(link), headers=_named(headers))

    def post(self, path: str, form: Mapping[str, str] = NOTHING, **headers: str) -> Seen:
        sent = {"content-type": FORM, **_named(headers)}
        return self.ask("POST", path, body=urlencode(form).encode(), headers=sent)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def visit_of() -> Iterator[Callable[..., Visitor]]:
    """Build the pages over the database of an environment, inside of the guard."""
    opened: list[Pool] = []

    def visit_of(
        env: Any,
        *,
        places: int = 1,
        hashing_places: int = 1,
        decision: Decision = ALLOWED,
        frame: PageFrame = FRAME,
    ) -> Visitor:
        sizes = {"database": places, "password": hashing_places}
        pools = {name: Pool(name, threads=1, queue=size - 1) for name, size in sizes.items()}
        opened.extend(pools.values())
        pages = Pages(
            _next_app,
            database=env.database,
            decide=lambda *_: decision,
            pools=pools,
            frame=frame,
            password_rules=PasswordRules(
                env.limits.password_min_length, env.limits.password_classes
            ),
            proxies=(),
            body_seconds=0.05,
        )
        hosts = frozenset({HOST, "localhost"})
        dialects = Dialects({"paths": {}, "tags": []})
        return Visitor(
            Guard(
                pages,
                dialects=dialects,
                hosts=hosts,
                clock=env.clock,
                issuer=f"https://{HOST}",
                observers=[log_request],
            )
        )

    yield visit_of
    for pool in opened:
        pool.close()


async def _next_app(scope: Scope, _receive: Receive, send: Send) -> None:
    """The application behind the pages."""
    assert scope["path"] not in PAGES
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def visit(env: Any, visit_of: Callable[..., Visitor]) -> Visitor:
    return visit_of(env)


@pytest.fixture
def link_for(env: Any, alice: Any) -> Callable[[str], dict[str, str]]:
    """Make the query of a link to a page, for Alice."""

    def link_for(path: str) -> dict[str, str]:
        address = parse_address(NEW_ADDRESS if path in _OF_NEW_ADDRESS else "alice@example.com")
        if path == RELEASE:
            env.execute('UPDATE "user" SET claimed_email = ?', NEW_ADDRESS)
            env.execute('UPDATE "user" SET claimed_email_canonical = ?', NEW_ADDRESS)
        if path == RESTORE:
            env.act(delete_account, alice.view)
        secret = env.act(issue_secret, PAGES[path].purpose, alice.user_id, address)
        named = {"identity": alice.view.identity_id} if path == CHANGE else {}
        return {"secret": secret, **named}

    return link_for


def _form(path: str, link: dict[str, str]) -> dict[str, str]:
    return link | ({"new_password": NEW} if path == RESET else {})


@pytest.fixture
def unusable_link(
    env: Any, alice: Any, visit: Visitor, link_for: Any
) -> Callable[..., dict[str, str]]:
    """Make the query of a link that no longer works, for a reason."""

    def unusable_link(path: str, reason: str) -> dict[str, str]:
        link: dict[str, str] = link_for(path)
        if reason == "secret_invalid":
            link["secret"] = tokens.mint(tokens.ONE_TIME_SECRET)
        elif reason == "secret_used":
            assert visit.post(path, _form(path, link)).status == 200
        elif reason == "secret_expired":
            env.clock.move(days=8)
        else:
            env.act(supersede_secrets, PAGES[path].purpose, alice.user_id)
        return link

    return unusable_link


def _assert_readable(seen: Seen, language: str) -> None:
    """The page has what a screen reader needs, and loads and runs nothing of other hosts."""
    page = seen.page
    assert seen.html.startswith("<!doctype html>")
    assert [each["lang"] for each in page.every("html")] == [language]
    assert seen.headers["content-language"] == language
    assert page.texts["title"].endswith(f"{seen.heading} \N{EN DASH} {HOST}")
    assert len(page.every("h1")) == len(page.every("main")) == len(page.every("title")) == 1
    identifiers = [each["id"] for _, each in page.elements if "id" in each]
    assert len(set(identifiers)) == len(identifiers)
    inputs = [each for each in page.every("input") if each["type"] != "hidden"]
    fields = [each for each in inputs if "hidden" not in each]
    assert [each["for"] for each in page.every("label")] == [each["id"] for each in fields]
    for field in fields:
        assert set((field.get("aria-describedby") or "").split()) <= set(identifiers)
    assert {each["method"] for each in page.every("form")} <= {"post"}
    # Relative, so that they work behind a proxy that adds a path prefix.
    assert {f"/{each['action']}" for each in page.every("form")} <= set(PAGES)
    assert {each["href"] for each in page.every("a")} <= {"reset-password"}
    assert {tag for tag, _ in page.elements}.isdisjoint({"iframe", "base"})
    assert page.every("img") == [{"src": "/favicon.svg", "alt": ""}]
    scripts = [path for path in FRAME.files if path.endswith(".js")]
    assert {each["src"] for each in page.every("script")} <= {*scripts}
    assert "script" not in page.texts
    icon = {"rel": "icon", "href": "/favicon.svg", "type": "image/svg+xml"}
    assert page.every("link") == [icon]
    names = {name for _, attributes in page.elements for name in attributes}
    assert not any(name in {"style", "srcset"} or name[:2] == "on" for name in names)


@every_language
@every_page
def test_link_shows_its_purpose_and_its_button_acts(visit, link_for, path, language):
    """EM-11: in two steps."""
    link, (before, after) = link_for(path), HEADINGS[path, language]
    asked = visit.get(path, link, accept_language=language)
    assert (asked.status, asked.heading) == (200, before)
    _assert_readable(asked, language)
    assert asked.page.hidden == link
    address = NEW_ADDRESS if path in _OF_NEW_ADDRESS else "alice@example.com"
    assert address in asked.words
    done = visit.post(path, _form(path, link), accept_language=language)
    assert (done.status, done.heading) == (200, after)
    _assert_readable(done, language)
    assert link["secret"] not in done.html


def test_address_is_verified(env, alice, visit, link_for):
    """EM-11."""
    visit.post(VERIFY, link_for(VERIFY))
    assert env.view(alice.user_id).email_verified


def test_address_is_changed_and_restored(env, alice, visit, link_for):
    """EM-02, attack finding 3: undoing it ends all sessions, and sets a new password at once."""
    undo = link_for(UNDO)
    visit.post(CHANGE, link_for(CHANGE))
    assert env.view(alice.user_id).email == "new@example.net"
    done = visit.post(UNDO, undo)
    assert env.view(alice.user_id).email == "alice@example.com"
    assert {row["revoked_at"] is None for row in env.rows("login_session")} == {False}
    reset = done.page.hidden["secret"]
    assert undo["secret"] != reset
    assert visit.post(RESET, {"secret": reset, "new_password": NEW}).status == 200


def test_page_of_an_undo_shows_its_rules_again(env, visit, link_for):
    """PW-08: a weak password uses up neither the secret nor the page."""
    done = visit.post(UNDO, link_for(UNDO))
    reset = done.page.hidden
    assert visit.post(RESET, {**reset, "new_password": "Password1"}).status == 400
    assert visit.post(RESET, {**reset, "new_password": NEW}).status == 200
    assert env.view(env.rows("user")[0]["id"]).email_verified


def test_undo_for_a_user_of_another_provider_asks_for_no_password(env, visit, link_for):
    """EM-02: the provider keeps it."""
    link = link_for(UNDO)
    env.execute("UPDATE \"user\" SET provider = 'oidc'")
    done = visit.post(UNDO, link)
    assert (done.status, done.heading) == (200, "The change was undone")
    assert done.page.every("form") == []


@pytest.mark.parametrize("path", [VERIFY, CHANGE, RELEASE])
def test_page_names_the_account_that_is_about_to_use_the_address(env, alice, visit, link_for, path):
    """EM-16, attack finding 1: by a masked address, its age, and 40 characters of its name."""
    link = link_for(RELEASE if path == VERIFY else path)
    env.execute('UPDATE "user" SET display_name = ?', "<b>" + "x" * 60)
    for language in LANGUAGES:
        asked = visit.get(path, link, accept_language=language)
        assert "a…@e….com" in asked.words
        assert "<b>" + "x" * 37 in asked.words
        assert "x" * 38 not in asked.words
        assert "2026" in asked.words
        assert "release-email" in {each["action"] for each in asked.page.every("form")}
    assert visit.post(RELEASE, {"secret": link["secret"]}).status == 200
    assert env.view(alice.user_id).email == "alice@example.com"


def test_reset_asks_for_the_second_factor(env, alice, visit, link_for):
    """MF-09: beside the new password; a wrong code leaves the link as it is."""
    enrolled = env.act(enrol_totp, alice.view)
    code = code_at(enrolled.secret, env.clock.now)
    renewed = env.act(confirm_totp, alice.principal, code=code, password=alice.password)
    link = link_for(RESET)
    assert 'name="code"' in visit.get(RESET, link).html
    refused = visit.post(RESET, {**_form(RESET, link), "code": "000000"})
    assert refused.status == 400
    assert 'id="code-problem"' in refused.html
    done = visit.post(RESET, {**_form(RESET, link), "code": renewed.codes[0]})
    assert done.heading == HEADINGS[RESET, "en"][1]


def test_new_password_replaces_the_old_one(env, alice, visit, link_for):
    """PW-12."""
    visit.post(RESET, _form(RESET, link_for(RESET)))
    login = {"email": "alice@example.com", "user_agent": None}
    env.act(log_in, password=NEW, **login)
    with pytest.raises(InvalidCredentials):
        env.act(log_in, password=alice.password, **login)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@every_page
def test_opening_a_link_changes_nothing(env, visit, link_for, path, method):
    """EM-11, SE-09: a mail scanner can open it any number of times."""
    link = link_for(path)
    # Fields of the form in the query are ignored.
    query = urlencode({**_form(path, link), "action": "again", "email": "a@example.com"})
    tables = ("one_time_secret", "user", "login_session", "security_event", "outbox_message")
    before = [env.rows(table) for table in tables]
    for _ in range(5):
        seen = visit.ask(method, path, query=query)
        assert (seen.status, seen.heading) == (200, HEADINGS[path, "en"][0])
    assert [env.rows(table) for table in tables] == before
    assert visit.post(path, _form(path, link)).status == 200
    assert visit.post(path, _form(path, link)).heading == "This link was already used"


@every_language
@pytest.mark.parametrize("reason", UNUSABLE)
@every_page
def test_unusable_link_is_explained(visit, unusable_link, path, reason, language):
    """EM-05, EM-09: before its button is pressed as well as after."""
    link = unusable_link(path, reason)
    for seen in (
        visit.get(path, link, accept_language=language),
        visit.post(path, _form(path, link), accept_language=language),
    ):
        assert (seen.status, seen.heading) == (
            400,
            UNUSABLE_HEADINGS[language][UNUSABLE.index(reason)],
        )
        _assert_readable(seen, language)
        assert NEW not in seen.html
        # The next step is a button, a form, a link, or an instruction.
        again = path == VERIFY and reason in {"secret_expired", "secret_superseded"}
        assert seen.page.hidden == ({**link, "action": "again"} if again else {})
        assert len(seen.page.every("form")) == (again or path == RESET)
        asks_again = path == RELEASE and reason != "secret_used"
        assert len(seen.page.every("a")) == (path == UNDO or asks_again)


@every_page
def test_link_without_a_secret_does_not_work(visit, path):
    """The page for a reset shows the form that requests one."""
    for seen in (visit.get(path), visit.get(path, {"secret": ""})):
        heading = "Reset your password" if path == RESET else "This link does not work"
        assert seen.heading == heading
        _assert_readable(seen, "en")


def test_link_fills_in_no_field(visit):
    """HT-05: its unknown parameters are ignored, even if they are repeated."""
    seen = visit.ask("GET", RESET, query="email=a%40example.com&email=b%40example.com&action=again")
    [field] = seen.page.every("input")
    assert (seen.status, field["value"]) == (200, "")


def test_identity_must_be_that_of_the_secret(visit, link_for, bob):
    """EM-08: a wrong identity does not use up the secret."""
    link = link_for(CHANGE)
    for identity in ("", bob.view.identity_id, "\x00"):
        wrong = {**link, "identity": identity}
        assert visit.get(CHANGE, wrong).heading == "This link does not work"
        assert visit.post(CHANGE, wrong).heading == "This link does not work"
    assert visit.post(CHANGE, {**link, "identity": link["identity"].upper()}).status == 200


@every_page
def test_secret_for_another_purpose_does_not_work(visit, link_for, path):
    """EM-08: the reader of an address says yes or no by the same secret."""
    both = {VERIFY: {RELEASE}, RELEASE: {VERIFY, CHANGE}}
    for other in set(PAGES) - {path} - both.get(path, set()):
        link = link_for(other)
        assert visit.get(path, link).heading == "This link does not work"
        assert visit.post(path, _form(path, {"secret": link["secret"]})).status == 400
        assert visit.get(other, link).status == 200


@pytest.mark.parametrize("path", sorted(set(PAGES) - {RELEASE, RESTORE}))
def test_link_of_a_disabled_user_does_not_work(env, alice, visit, link_for, path):
    """SE-06."""
    link = link_for(path)
    env.execute('UPDATE "user" SET disabled_at = created_at WHERE id = ?', alice.user_id)
    assert visit.post(path, _form(path, link)).heading == "This link does not work"


@pytest.mark.parametrize("reason", ["secret_expired", "secret_superseded"])
@every_language
def test_new_link_is_mailed_to_the_same_address(env, visit, unusable_link, reason, language):
    """EM-17."""
    link = unusable_link(VERIFY, reason)
    offered = visit.get(VERIFY, link).page.hidden
    seen = visit.post(VERIFY, offered, accept_language=language)
    assert seen.status == 200
    _assert_readable(seen, language)
    [message] = env.messages()
    assert (message.kind, message.recipient) == ("email_verification", "alice@example.com")
    with env.database.transaction(writing=False) as session:
        fresh = unseal_parameters(session, message)["secret"]
    assert fresh not in seen.html
    assert visit.post(VERIFY, {"secret": fresh}).status == 200
    # Now it is verified: the same page, and no mail.
    assert visit.post(VERIFY, offered, accept_language=language).html == seen.html
    assert env.count("outbox_message") == 1


def test_new_link_needs_an_existing_secret(env, visit, link_for):
    """EM-14: an invented secret, or one for another purpose, sends no mail."""
    for secret in ("", "x", tokens.mint(tokens.ONE_TIME_SECRET), link_for(RESET)["secret"]):
        seen = visit.post(VERIFY, {"secret": secret, "action": "again"})
        assert seen.heading == "This link does not work"
    assert visit.post(VERIFY, {**link_for(VERIFY), "action": "delete"}).status == 400
    assert env.count("outbox_message") == 0


@every_language
@pytest.mark.parametrize("path", PAGES)
def test_page_says_that_a_policy_forbids_it(env, visit_of, link_for, path, language):
    """AZ-07, AZ-08, attack finding 9: with its notice, and the link works once it is allowed."""
    link = link_for(path) | ({"new_password": NEW} if path == RESET else {})
    denial = Decision(allowed=False, code="session_required", notices=("Not <b>today</b>.",))
    seen = visit_of(env, decision=denial).post(path, link, accept_language=language)
    assert seen.status == 403
    assert seen.heading == POLICY_HEADINGS[language]
    assert "Not &lt;b&gt;today&lt;/b&gt;." in seen.html
    assert link["secret"] not in seen.html
    _assert_readable(seen, language)
    assert visit_of(env).post(path, link).status == 200


@every_language
@pytest.mark.parametrize(("seconds", "minutes"), [(3600, 30), (60, 1)])
def test_too_many_mails_are_rejected_with_a_time_to_retry(
    make_env, visit_of, seconds, minutes, language
):
    """EM-14, LG-12: on the page and in its header."""
    visit = visit_of(make_env(source_budget=RateLimit(2, seconds)))
    form = {"email": "unknown@example.com"}
    for _ in range(2):
        assert visit.post(RESET, form).status == 200
    seen = visit.post(RESET, form, accept_language=language)
    assert (seen.status, seen.headers["retry-after"]) == (429, str(seconds // 2))
    one, many = {"en": ("a minute", "30 minutes"), "de": ("einer Minute", "30 Minuten")}[language]
    assert (one if minutes == 1 else many) in seen.words
    _assert_readable(seen, language)


@every_language
def test_known_and_unknown_addresses_get_the_same_page(env, alice, visit, language):
    """LG-01."""
    known, unknown = (
        visit.post(RESET, {"email": email}, accept_language=language)
        for email in (alice.view.email, "unknown@example.com")
    )
    assert (known.status, known.html) == (200, unknown.html)
    _assert_readable(known, language)
    assert env.count("password_reset_request") == 2


@every_language
@pytest.mark.parametrize(
    "email", ["", "alice", "a@b@c", '"><script>alert(1)</script>', "\x00"], ids=range(5)
)
def test_malformed_address_is_rejected_in_the_form(env, visit, email, language):
    """EM-16: the form explains the problem and keeps the input as plain text."""
    seen = visit.post(RESET, {"email": email}, accept_language=language)
    assert (seen.status, seen.heading) == (400, REQUEST_HEADINGS[language])
    _assert_readable(seen, language)
    [field] = seen.page.every("input")
    assert field["value"] == email
    assert (field["aria-describedby"], field["aria-invalid"]) == ("email-problem", "true")
    [problem] = [each for _, each in seen.page.elements if each.get("id") == "email-problem"]
    assert problem["role"] == "alert"
    assert re.match("Error: |Fehler: ", seen.page.texts["title"])
    assert env.count("password_reset_request") == 0


@every_language
@pytest.mark.parametrize("password", WEAK, ids=range(len(WEAK)))
def test_weak_password_is_rejected_with_the_broken_rules(visit, link_for, password, language):
    """PW-08: the secret stays valid, and the password is not in the response."""
    link = link_for(RESET)
    seen = visit.post(RESET, {**link, "new_password": password}, accept_language=language)
    assert (seen.status, seen.heading) == (400, HEADINGS[RESET, language][0])
    _assert_readable(seen, language)
    assert seen.page.hidden == link
    assert password not in seen.html
    problem = seen.html.partition('id="new_password-problem"')[2].partition("</div>")[0]
    assert "<li>" in problem
    # The words for a rule that the page does not know.
    assert not re.search("#|meets the rules above|die Regeln oben einhält", problem)
    assert visit.post(RESET, _form(RESET, link)).status == 200


@pytest.mark.parametrize(("password", "rule"), WEAK.items(), ids=range(len(WEAK)))
def test_weak_passwords_of_the_test_above_break_every_rule(password, rule):
    """PW-08: so the page has words for each rule."""
    with pytest.raises(WeakPassword) as weak:
        validate(password, limits=Limits(), own_words=["alice@example.com"])
    assert rule in {violation.rule for violation in weak.value.violations}


def test_missing_password_is_rejected_as_weak(visit, link_for):
    """EM-11: an empty form does not use up the secret."""
    link = link_for(RESET)
    assert visit.post(RESET, link).heading == "Set a new password"
    assert visit.get(RESET, link).status == 200


def test_password_form_supports_password_managers(make_env, visit_of):
    """EM-16: it names the account and marks the password as new; an odd address is plain text."""
    env = make_env(password_min_length=15)
    address = parse_address("o'brien&co@example.com")
    owner = env.user(address.entered)
    secret = env.act(issue_secret, SecretPurpose.PASSWORD_RESET, owner.user_id, address)
    seen = visit_of(env).get(RESET, {"secret": secret})
    account, field = (each for each in seen.page.every("input") if each["type"] != "hidden")
    assert (account["autocomplete"], account["value"]) == ("username", address.entered)
    assert "name" not in account
    assert (field["type"], field["autocomplete"]) == ("password", "new-password")
    assert (field["minlength"], field["aria-describedby"]) == ("15", "new_password-rules")
    assert "At least 15 characters" in seen.words
    assert address.entered in seen.words


@every_language
@pytest.mark.parametrize(
    ("has_classes", "rules"), [(True, ["length", "upper", "lower", "digit"]), (False, ["length"])]
)
def test_rules_for_passwords_follow_the_settings(make_env, visit_of, language, has_classes, rules):
    """Newcomer F23: rules that the script can check are marked in the list."""
    env = make_env(password_classes=has_classes)
    address = parse_address("alice@example.com")
    owner = env.user(address.entered)
    secret = env.act(issue_secret, SecretPurpose.PASSWORD_RESET, owner.user_id, address)
    visit = visit_of(env)
    seen = visit.get(RESET, {"secret": secret}, accept_language=language)
    items = seen.page.every("li")
    assert [each["data-rule"] for each in items if "data-rule" in each] == rules
    assert len(items) == len(rules) + 1
    weak = visit.post(RESET, {"secret": secret, "new_password": "plain lantern estuary"})
    assert weak.status == (400 if has_classes else 200)


def test_button_that_shows_the_password_needs_the_script(visit, link_for):
    """Newcomer, section on pages: it is hidden until the script can serve it."""
    seen = visit.get(RESET, link_for(RESET))
    [reveal, _] = seen.page.every("button")
    assert "hidden" in reveal
    assert (reveal["type"], reveal["aria-label"]) == ("button", "Show password")
    assert reveal["aria-controls"] in {each.get("id") for each in seen.page.every("input")}


@every_page
def test_brand_and_next_step_are_on_every_page(env, visit_of, link_for, path):
    """Newcomer F22: the pages are no dead ends."""
    brand = Brand(
        "A&B <i>",
        support=parse_support("help@example.com"),
        app_url="https://app.example.com/?a=1&b=2",
    )
    frame = PageFrame(Templates(brand=brand), public_origin=f"https://{HOST}")
    visit, link = visit_of(env, frame=frame), link_for(path)
    for seen in (visit.get(path, link), visit.post(path, _form(path, link))):
        assert seen.page.texts["title"].endswith(" \N{EN DASH} A&B <i>")
        links = [each["href"] for each in seen.page.every("a")]
        assert (links[0], links[-1]) == (brand.app_url, "mailto:help@example.com")
        is_done = "done" in (seen.page.every("main")[0]["class"] or "")
        # The owner of a restored account may need a new password before the app.
        reset = ["reset-password"] if path == RESTORE else []
        assert links[1:-1] == ([*reset, brand.app_url] if is_done else [])
    assert is_done is (path != UNDO)


@pytest.mark.parametrize(
    ("preferences", "language"),
    [
        (("de-AT", "en"), "de"),
        (("en-GB", "de"), "en"),
        (("fr-FR", "de"), "de"),
        (("fr-FR", ""), "en"),
        ((None, "de-DE,de;q=0.9,en;q=0.8"), "de"),
        ((None, "fr, en;q=0.5, de;q=0.7"), "de"),
        ((None, "de;q=0, fr"), "en"),
        ((None, "*, de;q=0.5"), "de"),
        ((None, "DE-de"), "de"),
        ((None, "deu, fr"), "en"),
        ((None, "de;q=2, \xff, ;;;, ,"), "en"),
        ((None, "x," * 5000 + "de"), "en"),
    ],
    ids=range(12),
)
def test_language_is_that_of_the_user_or_else_of_the_browser(
    env, visit, link_for, preferences, language
):
    """After the secret was used too; an invalid secret has no user."""
    locale, accepted = preferences
    env.execute('UPDATE "user" SET locale = ?', locale)
    link = link_for(VERIFY)
    _assert_readable(visit.get(VERIFY, link, accept_language=accepted), language)
    _assert_readable(visit.post(VERIFY, link, accept_language=accepted), language)
    _assert_readable(visit.post(VERIFY, link, accept_language=accepted), language)
    _assert_readable(visit.get(VERIFY, accept_language="de"), "de")


@every_page
def test_request_headers_do_not_change_the_page(visit, link_for, path):
    """EM-12: links and host are from the settings; parameters of mail programs are ignored."""
    link = link_for(path)
    expected = visit.get(path, link).html
    for name, value in {
        "host": f"{HOST}:8443",
        "x_forwarded_host": "evil.example",
        "x_forwarded_proto": "gopher",
        "x_forwarded_prefix": "/evil",
        "x_original_url": "/evil",
        "forwarded": "host=evil.example",
        "referer": "https://evil.example/",
    }.items():
        assert visit.get(path, link, **{name: value}).html == expected
    assert visit.get(path, {**link, "utm_source": "evil", "fbclid": "x"}).html == expected


@every_page
def test_every_response_has_the_security_headers(visit, link_for, path):
    """HT-15, EM-20: the Content-Security-Policy allows the one style by its hash."""
    for seen in (
        visit.get(path, link_for(path)),
        visit.post(path, link_for(path)),
        visit.get(path, {"secret": "wrong"}),
        visit.post(path, sec_fetch_site="cross-site"),
        visit.ask("DELETE", path),
    ):
        [style] = re.findall("<style>(.*?)</style>", seen.html, re.DOTALL)
        digest = b64encode(sha256(style.encode()).digest()).decode()
        policy = (
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; img-src 'self'; "
            f"style-src 'sha256-{digest}'; script-src 'self'; require-trusted-types-for 'script'; "
            "trusted-types 'none'; form-action 'self'"
        )
        expected = {
            "content-type": "text/html; charset=utf-8",
            "content-length": str(len(seen.html.encode())),
            "content-security-policy": policy,
            "cache-control": "no-store",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "x-robots-tag": "noindex",
        }
        assert {name: seen.headers.get(name) for name in expected} == expected
        assert "set-cookie" not in seen.headers
        assert "url(" not in style


@every_language
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "same-origin", "origin": "null"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"origin": f"https://{HOST}"}, 200),
        ({"origin": "null"}, 200),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site", "origin": f"https://{HOST}"}, 403),
        ({"sec_fetch_site": ""}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": f"http://{HOST}"}, 403),
    ],
    ids=range(11),
)
def test_cross_site_form_post_is_rejected(visit, link_for, headers, status, language):
    """SE-09: old browsers send the origin `null` with a page's own form, as it has no referrer."""
    link = link_for(VERIFY)
    seen = visit.post(VERIFY, link, accept_language=language, **headers)
    assert seen.status == status
    _assert_readable(seen, language)
    if status == 403:
        assert link["secret"] not in seen.html
        assert visit.get(VERIFY, link, **headers).status == 200
        assert visit.post(VERIFY, link).status == 200


@every_language
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "X"])
def test_other_methods_are_rejected(visit, method, language):
    """HT-13."""
    seen = visit.ask(method, RESET, headers={"accept-language": language})
    assert (seen.status, seen.headers["allow"]) == (405, "GET, HEAD, POST")
    _assert_readable(seen, language)


@every_language
@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (FORM, b"secret=" + b"x" * 9000, 413),
        ("application/json", b"{}", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("text/plain", b"secret=x", 415),
        (f"{FORM}; charset=latin1", b"secret=x", 415),
        ("", b"secret=x", 415),
        (FORM, b"secret=x&secret=y", 400),
        (FORM, b"secret=x&canary=canary", 400),
        (FORM, b"secret=%ff", 400),
        (FORM, b"secret", 400),
    ],
    ids=range(10),
)
def test_malformed_form_is_rejected(visit, content_type, body, status, language):
    """HT-04, HT-07: and is not repeated in the response."""
    headers = {"accept-language": language, "content-type": content_type}
    seen = visit.ask("POST", VERIFY, body=body, headers=headers)
    assert seen.status == status
    assert seen.heading == {"en": "That did not work", "de": "Das hat nicht geklappt"}[language]
    _assert_readable(seen, language)
    assert "canary" not in seen.html


def test_longest_password_fits_into_a_form(visit, link_for):
    """HT-07: with its bytes percent-encoded."""
    password = NEW + "." + "ö" * 499
    assert len(password.encode()) == 1024
    assert visit.post(RESET, {**link_for(RESET), "new_password": password}).status == 200


def test_form_that_does_not_arrive_times_out(visit):
    """HT-08."""

    async def silence() -> Any:
        await asyncio.sleep(30)

    seen = visit.ask("POST", VERIFY, receive=silence, headers={"content-type": FORM})
    assert (seen.status, seen.headers["connection"]) == (408, "close")
    _assert_readable(seen, "en")


@pytest.mark.parametrize("query", ["secret=a&secret=b", "&".join(f"x{i}=1" for i in range(60))])
def test_ambiguous_link_is_rejected(visit, query):
    """HT-05."""
    seen = visit.ask("GET", VERIFY, query=query)
    assert (seen.status, seen.heading) == (400, "That did not work")


@every_page
def test_internal_error_page_has_the_request_id_only(env, visit, link_for, path, caplog):
    """OP-05: the cause is in the log."""
    link = link_for(path)
    env.corrupt_column("one_time_secret", "expires_at", "canary")
    for seen, language in (
        (visit.get(path, link, accept_language="de"), "de"),
        (visit.post(path, _form(path, link)), "en"),
    ):
        assert seen.status == 500
        _assert_readable(seen, language)
        assert seen.headers["x-request-id"] in seen.words
        assert "canary" not in seen.html
        assert link["secret"] not in seen.html
    assert "unforeseen" in caplog.text


def test_database_failure_is_a_page_that_asks_to_retry(env, visit, link_for):
    """DB-05."""
    link = link_for(VERIFY)
    env.execute("ALTER TABLE one_time_secret RENAME TO gone")
    seen = visit.get(VERIFY, link)
    assert (seen.status, seen.headers["retry-after"]) == (503, "1")
    _assert_readable(seen, "en")
    env.execute("ALTER TABLE gone RENAME TO one_time_secret")
    assert visit.post(VERIFY, link).status == 200


@every_language
def test_unknown_outcome_page_says_how_to_find_out(  # fixtures
    visit, link_for, monkeypatch, language
):
    """DB-12: the link tells, since it is used up by the change."""
    link = link_for(VERIFY)

    def lose(_session: object) -> None:
        raise OutcomeUnknown("lost")

    with monkeypatch.context() as patched:
        patched.setattr("oneself.database.sessions.TransactionSession.finish", lose)
        seen = visit.post(VERIFY, link, accept_language=language)
    assert seen.status == 504
    assert "retry-after" not in seen.headers
    _assert_readable(seen, language)
    assert visit.post(VERIFY, link).status == 200


@every_language
def test_full_queue_is_a_page_that_asks_to_retry(env, visit_of, language):
    """LG-13."""
    seen = visit_of(env, places=0).get(RESET, accept_language=language)
    assert (seen.status, seen.headers["retry-after"]) == (503, "1")
    _assert_readable(seen, language)


def test_made_up_reset_does_not_wait_for_a_hash(env, visit_of, link_for):
    """LG-13, attack finding 21: only a form with a good secret does."""
    visit = visit_of(env, hashing_places=0)
    made_up = {"secret": tokens.mint(tokens.ONE_TIME_SECRET)}
    for link in (made_up, {"secret": "nonsense"}, {}):
        assert visit.post(RESET, _form(RESET, link)).status == 400
    assert visit.post(RESET, _form(RESET, link_for(RESET))).status == 503


def test_log_names_the_page_and_no_part_of_the_link(
    env, visit, link_for, unusable_link, *, caplog, capsys
):
    """LO-06, EM-03: for valid links, unusable links and failures."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, logger="oneself.requests")
    hidden = {NEW, "alice@example.com", "new@example.net", "canary"}
    for path in PAGES:
        for reason in UNUSABLE:
            link = unusable_link(path, reason)
            visit.get(path, {**link, "utm_source": "canary"})
            visit.post(path, _form(path, link))
            hidden.update(link.values())
    visit.post(RESET, {"email": "alice@example.com"})
    visit.post(VERIFY, {"secret": "canary", "canary": "canary"})
    env.corrupt_column("one_time_secret", "expires_at", "broken")
    visit.post(VERIFY, link_for(VERIFY) | {"action": "canary"})
    lines = capsys.readouterr().err.splitlines()
    requests = [json.loads(line) for line in lines]
    assert {request["operation"] for request in requests} == {
        "page.verifyEmail",
        "page.changeEmail",
        "page.restoreAccount",
        "page.undoEmailChange",
        "page.releaseEmail",
        "page.resetPassword",
    }
    assert {request["code"] for request in requests} >= {None, "invalid_request", *UNUSABLE}
    for line in (*lines, *map(LineFormatter().format, caplog.records)):
        assert not [value for value in hidden if value in line]


def test_event_has_the_client_address_and_the_request_id(env, visit, link_for):
    """LO-02: the request id is that of the log."""
    done = visit.post(VERIFY, link_for(VERIFY))
    [event] = [row for row in env.rows("security_event") if row["kind"] == "user_updated"]
    assert (event["source"], event["request_id"]) == ("192.0.2.7", done.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/", "/verify-email/", "/Verify-Email", "/verify", "/v1/me"])
def test_other_paths_are_passed_on(visit, path):
    """HT-12."""
    assert visit.get(path).status == 204
