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
from accounts.flows.email_change import (
    find_pending_email,
    request_email_change,
    undo_email_change,
    validate_email_change,
)
from accounts.flows.email_verification import confirm_email, request_email_verification
from accounts.flows.password_reset import (
    mail_requested_resets,
    request_password_reset,
    reset_password,
)
from accounts.flows.tenants import disable_tenant
from accounts.services.outbox import open_parameters
from accounts.services.principal import CredentialKind

NEW = "New.Address@Example.net"


def _request(house, resident, email=NEW):
    return house.act(request_email_change, resident.person, email)


def _validate(house, resident, secret):
    return house.act(validate_email_change, identity_id=resident.person.identity_id, secret=secret)


def _verification_secret(house, resident):
    """What was mailed to a person to verify their address."""
    house.act(request_email_verification, house.person(resident.user_id))
    message = house.messages()[-1]
    assert message.kind == "email_verification"
    return house.act(open_parameters, message)["secret"]


def test_an_address_changes_when_its_secret_comes_back(house, alice):
    """Until then the old one stays (EM-01)."""
    address, secret = _request(house, alice)
    assert address == NEW
    assert house.person(alice.user_id).email == alice.person.email
    assert _validate(house, alice, secret) == NEW
    row = next(row for row in house.rows("user") if row["id"] == alice.user_id)
    assert (row["email"], row["email_canonical"]) == (NEW, NEW.lower())


@pytest.mark.parametrize("email", ["nobody", "", "a@b", "\u0430lice@example.com"])
def test_what_is_no_address_is_refused(house, alice, email):
    """Nothing is pending after it, and nothing mailed."""
    with pytest.raises(InvalidRequest):
        _request(house, alice, email)
    assert house.count("one_time_secret") == house.count("outbox_message") == 0


def test_the_old_address_is_told(house, alice):
    """The notice goes to the stored address, and what it holds completes nothing (EM-02, EM-17)."""
    _, secret = _request(house, alice)
    (message,) = house.messages()
    assert (message.kind, message.recipient) == ("email_change_notice", alice.person.email)
    parameters = house.act(open_parameters, message)
    assert parameters == {"new_address": NEW, "secret": parameters["secret"]}
    assert parameters["secret"] != secret
    with pytest.raises(SecretInvalid):
        _validate(house, alice, parameters["secret"])


def test_a_pending_address_is_shown_until_it_is_settled(house, alice):
    """It is the one that was asked for last."""
    assert house.act(find_pending_email, alice.user_id) is None
    _request(house, alice, "first@example.com")
    _, secret = _request(house, alice)
    assert house.act(find_pending_email, alice.user_id) == NEW
    _validate(house, alice, secret)
    assert house.act(find_pending_email, alice.user_id) is None


def test_the_uuid_is_compared_in_any_case(house, alice):
    """A UUID in capitals is the same UUID."""
    _, secret = _request(house, alice)
    identity_id = alice.person.identity_id.upper()
    assert house.act(validate_email_change, identity_id=identity_id, secret=secret) == NEW


def test_a_secret_is_no_good_for_another_person(house, alice, bob):
    """And it is not burned by somebody who tries it for themselves (EM-08)."""
    _, secret = _request(house, alice)
    with pytest.raises(SecretInvalid):
        _validate(house, bob, secret)
    assert _validate(house, alice, secret) == NEW


def test_a_secret_for_verifying_changes_no_address(house, alice):
    """The two purposes are not interchangeable (EM-08)."""
    mailed = _verification_secret(house, alice)
    with pytest.raises(SecretInvalid):
        _validate(house, alice, mailed)


def test_a_secret_is_used_once(house, alice):
    """The second time it is told as used (EM-07)."""
    _, secret = _request(house, alice)
    _validate(house, alice, secret)
    with pytest.raises(SecretUsed):
        _validate(house, alice, secret)


def test_a_secret_is_over_after_a_day(house, alice, clock):
    """Its time is judged when it is used (EM-05)."""
    _, secret = _request(house, alice)
    clock.move(hours=24)
    with pytest.raises(SecretExpired):
        _validate(house, alice, secret)


def test_a_later_request_supersedes_an_earlier_one(house, alice):
    """Only one change is pending at a time (EM-09)."""
    _, secret = _request(house, alice, "first@example.com")
    _request(house, alice)
    with pytest.raises(SecretSuperseded):
        _validate(house, alice, secret)


@pytest.mark.parametrize("email", ["bob@example.org", "BOB@EXAMPLE.ORG"])
def test_a_taken_address_looks_like_a_free_one(house, alice, bob, email):
    """The answer has the same form, its secret never validates, and the owner is told (EM-13)."""
    address, secret = _request(house, alice, email)
    _, free = _request(house, alice, NEW)
    assert address == email
    assert (len(secret), secret[:4]) == (len(free), free[:4])
    _request(house, alice, email)
    with pytest.raises(SecretInvalid):
        _validate(house, alice, secret)
    told = [(message.kind, message.recipient) for message in house.messages()]
    assert ("email_already_in_use", bob.person.email) in told
    assert house.person(bob.user_id).email == bob.person.email


def test_the_secret_of_a_taken_address_stays_worthless_when_it_becomes_free(house, alice, bob):
    """What was given out is not what was stored (EM-13)."""
    _, secret = _request(house, alice, bob.person.email)
    _, moved = house.act(request_email_change, bob.person, "elsewhere@example.org")
    _validate(house, bob, moved)
    with pytest.raises(SecretInvalid):
        _validate(house, alice, secret)


def test_a_taken_address_is_shown_as_pending_like_a_free_one(house, alice, bob):
    """The profile does not tell either (EM-13)."""
    _request(house, alice, bob.person.email)
    assert house.act(find_pending_email, alice.user_id) == bob.person.email


def test_an_address_that_is_taken_meanwhile_is_refused(house, alice):
    """Nothing is merged, and nobody is told whose it is (EM-10)."""
    _, secret = _request(house, alice)
    house.resident(NEW.lower())
    with pytest.raises(SecretInvalid):
        _validate(house, alice, secret)
    assert house.person(alice.user_id).email == alice.person.email


def test_of_two_people_who_want_one_address_one_gets_it(house, alice, bob):
    """Both hold a good secret, and validate at once (EM-10)."""
    wanted = [(resident, _request(house, resident)[1]) for resident in (alice, bob)]
    ready = threading.Barrier(2)

    def race(want):
        ready.wait(30)
        try:
            return _validate(house, *want)
        except SecretInvalid:
            return None

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(race, wanted))
    assert sorted(outcomes, key=str) == [NEW, None]


def test_a_disabled_user_changes_no_address(house, alice):
    """Being disabled ends what was pending (EM-09, SE-06)."""
    _, secret = _request(house, alice)
    house.execute('UPDATE "user" SET disabled_at = created_at')
    with pytest.raises(SecretInvalid):
        _validate(house, alice, secret)


def test_nobody_of_a_disabled_tenant_changes_an_address(house, alice):
    """The tenant is looked at, not only the user (AZ-15)."""
    _, secret = _request(house, alice)
    house.act(disable_tenant, alice.person.tenant_id)
    with pytest.raises(SecretInvalid):
        _validate(house, alice, secret)


def test_a_new_address_counts_as_unverified(house, alice):
    """That it was mailed there is the client's word only (EM-04)."""
    house.act(confirm_email, _verification_secret(house, alice))
    assert house.person(alice.user_id).email_verified
    _, secret = _request(house, alice)
    _validate(house, alice, secret)
    assert not house.person(alice.user_id).email_verified


def test_another_spelling_of_the_same_address_stays_verified(house, alice):
    """It is the same mailbox, and one's own address is not taken."""
    house.act(confirm_email, _verification_secret(house, alice))
    _, secret = _request(house, alice, "Alice@Example.com")
    assert _validate(house, alice, secret) == "Alice@Example.com"
    person = house.person(alice.user_id)
    assert (person.email, person.email_verified) == ("Alice@Example.com", True)


def test_another_spelling_of_an_unverified_address_verifies_nothing(house, alice):
    """EM-04: and resets go to the account by the address that it was opened with."""
    spelled = alice.person.email.upper()
    _, secret = _request(house, alice, spelled)
    _validate(house, alice, secret)
    person = house.person(alice.user_id)
    assert (person.email, person.email_verified) == (spelled, False)
    row = next(row for row in house.rows("user") if row["id"] == alice.user_id)
    assert (row["verified_email"], row["first_email"]) == (None, alice.person.email)


def test_a_change_ends_the_verification_of_the_old_address(house, alice):
    """What was mailed to the old address verifies nothing any more (EM-08)."""
    mailed = _verification_secret(house, alice)
    _, secret = _request(house, alice)
    _validate(house, alice, secret)
    with pytest.raises(SecretSuperseded):
        house.act(confirm_email, mailed)


# Where the service mails the secret itself


@pytest.fixture
def mailing(open_house):
    """A house whose operator lets the service mail the secrets of changes."""
    return open_house(service_mails_email_changes=True)


def test_the_service_mails_the_secret_and_does_not_answer_it(mailing):
    """EM-02, EM-03: it is in the one mail to the new address, and nowhere else."""
    alice = mailing.resident("alice@example.com")
    assert _request(mailing, alice) == (NEW, None)
    confirmation, notice = mailing.messages()
    assert (confirmation.kind, confirmation.recipient) == ("email_change_confirmation", NEW)
    assert (notice.kind, notice.recipient) == ("email_change_notice", alice.person.email)
    mailed = mailing.act(open_parameters, confirmation)
    assert mailed["identity_id"] == alice.person.identity_id
    assert _validate(mailing, alice, mailed["secret"]) == NEW


def test_what_the_service_has_mailed_verifies(mailing, house):
    """Whoever shows the secret has read it there; what a client says it mailed proves nothing."""
    alice, bob = mailing.resident("alice@example.com"), house.resident("bob@example.org")
    _request(mailing, alice)
    secret = mailing.act(open_parameters, mailing.messages()[0])["secret"]
    _validate(mailing, alice, secret)
    assert mailing.person(alice.user_id).email_verified
    _, secret = _request(house, bob, "bob.new@example.org")
    _validate(house, bob, secret)
    assert not house.person(bob.user_id).email_verified


def test_a_taken_address_gets_no_secret_from_the_service_either(mailing):
    """EM-13: its owner is told, and whoever asked sees what they always see."""
    alice, owner = mailing.resident("alice@example.com"), mailing.resident("bob@example.org")
    assert _request(mailing, alice, owner.person.email) == (owner.person.email, None)
    told = {(message.kind, message.recipient) for message in mailing.messages()}
    assert told == {
        ("email_already_in_use", owner.person.email),
        ("email_change_notice", alice.person.email),
    }


def test_an_address_is_not_mailed_without_end(house, alice):
    """EM-14: whoever asks, for their own account or not."""
    for _ in range(5):
        _request(house, alice)
    with pytest.raises(TooManyAttempts):
        _request(house, alice)


def test_nobody_is_told_of_changes_without_end(house, alice):
    """EM-14: each to another address, whoever has the one that is told of all of them."""
    for number in range(5):
        _request(house, alice, f"a{number}@example.net")
    with pytest.raises(TooManyAttempts):
        _request(house, alice)
    assert len(house.messages()) == 5


# Undoing


def _undo_secret(house):
    """What was mailed to the former address by the last notice."""
    message = house.messages()[-1]
    assert message.kind == "email_change_notice"
    return house.act(open_parameters, message)["secret"]


def test_a_pending_change_is_undone(house, alice):
    """EM-02: whoever did not ask for it ends it, and every session."""
    _, secret = _request(house, alice)
    assert house.act(undo_email_change, _undo_secret(house)) == alice.person.email
    with pytest.raises(SecretSuperseded):
        _validate(house, alice, secret)
    with pytest.raises(InvalidToken):
        house.recognise(CredentialKind.SESSION, alice.token)
    assert house.person(alice.user_id).email == alice.person.email


def test_a_change_that_was_completed_is_undone(house, alice, clock):
    """For seven days; the address is back, and as verified as it was."""
    house.act(confirm_email, _verification_secret(house, alice))
    _, secret = _request(house, alice)
    undo = _undo_secret(house)
    _validate(house, alice, secret)
    clock.move(days=6, hours=23)
    house.act(undo_email_change, undo)
    person = house.person(alice.user_id)
    assert (person.email, person.email_verified) == (alice.person.email, True)
    with pytest.raises(SecretUsed):
        house.act(undo_email_change, undo)


def test_an_undo_is_over_after_seven_days(house, alice, clock):
    """EM-05: judged when it is used."""
    _request(house, alice)
    clock.move(days=7)
    with pytest.raises(SecretExpired):
        house.act(undo_email_change, _undo_secret(house))


def test_an_address_that_somebody_has_now_does_not_come_back(house, alice, bob):
    """EM-10: no two accounts have one address; nobody gets it so since it is kept for its owner."""
    _, secret = _request(house, alice)
    undo = _undo_secret(house)
    _validate(house, alice, secret)
    former = alice.person.email
    house.execute(
        'UPDATE "user" SET email = ?, email_canonical = ? WHERE id = ?', former, former, bob.user_id
    )
    with pytest.raises(SecretInvalid):
        house.act(undo_email_change, undo)


def test_an_address_is_kept_for_whoever_can_undo_its_change(house, alice, bob, clock):
    """EM-02, EM-10: a thief could open an account with it, and there would be nothing to undo."""
    house.act(confirm_email, _verification_secret(house, alice))
    _, secret = _request(house, alice)
    undo = _undo_secret(house)
    _validate(house, alice, secret)
    house.act(confirm_email, _verification_secret(house, alice))
    with pytest.raises(EmailTaken):
        house.resident(alice.person.email)
    _, secret = _request(house, bob, alice.person.email)
    with pytest.raises(SecretInvalid):
        _validate(house, bob, secret)
    clock.move(days=6)
    assert house.act(undo_email_change, undo) == alice.person.email


def test_an_address_is_free_when_another_is_verified_and_nothing_can_be_undone(house, alice, clock):
    """EM-10: it is not kept for ever."""
    _, secret = _request(house, alice)
    _validate(house, alice, secret)
    clock.move(days=8)
    with pytest.raises(EmailTaken):  # resets are mailed there still
        house.resident(alice.person.email)
    house.act(confirm_email, _verification_secret(house, alice))
    house.resident(alice.person.email)


def test_what_undoes_a_change_is_mailed_to_no_address_that_nobody_has_verified(house, alice):
    """EM-02: a thief who changes it there and back would keep a way in for a week."""
    house.act(confirm_email, _verification_secret(house, alice))
    _, secret = _request(house, alice, "thief@example.org")
    _validate(house, alice, secret)
    _, secret = house.act(request_email_change, house.person(alice.user_id), alice.person.email)
    _validate(house, alice, secret)
    notices = [each for each in house.messages() if each.kind == "email_change_notice"]
    assert {each.recipient for each in notices} == {alice.person.email}


@pytest.mark.parametrize("proof", ["verification", "undo", "reset"])
def test_whoever_was_told_first_outlasts_whoever_was_told_later(house, alice, clock, proof):
    """EM-02, EM-09: a thief who has verified an address of their own was told of the way back."""
    house.act(confirm_email, _verification_secret(house, alice))
    _, secret = _request(house, alice, "thief@example.org")
    undo = _undo_secret(house)
    _validate(house, alice, secret)
    house.act(confirm_email, _verification_secret(house, alice))
    clock.move(minutes=1)
    _, secret = house.act(request_email_change, house.person(alice.user_id), alice.person.email)
    of_the_thief = _undo_secret(house)
    _validate(house, alice, secret)
    if proof == "undo":
        house.act(undo_email_change, undo)
    else:
        house.act(confirm_email, _verification_secret(house, alice))
    if proof == "reset":
        house.act(request_password_reset, alice.person.email)
        house.act(mail_requested_resets)
        mailed = house.act(open_parameters, house.messages()[-1])["secret"]
        house.act(reset_password, secret=mailed, new="Silent meadow 83 lantern")
    with pytest.raises(SecretSuperseded):
        house.act(undo_email_change, of_the_thief)
    person = house.person(alice.user_id)
    assert (person.email, person.email_verified) == (alice.person.email, True)


def test_whoever_undoes_a_change_has_not_verified_an_account_that_is_not_theirs(house, alice):
    """EM-04: somebody else knows its password, who has opened it with a stranger's address."""
    _, secret = _request(house, alice)
    undo = _undo_secret(house)
    _validate(house, alice, secret)
    house.act(confirm_email, _verification_secret(house, alice))
    house.act(undo_email_change, undo)
    person = house.person(alice.user_id)
    assert (person.email, person.email_verified) == (alice.person.email, False)
    house.act(request_password_reset, NEW)
    house.act(mail_requested_resets)
    assert "password_reset" not in {message.kind for message in house.messages()}
    house.act(request_password_reset, alice.person.email)
    house.act(mail_requested_resets)
    assert house.messages()[-1].recipient == alice.person.email


def test_a_disabled_tenant_undoes_nothing(house, alice):
    """SE-06: nobody of it does anything."""
    _request(house, alice)
    undo = _undo_secret(house)
    house.act(disable_tenant, alice.person.tenant_id)
    with pytest.raises(SecretInvalid):
        house.act(undo_email_change, undo)


def test_whoever_changed_the_address_twice_cannot_undo_the_undoing(house, alice, clock):
    """The second notice went to where the first did, and is about the same."""
    _, secret = _request(house, alice, "first@thief.example")
    undo = _undo_secret(house)
    _validate(house, alice, secret)
    clock.move(minutes=1)
    house.act(request_email_change, house.person(alice.user_id), "second@thief.example")
    of_the_thief = _undo_secret(house)
    house.act(undo_email_change, undo)
    with pytest.raises(SecretSuperseded):
        house.act(undo_email_change, of_the_thief)
    assert house.person(alice.user_id).email == alice.person.email
