"""Takeovers of an account over HTTP, in the steps of an attacker and of its owner (ADR 32)."""

from email import message_from_bytes, policy
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import pytest

from oneself_conformance.http_client import json_request
from tests.support.in_process import InProcess

NUMBERS = count()
OWNER_PASSWORD, ATTACKER_PASSWORD = "Silent meadow 83 lantern", "Crooked harbour 19 violin"
NEW_PASSWORD = "Ochre lantern 58 meadow"

SIGN_UP, LOG_IN = "/v1/auth/signup", "/v1/auth/login"
FORGOT, RESET = "/v1/auth/password/forgot", "/v1/auth/password/reset"
VERIFY, CONFIRM = "/api/v1/me/verify-email", "/api/v1/me/verify-email/confirm"
CHANGE, VALIDATE = "/resources/me/email/change", "/resources/me/email/validate"
UNDO, PROFILE = "/resources/me/email/undo", "/resources/me/profile"
USER, TOKEN = "/api/users/me/", "/api/users/me/token/"


class Party:
    """One of the two, with a mailbox and perhaps a session."""

    def __init__(self, application, address, password):
        self.application, self.address, self.password = application, address, password
        self.session = None

    def ask(self, method, path, body=None, *, token=None):
        """Send a request with the session; return the status and the JSON of the response."""
        bearer = token or self.session
        headers = (("Authorization", f"Bearer {bearer}"),) if bearer else ()
        answer = self.application.ask(json_request(method, path, body, headers))
        return answer.status, answer.json() if answer.body else None

    def post(self, path, **body):
        return self.ask("POST", path, body or None)

    def sign_up(self):
        self.session = None
        status, body = self.post(
            SIGN_UP,
            email=self.address,
            password=self.password,
            display_name="A Person",
            tenant_name="A Tenant",
        )
        if status == 201:
            self.session = body["data"]["session_token"]
        return status

    def log_in(self, address=None, password=None):
        self.session = None
        status, body = self.post(
            LOG_IN, email=address or self.address, password=password or self.password
        )
        if status == 200:
            self.session = body["data"]["session_token"]
        return status

    def link(self, page):
        """Return the query of the newest mailed link to a page, or None."""
        folder = self.application.data / "mail"
        for path in sorted(folder.glob("*.eml"), key=lambda each: -each.stat().st_mtime_ns):
            mail = message_from_bytes(path.read_bytes(), policy=policy.default)
            if mail["To"] != self.address:
                continue
            for word in mail.get_body(("plain",)).get_content().split():
                if urlsplit(word).path == page:
                    return dict(parse_qsl(urlsplit(word).query))
        return None

    def answer(self):
        """Prove the address by the newest mail that asks for it."""
        link = self.link("/change-email")
        if link is not None and self.application.is_service:
            return self.post(VALIDATE, identityId=link["identity"], secret=link["secret"])[0]
        return self.post(CONFIRM, secret=self.link("/verify-email")["secret"])[0]

    def verify(self):
        assert self.post(VERIFY)[0] == 200
        assert self.post(CONFIRM, secret=self.link("/verify-email")["secret"])[0] == 200

    def move(self, address):
        """Change the address as far as the secret in the response leads."""
        status, body = self.post(CHANGE, email=address)
        assert status == 200
        if "secret" in body:
            changed = self.post(VALIDATE, identityId=body["identityId"], secret=body["secret"])
            assert changed[0] == 200

    def reset(self, password):
        self.session = None
        assert self.post(FORGOT, email=self.address)[0] == 202
        status, _ = self.post(
            RESET, secret=self.link("/reset-password")["secret"], new_password=password
        )
        assert status == 200
        self.password = password

    def undo(self):
        self.session = None
        return self.post(UNDO, secret=self.link("/undo-email-change")["secret"])


@pytest.fixture(scope="module", params=["client", "service"])
def application(request, storage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("application")
    location = storage.make(folder)
    in_process = InProcess(folder, location, email_change=request.param)
    in_process.is_service = request.param == "service"
    yield in_process
    in_process.close()
    storage.drop(location)


@pytest.fixture
def owner(application):
    return Party(application, f"owner{next(NUMBERS)}@good.example", OWNER_PASSWORD)


@pytest.fixture
def attacker(application):
    return Party(application, f"attacker{next(NUMBERS)}@evil.example", ATTACKER_PASSWORD)


@pytest.fixture
def thief(owner, attacker):
    """The attacker with a session of the owner, whose address is verified."""
    owner.sign_up()
    owner.verify()
    attacker.session = owner.session
    return attacker


def test_attacker_who_claims_an_address_first_gets_no_account_of_its_owner(owner, attacker):
    """EM-10, attack finding 1: the owner signs up as if there were no claim."""
    attacker.sign_up()
    attacker.verify()
    attacker.move(owner.address)
    assert owner.sign_up() == 201
    owner.reset(NEW_PASSWORD)
    status, undone = attacker.undo()
    assert (status, undone["email"]) == (200, attacker.address)
    body = {"secret": undone["resetSecret"], "new_password": NEW_PASSWORD + "!"}
    assert attacker.post(RESET, **body)[0] == 200
    assert attacker.log_in(password=NEW_PASSWORD + "!") == 200
    assert attacker.ask("GET", PROFILE)[1]["email"] == attacker.address
    assert owner.log_in() == 200
    assert owner.ask("GET", PROFILE)[1]["email"] == owner.address


def test_owner_who_proves_a_claimed_address_is_told_of_the_undo(owner, attacker):
    """EM-02, attack finding 1: the account is that of the attacker, who can take it back."""
    attacker.sign_up()
    attacker.verify()
    attacker.move(owner.address)
    assert owner.answer() == 200
    owner.reset(NEW_PASSWORD)
    assert owner.log_in() == 200
    assert owner.ask("GET", PROFILE)[1]["emailUndo"]["email"] == "a…@e….example"


def test_undo_of_a_thief_ends_when_the_owner_proves_the_address(application, owner, thief):
    """EM-02, EM-09, attack finding 2: also after the owner's own undo has expired."""
    thief.move(thief.address)
    assert thief.answer() == 200
    thief.move(owner.address)
    expired = "UPDATE one_time_secret SET expires_at = created_at WHERE address_canonical = ?"
    application.execute(f"{expired} AND purpose = 'email_undo'", owner.address)
    assert owner.answer() == 200
    owner.reset(NEW_PASSWORD)
    status, body = thief.undo()
    assert (status, body["code"]) == (400, "secret_superseded")
    assert owner.log_in() == 200


def test_undo_takes_the_account_from_a_thief_for_good(owner, thief):
    """EM-02, SE-07, attack finding 3: neither a password nor a credential of the thief is left."""
    thief.move(thief.address)
    assert thief.answer() == 200
    thief.reset(ATTACKER_PASSWORD)
    assert thief.log_in() == 200
    credentials = thief.session, thief.ask("GET", TOKEN)[1]["access_token"]
    assert {thief.ask("GET", USER, token=token)[0] for token in credentials} == {200}
    status, undone = owner.undo()
    assert (status, undone["email"]) == (200, owner.address)
    assert {thief.ask("GET", USER, token=token)[0] for token in credentials} == {401}
    for address in (owner.address, thief.address):
        assert thief.log_in(address) == 401
    body = {"secret": undone["resetSecret"], "new_password": NEW_PASSWORD}
    assert owner.post(RESET, **body)[0] == 200
    assert owner.log_in(password=NEW_PASSWORD) == 200
    assert owner.ask("GET", PROFILE)[1]["email"] == owner.address
