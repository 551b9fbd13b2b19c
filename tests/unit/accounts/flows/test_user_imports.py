"""Users from elsewhere, with hashes instead of passwords."""

import bcrypt
import pytest

from accounts.errors import EmailTaken, InvalidCredentials, InvalidRequest
from accounts.flows.sessions import log_in
from accounts.flows.user_imports import ImportedUser, check_import, import_user
from models import Tenant

PASSWORD = "Violet tangent 47 harbour"
HASHED = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
EMAIL = "Carol@Example.com"


@pytest.fixture
def bring(house):
    tenant = house.tenant()

    def bring(**changed):
        imported = ImportedUser(
            **{"email": EMAIL, "name": "Carol", "password_hash": HASHED} | changed
        )
        with house.database.transaction(writing=True) as session:
            return import_user(session, session.get_one(Tenant, tenant.id), imported)

    return bring


def enter(house, password=PASSWORD):
    return house.act(log_in, email=EMAIL, password=password, user_agent=None)


def test_who_comes_with_a_hash_logs_in_with_the_password(house, bring):
    user = bring()
    assert user.email_verified_at is None
    assert enter(house).person.user_id == user.id
    with pytest.raises(InvalidCredentials):
        enter(house, PASSWORD + "!")


def test_the_first_login_makes_the_record_one_of_ours(house, bring):
    """PW-15, PW-17."""
    bring()
    [before] = house.rows("password_record")
    assert before["record"].startswith(f"2${house.keys.key_id}$")
    with pytest.raises(InvalidCredentials):
        enter(house, "a guess")
    assert house.rows("password_record") == [before]
    enter(house)
    [after] = house.rows("password_record")
    assert after["record"].startswith(f"1${house.keys.key_id}$")
    enter(house)
    assert house.rows("password_record") == [after]


def test_who_comes_without_a_hash_has_no_password(house, bring):
    bring(password_hash=None)
    assert house.count("password_record") == 0
    with pytest.raises(InvalidCredentials):
        enter(house)


def test_who_was_verified_elsewhere_is_verified_here(house, bring):
    """So that a forgotten password can be mailed to them."""
    user = bring(is_verified=True, roles=("owner", "billing"))
    assert (user.verified_email, user.verified_email_canonical) == (EMAIL, "carol@example.com")
    assert house.person(user.id).email_verified
    assert user.roles == ["owner", "billing"]


def test_an_address_that_is_taken_is_refused(bring):
    bring()
    with pytest.raises(EmailTaken):
        bring(email=EMAIL.lower())


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"email": "carol"}, "email"),
        ({"name": ""}, "name"),
        ({"roles": ("Owner",)}, "roles"),
        ({"password_hash": "5f4dcc3b5aa765d61d8327deb882cf99"}, "password_hash"),
        ({"password_hash": HASHED.replace("$04$", "$05$")}, "password_hash"),
    ],
)
def test_what_breaks_a_rule_is_named_before_anything_is_written(house, changed, field):
    """LG-03: a hash of a higher cost than ours too, since its logins would be told by time."""
    imported = ImportedUser(**{"email": EMAIL, "name": "Carol", "password_hash": HASHED} | changed)
    with pytest.raises(InvalidRequest) as refused:
        check_import(imported, keys=house.keys, rules=house.rules)
    assert [violation.field for violation in refused.value.violations] == [(field,)]


def test_what_is_right_gives_the_key_of_its_address(house):
    imported = ImportedUser(EMAIL, "Carol", HASHED)
    assert check_import(imported, keys=house.keys, rules=house.rules) == "carol@example.com"
