"""Text of users in mail, from the act to the rendered mail."""

from datetime import timedelta

import pytest

from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.email.email_verification import confirm_email, request_email_verification
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.services.mail.outbox import unseal_parameters
from oneself.mail.messages import Messages
from oneself.templating import Templates
from tests.support.languages import LANGUAGES

TEXT = (
    "Your account is suspended. Confirm within 24h at https://evil.example/login or call +1 900 555"
)
SHORT = "Your account is suspended. Confirm withi…"
READ = "me/profile:read"
MESSAGES = Messages(Templates(), public_url="https://accounts.example")


def _compose(env):
    """Return recipient, subject and parts of each mail, as delivered in every language."""
    mails = []
    for message in env.messages():
        parameters = env.act(unseal_parameters, message)
        for language in LANGUAGES:
            message.locale = language
            mail = MESSAGES.compose(message, parameters)
            parts = [part.get_content() for part in mail.iter_parts()]
            mails.append((message.recipient, "\n".join([mail["Subject"], *parts])))
    return mails


def _verify(env, user):
    env.act(request_email_verification, env.view(user.user_id))
    env.act(confirm_email, env.act(unseal_parameters, env.messages()[-1])["secret"])


def _create_api_key(env, user):
    env.act(
        create_api_key,
        user.principal,
        name=TEXT,
        scopes=[READ],
        dataset_access_mode="all_available",
        expires_at=None,
    )


def _create_pat(env, user):
    client, secret = env.client(user.view.tenant_id, READ)
    env.act(
        create_pat,
        user.principal,
        name=TEXT,
        scopes=[READ],
        expires_at=env.clock.now + timedelta(days=1),
        client_id=client.id,
        client_secret=secret,
    )


CREATE = {"API key": _create_api_key, "personal access token": _create_pat}


@pytest.mark.parametrize("kind", CREATE)
def test_unverified_address_gets_no_name(env, kind):
    """EM-16, attack finding 14: the user may have signed up with the address of another person."""
    attacker = env.user("x@victim.example")
    CREATE[kind](env, attacker)
    mails = _compose(env)
    assert {recipient for recipient, _ in mails} == {"x@victim.example"}
    assert not [mail for _, mail in mails if "suspended" in mail or "evil" in mail]


@pytest.mark.parametrize("kind", CREATE)
def test_verified_address_gets_a_short_name_without_a_link(env, kind):
    """EM-16, attack finding 14: the owner knows by it what was created, perhaps by an attacker."""
    user = env.user("alice@example.com")
    _verify(env, user)
    CREATE[kind](env, user)
    mails = [mail for _, mail in _compose(env)[-len(LANGUAGES) :]]
    assert all(mail.count(SHORT) == 2 for mail in mails)
    assert not [mail for mail in mails if "evil" in mail]


def test_claimed_address_gets_no_notice(env):
    """EM-16, attack finding 14: it may be another person's."""
    user = env.user("alice@example.com")
    _verify(env, user)
    _, secret = env.act(request_email_change, env.view(user.user_id), "x@victim.example")
    env.act(validate_email_change, identity_id=user.view.identity_id, secret=secret)
    before = len(_compose(env))
    moved = env.authenticate(user.principal.credential.kind, user.token)
    env.act(
        create_api_key,
        moved,
        name=TEXT,
        scopes=[READ],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    named = {recipient: SHORT in mail for recipient, mail in _compose(env)[before:]}
    assert named == {"alice@example.com": True}


@pytest.mark.parametrize("domain", ["evil.call-1-900-555-now", "call-1-900-555-now。evil。example"])
@pytest.mark.parametrize("service", [False, True], ids=["client", "service"])
def test_mail_about_a_claim_carries_no_address_of_the_claimant(make_env, service, domain):
    """EM-16, attack finding 14: the domain of an address need not exist, and can be a text."""
    env = make_env(service_mails_email_changes=service)
    attacker = env.user(f"suspended@{domain}")
    _, secret = env.act(request_email_change, attacker.view, "x@victim.example")
    if secret is not None:
        env.act(validate_email_change, identity_id=attacker.view.identity_id, secret=secret)
    mails = [mail for recipient, mail in _compose(env) if recipient == "x@victim.example"]
    assert mails
    assert not [mail for mail in mails if "suspended" in mail or "1-900" in mail]


@pytest.mark.parametrize("is_verified", [True, False])
def test_notice_of_a_change_shows_the_new_address_to_a_verified_one(env, is_verified):
    """EM-02, EM-16, attack finding 14: it has 64 characters of the user's choice."""
    user = env.user("alice@example.com")
    if is_verified:
        _verify(env, user)
    env.act(request_email_change, env.view(user.user_id), "account-suspended@evil.example")
    notices = [mail for _, mail in _compose(env)[-len(LANGUAGES) :]]
    assert {"account-suspended@evil[.]example" in mail for mail in notices} == {is_verified}
    assert not [mail for mail in notices if "evil.example" in mail]
    assert is_verified or not [mail for mail in notices if "suspended" in mail]
