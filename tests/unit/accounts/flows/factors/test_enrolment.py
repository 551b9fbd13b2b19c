"""Adding and removing second factors."""

import pytest

from accounts.errors import AlreadyEnrolled, NotFound, NotLocalUser, WrongCode, WrongPassword
from accounts.flows.factors.enrolment import (
    confirm_totp,
    enrol_totp,
    list_factors,
    remove_factor,
    reset_factors,
)
from accounts.flows.factors.recovery_codes import regenerate_codes
from accounts.services.principal import CredentialKind
from accounts.services.recent_authentication import require_recent_authentication
from tests.support.authenticator import code_at


def test_app_is_not_in_force_before_it_is_confirmed(env, alice):
    """MF-01."""
    env.act(enrol_totp, alice.view)
    assert not env.view(alice.user_id).has_second_factor
    assert env.act(list_factors, alice.user_id) == []


@pytest.mark.usefixtures("owner")
def test_confirmed_app_is_in_force(env, alice):
    """MF-01: its owner is told by mail."""
    assert env.view(alice.user_id).has_second_factor
    assert len(env.act(list_factors, alice.user_id)) == 1
    assert "second_factor_added" in {message.kind for message in env.messages()}


@pytest.mark.usefixtures("owner")
def test_confirmation_authenticates_the_session_by_both(env, alice):
    """SE-12."""
    principal = env.authenticate(CredentialKind.SESSION, alice.token)
    assert principal.credential.authentication.amr == ("pwd", "otp", "mfa")
    require_recent_authentication(principal, max_age=300, now=env.clock.now, always=True)


def test_stolen_session_cannot_add_a_factor(env, alice):
    """MF-02: it would lock its owner out."""
    enrolment = env.act(enrol_totp, alice.view)
    code = code_at(enrolment.secret, env.clock.now)
    with pytest.raises(WrongPassword):
        env.act(confirm_totp, alice.principal, code=code, password="Wrong 47 harbour")
    assert not env.view(alice.user_id).has_second_factor


def test_wrong_code_confirms_nothing(env, alice):
    """MF-01."""
    enrolment = env.act(enrol_totp, alice.view)
    code = code_at(enrolment.secret, env.clock.now, steps=5)
    with pytest.raises(WrongCode):
        env.act(confirm_totp, alice.principal, code=code, password=alice.password)
    assert not env.view(alice.user_id).has_second_factor


def test_later_enrolment_replaces_an_unconfirmed_one(env, alice):
    first = env.act(enrol_totp, alice.view)
    second = env.act(enrol_totp, alice.view)
    now = env.clock.now
    code = code_at(first.secret, now)
    with pytest.raises(WrongCode):
        env.act(confirm_totp, alice.principal, code=code, password=alice.password)
    code = code_at(second.secret, now)
    env.act(confirm_totp, alice.principal, code=code, password=alice.password)


@pytest.mark.usefixtures("owner")
def test_second_app_is_rejected(env, alice):
    with pytest.raises(AlreadyEnrolled):
        env.act(enrol_totp, alice.view)


def test_nothing_is_confirmed_without_an_enrolment(env, alice):
    with pytest.raises(NotFound):
        env.act(confirm_totp, alice.principal, code="000000", password=alice.password)


def test_user_of_an_identity_provider_has_the_factor_there(env):
    user = env.user("sso@example.com", provider="oidc")
    with pytest.raises(NotLocalUser):
        env.act(enrol_totp, user.view)


@pytest.mark.usefixtures("owner")
def test_removed_factor_takes_its_recovery_codes_along(env, alice):
    """MF-03."""
    [factor] = env.act(list_factors, alice.user_id)
    env.act(remove_factor, alice.view, factor.id)
    assert not env.view(alice.user_id).has_second_factor
    assert env.count("recovery_code") == 0
    assert "second_factor_removed" in {message.kind for message in env.messages()}


def test_factor_of_another_user_is_not_found(env, owner):
    bob = env.user("bob@example.com")
    [factor] = env.act(list_factors, owner.user.user_id)
    with pytest.raises(NotFound):
        env.act(remove_factor, bob.view, factor.id)
    assert env.view(owner.user.user_id).has_second_factor


@pytest.mark.usefixtures("owner")
def test_operator_resets_the_factors(env, alice):
    """MF-06: once; there is nothing to reset the second time."""
    assert env.act(reset_factors, alice.user_id)
    assert not env.view(alice.user_id).has_second_factor
    assert not env.act(reset_factors, alice.user_id)
    acts = [row for row in env.rows("security_event") if row["kind"] == "authz_admin"]
    assert len(acts) == 1


def test_recovery_codes_are_replaced(env, owner, alice):
    """MF-03: ten of fifty bits, all different."""
    renewed = env.act(regenerate_codes, alice.view)
    assert len(set(renewed.codes) | set(owner.codes)) == 20
    assert env.count("recovery_code") == 10


def test_account_without_a_factor_has_no_recovery_codes(env, alice):
    with pytest.raises(NotFound):
        env.act(regenerate_codes, alice.view)


def test_dump_opens_no_factor(env, owner):
    """MF-05: neither the secret nor a code is stored in clear."""
    stored = env.stored_bytes()
    assert owner.secret.encode() not in stored
    for code in owner.codes:
        assert code.encode() not in stored
        assert code.replace("-", "").encode() not in stored
