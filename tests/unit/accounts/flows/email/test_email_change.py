"""Changing the email address."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from accounts.errors import (
    EmailTaken,
    InvalidRequest,
    InvalidToken,
    SecretExpired,
    SecretInvalid,
    SecretSuperseded,
    SecretUsed,
    TooManyAttempts,
)
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.email.email_change import (
    request_email_change,
    undo_email_change,
    validate_email_change,
)
from accounts.flows.email.email_verification import confirm_email, request_email_verification
from accounts.flows.password.password_reset import (
    mail_requested_resets,
    request_password_reset,
    reset_password,
)
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.one_time_secrets import find_address_changes
from accounts.services.principal import CredentialKind
from tests.support.deadlines import patient

NEW = "New.Address@Example.net"


def _request(env, user, email=NEW):
    return env.act(request_email_change, user.view, email)


def _validate(env, user, secret):
    return env.act(validate_email_change, identity_id=user.view.identity_id, secret=secret).email


@pytest.fixture
def mailing(make_env):
    """An environment in which the service mails the secrets of changes itself."""
    return make_env(service_mails_email_changes=True)


def _pending_address(env, user):
    return env.act(find_address_changes, user.user_id).pending_address


def _verification_secret(env, user):
    """Return the last secret that was mailed to a user to verify the address that they show."""
    view = env.view(user.user_id)
    env.act(request_email_verification, view)  # merged with a request of minutes ago
    mails = [
        message
        for message in env.messages()
        if (message.kind, message.recipient) == ("email_verification", view.email)
    ]
    return env.act(unseal_parameters, mails[-1])["secret"]


def test_address_changes_when_its_secret_is_validated(env, alice):
    """EM-01: the old address stays until then."""
    address, secret = _request(env, alice)
    assert address == NEW
    assert env.view(alice.user_id).email == alice.view.email
    assert _validate(env, alice, secret) == NEW
    assert env.view(alice.user_id).email == NEW
    row = next(row for row in env.rows("user") if row["id"] == alice.user_id)
    assert (row["claimed_email"], row["claimed_email_canonical"]) == (NEW, NEW.lower())
    assert row["email"] == alice.view.email


@pytest.mark.parametrize("email", ["nobody", "", "a@b", "\u0430lice@example.com"])
def test_malformed_address_is_rejected(env, alice, email):
    """Nothing becomes pending, and nothing is mailed."""
    with pytest.raises(InvalidRequest):
        _request(env, alice, email)
    assert env.count("one_time_secret") == env.count("outbox_message") == 0


def test_old_address_is_notified(env, alice):
    """EM-02, EM-17: the notice goes to the stored address, and its secret confirms nothing."""
    _, secret = _request(env, alice)
    (message,) = env.messages()
    assert (message.kind, message.recipient) == ("email_change_notice", alice.view.email)
    parameters = env.act(unseal_parameters, message)
    until = "2026-04-12T10:00:00+00:00"
    # Without the new address, since Alice has not verified hers (attack finding 14).
    assert parameters == {"secret": parameters["secret"], "until": until}
    assert parameters["secret"] != secret
    with pytest.raises(SecretInvalid):
        _validate(env, alice, parameters["secret"])


def test_pending_address_is_shown_until_it_is_validated(env, alice):
    """The last requested address is shown."""
    assert _pending_address(env, alice) is None
    _request(env, alice, "first@example.com")
    _, secret = _request(env, alice)
    assert _pending_address(env, alice) == NEW
    _validate(env, alice, secret)
    assert _pending_address(env, alice) is None


def test_identity_id_is_case_insensitive(env, alice):
    """A UUID in upper case is the same UUID."""
    _, secret = _request(env, alice)
    identity_id = alice.view.identity_id.upper()
    assert env.act(validate_email_change, identity_id=identity_id, secret=secret).email == NEW


def test_secret_is_rejected_for_another_user(env, alice, bob):
    """EM-08: and another user's attempt does not consume it."""
    _, secret = _request(env, alice)
    with pytest.raises(SecretInvalid):
        _validate(env, bob, secret)
    assert _validate(env, alice, secret) == NEW


def test_verification_secret_changes_no_address(env, alice):
    """EM-08: the two purposes are not interchangeable."""
    mailed = _verification_secret(env, alice)
    with pytest.raises(SecretInvalid):
        _validate(env, alice, mailed)


def test_secret_works_once(env, alice):
    """EM-07: the second use is reported as such."""
    _, secret = _request(env, alice)
    _validate(env, alice, secret)
    with pytest.raises(SecretUsed):
        _validate(env, alice, secret)


def test_secret_expires_after_a_day(env, alice, clock):
    """EM-05: expiry is checked at use."""
    _, secret = _request(env, alice)
    clock.move(hours=24)
    with pytest.raises(SecretExpired):
        _validate(env, alice, secret)


def test_later_request_supersedes_an_earlier_one(env, alice):
    """EM-09: only one change is pending at a time."""
    _, secret = _request(env, alice, "first@example.com")
    _request(env, alice)
    with pytest.raises(SecretSuperseded):
        _validate(env, alice, secret)


@pytest.mark.parametrize("email", ["bob@example.org", "BOB@EXAMPLE.ORG"])
def test_taken_address_looks_like_a_free_one(env, alice, bob, email):
    """EM-13: same form of answer, a claim that confirms nothing, and a notice to the owner."""
    address, secret = _request(env, alice, email)
    _, free = _request(env, alice, NEW)
    assert address == email
    assert (len(secret), secret[:4]) == (len(free), free[:4])
    _, secret = _request(env, alice, email)
    assert _validate(env, alice, secret) == email
    notices = [(message.kind, message.recipient) for message in env.messages()]
    assert ("email_already_in_use", bob.view.email) in notices
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (email, False)
    assert env.view(bob.user_id).email == bob.view.email


def test_taken_address_is_shown_as_pending(env, alice, bob):
    """EM-13: the profile does not reveal it either."""
    _request(env, alice, bob.view.email)
    assert _pending_address(env, alice) == bob.view.email


def test_address_taken_after_the_request_is_rejected(mailing):
    """EM-10: accounts are not merged, and the refusal does not reveal the owner."""
    alice = mailing.user("alice@example.com")
    _request(mailing, alice)
    secret = mailing.act(unseal_parameters, mailing.messages()[0])["secret"]
    mailing.user(NEW.lower())
    with pytest.raises(SecretInvalid):
        _validate(mailing, alice, secret)
    assert mailing.view(alice.user_id).email == alice.view.email


def test_one_of_two_concurrent_proofs_gets_the_address(env, alice, bob):
    """EM-10: both confirm a valid secret at once."""
    secrets = []
    for user in (alice, bob):
        _validate(env, user, _request(env, user)[1])
        secrets.append(_verification_secret(env, user))
    ready = threading.Barrier(2)

    def race(secret):
        ready.wait(patient(30))
        try:
            env.act(confirm_email, secret)
        except SecretInvalid:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(race, secrets))
    assert sorted(outcomes) == [False, True]


def test_disabled_user_cannot_change_the_address(env, alice):
    """EM-09, SE-06: disabling a user ends pending changes."""
    _, secret = _request(env, alice)
    env.execute('UPDATE "user" SET disabled_at = created_at')
    with pytest.raises(SecretInvalid):
        _validate(env, alice, secret)


def test_user_of_disabled_tenant_cannot_change_the_address(env, alice):
    """AZ-15: the tenant is checked, not only the user."""
    _, secret = _request(env, alice)
    env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(SecretInvalid):
        _validate(env, alice, secret)


def test_changed_address_is_unverified(env, alice):
    """EM-04: only the client claims that the secret was mailed there."""
    env.act(confirm_email, _verification_secret(env, alice))
    assert env.view(alice.user_id).email_verified
    _, secret = _request(env, alice)
    _validate(env, alice, secret)
    assert not env.view(alice.user_id).email_verified


def test_respelled_address_stays_verified(env, alice):
    """It is the same mailbox, and a user's own address is not taken."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice, "Alice@Example.com")
    assert _validate(env, alice, secret) == "Alice@Example.com"
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == ("Alice@Example.com", True)


def test_respelled_address_stays_unverified(env, alice):
    """EM-04: it is the owned address, and no claim."""
    respelled = alice.view.email.upper()
    _, secret = _request(env, alice, respelled)
    _validate(env, alice, secret)
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (respelled, False)
    (row,) = env.rows("user")
    assert (row["email"], row["claimed_email"]) == (respelled, None)


def test_change_supersedes_the_verification_of_the_old_address(env, alice):
    """EM-08: a secret mailed to the old address no longer verifies anything."""
    mailed = _verification_secret(env, alice)
    _, secret = _request(env, alice)
    _validate(env, alice, secret)
    with pytest.raises(SecretSuperseded):
        env.act(confirm_email, mailed)


# With mails sent by the service


def test_service_mails_the_secret_and_does_not_return_it(mailing):
    """EM-02, EM-03: the secret is only in the one email to the new address."""
    alice = mailing.user("alice@example.com")
    assert _request(mailing, alice) == (NEW, None)
    confirmation, notice = mailing.messages()
    assert (confirmation.kind, confirmation.recipient) == ("email_change_confirmation", NEW)
    assert (notice.kind, notice.recipient) == ("email_change_notice", alice.view.email)
    mailed = mailing.act(unseal_parameters, confirmation)
    assert mailed["identity_id"] == alice.view.identity_id
    assert _validate(mailing, alice, mailed["secret"]) == NEW


def test_secret_mailed_by_the_service_verifies_the_address(mailing, env):
    """The secret can only be read there; a client's claim to have mailed it proves nothing."""
    alice, bob = (mailing.user("alice@example.com"), env.user("bob@example.org"))
    _request(mailing, alice)
    secret = mailing.act(unseal_parameters, mailing.messages()[0])["secret"]
    _validate(mailing, alice, secret)
    assert mailing.view(alice.user_id).email_verified
    _, secret = _request(env, bob, "bob.new@example.org")
    _validate(env, bob, secret)
    assert not env.view(bob.user_id).email_verified


def test_service_mails_no_secret_to_a_taken_address(mailing):
    """EM-13: the owner gets a notice, and the caller sees the usual answer."""
    alice, owner = (mailing.user("alice@example.com"), mailing.user("bob@example.org"))
    assert _request(mailing, alice, owner.view.email) == (owner.view.email, None)
    notices = {(message.kind, message.recipient) for message in mailing.messages()}
    assert notices == {
        ("email_already_in_use", owner.view.email),
        ("email_change_notice", alice.view.email),
    }


def test_mails_to_one_address_are_rate_limited(env, alice):
    """EM-14: for any caller."""
    for _ in range(5):
        _request(env, alice)
    with pytest.raises(TooManyAttempts):
        _request(env, alice)


def test_notices_to_one_user_are_rate_limited(env, alice):
    """EM-14: the owner's inbox is protected even if each change names another address."""
    for number in range(5):
        _request(env, alice, f"a{number}@example.net")
    with pytest.raises(TooManyAttempts):
        _request(env, alice)
    assert len(env.messages()) == 5


# Undoing a change


def _undo_secret(env):
    """Return the undo secret that the last notice mailed to the former address."""
    message = [each for each in env.messages() if each.kind == "email_change_notice"][-1]
    return env.act(unseal_parameters, message)["secret"]


def test_pending_change_is_undone(env, alice):
    """EM-02: it also ends every session."""
    _, secret = _request(env, alice)
    assert env.act(undo_email_change, _undo_secret(env)).address == alice.view.email
    with pytest.raises(SecretSuperseded):
        _validate(env, alice, secret)
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, alice.token)
    assert env.view(alice.user_id).email == alice.view.email


def test_completed_change_is_undone(env, alice, clock):
    """Undo works for seven days; the address is restored with its verification."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice)
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    clock.move(days=6, hours=23)
    env.act(undo_email_change, undo)
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (alice.view.email, True)
    with pytest.raises(SecretUsed):
        env.act(undo_email_change, undo)


def test_undo_secret_expires_after_seven_days(env, alice, clock):
    """EM-05: expiry is checked at use."""
    _request(env, alice)
    clock.move(days=7)
    with pytest.raises(SecretExpired):
        env.act(undo_email_change, _undo_secret(env))


def test_undo_is_rejected_when_the_address_has_another_owner(env, alice, bob):
    """EM-10: no two accounts share an address. Only rows of earlier versions can get here."""
    _, secret = _request(env, alice)
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    env.act(confirm_email, _verification_secret(env, alice))
    former = alice.view.email
    env.execute(
        'UPDATE "user" SET email = ?, email_canonical = ? WHERE id = ?', former, former, bob.user_id
    )
    with pytest.raises(SecretInvalid):
        env.act(undo_email_change, undo)


def test_address_is_reserved_while_its_change_can_be_undone(env, alice, bob, clock):
    """EM-02, EM-10: otherwise an attacker could sign up with it and block the undo."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice)
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    env.act(confirm_email, _verification_secret(env, alice))
    with pytest.raises(EmailTaken):
        env.user(alice.view.email)
    _, secret = _request(env, bob, alice.view.email)
    _validate(env, bob, secret)
    message = env.messages()[-1]
    assert (message.kind, message.recipient) == ("email_already_in_use", alice.view.email)
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, env.act(unseal_parameters, message)["secret"])
    clock.move(days=6)
    assert env.act(undo_email_change, undo).address == alice.view.email


def test_address_is_free_after_the_undo_period_once_another_is_verified(env, alice, clock):
    """EM-10: the reservation is temporary; a claim of another address gives up none."""
    _, secret = _request(env, alice)
    _validate(env, alice, secret)
    clock.move(days=8)
    with pytest.raises(EmailTaken):  # it is still the owned one
        env.user(alice.view.email)
    env.act(confirm_email, _verification_secret(env, alice))
    env.user(alice.view.email)


def test_undo_secret_is_not_mailed_to_an_unverified_address(env, alice):
    """EM-02: otherwise an attacker who changes it there and back could undo for a week."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice, "thief@example.org")
    _validate(env, alice, secret)
    _, secret = env.act(request_email_change, env.view(alice.user_id), alice.view.email)
    _validate(env, alice, secret)
    notices = [message for message in env.messages() if message.kind == "email_change_notice"]
    assert {message.recipient for message in notices} == {alice.view.email}


@pytest.mark.parametrize("verified_by", ["verification", "undo", "reset"])
def test_verifying_the_original_address_supersedes_later_undo_secrets(
    env, alice, clock, verified_by
):
    """EM-02, EM-09: an attacker with a verified address of their own has got an undo link."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice, "thief@example.org")
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    env.act(confirm_email, _verification_secret(env, alice))
    clock.move(minutes=1)
    _, secret = env.act(request_email_change, env.view(alice.user_id), alice.view.email)
    attacker_undo = _undo_secret(env)
    _validate(env, alice, secret)
    if verified_by == "undo":
        env.act(undo_email_change, undo)
    else:
        env.act(confirm_email, _verification_secret(env, alice))
    if verified_by == "reset":
        env.act(request_password_reset, alice.view.email)
        env.act(mail_requested_resets)
        mailed = env.act(unseal_parameters, env.messages()[-1])["secret"]
        env.act(reset_password, secret=mailed, new="Silent meadow 83 lantern")
    with pytest.raises(SecretSuperseded):
        env.act(undo_email_change, attacker_undo)
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (alice.view.email, True)


def test_undo_does_not_verify_an_unverified_account(env, alice):
    """EM-04: an attacker may have signed up with the address, and knows the password."""
    _, secret = _request(env, alice)
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    env.act(confirm_email, _verification_secret(env, alice))
    env.act(undo_email_change, undo)
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (alice.view.email, False)
    env.act(request_password_reset, NEW)
    env.act(mail_requested_resets)
    assert "password_reset" not in {message.kind for message in env.messages()}
    env.clock.move(minutes=11)  # until then, the secret that the undo has issued serves
    env.act(request_password_reset, alice.view.email)
    env.act(mail_requested_resets)
    assert env.messages()[-1].recipient == alice.view.email


def test_user_of_disabled_tenant_cannot_undo(env, alice):
    """SE-06: users of a disabled tenant can do nothing."""
    _request(env, alice)
    undo = _undo_secret(env)
    env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(SecretInvalid):
        env.act(undo_email_change, undo)


def test_undo_supersedes_later_undo_secrets(env, alice, clock):
    """Both notices went to the same address, and undo the same change."""
    _, secret = _request(env, alice, "first@thief.example")
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    clock.move(minutes=1)
    env.act(request_email_change, env.view(alice.user_id), "second@thief.example")
    attacker_undo = _undo_secret(env)
    env.act(undo_email_change, undo)
    with pytest.raises(SecretSuperseded):
        env.act(undo_email_change, attacker_undo)
    assert env.view(alice.user_id).email == alice.view.email
