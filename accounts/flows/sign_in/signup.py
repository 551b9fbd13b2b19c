"""Signup: a new user opens an account of their own."""

from accounts.crypto import password_hashing
from accounts.errors import EmailTaken, SignupClosed
from accounts.flows.sign_in.login_networks import note_login
from accounts.flows.sign_in.sessions import OpenedSession, open_session
from accounts.services import throttling, users
from accounts.services.database import AccountSession
from accounts.services.mail.address_mail import mail_claims_of
from accounts.services.principal import PublicCredential
from accounts.values import email_address, names, password_strength


def sign_up(
    session: AccountSession,
    *,
    email: str,
    password: str,
    display_name: str | None = None,
    tenant_name: str | None = None,
    user_agent: str | None,
) -> OpenedSession:
    """Open a new tenant with its owner, and a session for them.

    All values are validated before the hash, so that a rejected request costs no hash. An address
    that other accounts only claim is free, and its reader is asked about the claims. A name that is
    missing is the local part of the address.

    Raises:
        SignupClosed: The operator has closed signup.
        Forbidden: A policy forbids it.
        InvalidRequest: A value breaks a rule.
        WeakPassword: The password breaks a rule.
        EmailTaken: Another account has this address.
        TooManyAttempts: Too many signups from the source.
    """
    if not session.limits.signup_open:
        raise SignupClosed
    session.authorise_public(None, PublicCredential.NONE)
    address = email_address.parse_address(email)
    local_part, _, _ = address.entered.rpartition("@")
    name = names.normalize_name(display_name or local_part, "display_name")
    tenant_display_name = names.normalize_name(tenant_name or local_part, "tenant_name")
    normalised = password_strength.validate(
        password,
        limits=session.limits,
        own_words=(address.canonical, name, tenant_display_name),
        field="password",
    )
    # Counted before the response reveals whether the address is taken: otherwise an attacker could
    # probe any number of addresses.
    throttling.consume_for_source(
        session, throttling.RateLimitScope.SIGNUP, session.limits.signup_budget
    )
    if users.is_taken(session, address.canonical):
        raise EmailTaken
    with session.outside_transaction():
        record = password_hashing.hash_password(normalised, session.keys, session.limits)
    # Again, before anything is written: this refusal keeps earlier writes.
    if users.is_taken(session, address.canonical):
        raise EmailTaken
    tenant = users.open_tenant(session, tenant_display_name)
    user = users.open_user(
        session, tenant, email=email, display_name=name, record=record, roles=("owner",)
    )
    throttling.make_source_known(session, user.id)
    note_login(session, user.id)
    mail_claims_of(session, address.canonical)
    return open_session(session, user.id, user_agent=user_agent)
