"""Changing the e-mail address."""

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
    find_pending_email,
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
from accounts.services.outbox import open_parameters
from accounts.services.principal import CredentialKind

NEW = "New.Address@Example.net"


def _request(env, user, email=NEW):
    return env.act(request_email_change, user.view, email)


def _validate(env, user, secret):
    return env.act(validate_email_change, identity_id=user.view.identity_id, secret=secret)


def _verification_secret(env, user):
    """What was mailed to a person to verify their address."""
    env.act(request_email_verification, env.view(user.user_id))
    message = env.messages()[-1]
    assert message.kind == "email_verification"
    return env.act(open_parameters, message)["secret"]


def test_an_address_changes_when_its_secret_comes_back(env, alice):
    """Until then the old one stays (EM-01)."""
    address, secret = _request(env, alice)
    assert address == NEW
    assert env.view(alice.user_id).email == alice.view.email
    assert _validate(env, alice, secret) == NEW
    row = next(row for row in env.rows("user") if row["id"] == alice.user_id)
    assert (row["email"], row["email_canonical"]) == (NEW, NEW.lower())


@pytest.mark.parametrize("email", ["nobody", "", "a@b", "\u0430lice@example.com"])
def test_what_is_no_address_is_refused(env, alice, email):
    """Nothing is pending after it, and nothing mailed."""
    with pytest.raises(InvalidRequest):
        _request(env, alice, email)
    assert env.count("one_time_secret") == env.count("outbox_message") == 0


def test_the_old_address_is_told(env, alice):
    """The notice goes to the stored address, and what it holds completes nothing (EM-02, EM-17)."""
    _, secret = _request(env, alice)
    (message,) = env.messages()
    assert (message.kind, message.recipient) == ("email_change_notice", alice.view.email)
    parameters = env.act(open_parameters, message)
    assert parameters == {"new_address": NEW, "secret": parameters["secret"]}
    assert parameters["secret"] != secret
    with pytest.raises(SecretInvalid):
        _validate(env, alice, parameters["secret"])


def test_a_pending_address_is_shown_until_it_is_settled(env, alice):
    """It is the one that was asked for last."""
    assert env.act(find_pending_email, alice.user_id) is None
    _request(env, alice, "first@example.com")
    _, secret = _request(env, alice)
    assert env.act(find_pending_email, alice.user_id) == NEW
    _validate(env, alice, secret)
    assert env.act(find_pending_email, alice.user_id) is None


def test_the_uuid_is_compared_in_any_case(env, alice):
    """A UUID in capitals is the same UUID."""
    _, secret = _request(env, alice)
    identity_id = alice.view.identity_id.upper()
    assert env.act(validate_email_change, identity_id=identity_id, secret=secret) == NEW


def test_a_secret_is_no_good_for_another_person(env, alice, bob):
    """And it is not burned by somebody who tries it for themselves (EM-08)."""
    _, secret = _request(env, alice)
    with pytest.raises(SecretInvalid):
        _validate(env, bob, secret)
    assert _validate(env, alice, secret) == NEW


def test_a_secret_for_verifying_changes_no_address(env, alice):
    """The two purposes are not interchangeable (EM-08)."""
    mailed = _verification_secret(env, alice)
    with pytest.raises(SecretInvalid):
        _validate(env, alice, mailed)


def test_a_secret_is_used_once(env, alice):
    """The second time it is told as used (EM-07)."""
    _, secret = _request(env, alice)
    _validate(env, alice, secret)
    with pytest.raises(SecretUsed):
        _validate(env, alice, secret)


def test_a_secret_is_over_after_a_day(env, alice, clock):
    """Its time is judged when it is used (EM-05)."""
    _, secret = _request(env, alice)
    clock.move(hours=24)
    with pytest.raises(SecretExpired):
        _validate(env, alice, secret)


def test_a_later_request_supersedes_an_earlier_one(env, alice):
    """Only one change is pending at a time (EM-09)."""
    _, secret = _request(env, alice, "first@example.com")
    _request(env, alice)
    with pytest.raises(SecretSuperseded):
        _validate(env, alice, secret)


@pytest.mark.parametrize("email", ["bob@example.org", "BOB@EXAMPLE.ORG"])
def test_a_taken_address_looks_like_a_free_one(env, alice, bob, email):
    """The answer has the same form, its secret never validates, and the owner is told (EM-13)."""
    address, secret = _request(env, alice, email)
    _, free = _request(env, alice, NEW)
    assert address == email
    assert (len(secret), secret[:4]) == (len(free), free[:4])
    _request(env, alice, email)
    with pytest.raises(SecretInvalid):
        _validate(env, alice, secret)
    told = [(message.kind, message.recipient) for message in env.messages()]
    assert ("email_already_in_use", bob.view.email) in told
    assert env.view(bob.user_id).email == bob.view.email


def test_the_secret_of_a_taken_address_stays_worthless_when_it_becomes_free(env, alice, bob):
    """What was given out is not what was stored (EM-13)."""
    _, secret = _request(env, alice, bob.view.email)
    _, moved = env.act(request_email_change, bob.view, "elsewhere@example.org")
    _validate(env, bob, moved)
    with pytest.raises(SecretInvalid):
        _validate(env, alice, secret)


def test_a_taken_address_is_shown_as_pending_like_a_free_one(env, alice, bob):
    """The profile does not tell either (EM-13)."""
    _request(env, alice, bob.view.email)
    assert env.act(find_pending_email, alice.user_id) == bob.view.email


def test_an_address_that_is_taken_meanwhile_is_refused(env, alice):
    """Nothing is merged, and nobody is told whose it is (EM-10)."""
    _, secret = _request(env, alice)
    env.user(NEW.lower())
    with pytest.raises(SecretInvalid):
        _validate(env, alice, secret)
    assert env.view(alice.user_id).email == alice.view.email


def test_of_two_people_who_want_one_address_one_gets_it(env, alice, bob):
    """Both hold a good secret, and validate at once (EM-10)."""
    wanted = [(user, _request(env, user)[1]) for user in (alice, bob)]
    ready = threading.Barrier(2)

    def race(want):
        ready.wait(30)
        try:
            return _validate(env, *want)
        except SecretInvalid:
            return None

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(race, wanted))
    assert sorted(outcomes, key=str) == [NEW, None]


def test_a_disabled_user_changes_no_address(env, alice):
    """Being disabled ends what was pending (EM-09, SE-06)."""
    _, secret = _request(env, alice)
    env.execute('UPDATE "user" SET disabled_at = created_at')
    with pytest.raises(SecretInvalid):
        _validate(env, alice, secret)


def test_nobody_of_a_disabled_tenant_changes_an_address(env, alice):
    """The tenant is looked at, not only the user (AZ-15)."""
    _, secret = _request(env, alice)
    env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(SecretInvalid):
        _validate(env, alice, secret)


def test_a_new_address_counts_as_unverified(env, alice):
    """That it was mailed there is the client's word only (EM-04)."""
    env.act(confirm_email, _verification_secret(env, alice))
    assert env.view(alice.user_id).email_verified
    _, secret = _request(env, alice)
    _validate(env, alice, secret)
    assert not env.view(alice.user_id).email_verified


def test_another_spelling_of_the_same_address_stays_verified(env, alice):
    """It is the same mailbox, and one's own address is not taken."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice, "Alice@Example.com")
    assert _validate(env, alice, secret) == "Alice@Example.com"
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == ("Alice@Example.com", True)


def test_another_spelling_of_an_unverified_address_verifies_nothing(env, alice):
    """EM-04: and resets go to the account by the address that it was opened with."""
    spelled = alice.view.email.upper()
    _, secret = _request(env, alice, spelled)
    _validate(env, alice, secret)
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (spelled, False)
    row = next(row for row in env.rows("user") if row["id"] == alice.user_id)
    assert (row["verified_email"], row["first_email"]) == (None, alice.view.email)


def test_a_change_ends_the_verification_of_the_old_address(env, alice):
    """What was mailed to the old address verifies nothing any more (EM-08)."""
    mailed = _verification_secret(env, alice)
    _, secret = _request(env, alice)
    _validate(env, alice, secret)
    with pytest.raises(SecretSuperseded):
        env.act(confirm_email, mailed)


# Where the service mails the secret itself


@pytest.fixture
def mailing(open_house):
    """A house whose operator lets the service mail the secrets of changes."""
    return open_house(service_mails_email_changes=True)


def test_the_service_mails_the_secret_and_does_not_answer_it(mailing):
    """EM-02, EM-03: it is in the one mail to the new address, and nowhere else."""
    alice = mailing.user("alice@example.com")
    assert _request(mailing, alice) == (NEW, None)
    confirmation, notice = mailing.messages()
    assert (confirmation.kind, confirmation.recipient) == ("email_change_confirmation", NEW)
    assert (notice.kind, notice.recipient) == ("email_change_notice", alice.view.email)
    mailed = mailing.act(open_parameters, confirmation)
    assert mailed["identity_id"] == alice.view.identity_id
    assert _validate(mailing, alice, mailed["secret"]) == NEW


def test_what_the_service_has_mailed_verifies(mailing, env):
    """Whoever shows the secret has read it there; what a client says it mailed proves nothing."""
    alice, bob = (
        mailing.user("alice@example.com"),
        env.user("bob@example.org"),
    )
    _request(mailing, alice)
    secret = mailing.act(open_parameters, mailing.messages()[0])["secret"]
    _validate(mailing, alice, secret)
    assert mailing.view(alice.user_id).email_verified
    _, secret = _request(env, bob, "bob.new@example.org")
    _validate(env, bob, secret)
    assert not env.view(bob.user_id).email_verified


def test_a_taken_address_gets_no_secret_from_the_service_either(mailing):
    """EM-13: its owner is told, and whoever asked sees what they always see."""
    alice, owner = (
        mailing.user("alice@example.com"),
        mailing.user("bob@example.org"),
    )
    assert _request(mailing, alice, owner.view.email) == (owner.view.email, None)
    told = {(message.kind, message.recipient) for message in mailing.messages()}
    assert told == {
        ("email_already_in_use", owner.view.email),
        ("email_change_notice", alice.view.email),
    }


def test_an_address_is_not_mailed_without_end(env, alice):
    """EM-14: whoever asks, for their own account or not."""
    for _ in range(5):
        _request(env, alice)
    with pytest.raises(TooManyAttempts):
        _request(env, alice)


def test_nobody_is_told_of_changes_without_end(env, alice):
    """EM-14: each to another address, whoever has the one that is told of all of them."""
    for number in range(5):
        _request(env, alice, f"a{number}@example.net")
    with pytest.raises(TooManyAttempts):
        _request(env, alice)
    assert len(env.messages()) == 5


# Undoing


def _undo_secret(env):
    """What was mailed to the former address by the last notice."""
    message = env.messages()[-1]
    assert message.kind == "email_change_notice"
    return env.act(open_parameters, message)["secret"]


def test_a_pending_change_is_undone(env, alice):
    """EM-02: whoever did not ask for it ends it, and every session."""
    _, secret = _request(env, alice)
    assert env.act(undo_email_change, _undo_secret(env)) == alice.view.email
    with pytest.raises(SecretSuperseded):
        _validate(env, alice, secret)
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.SESSION, alice.token)
    assert env.view(alice.user_id).email == alice.view.email


def test_a_change_that_was_completed_is_undone(env, alice, clock):
    """For seven days; the address is back, and as verified as it was."""
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


def test_an_undo_is_over_after_seven_days(env, alice, clock):
    """EM-05: judged when it is used."""
    _request(env, alice)
    clock.move(days=7)
    with pytest.raises(SecretExpired):
        env.act(undo_email_change, _undo_secret(env))


def test_an_address_that_somebody_has_now_does_not_come_back(env, alice, bob):
    """EM-10: no two accounts have one address; nobody gets it so since it is kept for its owner."""
    _, secret = _request(env, alice)
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    former = alice.view.email
    env.execute(
        'UPDATE "user" SET email = ?, email_canonical = ? WHERE id = ?', former, former, bob.user_id
    )
    with pytest.raises(SecretInvalid):
        env.act(undo_email_change, undo)


def test_an_address_is_kept_for_whoever_can_undo_its_change(env, alice, bob, clock):
    """EM-02, EM-10: a thief could open an account with it, and there would be nothing to undo."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice)
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    env.act(confirm_email, _verification_secret(env, alice))
    with pytest.raises(EmailTaken):
        env.user(alice.view.email)
    _, secret = _request(env, bob, alice.view.email)
    with pytest.raises(SecretInvalid):
        _validate(env, bob, secret)
    clock.move(days=6)
    assert env.act(undo_email_change, undo) == alice.view.email


def test_an_address_is_free_when_another_is_verified_and_nothing_can_be_undone(env, alice, clock):
    """EM-10: it is not kept for ever."""
    _, secret = _request(env, alice)
    _validate(env, alice, secret)
    clock.move(days=8)
    with pytest.raises(EmailTaken):  # resets are mailed there still
        env.user(alice.view.email)
    env.act(confirm_email, _verification_secret(env, alice))
    env.user(alice.view.email)


def test_what_undoes_a_change_is_mailed_to_no_address_that_nobody_has_verified(env, alice):
    """EM-02: a thief who changes it there and back would keep a way in for a week."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice, "thief@example.org")
    _validate(env, alice, secret)
    _, secret = env.act(request_email_change, env.view(alice.user_id), alice.view.email)
    _validate(env, alice, secret)
    notices = [each for each in env.messages() if each.kind == "email_change_notice"]
    assert {each.recipient for each in notices} == {alice.view.email}


@pytest.mark.parametrize("proof", ["verification", "undo", "reset"])
def test_whoever_was_told_first_outlasts_whoever_was_told_later(env, alice, clock, proof):
    """EM-02, EM-09: a thief who has verified an address of their own was told of the way back."""
    env.act(confirm_email, _verification_secret(env, alice))
    _, secret = _request(env, alice, "thief@example.org")
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    env.act(confirm_email, _verification_secret(env, alice))
    clock.move(minutes=1)
    _, secret = env.act(request_email_change, env.view(alice.user_id), alice.view.email)
    of_the_thief = _undo_secret(env)
    _validate(env, alice, secret)
    if proof == "undo":
        env.act(undo_email_change, undo)
    else:
        env.act(confirm_email, _verification_secret(env, alice))
    if proof == "reset":
        env.act(request_password_reset, alice.view.email)
        env.act(mail_requested_resets)
        mailed = env.act(open_parameters, env.messages()[-1])["secret"]
        env.act(reset_password, secret=mailed, new="Silent meadow 83 lantern")
    with pytest.raises(SecretSuperseded):
        env.act(undo_email_change, of_the_thief)
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (alice.view.email, True)


def test_whoever_undoes_a_change_has_not_verified_an_account_that_is_not_theirs(env, alice):
    """EM-04: somebody else knows its password, who has opened it with a stranger's address."""
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
    env.act(request_password_reset, alice.view.email)
    env.act(mail_requested_resets)
    assert env.messages()[-1].recipient == alice.view.email


def test_a_disabled_tenant_undoes_nothing(env, alice):
    """SE-06: nobody of it does anything."""
    _request(env, alice)
    undo = _undo_secret(env)
    env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(SecretInvalid):
        env.act(undo_email_change, undo)


def test_whoever_changed_the_address_twice_cannot_undo_the_undoing(env, alice, clock):
    """The second notice went to where the first did, and is about the same."""
    _, secret = _request(env, alice, "first@thief.example")
    undo = _undo_secret(env)
    _validate(env, alice, secret)
    clock.move(minutes=1)
    env.act(request_email_change, env.view(alice.user_id), "second@thief.example")
    of_the_thief = _undo_secret(env)
    env.act(undo_email_change, undo)
    with pytest.raises(SecretSuperseded):
        env.act(undo_email_change, of_the_thief)
    assert env.view(alice.user_id).email == alice.view.email
