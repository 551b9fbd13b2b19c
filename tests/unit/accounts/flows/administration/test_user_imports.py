"""Importing users with password hashes."""

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
def import_carol(env):
    tenant = env.tenant()

    def import_carol(**overrides):
        imported = ImportedUser(
            **{"email": EMAIL, "name": "Carol", "password_hash": HASHED} | overrides
        )
        with env.database.transaction(writing=True) as session:
            return import_user(session, session.get_one(Tenant, tenant.id), imported)

    return import_carol


def log_in_carol(env, password=PASSWORD):
    return env.act(log_in, email=EMAIL, password=password, user_agent=None)


def test_user_imported_with_a_hash_can_log_in(env, import_carol):
    user = import_carol()
    assert user.email_verified_at is None
    assert log_in_carol(env).user.user_id == user.id
    with pytest.raises(InvalidCredentials):
        log_in_carol(env, PASSWORD + "!")


def test_first_login_replaces_the_imported_hash(env, import_carol):
    """PW-15, PW-17."""
    import_carol()
    [imported_row] = env.rows("password_record")
    assert imported_row["record"].startswith(f"2${env.keys.key_id}$")
    with pytest.raises(InvalidCredentials):
        log_in_carol(env, "a guess")
    assert env.rows("password_record") == [imported_row]
    log_in_carol(env)
    [rehashed_row] = env.rows("password_record")
    assert rehashed_row["record"].startswith(f"1${env.keys.key_id}$")
    log_in_carol(env)
    assert env.rows("password_record") == [rehashed_row]


def test_user_imported_without_a_hash_has_no_password(env, import_carol):
    import_carol(password_hash=None)
    assert env.count("password_record") == 0
    with pytest.raises(InvalidCredentials):
        log_in_carol(env)


def test_imported_verification_is_kept(env, import_carol):
    """So that they can reset their password by email."""
    user = import_carol(is_verified=True, roles=("owner", "billing"))
    assert (user.verified_email, user.verified_email_canonical) == (EMAIL, "carol@example.com")
    assert env.view(user.id).email_verified
    assert user.roles == ["owner", "billing"]


def test_taken_address_is_rejected(import_carol):
    import_carol()
    with pytest.raises(EmailTaken):
        import_carol(email=EMAIL.lower())


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"email": "carol"}, "email"),
        ({"name": ""}, "name"),
        ({"roles": ("Owner",)}, "roles"),
        ({"password_hash": "5f4dcc3b5aa765d61d8327deb882cf99"}, "password_hash"),
        ({"password_hash": HASHED.replace("$04$", "$05$")}, "password_hash"),
    ],
)
def test_invalid_import_is_rejected_before_anything_is_written(env, overrides, field):
    """LG-03: a hash of a higher cost too, since the time of its logins would reveal the account."""
    imported = ImportedUser(
        **{"email": EMAIL, "name": "Carol", "password_hash": HASHED} | overrides
    )
    with pytest.raises(InvalidRequest) as caught:
        check_import(imported, keys=env.keys, limits=env.limits)
    assert [violation.field for violation in caught.value.violations] == [(field,)]


def test_imported_name_with_an_invisible_character_is_rejected(import_carol, env):
    """UN-03, attack finding 20."""
    with pytest.raises(InvalidRequest) as error:
        import_carol(name="Carol\u200b")
    assert "invisible" in error.value.violations[0].rule
    assert env.count("password_record") == 0


def test_check_returns_the_canonical_address(env):
    imported = ImportedUser(EMAIL, "Carol", HASHED)
    assert check_import(imported, keys=env.keys, limits=env.limits) == "carol@example.com"
