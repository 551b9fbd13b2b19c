"""An address belongs to the person who proves it: attempts to take over accounts and addresses.

The tests tell what an attacker and an owner do over days, as the attack review did (ADR 32).
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from accounts.crypto import tokens
from accounts.errors import (
    InvalidCredentials,
    InvalidToken,
    NotLocalUser,
    SecretExpired,
    SecretInvalid,
    SecretSuperseded,
    SecretUsed,
)
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.administration.users import disable_user
from accounts.flows.email.address_release import read_claim, release_address
from accounts.flows.email.email_change import (
    request_email_change,
    undo_email_change,
    validate_email_change,
)
from accounts.flows.email.email_verification import confirm_email, request_email_verification
from accounts.flows.oauth.refresh_tokens import begin_family
from accounts.flows.password.password_reset import (
    mail_requested_resets,
    request_password_reset,
    reset_password,
)
from accounts.flows.sign_in.sessions import log_in
from accounts.flows.sign_in.signup import sign_up
from accounts.flows.tokens.api_keys import create_api_key
from accounts.services.access_tokens import reveal_access_token
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.one_time_secrets import AddressChanges, Undo, find_address_changes
from accounts.services.principal import Authentication, CredentialKind
from accounts.services.user_views import UserView
from models import LoginSession, User
from tests.support.deadlines import patient

OWNER, ATTACKER = "owner@good.example", "attacker@evil.example"
OWNER_PASSWORD, ATTACKER_PASSWORD = "Silent meadow 83 lantern", "Crooked harbour 19 violin"


class Acts:
    """The acts of the two, in one of the two modes of address changes."""

    def __init__(self, env, *, service: bool) -> None:
        self.env, self.is_service = env, service

    def secret(self, reader: str, kind: str) -> str:
        """Return the secret of the last mail of a kind to an address."""
        return self.parameters(reader, kind)["secret"]

    def parameters(self, reader: str, kind: str) -> dict[str, str]:
        """Return the parameters of the last mail of a kind to an address."""
        message = [
            message
            for message in self.env.messages()
            if (message.recipient, message.kind) == (reader, kind)
        ][-1]
        return self.env.act(unseal_parameters, message)

    def changes(self, user) -> AddressChanges:
        return self.env.act(find_address_changes, user.user_id)

    def mails(self, reader: str) -> list[str]:
        return [message.kind for message in self.env.messages() if message.recipient == reader]

    def view(self, user) -> UserView:
        return self.env.view(user.user_id)

    def owned(self, user) -> str:
        with self.env.database.transaction(writing=False) as session:
            return session.get_one(User, user.user_id).email

    def request(self, user, email: str) -> str | None:
        return self.env.act(request_email_change, self.view(user), email)[1]

    def validate(self, user, secret: str) -> str:
        return self.env.act(validate_email_change, identity_id=user.view.identity_id, secret=secret)

    def move(self, user, email: str) -> None:
        """Change the address as far as the requester alone can: a claim, or a pending change."""
        secret = self.request(user, email)
        if secret is not None:
            self.validate(user, secret)

    @property
    def asking(self) -> str:
        """Return the kind of mail that asks the reader of a new address."""
        return "email_change_confirmation" if self.is_service else "email_verification"

    def proof(self, reader: str) -> str:
        """Return the secret by which the reader of a new address answers."""
        return self.secret(reader, self.asking)

    def answer(self, user, secret: str) -> None:
        """Prove an address that the account was moved to, by the secret of its reader."""
        if self.is_service:
            self.validate(user, secret)
        else:
            self.env.act(confirm_email, secret)

    def answer_verification(self, reader: str) -> None:
        self.env.act(confirm_email, self.secret(reader, "email_verification"))

    def refuse(self, secret: str) -> None:
        self.env.act(release_address, secret)

    def take(self, user, email: str) -> None:
        """Move an account to an address and prove it there."""
        self.move(user, email)
        self.answer(user, self.proof(email))

    def forget(self, email: str) -> None:
        self.env.act(request_password_reset, email)
        self.env.act(mail_requested_resets)

    def reset(self, email: str, password: str) -> None:
        self.forget(email)
        self.reset_by(self.secret(email, "password_reset"), password)

    def reset_by(self, secret: str, password: str) -> None:
        self.env.act(reset_password, secret=secret, new=password)

    def undo(self, secret: str) -> str | None:
        return self.env.act(undo_email_change, secret).reset_secret

    def undo_secret(self, reader: str) -> str:
        return self.secret(reader, "email_change_notice")

    def logs_in(self, email: str, password: str) -> bool:
        try:
            self.env.act(log_in, email=email, password=password, user_agent=None)
        except InvalidCredentials:
            return False
        return True


@pytest.fixture(params=[False, True], ids=["client", "service"])
def acts(request, make_env):
    return Acts(make_env(service_mails_email_changes=request.param), service=request.param)


@pytest.fixture
def client_acts(env):
    return Acts(env, service=False)


def _verified_owner(acts):
    user = acts.env.user(OWNER)
    acts.env.act(request_email_verification, user.view)
    acts.answer_verification(OWNER)
    acts.env.clock.move(days=100)
    return user


@pytest.fixture
def victim(acts):
    """An account whose owner has verified the address, and whose session is stolen."""
    return _verified_owner(acts)


@pytest.fixture
def victim_of_client(client_acts):
    """The same, where clients mail the secrets of changes."""
    return _verified_owner(client_acts)


# Pre-hijacking: the attacker had the account first


def _sign_up(acts, email):
    return acts.env.act(
        sign_up,
        email=email,
        password=OWNER_PASSWORD,
        display_name="Owner",
        tenant_name="Good",
        user_agent=None,
    ).user


def test_person_whose_address_is_claimed_opens_an_account_of_their_own(acts):
    """EM-10, attack findings 1 and 4: nothing leads them into the account of the attacker."""
    attacker = acts.env.user(ATTACKER)
    acts.move(attacker, OWNER)
    secret = acts.proof(OWNER)
    owner = _sign_up(acts, OWNER)
    with pytest.raises(SecretInvalid):
        acts.answer(attacker, secret)
    acts.undo(acts.undo_secret(ATTACKER))
    assert acts.logs_in(OWNER, OWNER_PASSWORD)
    assert acts.env.view(owner.user_id).email == OWNER
    assert acts.owned(attacker) == ATTACKER


def test_mail_to_a_claimed_address_names_the_account(acts):
    """EM-02, EM-16, attack findings 1 and 14: by its masked address and age, not by a name."""
    attacker = acts.env.user(ATTACKER)
    acts.env.clock.move(days=3)
    acts.move(attacker, OWNER)
    parameters = acts.parameters(OWNER, acts.asking)
    assert parameters["account"] == "a…@e….example"
    assert parameters["opened_at"] == "2026-04-05T10:00:00+00:00"
    assert attacker.view.display_name not in parameters.values()


def test_person_who_proves_an_address_is_told_of_the_undo(acts):
    """EM-02, attack finding 1: by mail and in the profile, until when and by which address."""
    attacker = acts.env.user(ATTACKER)
    acts.take(attacker, OWNER)
    until = acts.env.clock.now + timedelta(days=7)
    told = acts.parameters(OWNER, "email_changed")
    assert told == {"former_address": "a…@e….example", "until": until.isoformat()}
    assert acts.changes(attacker).undo == Undo(ATTACKER, until)
    acts.reset(OWNER, OWNER_PASSWORD)
    assert acts.mails(OWNER).count("email_changed") == 2
    acts.env.clock.move(days=7)
    assert acts.changes(attacker).undo is None


def test_nobody_is_told_of_an_undo_that_changes_nothing(acts, victim):
    """EM-02: the undo of a pending change gives the account to no other address."""
    acts.request(victim, ATTACKER)
    assert acts.changes(victim).undo is None
    acts.reset(OWNER, OWNER_PASSWORD)
    assert "email_changed" not in acts.mails(OWNER)


# A thief: the owner had the account first


def test_undo_of_a_thief_ends_with_the_proof_of_the_owner(acts, victim):
    """EM-02, EM-09, attack finding 2: also after the owner's own undo link has expired."""
    acts.take(victim, ATTACKER)
    acts.env.clock.move(days=6)
    acts.move(victim, OWNER)
    undo = acts.undo_secret(ATTACKER)
    acts.env.clock.move(days=1, hours=1)
    with pytest.raises(SecretExpired):
        acts.undo(acts.undo_secret(OWNER))
    acts.move(victim, OWNER)
    acts.answer(victim, acts.proof(OWNER))
    acts.reset(OWNER, OWNER_PASSWORD)
    with pytest.raises(SecretSuperseded):
        acts.undo(undo)
    assert acts.changes(victim).undo is None
    assert acts.logs_in(OWNER, OWNER_PASSWORD)


def test_undo_of_a_thief_ends_although_old_secrets_were_deleted(acts, victim):
    """EM-02, attack finding 2: it is stored for good which address had the account first."""
    acts.take(victim, ATTACKER)
    acts.env.clock.move(days=6)
    acts.move(victim, OWNER)
    undo, proof = acts.undo_secret(ATTACKER), acts.proof(OWNER)
    acts.env.execute("DELETE FROM one_time_secret WHERE used_at IS NOT NULL")
    acts.env.execute(
        "DELETE FROM one_time_secret WHERE purpose = 'email_undo' AND address_canonical = ?", OWNER
    )
    acts.answer(victim, proof)
    with pytest.raises(SecretSuperseded):
        acts.undo(undo)


def test_thief_cannot_use_an_address_of_an_earlier_theft(acts, victim):
    """EM-02: an undo forgets that the thief ever had the account."""
    acts.take(victim, ATTACKER)
    acts.reset_by(acts.undo(acts.undo_secret(OWNER)), OWNER_PASSWORD)
    acts.env.clock.move(days=30)
    acts.take(victim, "owner.new@good.example")
    acts.env.clock.move(days=30)
    acts.take(victim, ATTACKER)
    acts.reset(ATTACKER, ATTACKER_PASSWORD)
    assert acts.undo(acts.undo_secret("owner.new@good.example")) is not None
    assert acts.owned(victim) == "owner.new@good.example"


def test_owner_survives_a_chain_of_changes(acts, victim):
    """EM-02: the undo links of all later addresses end with the first one's."""
    undo = None
    for address in (ATTACKER, "second@evil.example", "third@evil.example"):
        acts.take(victim, address)
        undo = undo or acts.undo_secret(OWNER)
        acts.env.clock.move(hours=2)
    acts.reset("third@evil.example", ATTACKER_PASSWORD)
    acts.undo(undo)
    for address in (ATTACKER, "second@evil.example"):
        with pytest.raises(SecretSuperseded):
            acts.undo(acts.undo_secret(address))
    assert acts.owned(victim) == OWNER


def test_proof_of_a_thief_keeps_the_undo_of_the_owner(acts, victim):
    """EM-02: the owner's address had the account before; so has one that was never verified."""
    acts.take(victim, ATTACKER)
    acts.reset(ATTACKER, ATTACKER_PASSWORD)
    assert acts.undo(acts.undo_secret(OWNER)) is not None
    unverified = acts.env.user("new@good.example")
    acts.take(unverified, "attacker2@evil.example")
    acts.reset("attacker2@evil.example", ATTACKER_PASSWORD)
    assert acts.undo(acts.undo_secret("new@good.example")) is not None
    assert acts.owned(unverified) == "new@good.example"
    assert not acts.env.view(unverified.user_id).email_verified


def test_undo_ends_the_password_of_the_thief(acts, victim):
    """EM-02, attack finding 3: and every other password, until the owner sets a new one."""
    acts.take(victim, ATTACKER)
    acts.reset(ATTACKER, ATTACKER_PASSWORD)
    secret = acts.undo(acts.undo_secret(OWNER))
    for email in (OWNER, ATTACKER):
        for password in (ATTACKER_PASSWORD, victim.password):
            assert not acts.logs_in(email, password)
    acts.reset_by(secret, OWNER_PASSWORD)
    assert acts.logs_in(OWNER, OWNER_PASSWORD)


def test_undo_ends_what_the_thief_has_made(acts, victim):
    """SE-07, attack finding 3: sessions, keys, tokens, refresh families and JWTs."""
    env = acts.env
    client, _ = env.client(victim.view.tenant_id)
    acts.move(victim, ATTACKER)
    _, key = env.act(
        create_api_key,
        victim.principal,
        name="A key",
        scopes=["me/profile:read"],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    access_token = env.act(reveal_access_token, victim.view)
    with env.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, victim.principal.credential.id)
        authentication = Authentication(login.created_at, ("pwd",))
        scopes = ["me/profile:read"]
        begin_family(session, login, client, authentication, scopes=scopes, audience="it")
    acts.undo(acts.undo_secret(OWNER))
    for kind, token in (
        (CredentialKind.SESSION, victim.token),
        (CredentialKind.API_KEY, key),
        (CredentialKind.ACCESS_TOKEN, access_token),
    ):
        with pytest.raises(InvalidToken):
            env.authenticate(kind, token)
    assert all(row["revoked_at"] for row in env.rows("refresh_token"))
    assert [row["credential_epoch"] for row in env.rows("user")] == [1]


def test_undo_ends_the_pending_secrets_of_the_thief(acts, victim):
    """EM-09, attack finding 3: a reset, a change or a verification asked for before."""
    acts.take(victim, ATTACKER)
    acts.forget(ATTACKER)
    acts.move(victim, "second@evil.example")
    proof = acts.proof("second@evil.example")
    acts.undo(acts.undo_secret(OWNER))
    with pytest.raises(SecretSuperseded):
        acts.env.act(
            reset_password, secret=acts.secret(ATTACKER, "password_reset"), new=ATTACKER_PASSWORD
        )
    with pytest.raises(SecretSuperseded):
        acts.answer(victim, proof)


def test_reset_link_of_an_undo_is_for_the_restored_address_only(acts, victim):
    """EM-08: a later change of the address ends it."""
    acts.take(victim, ATTACKER)
    secret = acts.undo(acts.undo_secret(OWNER))
    acts.take(victim, "owner.new@good.example")
    with pytest.raises(SecretInvalid):
        acts.reset_by(secret, OWNER_PASSWORD)


def test_owner_who_asks_for_a_reset_gets_another_undo_link(acts, victim):
    """EM-02, attack finding 3: the reset of a taken account is not withheld from its owner."""
    acts.take(victim, ATTACKER)
    first = acts.undo_secret(OWNER)
    acts.env.clock.move(days=6)
    acts.forget(OWNER)
    second = acts.undo_secret(OWNER)
    assert second != first
    assert "password_reset" not in acts.mails(ATTACKER)
    acts.env.clock.move(hours=23)
    acts.reset_by(acts.undo(second), OWNER_PASSWORD)
    assert acts.logs_in(OWNER, OWNER_PASSWORD)


def test_further_undo_link_expires_with_the_first(acts, victim):
    """EM-05: asking for a reset does not lengthen the time."""
    acts.take(victim, ATTACKER)
    acts.env.clock.move(days=6)
    acts.forget(OWNER)
    acts.env.clock.move(days=1)
    with pytest.raises(SecretExpired):
        acts.undo(acts.undo_secret(OWNER))


def test_user_of_another_provider_cannot_change_the_address(acts):
    """EM-01, attack finding 22: the provider knows the user by it."""
    user = acts.env.user("sso@good.example", provider="oidc")
    with pytest.raises(NotLocalUser):
        acts.request(user, ATTACKER)
    assert acts.env.messages() == []


def test_undo_gives_users_of_another_provider_no_password(acts, victim):
    """EM-02: their provider keeps it."""
    acts.take(victim, ATTACKER)
    acts.env.execute("UPDATE \"user\" SET provider = 'oidc'")
    assert acts.undo(acts.undo_secret(OWNER)) is None
    assert acts.owned(victim) == OWNER


# Squatting


def test_claimed_address_logs_in_at_no_account(client_acts):
    """EM-04, attack finding 4: the owned address does until the claimed one is proven."""
    user = client_acts.env.user(ATTACKER)
    client_acts.move(user, OWNER)
    assert not client_acts.logs_in(OWNER, user.password)
    assert client_acts.logs_in(ATTACKER, user.password)
    view = client_acts.env.view(user.user_id)
    assert (view.email, view.email_verified) == (OWNER, False)


def test_address_can_be_claimed_by_many_and_owned_by_one(client_acts):
    """EM-10, attack finding 4: the first proof decides."""
    users = [client_acts.env.user(f"user{number}@evil.example") for number in range(2)]
    proofs = []
    for user in users:
        client_acts.move(user, OWNER)
        proofs.append(client_acts.proof(OWNER))
    client_acts.answer(users[1], proofs[1])
    with pytest.raises(SecretInvalid):
        client_acts.answer(users[0], proofs[0])
    assert client_acts.owned(users[1]) == OWNER
    assert client_acts.owned(users[0]) == users[0].view.email


@pytest.mark.parametrize("by", ["sign-up", "reset"])
def test_reader_of_a_claimed_address_is_asked_again(client_acts, by):
    """EM-02, attack finding 4: by a sign-up or a reset with the address."""
    attacker = client_acts.env.user(ATTACKER)
    client_acts.move(attacker, OWNER)
    client_acts.env.clock.move(days=2)
    if by == "reset":
        client_acts.forget(OWNER)
        client_acts.refuse(client_acts.secret(OWNER, "email_verification"))
    else:
        _sign_up(client_acts, OWNER)
        client_acts.refuse(client_acts.secret(OWNER, "email_already_in_use"))
    assert client_acts.env.view(attacker.user_id).email == ATTACKER


# Release


def test_reader_releases_an_address(acts):
    """EM-02, attack finding 4: no account keeps an address whose reader says no."""
    attacker = acts.env.user(ATTACKER)
    acts.move(attacker, OWNER)
    secret = acts.proof(OWNER)
    acts.refuse(secret)
    assert acts.env.view(attacker.user_id).email == ATTACKER
    assert acts.changes(attacker).pending_address is None
    with pytest.raises(SecretUsed):
        acts.refuse(secret)
    with pytest.raises(SecretUsed):
        acts.answer(attacker, secret)
    acts.env.authenticate(CredentialKind.SESSION, attacker.token)


def test_release_restores_the_verified_address(acts, victim):
    """EM-02: with its verification."""
    acts.move(victim, "elsewhere@good.example")
    acts.refuse(acts.proof("elsewhere@good.example"))
    view = acts.env.view(victim.user_id)
    assert (view.email, view.email_verified) == (OWNER, True)


@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_address_is_released_from_a_disabled_account(acts, disabled):
    """EM-02: its reader has nothing to do with the account's state."""
    attacker = acts.env.user(ATTACKER)
    acts.move(attacker, OWNER)
    if disabled == "user":
        with acts.env.database.transaction(writing=True) as session:
            disable_user(session, session.get_one(User, attacker.user_id))
    else:
        acts.env.act(disable_tenant, attacker.view.tenant_id)
    acts.refuse(acts.proof(OWNER))
    assert acts.env.view(attacker.user_id).email == ATTACKER


def test_secret_releases_for_a_day(acts):
    """EM-05: checked at use."""
    acts.move(acts.env.user(ATTACKER), OWNER)
    acts.env.clock.move(days=1)
    with pytest.raises(SecretExpired):
        acts.refuse(acts.proof(OWNER))


def test_proven_address_cannot_be_released(acts):
    """EM-08: an account cannot lose the address that it owns."""
    user = acts.env.user(ATTACKER)
    acts.env.act(request_email_verification, user.view)
    for act in (release_address, read_claim):
        with pytest.raises(SecretInvalid):
            acts.env.act(act, acts.secret(ATTACKER, "email_verification"))
    acts.answer_verification(ATTACKER)
    assert acts.env.view(user.user_id).email_verified


@pytest.mark.parametrize("wrong", ["", "ots_", "\ud800", tokens.mint("ots_")], ids=range(4))
def test_wrong_secret_releases_nothing(acts, wrong):
    """EM-08."""
    attacker = acts.env.user(ATTACKER)
    acts.move(attacker, OWNER)
    with pytest.raises(SecretInvalid):
        acts.refuse(wrong)
    acts.refuse(acts.proof(OWNER))


def test_secret_of_an_undo_or_a_reset_releases_nothing(acts):
    """EM-08."""
    acts.move(acts.env.user(ATTACKER), OWNER)
    acts.forget(ATTACKER)
    for kind in ("email_change_notice", "password_reset"):
        with pytest.raises(SecretInvalid):
            acts.refuse(acts.secret(ATTACKER, kind))


def test_claim_of_another_address_supersedes_the_release(client_acts):
    """EM-09: the account no longer claims the first one."""
    attacker = client_acts.env.user(ATTACKER)
    client_acts.move(attacker, OWNER)
    secret = client_acts.proof(OWNER)
    client_acts.move(attacker, "other@good.example")
    with pytest.raises(SecretSuperseded):
        client_acts.refuse(secret)


def test_release_or_proof_wins_a_race(acts):
    """EM-07: of two readers with the same secret, one is told that it was used."""
    attacker = acts.env.user(ATTACKER)
    acts.move(attacker, OWNER)
    secret = acts.proof(OWNER)
    ready = threading.Barrier(2)

    def race(act):
        ready.wait(patient(30))
        try:
            act()
        except SecretUsed:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(
            threads.map(race, [lambda: acts.refuse(secret), lambda: acts.answer(attacker, secret)])
        )
    assert sorted(outcomes) == [False, True]
    assert acts.owned(attacker) == (ATTACKER if outcomes[0] else OWNER)


# What is answered


def test_change_to_a_taken_address_looks_like_one_to_a_free_address(acts, victim):
    """EM-13, attack finding 17: at each step that the claimant can see."""
    attacker = acts.env.user(ATTACKER, password=ATTACKER_PASSWORD)
    seen = []
    for email in (OWNER, "free@good.example"):
        secret = acts.request(attacker, email)
        steps = [secret is None, acts.changes(attacker).pending_address == email]
        if secret is not None:
            steps += [acts.validate(attacker, secret) == email]
        view = acts.env.view(attacker.user_id)
        steps += [view.email == email, view.email_verified, acts.logs_in(email, attacker.password)]
        acts.env.act(request_email_verification, view)
        before = len(acts.mails(ATTACKER))
        acts.forget(email)
        steps += [acts.mails(ATTACKER)[before:], acts.owned(attacker)]
        seen.append(steps)
        acts.env.clock.move(hours=2)  # until then, requests for a link are merged
    assert seen[0] == seen[1]
    assert acts.env.view(victim.user_id).email == OWNER


def test_owner_of_a_claimed_address_can_only_refuse(acts, victim):
    """EM-13: the mail names the other account, and its secret confirms nothing."""
    attacker = acts.env.user(ATTACKER)
    acts.move(attacker, OWNER)
    secret = acts.secret(OWNER, "email_already_in_use")
    with pytest.raises(SecretInvalid):
        acts.answer(attacker, secret)
    acts.refuse(secret)
    assert acts.env.view(attacker.user_id).email == ATTACKER
    assert acts.env.view(victim.user_id).email_verified


def test_respelled_address_of_the_owner_is_no_claim(client_acts, victim_of_client):
    """EM-21: it is the same mailbox."""
    client_acts.move(victim_of_client, OWNER.upper())
    view = client_acts.env.view(victim_of_client.user_id)
    assert (view.email, view.email_verified) == (OWNER.upper(), True)
    assert client_acts.env.rows("user")[0]["claimed_email"] is None
    assert client_acts.changes(victim_of_client).undo is None


def test_mail_about_claims_is_rate_limited(client_acts):
    """EM-14: a sixth mail within an hour is left out, and the act succeeds."""
    for number in range(7):
        client_acts.move(client_acts.env.user(f"user{number}@evil.example"), OWNER)
        client_acts.env.clock.move(minutes=13)
        client_acts.forget(OWNER)
    assert client_acts.mails(OWNER).count("email_verification") < 14
