"""Resetting the password by mail."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import bcrypt
import pytest
from sqlalchemy import event

from accounts.crypto import tokens
from accounts.errors import (
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    PolicyDenied,
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
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.one_time_secrets import SecretPurpose, issue_secret, read_secret
from accounts.services.principal import Authentication, CredentialKind
from accounts.values.email_address import parse_address
from models import LoginSession, User
from tests.support.deadlines import patient

ADDRESS = "alice@example.com"
NEW_PASSWORD = "Silent meadow 83 lantern"
OTHER_PASSWORD = "Amber compass 19 walnut"


def _verify(env, user):
    """Verify the current address of a user."""
    env.act(request_email_verification, env.view(user.user_id))
    env.act(confirm_email, env.act(unseal_parameters, env.messages()[-1])["secret"])


def _change_address(env, user, email):
    """Change the address without verifying the new one."""
    view = env.view(user.user_id)
    _, secret = env.act(request_email_change, view, email)
    env.act(validate_email_change, identity_id=view.identity_id, secret=secret)


@pytest.fixture
def alice(env):
    """A user with a verified address."""
    user = env.user(ADDRESS)
    _verify(env, user)
    return user


def _act_forbidden(env, act, *arguments, **named):
    """Run an act under policies that forbid every public act."""

    def authorise_public(_user, _credential):
        raise PolicyDenied

    with env.database.transaction(writing=True) as session:
        session.authorise_public = authorise_public
        act(session, *arguments, **named)


@pytest.mark.usefixtures("alice")
def test_reset_that_a_policy_forbids_costs_no_hash(env, monkeypatch):
    """AZ-07, attack finding 9: it is asked before the password is validated."""
    _request_resets(env, ADDRESS)
    [(_, secret)] = _resets(env)
    with monkeypatch.context() as patch:
        patch.setattr(bcrypt, "hashpw", lambda *_: pytest.fail("hashed"))
        with pytest.raises(PolicyDenied):
            _act_forbidden(env, reset_password, secret=secret, new="weak")
    env.act(reset_password, secret=secret, new=NEW_PASSWORD)


@pytest.mark.usefixtures("alice")
def test_policy_can_forbid_reset_requests(env):
    """AZ-07, attack finding 9: without counting or recording any."""
    with pytest.raises(PolicyDenied):
        _act_forbidden(env, request_password_reset, ADDRESS)
    assert env.count("password_reset_request") == 0


def _resets(env):
    """Return the recipient and the secret of each reset mail."""
    return [
        (message.recipient, env.act(unseal_parameters, message)["secret"])
        for message in env.messages()
        if message.kind == "password_reset"
    ]


def _request_resets(env, *emails):
    """Request a reset for each address, run the job, and return its recipients."""
    count_before = len(_resets(env))
    for email in emails:
        env.act(request_password_reset, email)
    env.act(mail_requested_resets)
    assert env.count("password_reset_request") == 0
    return [recipient for recipient, _ in _resets(env)[count_before:]]


@pytest.fixture
def secret(env, alice):
    assert _request_resets(env, ADDRESS) == [alice.view.email]
    return _resets(env)[0][1]


def _reset(env, secret, new=NEW_PASSWORD):
    """Reset as the service does: in a transaction that is released for the hash."""
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
def during_new_hash(monkeypatch, run_in_thread):
    """Run a function in another thread while the next new password is being hashed."""

    def arrange(function):
        hash_password, outcomes = bcrypt.hashpw, []

        def hashpw(password, salt):
            monkeypatch.setattr(bcrypt, "hashpw", hash_password)
            outcomes.append(run_in_thread(function))
            return hash_password(password, salt)

        monkeypatch.setattr(bcrypt, "hashpw", hashpw)
        return outcomes

    return arrange


# Requesting a reset


def _statements(env, email):
    """Return the statements of a request for an address, including the final flush."""
    statements = []

    def record(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    with env.database.transaction(writing=True) as session:
        connection = session.core
        event.listen(connection, "before_cursor_execute", record)
        try:
            request_password_reset(session, email)
            session.flush()
        finally:
            event.remove(connection, "before_cursor_execute", record)
    return statements


def test_known_and_unknown_addresses_run_the_same_statements(env, alice):
    """LG-02: the address is not looked up while the caller waits for the answer."""
    unverified = env.user("unverified@example.com")
    disabled = env.user("disabled@example.com")
    _disable(env, disabled)
    sso_user = env.user("sso@example.com", provider="oidc")
    unknown = _statements(env, "nobody@example.com")
    assert len(unknown) >= 2
    assert not any("user" in statement for statement in unknown)
    for user in (alice, unverified, disabled, sso_user):
        assert _statements(env, user.view.email) == unknown


def test_request_mails_nothing_before_the_job(env, alice):
    """LG-02: a mail to a known address would take time."""
    count_before = len(env.messages())
    assert env.act(request_password_reset, alice.view.email) is None
    assert env.act(request_password_reset, "nobody@example.com") is None
    assert len(env.messages()) == count_before
    assert env.count("password_reset_request") == 2


def test_requested_address_is_sealed(env):
    """TK-08: a dump does not reveal which users forgot their password."""
    env.act(request_password_reset, "nobody@example.com")
    (row,) = env.rows("password_reset_request")
    assert b"nobody" not in row["address_sealed"]


@pytest.mark.parametrize("email", ["", "alice", "@example.com", "\ud800@example.com", "a" * 300])
def test_malformed_address_is_rejected(env, email):
    """EM-21: and nothing is stored."""
    with pytest.raises(InvalidRequest):
        env.act(request_password_reset, email)
    assert env.count("password_reset_request") == 0


@pytest.mark.parametrize("email", [ADDRESS, "nobody@example.com"])
@pytest.mark.usefixtures("alice")
def test_requests_for_one_address_are_not_rejected_but_merged(env, email):
    """EM-14, LG-07, LG-08, attack finding 18: a limit per address could be used up by an attacker;
    known and unknown addresses have one row, which the job deletes."""
    for _ in range(20):
        env.act(request_password_reset, email)
        env.act(request_password_reset, email.upper())
    assert env.count("password_reset_request") == 1
    env.act(request_password_reset, "another@example.com")
    assert env.count("password_reset_request") == 2
    assert env.act(mail_requested_resets) == 2
    assert len(_resets(env)) == (email == ADDRESS)


def test_requests_of_one_source_are_rate_limited(make_env):
    """EM-14: other sources are not affected."""
    env = make_env(source_budget=RateLimit(3, 600))

    def request(number, address):
        with env.database.transaction(writing=True, origin=Origin(address=address)) as session:
            request_password_reset(session, f"person{number}@example.com")

    for number in range(3):
        request(number, "192.0.2.1")
    with pytest.raises(TooManyAttempts):
        request(3, "192.0.2.1")
    request(3, "192.0.2.2")


# Recipients


def test_secret_is_mailed_to_the_verified_address(env, alice):
    """EM-17: as entered when it was verified, and not as typed in the request."""
    assert _request_resets(env, "ALICE@Example.COM") == [ADDRESS]
    assert env.messages()[-1].locale == alice.view.locale


def test_unknown_address_gets_no_mail(env, alice):
    """LG-01: the request is deleted like any other."""
    assert alice
    assert _request_resets(env, "nobody@example.com") == []


def test_signup_address_gets_mail(env):
    """ADR 27: users added by an operator and users impersonated at signup get it; reading it
    verifies the address."""
    user = env.user("opened@example.com")
    assert _request_resets(env, "opened@example.com") == ["opened@example.com"]
    _reset(env, _resets(env)[-1][1])
    assert _logs_in(env, NEW_PASSWORD, "opened@example.com")
    assert env.view(user.user_id).email_verified


@pytest.mark.parametrize("typed", ["opened@example.com", "thief@example.org"])
def test_changed_address_gets_no_mail_when_none_was_verified(env, clock, typed):
    """EM-08, ADR 27: not even when nothing can be undone any more."""
    user = env.user("opened@example.com")
    _change_address(env, user, "thief@example.org")
    clock.move(days=30)
    assert _request_resets(env, typed) == ["opened@example.com"]


def test_reset_restores_the_address_that_it_was_mailed_to(env, alice):
    """EM-08: an attacker may have set another address, which the user does not know."""
    _change_address(env, alice, "thief@example.org")
    _request_resets(env, ADDRESS)
    _reset(env, _resets(env)[-1][1])
    assert _logs_in(env, NEW_PASSWORD)
    assert not _logs_in(env, NEW_PASSWORD, "thief@example.org")
    view = env.view(alice.user_id)
    assert (view.email, view.email_verified) == (ADDRESS, True)


def test_user_of_another_provider_gets_no_mail(env):
    """There is no password here, and a reset would create a second way to log in."""
    user = env.user("sso@example.com", provider="oidc")
    _verify(env, user)
    assert _request_resets(env, "sso@example.com") == []


def test_disabled_user_gets_no_mail(env, alice):
    """SE-06: also if disabled between the request and the job."""
    env.act(request_password_reset, ADDRESS)
    _disable(env, alice)
    assert _request_resets(env, ADDRESS) == []


def test_user_of_disabled_tenant_gets_no_mail(env, alice):
    """SE-06: as with a disabled user."""
    env.act(request_password_reset, ADDRESS)
    env.act(disable_tenant, alice.view.tenant_id)
    assert _request_resets(env, ADDRESS) == []


@pytest.mark.parametrize("typed", [ADDRESS, "changed@example.com"])
def test_changed_address_gets_no_mail_until_verified(env, alice, typed):
    """EM-08: changing it in a stolen session does not take over the account."""
    _change_address(env, alice, "changed@example.com")
    assert _request_resets(env, typed) == [ADDRESS]


def test_verified_address_replaces_the_former_one(env, alice):
    """EM-08: the former address is free from then on."""
    _change_address(env, alice, "changed@example.com")
    _verify(env, alice)
    assert _request_resets(env, ADDRESS) == []
    assert _request_resets(env, "changed@example.com") == ["changed@example.com"]


def test_secret_mailed_to_a_former_address_is_rejected(env, alice, secret):
    """EM-08: the mailbox no longer belongs to the user (CVE-2026-9087)."""
    _change_address(env, alice, "changed@example.com")
    _verify(env, alice)
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert _logs_in(env, alice.password, "changed@example.com")


def test_undecryptable_request_is_deleted(env, alice):
    """TK-05: it was sealed under a root secret that is gone."""
    assert alice
    env.act(request_password_reset, ADDRESS)
    env.execute("UPDATE password_reset_request SET address_sealed = x'01'")
    assert env.act(mail_requested_resets) == 1
    assert env.count("password_reset_request") == 0
    assert _resets(env) == []


def test_job_handles_the_fifty_oldest_requests(env, clock, alice):
    """A run is bounded, however many requests there are."""
    for number in range(50):
        env.act(request_password_reset, f"person{number}@example.com")
    clock.move(seconds=1)
    env.act(request_password_reset, alice.view.email)
    assert env.act(mail_requested_resets) == 50
    assert _resets(env) == []
    assert env.act(mail_requested_resets) == 1
    assert [recipient for recipient, _ in _resets(env)] == [ADDRESS]
    assert env.act(mail_requested_resets) == 0


# Using the secret


def test_mailed_secret_sets_a_new_password(env, alice, secret):
    """EM-07: and the old one stops working."""
    _reset(env, secret)
    assert _logs_in(env, NEW_PASSWORD)
    assert not _logs_in(env, alice.password)


def test_reset_opens_no_session(env, secret):
    """SE-02: users log in with the new password."""
    count_before = env.count("login_session")
    _reset(env, secret)
    assert env.count("login_session") == count_before


def test_reset_is_an_event_and_a_mail(env, alice, secret):
    """PW-18: without a secret in either."""
    _reset(env, secret)
    message = env.messages()[-1]
    assert (message.kind, message.recipient) == ("password_changed", alice.view.email)
    assert env.act(unseal_parameters, message) == {}
    changes = [row for row in env.rows("security_event") if "password_change" in row["kind"]]
    assert [row["user_id"] for row in changes] == [alice.user_id]
    assert secret not in str(env.rows("security_event"))


def test_reset_replaces_the_access_token(env, alice, secret):
    """SE-07: the old one is revoked, and the new one can be shown."""
    old_token = env.act(reveal_access_token, alice.view)
    _reset(env, secret)
    new_token = env.act(reveal_access_token, alice.view)
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.ACCESS_TOKEN, old_token)
    assert env.authenticate(CredentialKind.ACCESS_TOKEN, new_token).user.user_id == alice.user_id


def test_reset_revokes_refresh_families_and_jwts(env, alice, bob, secret):
    """SE-07: families and JWTs are revoked on their own, not only through their session."""
    for user in (alice, bob):
        client, _ = env.client(user.view.tenant_id)
        with env.database.transaction(writing=True) as session:
            login = session.get_one(LoginSession, user.principal.credential.id)
            authentication = Authentication(login.created_at, ("pwd",))
            scopes = ["me/profile:read"]
            begin_family(session, login, client, authentication, scopes=scopes, audience="it")
    _reset(env, secret)
    families = {row["user_id"]: row["revoked_at"] is None for row in env.rows("refresh_token")}
    assert families == {alice.user_id: False, bob.user_id: True}
    epochs = {row["id"]: row["credential_epoch"] for row in env.rows("user")}
    assert epochs == {alice.user_id: 1, bob.user_id: 0}


def test_reset_supersedes_a_pending_email_change(env, alice, secret):
    """EM-09: the change of the address may be the reason for the reset."""
    _, change = env.act(request_email_change, alice.view, "changed@example.com")
    _reset(env, secret)
    with pytest.raises(SecretSuperseded):
        env.act(validate_email_change, identity_id=alice.view.identity_id, secret=change)


def test_reset_supersedes_a_pending_verification(env, alice, secret):
    """EM-09: otherwise an attacker could verify a changed address and get the next reset mail."""
    _change_address(env, alice, "thief@example.org")
    env.act(request_email_verification, env.view(alice.user_id))
    verification = env.act(unseal_parameters, env.messages()[-1])["secret"]
    _reset(env, secret)
    with pytest.raises((SecretInvalid, SecretSuperseded)):
        env.act(confirm_email, verification)
    assert _request_resets(env, "thief@example.org") == []
    assert _request_resets(env, ADDRESS) == [ADDRESS]


@pytest.mark.parametrize(
    "new", ["short", "Password1", "Alice12345", "a" * 2000, "Tab\tin 1 it all"]
)
def test_weak_password_is_rejected_without_consuming_the_secret(env, secret, new):
    """PW-08: a typo must not cost another mail."""
    with pytest.raises(WeakPassword) as caught:
        _reset(env, secret, new)
    assert {violation.field for violation in caught.value.violations} == {("new_password",)}
    _reset(env, secret)


@pytest.mark.parametrize(
    "wrong", ["", "ots_", tokens.mint("ots_"), "\ud800", "x" * 10_000], ids=range(5)
)
def test_wrong_secret_is_rejected(env, alice, secret, wrong):
    """EM-08: and the right one stays valid."""
    with pytest.raises(SecretInvalid):
        _reset(env, wrong)
    assert _logs_in(env, alice.password)
    _reset(env, secret)


def test_wrong_secret_is_rejected_before_the_password_is_checked(env):
    """EM-08: passwords are only looked at for callers with a secret."""
    with pytest.raises(SecretInvalid):
        _reset(env, tokens.mint("ots_"), "short")


@pytest.mark.parametrize("purpose", sorted({*SecretPurpose} - {SecretPurpose.PASSWORD_RESET}))
def test_secret_of_another_purpose_is_rejected(env, alice, purpose):
    """EM-08: even for the same user and address (CVE-2026-105785)."""
    other_secret = env.act(issue_secret, purpose, alice.user_id, parse_address(ADDRESS))
    with pytest.raises(SecretInvalid):
        _reset(env, other_secret)


def test_secret_works_for_an_hour(env, clock, secret):
    """EM-05: to the second."""
    clock.move(minutes=59, seconds=59)
    _reset(env, secret)


def test_secret_expires_after_an_hour(env, clock, secret):
    """EM-05: checked at use, without a job (GO-2025-4136)."""
    clock.move(hours=1)
    with pytest.raises(SecretExpired):
        _reset(env, secret)


def test_secret_works_once(env, secret):
    """EM-07: a later reader of the mail cannot use it (CVE-2026-28268)."""
    _reset(env, secret)
    with pytest.raises(SecretUsed):
        _reset(env, secret, OTHER_PASSWORD)
    assert _logs_in(env, NEW_PASSWORD)


def test_request_within_ten_minutes_keeps_the_link(env, clock, secret):
    """EM-09, EM-14, attack finding 18: nothing is mailed, and the link stays valid."""
    for _ in range(2):
        clock.move(minutes=4, seconds=59)
        assert _request_resets(env, ADDRESS) == []
    _reset(env, secret)


def test_used_link_is_replaced_at_once(env, secret):
    """EM-14: it serves no more."""
    _reset(env, secret)
    assert _request_resets(env, ADDRESS) == [ADDRESS]


def test_link_to_a_former_address_is_replaced_at_once(env, alice, secret):
    """EM-08, EM-14: it serves no more."""
    assert secret
    _change_address(env, alice, "changed@example.com")
    _verify(env, alice)
    assert _request_resets(env, "changed@example.com") == ["changed@example.com"]


def _request_from(env, source):
    with env.database.transaction(writing=True, origin=Origin(address=source)) as session:
        request_password_reset(session, ADDRESS)
    env.act(mail_requested_resets)


def test_requests_of_others_do_not_keep_the_owner_from_a_reset(env, clock, alice):
    """EM-14, attack finding 18: five requests of an attacker, then that of the owner."""
    assert alice
    for _ in range(5):
        _request_from(env, "198.51.100.66")
    [(_, link)] = _resets(env)
    clock.move(minutes=1)
    _request_from(env, "192.0.2.1")
    assert len(_resets(env)) == 1
    _reset(env, link)


def test_claims_of_others_do_not_keep_the_owner_from_a_reset(env):
    """EM-14, attack finding 18: more accounts claim the address than one request is answered at."""
    for number in range(51):
        env.user(f"claimant{number}@evil.example")
    claim = 'UPDATE "user" SET claimed_email = ?, claimed_email_canonical = ?'
    env.execute(claim, ADDRESS, ADDRESS)
    env.user(ADDRESS)
    assert ADDRESS in _request_resets(env, ADDRESS)


def test_owner_always_has_a_link_and_is_not_flooded(env, clock, alice):
    """EM-14, attack finding 18: an attacker with many sources requests resets all day."""
    assert alice
    links, mailed_at = [], []
    for minute in range(0, 24 * 60, 7):
        _request_from(env, f"198.51.100.{minute // 7}")
        if env.count("outbox_message") - 1 > len(links):
            links = _resets(env)
            mailed_at.append(minute)
        # The owner asks as well: nothing more is mailed, but the last link works.
        _request_from(env, "192.0.2.1")
        assert env.count("outbox_message") - 1 == len(links) == len(mailed_at)
        env.act(read_secret, SecretPurpose.PASSWORD_RESET, links[-1][1])
        clock.move(minutes=7)
    assert min(after - before for before, after in pairwise(mailed_at)) >= 10
    assert len(mailed_at) <= 40


def test_owner_gets_further_links_when_no_one_else_asks(env, clock, alice):
    """EM-14: the first mails may have been lost."""
    assert alice
    for _ in range(6):
        assert _request_resets(env, ADDRESS) == [ADDRESS]
        clock.move(minutes=10)
    assert _request_resets(env, ADDRESS) == []
    clock.move(minutes=40)
    assert _request_resets(env, ADDRESS) == [ADDRESS]


def test_later_request_supersedes_an_earlier_secret(env, clock, secret):
    """EM-09: only the last mail works."""
    clock.move(minutes=10)
    _request_resets(env, ADDRESS)
    with pytest.raises(SecretSuperseded):
        _reset(env, secret)
    _reset(env, _resets(env)[-1][1])


def test_password_change_supersedes_a_pending_reset(env, alice, secret):
    """EM-09: its requester knows the password by now, or is an attacker."""
    env.act(change_password, alice.principal, current=alice.password, new=OTHER_PASSWORD)
    with pytest.raises(SecretSuperseded):
        _reset(env, secret)
    assert _logs_in(env, OTHER_PASSWORD)


def test_user_moved_to_another_provider_cannot_reset(env, alice, secret):
    """Their password is kept elsewhere by now."""
    env.execute("UPDATE \"user\" SET provider = 'oidc' WHERE id = ?", alice.user_id)
    with pytest.raises(SecretInvalid):
        _reset(env, secret)


def test_user_without_a_password_cannot_reset(env, secret):
    """PW-16: there is no record to compare and replace."""
    env.execute("DELETE FROM password_record")
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert env.count("password_record") == 0


@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_disabled_user_or_tenant_cannot_reset(env, alice, secret, disabled):
    """SE-06: although they were active when the secret was mailed."""
    if disabled == "user":
        _disable(env, alice)
    else:
        env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(SecretInvalid):
        _reset(env, secret)


# Concurrent changes


def _record(env, user):
    records = {row["user_id"]: row["record"] for row in env.rows("password_record")}
    return records[user.user_id]


def test_nothing_is_locked_during_hashing(env, bob, secret, during_new_hash):
    """DB-11: other transactions can write meanwhile."""
    sessions = during_new_hash(lambda: env.act(open_session, bob.user_id))
    _reset(env, secret)
    env.authenticate(CredentialKind.SESSION, sessions[0].token)


@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_user_disabled_during_hashing_cannot_reset(env, alice, secret, during_new_hash, disabled):
    """SE-06: the state is read again after the hash."""
    record_before = _record(env, alice)
    if disabled == "user":
        outcomes = during_new_hash(lambda: _disable(env, alice))
    else:
        outcomes = during_new_hash(lambda: env.act(disable_tenant, alice.view.tenant_id))
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert len(outcomes) == 1
    assert _record(env, alice) == record_before


def test_password_changed_during_hashing_stays(env, alice, secret, during_new_hash):
    """DB-02, EM-09: the change supersedes the reset, in any order."""

    def change():
        env.act(change_password, alice.principal, current=alice.password, new=OTHER_PASSWORD)

    during_new_hash(change)
    with pytest.raises(SecretSuperseded):
        _reset(env, secret)
    assert _logs_in(env, OTHER_PASSWORD)
    env.authenticate(CredentialKind.SESSION, alice.token)


def test_address_verified_during_hashing_invalidates_the_secret(
    env, alice, secret, during_new_hash
):
    """EM-08: the secret was mailed to the former address."""
    _change_address(env, alice, "changed@example.com")
    outcomes = during_new_hash(lambda: _verify(env, alice))
    record_before = _record(env, alice)
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert len(outcomes) == 1
    assert _record(env, alice) == record_before


def test_reset_during_the_hashing_of_another_wins(env, secret, during_new_hash):
    """EM-07: the later of two resets with one secret learns that it was used."""
    during_new_hash(lambda: _reset(env, secret, OTHER_PASSWORD))
    with pytest.raises(SecretUsed):
        _reset(env, secret)
    assert _logs_in(env, OTHER_PASSWORD)


def test_record_rehashed_during_hashing_consumes_no_secret(make_env, during_new_hash):
    """DB-02: a login has rehashed the old password at a higher cost; a retry succeeds."""
    alice = make_env().user(ADDRESS)
    env = make_env(password_cost=5)
    _verify(env, alice)
    _request_resets(env, ADDRESS)
    secret = _resets(env)[0][1]
    outcomes = during_new_hash(lambda: _logs_in(env, alice.password))
    with pytest.raises(SecretInvalid):
        _reset(env, secret)
    assert outcomes == [True]
    _reset(env, secret)
    assert _logs_in(env, NEW_PASSWORD)


def test_one_of_two_concurrent_resets_wins(env, alice):
    """EM-07: with one event and the winner's password, in ten rounds (CVE-2026-107276)."""
    for number in range(10):
        env.clock.now += timedelta(hours=1)
        _request_resets(env, ADDRESS)
        secret = _resets(env)[-1][1]
        ready = threading.Barrier(2)

        def race(new, secret=secret, ready=ready):
            ready.wait(patient(30))
            try:
                _reset(env, secret, new)
            except SecretUsed:
                return None
            return new

        new_passwords = [f"Silent meadow {number}{racer} lantern" for racer in range(2)]
        with ThreadPoolExecutor(2) as threads:
            winners = [new for new in threads.map(race, new_passwords) if new]
        assert len(winners) == 1
        assert _logs_in(env, winners[0])
    changes = [row for row in env.rows("security_event") if row["kind"] == "authn_password_change"]
    assert [row["user_id"] for row in changes] == [alice.user_id] * 10
