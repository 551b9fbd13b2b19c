"""Opening an account oneself."""

import bcrypt
import pytest

from accounts.errors import EmailTaken, InvalidRequest, SignupClosed, WeakPassword
from accounts.principal import CredentialKind
from accounts.signup import sign_up

GOOD = {
    "email": "Carol@Example.net",
    "password": "Violet tangent 47 harbour",
    "display_name": "Carol",
    "tenant_name": "Carol's",
    "user_agent": None,
}


def _sign_up(house, **changed):
    with house.database.transaction(writing=False) as session:
        return sign_up(session, **(GOOD | changed))


def test_signing_up_opens_a_tenant_with_its_owner(house):
    """There is a new tenant, a user who owns it, and a session for them."""
    opened = _sign_up(house)
    assert opened.person.email == "Carol@Example.net"
    assert opened.person.tenant_display_name == "Carol's"
    assert opened.person.roles == ["owner"]
    assert not opened.person.email_verified
    assert house.recognise(CredentialKind.SESSION, opened.token).person == opened.person


def test_each_signup_makes_a_tenant_of_its_own(house):
    """The same name of a tenant twice is two tenants."""
    first = _sign_up(house)
    second = _sign_up(house, email="dave@example.net")
    assert first.person.tenant_id != second.person.tenant_id


def test_a_closed_signup_opens_nothing(open_house):
    """The switch is in the act, and not only hidden (AZ-19)."""
    house = open_house(signup_open=False)
    with pytest.raises(SignupClosed):
        _sign_up(house)
    assert house.count("tenant") == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "nobody"), ("display_name", " Carol"), ("tenant_name", "\u202eCarol")],
)
def test_a_value_that_breaks_its_rule_is_named(house, field, value):
    """The field is named as the caller named it, and nothing is opened."""
    with pytest.raises(InvalidRequest) as refused:
        _sign_up(house, **{field: value})
    assert [violation.field for violation in refused.value.violations] == [(field,)]
    assert house.count("tenant") == 0


@pytest.mark.parametrize("password", ["short", "Carol@Example1", "Carol's1", "Password1"])
def test_a_weak_password_is_refused(house, password):
    """Common ones, and ones made of what was just entered, are no passwords (PW-08, PW-09)."""
    with pytest.raises(WeakPassword) as refused:
        _sign_up(house, password=password)
    assert {violation.field for violation in refused.value.violations} == {("password",)}


def test_a_taken_address_is_refused_before_any_hash(house, alice, monkeypatch):
    """A refusal costs no bcrypt, whatever the spelling of the address (UN-01, PW-19)."""
    monkeypatch.delattr(bcrypt, "hashpw")
    with pytest.raises(EmailTaken):
        _sign_up(house, email=alice.person.email.upper())


def test_an_address_that_is_taken_during_the_hash_is_refused(house, elsewhere, monkeypatch):
    """Of two who sign up with one address one wins, and the other leaves nothing (UN-01)."""
    true_hash = bcrypt.hashpw

    def hashpw(password, salt):
        monkeypatch.setattr(bcrypt, "hashpw", true_hash)
        elsewhere(_sign_up, house)
        return true_hash(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    with pytest.raises(EmailTaken):
        _sign_up(house)
    assert [house.count(table) for table in ("tenant", "user", "login_session")] == [1, 1, 1]
