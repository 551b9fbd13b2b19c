"""Mail about expiring API keys and personal access tokens."""

from datetime import timedelta

import pytest

from accounts.flows.administration.users import disable_user
from accounts.flows.tokens.api_keys import create_api_key, revoke_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.flows.tokens.rotation import rotate_pat
from accounts.jobs.expiring_tokens import mail_expiring_tokens
from accounts.services.mail.outbox import unseal_parameters
from models import User
from oneself.app import JOBS


@pytest.fixture
def create_key(env, alice):
    """Create an API key that expires after this time."""

    def create_key(name="Backups", user=alice, **lifetime):
        return env.act(
            create_api_key,
            user.principal,
            name=name,
            scopes=["keys:read"],
            dataset_access_mode="all_available",
            expires_at=env.clock.now + timedelta(**lifetime),
        )[0]

    return create_key


def _mails(env):
    """Run the job until nothing is left, and return the parameters of all its mails."""
    while env.act(mail_expiring_tokens):
        pass
    mails = [message for message in env.messages() if message.kind == "tokens_expiring"]
    return [env.act(unseal_parameters, message) for message in mails]


def test_owner_is_told_fourteen_and_three_days_before_and_at_the_expiry(env, clock, create_key):
    """Once each, however often the job runs."""
    create_key(days=30)
    for days, mails in ((15, 0), (1, 1), (10, 1), (1, 2), (2, 2), (1, 3), (0.5, 3)):
        clock.move(days=days)
        assert len(_mails(env)) == mails


def test_one_mail_tells_of_all_that_expire(env, alice, clock, create_key):
    """It names them to a verified address, and the time of the first."""
    env.execute('UPDATE "user" SET email_verified_at = created_at')
    client, secret = env.client(alice.view.tenant_id)
    env.act(
        create_pat,
        alice.principal,
        name="CI",
        scopes=["me/profile:read"],
        expires_at=clock.now + timedelta(days=25),
        client_id=client.id,
        client_secret=secret,
    )
    create_key(days=24)
    clock.move(days=12)
    [mail] = _mails(env)
    first = clock.now + timedelta(days=12)
    assert mail == {"name": "Backups, CI", "number": "2", "until": first.isoformat()}


def test_token_created_within_the_lead_is_left_out(env, clock, create_key):
    """Its expiry was chosen a moment ago."""
    create_key(days=2)
    assert _mails(env) == []
    clock.move(days=2)
    assert len(_mails(env)) == 1


def test_ended_and_replaced_tokens_are_left_out(env, alice, clock, create_key):
    """They are not missed."""
    revoked = create_key(days=30)
    env.act(revoke_api_key, alice.view, revoked.id)
    client, secret = env.client(alice.view.tenant_id)
    pat, _ = env.act(
        create_pat,
        alice.principal,
        name="CI",
        scopes=["me/profile:read"],
        expires_at=clock.now + timedelta(days=30),
        client_id=client.id,
        client_secret=secret,
    )
    env.act(rotate_pat, alice.principal, pat.id, expires_at=None, grace=timedelta(days=1))
    clock.move(days=1)
    assert _mails(env) == []


def test_late_job_does_not_tell_of_what_expired_long_ago(env, clock, create_key):
    create_key(days=30)
    clock.move(days=32)
    assert _mails(env) == []


def test_disabled_user_gets_no_mail(env, alice, clock, create_key):
    """The job does not find the tokens again."""
    create_key(days=30)

    def disable(session):
        disable_user(session, session.get_one(User, alice.user_id))

    env.act(disable)
    clock.move(days=29)
    assert _mails(env) == []


def test_job_runs():
    assert mail_expiring_tokens in [act for _, _, act, _ in JOBS]
