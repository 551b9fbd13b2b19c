"""Users from elsewhere, with hashes instead of passwords."""

import bcrypt
import pytest

from accounts.errors import EmailTaken, InvalidCredentials, InvalidRequest
from accounts.flows.administration.user_imports import ImportedUser, check_import, import_user
from accounts.flows.sign_in.sessions import log_in
from models import Tenant

PASSWORD = "Violet tangent 47 harbour"
HASHED = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
EMAIL = "Carol@Example.com"


@pytest.fixture
def bring(env):
    tenant = env.tenant()

    def bring(**changed):
        imported = ImportedUser(
            **{"email": EMAIL, "name": "Carol", "password_hash": HASHED} | changed
        )
        with env.database.transaction(writing=True) as session:
            return import_user(session, session.get_one(Tenant, tenant.id), imported)

    return bring


def enter(env, password=PASSWORD):
    return env.act(log_in, email=EMAIL, password=password, user_agent=None)


def test_who_comes_with_a_hash_logs_in_with_the_password(env, bring):
    user = bring()
    assert user.email_verified_at is None
    assert enter(env).user.user_id == user.id
    with pytest.raises(InvalidCredentials):
        enter(env, PASSWORD + "!")


def test_the_first_login_makes_the_record_one_of_ours(env, bring):
    """PW-15, PW-17."""
    bring()
    [before] = env.rows("password_record")
    assert before["record"].startswith(f"2${env.keys.key_id}$")
    with pytest.raises(InvalidCredentials):
        enter(env, "a guess")
    assert env.rows("password_record") == [before]
    enter(env)
    [after] = env.rows("password_record")
    assert after["record"].startswith(f"1${env.keys.key_id}$")
    enter(env)
    assert env.rows("password_record") == [after]


def test_who_comes_without_a_hash_has_no_password(env, bring):
    bring(password_hash=None)
    assert env.count("password_record") == 0
    with pytest.raises(InvalidCredentials):
        enter(env)


def test_who_was_verified_elsewhere_is_verified_here(env, bring):
    """So that a forgotten password can be mailed to them."""
    user = bring(is_verified=True, roles=("owner", "billing"))
    assert (user.verified_email, user.verified_email_canonical) == (EMAIL, "carol@example.com")
    assert env.view(user.id).email_verified
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
def test_what_breaks_a_rule_is_named_before_anything_is_written(env, changed, field):
    """LG-03: a hash of a higher cost than ours too, since its logins would be told by time."""
    imported = ImportedUser(**{"email": EMAIL, "name": "Carol", "password_hash": HASHED} | changed)
    with pytest.raises(InvalidRequest) as refused:
        check_import(imported, keys=env.keys, limits=env.limits)
    assert [violation.field for violation in refused.value.violations] == [(field,)]


def test_what_is_right_gives_the_key_of_its_address(env):
    imported = ImportedUser(EMAIL, "Carol", HASHED)
    assert check_import(imported, keys=env.keys, limits=env.limits) == "carol@example.com"
