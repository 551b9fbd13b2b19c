"""Opening an account oneself."""

from concurrent.futures import ThreadPoolExecutor

import bcrypt
import pytest

from accounts.errors import (
    EmailTaken,
    InvalidRequest,
    SignupClosed,
    TooManyAttempts,
    WeakPassword,
)
from accounts.flows.sign_in.sessions import log_in
from accounts.flows.sign_in.signup import sign_up
from accounts.limits import RateLimit
from accounts.origin import Origin
from accounts.services.principal import CredentialKind

GOOD = {
    "email": "Carol@Example.net",
    "password": "Violet tangent 47 harbour",
    "display_name": "Carol",
    "tenant_name": "Carol's",
    "user_agent": None,
}


def _sign_up(env, source="192.0.2.1", **changed):
    """Sign up as the service does: a writing transaction, let go of for the hash."""
    origin = Origin(address=source)
    with env.database.transaction(writing=True, origin=origin) as session:
        return sign_up(session, **(GOOD | changed))


def test_signing_up_opens_a_tenant_with_its_owner(env):
    """There is a new tenant, a user who owns it, and a session for them."""
    opened = _sign_up(env)
    assert opened.user.email == "Carol@Example.net"
    assert opened.user.tenant_display_name == "Carol's"
    assert opened.user.roles == ["owner"]
    assert not opened.user.email_verified
    assert env.recognise(CredentialKind.SESSION, opened.token).user == opened.user


def test_each_signup_makes_a_tenant_of_its_own(env):
    """The same name of a tenant twice is two tenants."""
    first = _sign_up(env)
    second = _sign_up(env, email="dave@example.net")
    assert first.user.tenant_id != second.user.tenant_id


def test_a_closed_signup_opens_nothing(open_house):
    """The switch is in the act, and not only hidden (AZ-19)."""
    env = open_house(signup_open=False)
    with pytest.raises(SignupClosed):
        _sign_up(env)
    assert env.count("tenant") == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "nobody"), ("display_name", " Carol"), ("tenant_name", "\u202eCarol")],
)
def test_a_value_that_breaks_its_rule_is_named(env, field, value):
    """The field is named as the caller named it, and nothing is opened."""
    with pytest.raises(InvalidRequest) as refused:
        _sign_up(env, **{field: value})
    assert [violation.field for violation in refused.value.violations] == [(field,)]
    assert env.count("tenant") == 0


@pytest.mark.parametrize("password", ["short", "Carol@Example1", "Carol's1", "Password1"])
def test_a_weak_password_is_refused(env, password):
    """Common ones, and ones made of what was just entered, are no passwords (PW-08, PW-09)."""
    with pytest.raises(WeakPassword) as refused:
        _sign_up(env, password=password)
    assert {violation.field for violation in refused.value.violations} == {("password",)}


def test_a_taken_address_is_refused_before_any_hash(env, alice, monkeypatch):
    """A refusal costs no bcrypt, whatever the spelling of the address (UN-01, PW-19)."""
    monkeypatch.delattr(bcrypt, "hashpw")
    with pytest.raises(EmailTaken):
        _sign_up(env, email=alice.view.email.upper())


def test_an_address_that_is_taken_during_the_hash_is_refused(env, elsewhere, monkeypatch):
    """Of two who sign up with one address one wins, and the other leaves nothing (UN-01)."""
    true_hash = bcrypt.hashpw

    def hashpw(password, salt):
        monkeypatch.setattr(bcrypt, "hashpw", true_hash)
        elsewhere(_sign_up, env)
        return true_hash(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    with pytest.raises(EmailTaken):
        _sign_up(env)
    assert [env.count(table) for table in ("tenant", "user", "login_session")] == [1, 1, 1]


def test_a_source_opens_as_many_accounts_as_it_may_and_no_more(open_house):
    """LG-13: each account is a hash and rows for ever; past the budget neither is made."""
    env = open_house(signup_budget=RateLimit(3, 60))
    for number in range(3):
        _sign_up(env, email=f"carol{number}@example.net")
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(bcrypt, "hashpw")
        with pytest.raises(TooManyAttempts) as refused:
            _sign_up(env, email="carol3@example.net")
    assert (refused.value.policy, refused.value.retry_after) == ("signup", 20)
    assert env.count("tenant") == 3
    _sign_up(env, email="carol3@example.net", source="198.51.100.7")
    env.clock.move(seconds=20)
    _sign_up(env, email="carol4@example.net")


def test_parallel_signups_are_counted_before_they_are_hashed(open_house):
    """LG-04: of ten at once from one source, as many hash as the budget has."""
    env = open_house(signup_budget=RateLimit(3, 60))
    with ThreadPoolExecutor(10) as threads:
        outcomes = [
            threads.submit(_sign_up, env, email=f"carol{number}@example.net")
            for number in range(10)
        ]
        refused = [outcome.exception(60) for outcome in outcomes]
    assert [type(each) for each in refused if each] == [TooManyAttempts] * 7
    assert env.count("user") == 3


@pytest.mark.parametrize("changed", [{"email": "nobody"}, {"password": "short"}])
def test_what_is_no_signup_at_all_is_not_counted(open_house, changed):
    """LG-13: who mistypes is not stopped for it, since it costs no hash."""
    env = open_house(signup_budget=RateLimit(1, 60))
    for _ in range(3):
        with pytest.raises((InvalidRequest, WeakPassword)):
            _sign_up(env, **changed)
    _sign_up(env)


def test_a_signup_is_remembered(env):
    """LO-02: that the account was made, and its first session."""
    opened = _sign_up(env)
    kinds = {row["kind"] for row in env.rows("security_event")}
    assert {"user_created", "session_created"} <= kinds
    assert {row["source"] for row in env.rows("security_event")} == {"192.0.2.1"}
    assert opened.token not in repr(env.rows("security_event"))


def test_a_signup_lets_its_source_log_in_at_once(env):
    """LG-06: signing up spends nothing of the budget of passwords."""
    _sign_up(env)
    for _ in range(5):
        with env.database.transaction(writing=True, origin=Origin(address="192.0.2.1")) as session:
            log_in(session, email=GOOD["email"], password=GOOD["password"], user_agent=None)
