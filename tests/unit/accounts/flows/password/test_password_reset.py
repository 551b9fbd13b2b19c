"""Setting a new password by mail."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import bcrypt
import pytest
from sqlalchemy import event

from accounts.crypto import tokens
from accounts.errors import (
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    SecretExpired,
    SecretInvalid,
    SecretSuperseded,
    SecretUsed,
    TooManyAttempts,
    WeakPassword,
)
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.administration.users import disable_user
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.email.email_verification import confirm_email, request_email_verification
from accounts.flows.oauth.refresh_tokens import begin_family
from accounts.flows.password.password_change import change_password
from accounts.flows.password.password_reset import (
    mail_requested_resets,
    request_password_reset,
    reset_password,
)
from accounts.flows.sign_in.sessions import log_in, open_session
from accounts.limits import RateLimit
from accounts.origin import Origin
from accounts.services.access_tokens import reveal_access_token
from accounts.services.one_time_secrets import SecretPurpose, issue_secret
from accounts.services.outbox import open_parameters
from accounts.services.principal import CredentialKind
from accounts.values.email_address import parse_address
from models import LoginSession, User

ADDRESS = "alice@example.com"
NEW_PASSWORD = "Silent meadow 83 lantern"
OTHER_PASSWORD = "Amber compass 19 walnut"


def _verify(env, user):
    """Verify the address that the resident has now."""
    env.act(request_email_verification, env.view(user.user_id))
    env.act(confirm_email, env.act(open_parameters, env.messages()[-1])["secret"])


def _change_address(env, user, email):
    """Change it, without verifying the new one."""
    view = env.view(user.user_id)
    _, secret = env.act(request_email_change, view, email)
    env.act(validate_email_change, identity_id=view.identity_id, secret=secret)


@pytest.fixture
def alice(env):
    """Somebody who can be mailed to."""
    user = env.user(ADDRESS)
    _verify(env, user)
    return user


def _resets(env):
    """Each mail of a reset, as to whom it went and what its secret is."""
    return [
        (message.recipient, env.act(open_parameters, message)["secret"])
        for message in env.messages()
        if message.kind == "password_reset"
    ]


def _ask(env, *emails):
    """Ask for a reset of each address, and have the job mail; returns to whom it did."""
    before = len(_resets(env))
    for email in emails:
        env.act(request_password_reset, email)
    env.act(mail_requested_resets)
    assert env.count("password_reset_request") == 0
    return [recipient for recipient, _ in _resets(env)[before:]]


@pytest.fixture
def secret(env, alice):
    assert _ask(env, ADDRESS) == [alice.view.email]
    return _resets(env)[0][1]


def _reset(env, secret, new=NEW_PASSWORD):
    """Reset as the service does: in a transaction that is let go of for the hash."""
    env.act(reset_password, secret=secret, new=new)


def _logs_in(env, password, email=ADDRESS):
    try:
        env.act(log_in, email=email, password=password, user_agent=None)
    except InvalidCredentials:
        return False
    return True


def _disable(env, user):
    env.act(lambda session: disable_user(session, session.get_one(User, user.user_id)))


@pytest.fixture
def during_the_new_hash(monkeypatch, elsewhere):
    """Lets something happen in another thread while the next new password is being hashed."""

    def arrange(happen):
        make, outcomes = bcrypt.hashpw, []

        def hashpw(password, salt):
            monkeypatch.setattr(bcrypt, "hashpw", make)
            outcomes.append(elsewhere(happen))
            return make(password, salt)

        monkeypatch.setattr(bcrypt, "hashpw", hashpw)
        return outcomes

    return arrange


# Asking for one


def _statements(env, email):
    """What asking for an address has the database do, to the end of the transaction."""
    said = []

    def say(_connection, _cursor, statement, *_rest):
        said.append(statement)

    with env.database.transaction(writing=True) as session:
        connection = session.core
        event.listen(connection, "before_cursor_execute", say)
        try:
            request_password_reset(session, email)
            session.flush()
        finally:
            event.remove(connection, "before_cursor_execute", say)
    return said


def test_a_known_address_costs_the_same_statements_as_any_other(env, alice):
    """LG-02: whose address it is, is not looked up where somebody waits for the answer."""
    unverified = env.user("unverified@example.com")
    disabled = env.user("disabled@example.com")
    _disable(env, disabled)
    elsewhere = env.user("sso@example.com", provider="oidc")
    unknown = _statements(env, "nobody@example.com")
    assert len(unknown) >= 3
    assert not any("user" in statement for statement in unknown)
    for user in (alice, unverified, disabled, elsewhere):
        assert _statements(env, user.view.email) == unknown


def test_nothing_is_answered_and_nothing_is_mailed_before_the_job(env, alice):
    """LG-02: a mail of a known address would else take its time."""
    before = len(env.messages())
    assert env.act(request_password_reset, alice.view.email) is None
    assert env.act(request_password_reset, "nobody@example.com") is None
    assert len(env.messages()) == before
    assert env.count("password_reset_request") == 2


def test_the_address_is_sealed_until_the_job(env):
    """TK-08: a dump does not tell who has forgotten a password."""
    env.act(request_password_reset, "nobody@example.com")
    (row,) = env.rows("password_reset_request")
    assert b"nobody" not in row["address_sealed"]


@pytest.mark.parametrize("email", ["", "alice", "@example.com", "\ud800@example.com", "a" * 300])
def test_what_is_no_address_is_refused(env, email):
    """EM-21: and nothing is noted."""
    with pytest.raises(InvalidRequest):
        env.act(request_password_reset, email)
    assert env.count("password_reset_request") == 0


@pytest.mark.parametrize("email", [ADDRESS, "nobody@example.com"])
@pytest.mark.usefixtures("alice")
def test_an_address_is_asked_for_five_times_an_hour(env, clock, email):
    """EM-14, LG-08: whether or not it is anybody's, and in whatever letters (LG-07)."""
    for _ in range(5):
        env.act(request_password_reset, email)
    with pytest.raises(TooManyAttempts):
        env.act(request_password_reset, email.upper())
    env.act(request_password_reset, "another@example.com")
    clock.move(minutes=12)
    env.act(request_password_reset, email)


def test_a_source_asks_for_so_many_addresses(open_house):
    """EM-14: and another source is not stopped by that."""
    env = open_house(source_budget=RateLimit(3, 600))

    def ask(number, address):
        with env.database.transaction(writing=True, origin=Origin(address=address)) as session:
            request_password_reset(session, f"person{number}@example.com")

    for number in range(3):
        ask(number, "192.0.2.1")
    with pytest.raises(TooManyAttempts):
        ask(3, "192.0.2.1")
    ask(3, "192.0.2.2")


# To whom it is mailed


def test_a_secret_is_mailed_to_the_verified_address(env, alice):
    """EM-17: as it was entered when it was verified, and not as somebody has typed it now."""
    assert _ask(env, "ALICE@Example.COM") == [ADDRESS]
    assert env.messages()[-1].locale == alice.view.locale


def test_an_unknown_address_gets_no_mail(env, alice):
    """LG-01: the request is forgotten like any other."""
    assert alice
    assert _ask(env, "nobody@example.com") == []


def test_the_address_that_an_account_was_opened_with_gets_mail(env):
    """ADR 27: whom an operator has added is mailed there, and whom a stranger has posed
    as; whoever reads the mail has verified the address by it."""
    user = env.user("opened@example.com")
    assert _ask(env, "opened@example.com") == ["opened@example.com"]
    _reset(env, _resets(env)[-1][1])
    assert _logs_in(env, NEW_PASSWORD, "opened@example.com")
    assert env.view(user.user_id).email_verified


@pytest.mark.parametrize("typed", ["opened@example.com", "thief@example.org"])
def test_a_changed_address_of_who_verified_none_gets_no_mail(env, clock, typed):
    """EM-08, ADR 27: nor when nothing can be undone any more."""
    user = env.user("opened@example.com")
    _change_address(env, user, "thief@example.org")
    clock.move(days=30)
    assert _ask(env, typed) == ["opened@example.com"]


def test_whoever_resets_a_password_logs_in_with_the_address_that_it_was_mailed_to(env, alice):
    """EM-08: not with the one that somebody has put there meanwhile, which they may not know."""
    _change_address(env, alice, "thief@example.org")
    _ask(env, ADDRESS)
    _reset(env, _resets(env)[-1][1])
    assert _logs_in(env, NEW_PASSWORD)
    assert not _logs_in(env, NEW_PASSWORD, "thief@example.org")
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (ADDRESS, True)


def test_a_user_of_another_provider_gets_no_mail(env):
    """There is no password here, and a reset would make a second way in."""
    user = env.user("sso@example.com", provider="oidc")
    _verify(env, user)
    assert _ask(env, "sso@example.com") == []


def test_a_disabled_user_gets_no_mail(env, alice):
    """SE-06: nor one who is disabled between the request and the job."""
    env.act(request_password_reset, ADDRESS)
    _disable(env, alice)
    assert _ask(env, ADDRESS) == []


def test_a_user_of_a_disabled_tenant_gets_no_mail(env, alice):
    """SE-06: as a disabled user."""
    env.act(request_password_reset, ADDRESS)
    env.act(disable_tenant, alice.view.tenant_id)
    assert _ask(env, ADDRESS) == []


@pytest.mark.parametrize("typed", [ADDRESS, "changed@example.com"])
def test_a_changed_address_gets_no_mail_until_it_is_verified(env, alice, typed):
    """EM-08: whoever changed it in a stolen session does not get the account by it."""
    _change_address(env, alice, "changed@example.com")
    assert _ask(env, typed) == [ADDRESS]


def test_a_verified_change_takes_the_place_of_the_former_address(env, alice):
    """EM-08: the former one is nobody's from then on."""
    _change_address(env, alice, "changed@example.com")
    _verify(env, alice)
    assert _ask(env, ADDRESS) == []
    assert _ask(env, "changed@example.com") == ["changed@example.com"]


def test_a_secret_that_was_mailed_to_a_former_address_is_void(env, alice, secret):
    """EM-08: it proves that somebody reads mail that is no longer the person's (CVE-2026-9087)."""
    _change_address(env, alice, "changed@example.com")
    _verify(env, alice)
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert _logs_in(env, alice.password, "changed@example.com")


@pytest.fixture
def heir(env, alice):
    """Somebody who has the address now that Alice still has verified, and has not verified it.

    Nobody gets it so any more; some may have it since an earlier version.
    """
    _change_address(env, alice, "changed@example.com")
    user = env.user("heir@example.net")
    env.execute(
        'UPDATE "user" SET email = ?, email_canonical = ?, first_email = NULL,'
        " first_email_canonical = NULL WHERE id = ?",
        ADDRESS,
        ADDRESS.lower(),
        user.user_id,
    )
    return user


def test_an_address_that_two_have_had_gets_mail_for_whoever_verified_it(env, alice, heir):
    """EM-08: only Alice has, though it is the other's to log in with."""
    assert _ask(env, ADDRESS) == [ADDRESS]
    _reset(env, _resets(env)[-1][1])
    assert _logs_in(env, NEW_PASSWORD, "changed@example.com")
    assert _logs_in(env, heir.password)
    assert not _logs_in(env, alice.password, "changed@example.com")


def test_an_address_that_two_have_verified_gets_a_mail_for_each(env, heir):
    """EM-08: with two secrets, each of which is good for its own account only."""
    _verify(env, heir)
    assert _ask(env, ADDRESS) == [ADDRESS, ADDRESS]
    for (_, secret), new in zip(_resets(env), (NEW_PASSWORD, OTHER_PASSWORD), strict=True):
        _reset(env, secret, new)
    heirs = [new for new in (NEW_PASSWORD, OTHER_PASSWORD) if _logs_in(env, new)]
    alices = [
        new for new in (NEW_PASSWORD, OTHER_PASSWORD) if _logs_in(env, new, "changed@example.com")
    ]
    assert sorted(heirs + alices) == sorted([NEW_PASSWORD, OTHER_PASSWORD])
    assert len(heirs) == 1


def test_a_request_that_cannot_be_opened_is_forgotten(env, alice):
    """TK-05: it was made under a root secret that is gone, and is nobody's."""
    assert alice
    env.act(request_password_reset, ADDRESS)
    env.execute("UPDATE password_reset_request SET address_sealed = x'01'")
    assert env.act(mail_requested_resets) == 1
    assert env.count("password_reset_request") == 0
    assert _resets(env) == []


def test_the_job_takes_the_oldest_requests_first_and_no_more_than_fifty(env, clock, alice):
    """One run has an end, however many have asked."""
    for number in range(50):
        env.act(request_password_reset, f"person{number}@example.com")
    clock.move(seconds=1)
    env.act(request_password_reset, alice.view.email)
    assert env.act(mail_requested_resets) == 50
    assert _resets(env) == []
    assert env.act(mail_requested_resets) == 1
    assert [recipient for recipient, _ in _resets(env)] == [ADDRESS]
    assert env.act(mail_requested_resets) == 0


# Using it


def test_the_mailed_secret_sets_a_new_password(env, alice, secret):
    """And the old one is none any more (EM-07)."""
    _reset(env, secret)
    assert _logs_in(env, NEW_PASSWORD)
    assert not _logs_in(env, alice.password)


def test_a_reset_opens_no_session(env, secret):
    """SE-02: whoever did it logs in with what they have set."""
    before = env.count("login_session")
    _reset(env, secret)
    assert env.count("login_session") == before


def test_a_reset_is_an_event_and_a_mail(env, alice, secret):
    """PW-18: without any secret in either."""
    _reset(env, secret)
    message = env.messages()[-1]
    assert (message.kind, message.recipient) == ("password_changed", alice.view.email)
    assert env.act(open_parameters, message) == {}
    changes = [row for row in env.rows("security_event") if "password_change" in row["kind"]]
    assert [row["user_id"] for row in changes] == [alice.user_id]
    assert secret not in str(env.rows("security_event"))


def test_a_reset_makes_another_access_token(env, alice, secret):
    """SE-07: the old one is dead, and there is one that can be shown."""
    before = env.act(reveal_access_token, alice.view)
    _reset(env, secret)
    after = env.act(reveal_access_token, alice.view)
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.ACCESS_TOKEN, before)
    assert env.recognise(CredentialKind.ACCESS_TOKEN, after).user.user_id == alice.user_id


def test_a_reset_ends_tokens_whether_or_not_their_session_does(env, alice, bob, secret):
    """SE-07: families and JWTs are ended twice, so that neither hangs on one statement."""
    for user in (alice, bob):
        client, _ = env.client(user.view.tenant_id)
        with env.database.transaction(writing=True) as session:
            login = session.get_one(LoginSession, user.principal.credential.id)
            begin_family(session, login, client, scopes=["me/profile:read"], audience="it")
    _reset(env, secret)
    families = {row["user_id"]: row["revoked_at"] is None for row in env.rows("refresh_token")}
    assert families == {alice.user_id: False, bob.user_id: True}
    epochs = {row["id"]: row["credential_epoch"] for row in env.rows("user")}
    assert epochs == {alice.user_id: 1, bob.user_id: 0}


def test_a_reset_ends_a_pending_change_of_the_address(env, alice, secret):
    """EM-09: whoever began it may be why the password is reset."""
    _, change = env.act(request_email_change, alice.view, "changed@example.com")
    _reset(env, secret)
    with pytest.raises(SecretSuperseded):
        env.act(validate_email_change, identity_id=alice.view.identity_id, secret=change)


def test_a_reset_ends_a_pending_verification(env, alice, secret):
    """EM-09: or a thief who has changed the address verifies it, and has the next reset mailed."""
    _change_address(env, alice, "thief@example.org")
    env.act(request_email_verification, env.view(alice.user_id))
    verification = env.act(open_parameters, env.messages()[-1])["secret"]
    _reset(env, secret)
    with pytest.raises((SecretInvalid, SecretSuperseded)):
        env.act(confirm_email, verification)
    assert _ask(env, "thief@example.org") == []
    assert _ask(env, ADDRESS) == [ADDRESS]


@pytest.mark.parametrize(
    "new", ["short", "Password1", "Alice12345", "a" * 2000, "Tab\tin 1 it all"]
)
def test_a_weak_password_is_refused_and_the_secret_stays_good(env, secret, new):
    """PW-08: a slip must not cost another mail."""
    with pytest.raises(WeakPassword) as refused:
        _reset(env, secret, new)
    assert {violation.field for violation in refused.value.violations} == {("new_password",)}
    _reset(env, secret)


@pytest.mark.parametrize(
    "wrong", ["", "ots_", tokens.mint("ots_"), "\ud800", "x" * 10_000], ids=range(5)
)
def test_a_wrong_secret_sets_nothing(env, alice, secret, wrong):
    """EM-08: and the right one is good for as long as before."""
    with pytest.raises(SecretInvalid):
        _reset(env, wrong)
    assert _logs_in(env, alice.password)
    _reset(env, secret)


def test_a_wrong_secret_is_refused_before_the_password_is_judged(env):
    """EM-08: without a secret, nobody has the service look at passwords."""
    with pytest.raises(SecretInvalid):
        _reset(env, tokens.mint("ots_"), "short")


@pytest.mark.parametrize("purpose", sorted({*SecretPurpose} - {SecretPurpose.PASSWORD_RESET}))
def test_a_secret_of_another_purpose_sets_no_password(env, alice, purpose):
    """EM-08: though it is of the same person and address (CVE-2026-105785)."""
    other = env.act(issue_secret, purpose, alice.user_id, parse_address(ADDRESS))
    with pytest.raises(SecretInvalid):
        _reset(env, other)


def test_a_secret_is_good_for_an_hour(env, clock, secret):
    """EM-05: to the second, and no job is needed to end it."""
    clock.move(minutes=59, seconds=59)
    _reset(env, secret)


def test_a_secret_is_over_after_an_hour(env, clock, secret):
    """EM-05: judged when it is used (GO-2025-4136)."""
    clock.move(hours=1)
    with pytest.raises(SecretExpired):
        _reset(env, secret)


def test_a_secret_works_once(env, secret):
    """EM-07: whoever reads the mail later finds nothing in it (CVE-2026-28268)."""
    _reset(env, secret)
    with pytest.raises(SecretUsed):
        _reset(env, secret, OTHER_PASSWORD)
    assert _logs_in(env, NEW_PASSWORD)


def test_a_later_request_ends_an_earlier_secret(env, secret):
    """EM-09: only the last mail is good."""
    _ask(env, ADDRESS)
    with pytest.raises(SecretSuperseded):
        _reset(env, secret)
    _reset(env, _resets(env)[-1][1])


def test_a_change_of_the_password_ends_a_pending_reset(env, alice, secret):
    """EM-09: whoever asked for it has the password by now, or is somebody else."""
    env.act(change_password, alice.principal, current=alice.password, new=OTHER_PASSWORD)
    with pytest.raises(SecretSuperseded):
        _reset(env, secret)
    assert _logs_in(env, OTHER_PASSWORD)


def test_a_user_who_moved_to_another_provider_resets_nothing(env, alice, secret):
    """Their password is kept elsewhere by now."""
    env.execute("UPDATE \"user\" SET provider = 'oidc' WHERE id = ?", alice.user_id)
    with pytest.raises(SecretInvalid):
        _reset(env, secret)


def test_a_user_without_a_password_gets_none_by_a_reset(env, secret):
    """PW-16: there is no record to compare with and to put another in the place of."""
    env.execute("DELETE FROM password_record")
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert env.count("password_record") == 0


@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_the_disabled_reset_nothing(env, alice, secret, disabled):
    """SE-06: though the secret was mailed while they were not."""
    if disabled == "user":
        _disable(env, alice)
    else:
        env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(SecretInvalid):
        _reset(env, secret)


# What happens meanwhile


def _record(env, user):
    records = {row["user_id"]: row["record"] for row in env.rows("password_record")}
    return records[user.user_id]


def test_nothing_is_locked_during_the_hash(env, bob, secret, during_the_new_hash):
    """DB-11: others write meanwhile."""
    others = during_the_new_hash(lambda: env.act(open_session, bob.user_id))
    _reset(env, secret)
    env.recognise(CredentialKind.SESSION, others[0].token)


@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_who_is_disabled_during_the_hash_resets_nothing(
    env, alice, secret, during_the_new_hash, disabled
):
    """SE-06: what was read before the hash is read again after it."""
    before = _record(env, alice)
    if disabled == "user":
        happened = during_the_new_hash(lambda: _disable(env, alice))
    else:
        happened = during_the_new_hash(lambda: env.act(disable_tenant, alice.view.tenant_id))
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert len(happened) == 1
    assert _record(env, alice) == before


def test_a_password_that_is_changed_during_the_hash_stays(env, alice, secret, during_the_new_hash):
    """DB-02, EM-09: the change has ended the reset, whichever began first."""

    def change():
        env.act(change_password, alice.principal, current=alice.password, new=OTHER_PASSWORD)

    during_the_new_hash(change)
    with pytest.raises(SecretSuperseded):
        _reset(env, secret)
    assert _logs_in(env, OTHER_PASSWORD)
    env.recognise(CredentialKind.SESSION, alice.token)


def test_an_address_that_is_verified_during_the_hash_voids_the_secret(
    env, alice, secret, during_the_new_hash
):
    """EM-08: the secret was mailed to the former one."""
    _change_address(env, alice, "changed@example.com")
    happened = during_the_new_hash(lambda: _verify(env, alice))
    before = _record(env, alice)
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert len(happened) == 1
    assert _record(env, alice) == before


def test_another_reset_during_the_hash_wins(env, secret, during_the_new_hash):
    """EM-07: the later of two with one secret is told that it was used."""
    during_the_new_hash(lambda: _reset(env, secret, OTHER_PASSWORD))
    with pytest.raises(SecretUsed):
        _reset(env, secret)
    assert _logs_in(env, OTHER_PASSWORD)


def test_a_record_that_is_renewed_during_the_hash_costs_no_secret(open_house, during_the_new_hash):
    """DB-02: a login has stored the old password at a higher cost; the next try succeeds."""
    env = open_house(password_cost=5)
    alice = env.user(ADDRESS)
    _verify(env, alice)
    _ask(env, ADDRESS)
    secret = _resets(env)[0][1]
    happened = during_the_new_hash(lambda: _logs_in(env, alice.password))
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert happened == [True]
    _reset(env, secret)
    assert _logs_in(env, NEW_PASSWORD)


def test_of_two_resets_at_once_exactly_one_wins(env, alice):
    """EM-07: with one event, and the winner's password, in ten rounds (CVE-2026-107276)."""
    for number in range(10):
        env.clock.now += timedelta(hours=1)
        _ask(env, ADDRESS)
        secret = _resets(env)[-1][1]
        ready = threading.Barrier(2)

        def race(new, secret=secret, ready=ready):
            ready.wait(30)
            try:
                _reset(env, secret, new)
            except SecretUsed:
                return None
            return new

        news = [f"Silent meadow {number}{racer} lantern" for racer in range(2)]
        with ThreadPoolExecutor(2) as threads:
            won = [new for new in threads.map(race, news) if new]
        assert len(won) == 1
        assert _logs_in(env, won[0])
    changes = [row for row in env.rows("security_event") if row["kind"] == "authn_password_change"]
    assert [row["user_id"] for row in changes] == [alice.user_id] * 10
