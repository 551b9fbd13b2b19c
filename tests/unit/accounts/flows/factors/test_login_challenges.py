"""Logging in with a second factor, and the other ways that ask for it."""

import orjson
import pytest

from accounts.crypto.keyring import Purpose
from accounts.errors import (
    ChallengeInvalid,
    InvalidCredentials,
    RecentAuthenticationRequired,
    SecondFactorRequired,
    TooManyAttempts,
    WrongCode,
    WrongPassword,
)
from accounts.flows.administration.users import disable_user
from accounts.flows.factors.enrolment import list_factors, remove_factor
from accounts.flows.password.password_change import change_password
from accounts.flows.password.password_reset import (
    mail_requested_resets,
    request_password_reset,
    reset_password,
)
from accounts.flows.sign_in.reauthentication import reauthenticate
from accounts.flows.sign_in.sessions import OpenedSession, begin_login, complete_challenge, log_in
from accounts.origin import Origin
from accounts.services.principal import CredentialKind
from models import User

NEW = "Copper lantern 92 estuary"


def _begin(env, user, password=None):
    return env.act(
        begin_login, email=user.view.email, password=password or user.password, user_agent=None
    )


def _complete(env, challenge, code):
    return env.act(
        complete_challenge, challenge_id=challenge.challenge_id, code=code, user_agent=None
    )


def test_login_without_a_factor_is_one_step(env, alice):
    assert isinstance(_begin(env, alice), OpenedSession)


def test_code_of_the_app_completes_a_login(env, owner, alice):
    """MF-01: the session has been authenticated by two factors."""
    challenge = _begin(env, alice)
    assert challenge.methods == ("totp", "backup_code")
    opened = _complete(env, challenge, owner.code())
    principal = env.authenticate(CredentialKind.SESSION, opened.token)
    assert principal.credential.authentication.amr == ("pwd", "otp", "mfa")


@pytest.mark.usefixtures("owner")
def test_password_alone_opens_no_session(env, alice):
    """MF-01."""
    before = env.count("login_session")
    _begin(env, alice)
    with pytest.raises(SecondFactorRequired):
        env.act(log_in, email=alice.view.email, password=alice.password, user_agent=None)
    assert env.count("login_session") == before


@pytest.mark.usefixtures("owner")
def test_wrong_password_is_rejected_as_without_a_factor(env, alice):
    """LG-01."""
    with pytest.raises(InvalidCredentials):
        _begin(env, alice, "Wrong 47 harbour")


def test_code_is_used_once(env, owner, alice):
    """MF-04: RFC 6238 section 5.2; and no earlier one afterwards."""
    used = owner.code()
    _complete(env, _begin(env, alice), used)
    with pytest.raises(WrongCode):
        _complete(env, _begin(env, alice), used)
    with pytest.raises(WrongCode):
        _complete(env, _begin(env, alice), owner.code(-1))
    _complete(env, _begin(env, alice), owner.code(1))


def test_recovery_code_is_used_once(env, owner, alice):
    """MF-03: in any spelling; its owner is told."""
    code = owner.codes[0]
    _complete(env, _begin(env, alice), f" {code.upper().replace('-', ' ')} ")
    with pytest.raises(WrongCode):
        _complete(env, _begin(env, alice), code)
    assert "recovery_code_used" in {message.kind for message in env.messages()}


def test_last_recovery_codes_are_told(env, owner, alice):
    """MF-03: the number of unused ones, once there are two."""
    for code in owner.codes[:8]:
        env.clock.move(hours=2)
        _complete(env, _begin(env, alice), code)
    told = [
        orjson.loads(env.keys.open(Purpose.OUTBOX, message.parameters_sealed, message.id))
        for message in env.messages()
        if message.kind == "recovery_code_used"
    ]
    assert [each.get("left") for each in told] == [None] * 7 + ["2"]


@pytest.mark.usefixtures("owner")
def test_recovery_code_of_another_user_is_wrong(env, alice, enrol):
    bob = enrol(env.user("bob@example.com"))
    with pytest.raises(WrongCode):
        _complete(env, _begin(env, alice), bob.codes[0])
    _complete(env, _begin(env, bob.user), bob.codes[0])


def test_challenge_is_used_once(env, owner, alice):
    """MF-07."""
    challenge = _begin(env, alice)
    _complete(env, challenge, owner.code())
    with pytest.raises(ChallengeInvalid):
        _complete(env, challenge, owner.codes[0])
    _complete(env, _begin(env, alice), owner.codes[0])  # which was not used up


def test_challenge_ends_after_five_attempts(env, owner, alice):
    """MF-07: the account goes on."""
    challenge = _begin(env, alice)
    for _ in range(5):
        with pytest.raises((WrongCode, TooManyAttempts)):
            _complete(env, challenge, "not a code")
    with pytest.raises(ChallengeInvalid):
        _complete(env, challenge, owner.code())
    env.clock.move(hours=1)
    _complete(env, _begin(env, alice), owner.code())


def test_challenge_ends_after_ten_minutes(env, owner, alice):
    """MF-07."""
    challenge = _begin(env, alice)
    env.clock.move(minutes=10)
    with pytest.raises(ChallengeInvalid):
        _complete(env, challenge, owner.code())


def test_challenge_ends_with_the_password(env, owner, alice):
    """MF-07: the old password began it."""
    challenge = _begin(env, alice)
    env.clock.move(seconds=1)
    env.act(change_password, alice.principal, current=alice.password, new=NEW)
    with pytest.raises(ChallengeInvalid):
        _complete(env, challenge, owner.code())


def test_challenge_ends_with_the_user(env, owner, alice):
    """MF-07."""
    challenge = _begin(env, alice)
    with env.database.transaction(writing=True) as session:
        disable_user(session, session.get_one(User, alice.user_id))
    with pytest.raises(ChallengeInvalid):
        _complete(env, challenge, owner.code())


def test_unknown_challenge_is_rejected(env, owner):
    with pytest.raises(ChallengeInvalid):
        env.act(
            complete_challenge,
            challenge_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
            code=owner.code(),
            user_agent=None,
        )


@pytest.mark.usefixtures("owner")
def test_guesses_from_many_sources_are_limited_for_the_account(env, alice):
    """MF-08: twenty failures a day, whichever challenges they are spent on."""
    failures = 0
    for number in range(40):
        origin = Origin(address=f"198.51.100.{number}")
        with env.database.transaction(writing=True, origin=origin) as session:
            challenge = begin_login(
                session, email=alice.view.email, password=alice.password, user_agent=None
            )
        for _ in range(3):
            try:
                with env.database.transaction(writing=True, origin=origin) as session:
                    complete_challenge(
                        session,
                        challenge_id=challenge.challenge_id,
                        code="not a code",
                        user_agent=None,
                    )
            except WrongCode:
                failures += 1
            except TooManyAttempts:
                pass
    assert failures == 20


def test_owner_logs_in_from_a_known_source_while_others_guess(env, owner, alice):
    """MF-08, LG-06: an attacker with the password cannot lock the owner out."""
    home = Origin(address="203.0.113.7")

    def log_in_from_home(code):
        with env.database.transaction(writing=True, origin=home) as session:
            challenge = begin_login(
                session, email=alice.view.email, password=alice.password, user_agent=None
            )
        with env.database.transaction(writing=True, origin=home) as session:
            complete_challenge(
                session, challenge_id=challenge.challenge_id, code=code, user_agent=None
            )

    log_in_from_home(owner.code())
    test_guesses_from_many_sources_are_limited_for_the_account(env, alice)
    log_in_from_home(owner.code(1))


def test_removed_factor_completes_no_login(env, owner, alice):
    """MF-04: a login that began before fails, and the next one is one step."""
    challenge = _begin(env, alice)
    [factor] = env.act(list_factors, alice.user_id)
    env.act(remove_factor, alice.view, factor.id)
    with pytest.raises(WrongCode):
        _complete(env, challenge, owner.code())
    assert isinstance(_begin(env, alice), OpenedSession)


# Authenticating again, and resetting the password


def _principal(env, user):
    return env.authenticate(CredentialKind.SESSION, user.token)


def test_session_is_renewed_by_password_and_code(env, owner, alice):
    """SE-12."""
    env.clock.move(minutes=10)
    principal = _principal(env, alice)
    with pytest.raises(RecentAuthenticationRequired):
        env.act(reauthenticate, principal, password=alice.password)
    with pytest.raises(WrongCode):
        env.act(reauthenticate, principal, password=alice.password, code="000")
    env.act(reauthenticate, principal, password=alice.password, code=owner.code())
    renewed = _principal(env, alice).credential.authentication
    assert renewed == (env.clock.now, ("pwd", "otp", "mfa"))


def test_code_is_not_used_up_by_a_wrong_password(env, owner, alice):
    """SE-12: a session alone cannot try codes."""
    principal = _principal(env, alice)
    with pytest.raises(WrongPassword):
        env.act(reauthenticate, principal, password="Wrong 47 harbour", code=owner.code())
    env.act(reauthenticate, principal, password=alice.password, code=owner.code())


@pytest.fixture
def reset_secret(env, alice):
    """Return a function that requests a reset, and returns the mailed secret."""

    def reset_secret():
        env.act(request_password_reset, alice.view.email)
        env.act(mail_requested_resets)
        sealed = [each for each in env.messages() if each.kind == "password_reset"][-1]
        opened = env.keys.open(Purpose.OUTBOX, sealed.parameters_sealed, sealed.id)
        return orjson.loads(opened)["secret"]

    return reset_secret


def test_reset_by_mail_needs_the_factor(env, owner, alice, reset_secret):
    """MF-09: the mailbox is one factor; the secret stays valid until the code is right."""
    secret = reset_secret()
    with pytest.raises(SecondFactorRequired):
        env.act(reset_password, secret=secret, new=NEW)
    with pytest.raises(WrongCode):
        env.act(reset_password, secret=secret, new=NEW, code="000000")
    env.act(reset_password, secret=secret, new=NEW, code=owner.codes[3])
    _complete(env, _begin(env, alice, NEW), owner.code())
