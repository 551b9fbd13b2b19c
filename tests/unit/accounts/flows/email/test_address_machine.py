"""An owner and an attacker with the owner's session, interleaved at random (Hypothesis)."""

from itertools import chain, count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import data, sampled_from

from accounts.errors import AccountError
from accounts.flows.email.address_release import release_address
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
from accounts.flows.sign_in.sessions import log_in
from accounts.limits import RateLimit
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.principal import CredentialKind

_PASSWORDS = {"owner": "Silent meadow 83 lantern", "attacker": "Crooked harbour 19 violin"}
_UNLIMITED = RateLimit(1_000_000, 3600)


class Takeover(RuleBasedStateMachine):
    """An account and the addresses of the two; all runs share a database.

    The attacker has a session of the owner and reads mail at two addresses. Whatever is done within
    the seven days of an undo link, the owner gets back in, and the attacker does not.
    """

    env: Any
    runs = count()

    def __init__(self):
        super().__init__()
        self.run = next(self.runs)
        self.addresses = {
            "owner": [f"owner{self.run}.{n}@good.example" for n in range(2)],
            "attacker": [f"thief{self.run}.{n}@evil.example" for n in range(2)],
        }
        self.token = None
        self.refused = set()
        self.hours = 0

    @initialize(is_verified=sampled_from([True, False]))
    def open(self, is_verified):
        self.user = self.env.user(self.addresses["owner"][0], password=_PASSWORDS["owner"])
        self.token = self.user.token
        if is_verified:
            self.env.act(request_email_verification, self.user.view)
            self.attempt(confirm_email, self.mailed("owner")[-1]["secret"])

    # The two act by the secrets in mail to their addresses.

    def mailed(self, person):
        return [
            {"kind": message.kind, "to": message.recipient}
            | self.env.act(unseal_parameters, message)
            for message in self.env.messages()
            if message.recipient in self.addresses[person]
        ]

    def attempt(self, act, *arguments, **named):
        try:
            return self.env.act(act, *arguments, **named)
        except AccountError:
            return None

    def use(self, person, mail, *, release=False):
        """Do what a mail offers; its reader may get a password from it."""
        secret = mail.get("secret")
        if secret is None:
            return
        if release:
            before = self.env.view(self.user.user_id).email
            self.attempt(release_address, secret)
            if before == mail["to"]:
                assert self.env.view(self.user.user_id).email != mail["to"] or self.owns(mail["to"])
            return
        if mail["kind"] == "email_verification":
            self.attempt(confirm_email, secret)
        elif mail["kind"] == "email_change_confirmation":
            self.attempt(
                validate_email_change, identity_id=self.user.view.identity_id, secret=secret
            )
        elif mail["kind"] == "password_reset":
            self.attempt(reset_password, secret=secret, new=_PASSWORDS[person])
        elif mail["kind"] == "email_change_notice":
            undone = self.attempt(undo_email_change, secret)
            if undone is not None:
                if person == "owner":
                    # At once: the attacker may be faster than the owner's new password.
                    assert self.logs_in("attacker") is None, "the attacker's password is left"
                    assert not self.has_session
                self.attempt(reset_password, secret=undone.reset_secret, new=_PASSWORDS[person])

    def owns(self, address):
        rows = [row for row in self.env.rows("user") if row["id"] == self.user.user_id]
        return rows[0]["email"] == address

    def logs_in(self, person):
        for address in chain(*self.addresses.values()):
            opened = self.attempt(
                log_in, email=address, password=_PASSWORDS[person], user_agent=None
            )
            if opened is not None and opened.user.user_id == self.user.user_id:
                return opened.token
        return None

    @property
    def has_session(self):
        try:
            self.env.authenticate(CredentialKind.SESSION, self.token)
        except AccountError:
            return False
        return True

    # What the attacker does

    @precondition(lambda self: self.has_session)
    @rule(to=sampled_from(["owner", "attacker"]), number=sampled_from([0, 1]))
    def change(self, to, number):
        view = self.env.view(self.user.user_id)
        changed = self.attempt(request_email_change, view, self.addresses[to][number])
        if changed is not None and changed[1] is not None:
            self.attempt(validate_email_change, identity_id=view.identity_id, secret=changed[1])

    @precondition(lambda self: self.has_session)
    @rule(number=sampled_from([0, 1]))
    def take(self, number):
        """Move the account to an address of the attacker, and prove it there."""
        self.change("attacker", number)
        for mail in self.mailed("attacker"):
            if mail["kind"] in {"email_verification", "email_change_confirmation"}:
                self.use("attacker", mail)

    @precondition(lambda self: self.has_session)
    @rule()
    def request_verification(self):
        self.attempt(request_email_verification, self.env.view(self.user.user_id))

    @rule(number=sampled_from([0, 1]))
    def request_reset(self, number):
        self.env.act(request_password_reset, self.addresses["attacker"][number])
        self.env.act(mail_requested_resets)

    @precondition(lambda self: self.mailed("attacker"))
    @rule(data=data(), release=sampled_from([False, False, True]))
    def use_mail(self, data, release):
        self.use("attacker", data.draw(sampled_from(self.mailed("attacker"))), release=release)

    @rule()
    def log_in(self):
        self.token = self.logs_in("attacker") or self.token

    @precondition(lambda self: self.hours < 130)
    @rule(hours=sampled_from([1, 20, 30]))
    def wait(self, hours):
        self.hours += hours
        self.env.clock.move(hours=hours)

    # What the owner does meanwhile

    @rule(data=data(), release=sampled_from([False, True]))
    def owner_reads_mail(self, data, release):
        mails = [mail for mail in self.mailed("owner") if mail["to"] == self.addresses["owner"][0]]
        if mails:
            self.use("owner", data.draw(sampled_from(mails)), release=release)

    def teardown(self):
        if not hasattr(self, "user"):
            return
        first = self.addresses["owner"][0]
        self.env.act(request_password_reset, first)
        self.env.act(mail_requested_resets)
        for mail in reversed(self.mailed("owner")):
            if mail["to"] == first and mail["kind"] in {"email_change_notice", "password_reset"}:
                self.use("owner", mail)
        assert self.logs_in("owner"), "the owner cannot get back"
        for _ in range(2):
            for mail in self.mailed("attacker"):
                self.use("attacker", mail)
        assert self.logs_in("owner"), "the attacker has taken the account again"
        assert self.logs_in("attacker") is None
        assert not self.has_session


@pytest.mark.parametrize("service", [False, True], ids=["client", "service"])
def test_owner_always_gets_back(make_env, service):
    """EM-02, EM-09, attack findings 2 and 3: within seven days of the first change."""
    env = make_env(
        service_mails_email_changes=service,
        mail_budget=_UNLIMITED,
        source_budget=_UNLIMITED,
        account_budget=_UNLIMITED,
        account_and_source_budget=_UNLIMITED,
    )
    run_state_machine_as_test(
        type("TakeoverOf", (Takeover,), {"env": env}),
        settings=settings(
            max_examples=20,
            stateful_step_count=15,
            deadline=None,
            # Shrinking a failure would take minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
