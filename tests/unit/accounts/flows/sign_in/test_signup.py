"""Self-service signup."""

from concurrent.futures import ThreadPoolExecutor

import bcrypt
import pytest

from accounts.errors import EmailTaken, InvalidRequest, SignupClosed, TooManyAttempts, WeakPassword
from accounts.flows.sign_in.sessions import log_in
from accounts.flows.sign_in.signup import sign_up
from accounts.limits import RateLimit
from accounts.origin import Origin
from accounts.services.principal import CredentialKind

VALID = {
    "email": "Carol@Example.net",
    "password": "Violet tangent 47 harbour",
    "display_name": "Carol",
    "tenant_name": "Carol's",
    "user_agent": None,
}


def _sign_up(env, source="192.0.2.1", **overrides):
    """Sign up as the service does: in a writing transaction, released for the hash."""
    origin = Origin(address=source)
    with env.database.transaction(writing=True, origin=origin) as session:
        return sign_up(session, **(VALID | overrides))


def test_signup_opens_a_tenant_with_its_owner(env):
    """And a session of the owner."""
    new_session = _sign_up(env)
    assert new_session.user.email == "Carol@Example.net"
    assert new_session.user.tenant_display_name == "Carol's"
    assert new_session.user.roles == ["owner"]
    assert not new_session.user.email_verified
    assert env.authenticate(CredentialKind.SESSION, new_session.token).user == new_session.user


def test_each_signup_opens_its_own_tenant(env):
    """Also with the same name."""
    first = _sign_up(env)
    second = _sign_up(env, email="dave@example.net")
    assert first.user.tenant_id != second.user.tenant_id


def test_closed_signup_is_rejected(make_env):
    """AZ-19: the act enforces it, not only the API."""
    env = make_env(signup_open=False)
    with pytest.raises(SignupClosed):
        _sign_up(env)
    assert env.count("tenant") == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "nobody"), ("display_name", " Carol"), ("tenant_name", "\u202eCarol")],
)
def test_invalid_value_is_rejected(env, field, value):
    """The refusal uses the caller's field name, and nothing is created."""
    with pytest.raises(InvalidRequest) as caught:
        _sign_up(env, **{field: value})
    assert [violation.field for violation in caught.value.violations] == [(field,)]
    assert env.count("tenant") == 0


@pytest.mark.parametrize("password", ["short", "Carol@Example1", "Carol's1", "Password1"])
def test_weak_password_is_rejected(env, password):
    """PW-08, PW-09: common passwords, and ones made of the entered values."""
    with pytest.raises(WeakPassword) as caught:
        _sign_up(env, password=password)
    assert {violation.field for violation in caught.value.violations} == {("password",)}


def test_taken_address_is_rejected_before_hashing(env, alice, monkeypatch):
    """UN-01, PW-19: for any spelling of the address."""
    monkeypatch.delattr(bcrypt, "hashpw")
    with pytest.raises(EmailTaken):
        _sign_up(env, email=alice.view.email.upper())


def test_address_taken_during_hashing_is_rejected(env, run_in_thread, monkeypatch):
    """UN-01: one of two signups with one address wins, and the other one leaves no rows."""
    original = bcrypt.hashpw

    def hashpw(password, salt):
        monkeypatch.setattr(bcrypt, "hashpw", original)
        run_in_thread(_sign_up, env)
        return original(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    with pytest.raises(EmailTaken):
        _sign_up(env)
    assert [env.count(table) for table in ("tenant", "user", "login_session")] == [1, 1, 1]


def test_signups_of_one_source_are_rate_limited(make_env):
    """LG-13: each account costs a hash and rows; over the limit there is neither."""
    env = make_env(signup_budget=RateLimit(3, 60))
    for number in range(3):
        _sign_up(env, email=f"carol{number}@example.net")
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(bcrypt, "hashpw")
        with pytest.raises(TooManyAttempts) as caught:
            _sign_up(env, email="carol3@example.net")
    assert (caught.value.policy, caught.value.retry_after) == ("signup", 20)
    assert env.count("tenant") == 3
    _sign_up(env, email="carol3@example.net", source="198.51.100.7")
    env.clock.move(seconds=20)
    _sign_up(env, email="carol4@example.net")


def test_concurrent_signups_are_counted_before_hashing(make_env):
    """LG-04: of ten concurrent signups, only as many hash as the limit allows."""
    env = make_env(signup_budget=RateLimit(3, 60))
    with ThreadPoolExecutor(10) as threads:
        outcomes = [
            threads.submit(_sign_up, env, email=f"carol{number}@example.net")
            for number in range(10)
        ]
        errors = [outcome.exception(60) for outcome in outcomes]
    assert [type(error) for error in errors if error] == [TooManyAttempts] * 7
    assert env.count("user") == 3


@pytest.mark.parametrize("overrides", [{"email": "nobody"}, {"password": "short"}])
def test_invalid_signup_is_not_counted(make_env, overrides):
    """LG-13: typos cost no hash, so they do not count."""
    env = make_env(signup_budget=RateLimit(1, 60))
    for _ in range(3):
        with pytest.raises((InvalidRequest, WeakPassword)):
            _sign_up(env, **overrides)
    _sign_up(env)


def test_signup_is_an_event(env):
    """LO-02: the creation of the account, and its first session."""
    new_session = _sign_up(env)
    kinds = {row["kind"] for row in env.rows("security_event")}
    assert {"user_created", "session_created"} <= kinds
    assert {row["source"] for row in env.rows("security_event")} == {"192.0.2.1"}
    assert new_session.token not in repr(env.rows("security_event"))


def test_signup_does_not_limit_logins(env):
    """LG-06: signup does not use up the rate limit of passwords."""
    _sign_up(env)
    for _ in range(5):
        with env.database.transaction(writing=True, origin=Origin(address="192.0.2.1")) as session:
            log_in(session, email=VALID["email"], password=VALID["password"], user_agent=None)
