"""A copy of the database without the root secret gives no access."""

import base64
import json
import string
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from zlib import crc32

import pytest
from sqlalchemy import inspect, text

from accounts.crypto import password_hashing, tokens
from accounts.crypto.keyring import Keyring, SealBroken
from accounts.errors import InvalidClient, InvalidToken, SecretInvalid
from accounts.flows.administration.clients import add_client
from accounts.flows.idempotency import Attempt, store_response
from accounts.flows.oauth.refresh_tokens import find_refresh_token
from accounts.flows.oauth.token_exchange import exchange_session
from accounts.flows.password.password_reset import request_password_reset
from accounts.flows.sign_in.signup import sign_up
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.limits import Limits, RateLimit
from accounts.services.access_tokens import regenerate_access_token, reveal_access_token
from accounts.services.authentication import authenticate
from accounts.services.clients import ClientCredentials, authenticate_client
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.one_time_secrets import SecretPurpose, issue_secret, read_secret
from accounts.services.principal import CredentialKind, Presented
from accounts.services.signing_keys import ensure_signing_key, load_key_set
from accounts.services.user_views import find_user_view
from accounts.values import password_strength
from accounts.values.email_address import parse_address
from models import Tenant
from oneself.database import Database
from oneself.runtime.key_file import check_root_key

ROOT = bytes(range(100, 132))
PASSWORD = "Violet tangent 47 harbour"
ADDRESS = parse_address("new@example.com")
SCOPES = ["me/profile:read"]
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIXES = {
    CredentialKind.SESSION: tokens.SESSION,
    CredentialKind.ACCESS_TOKEN: tokens.ACCESS_TOKEN,
    CredentialKind.PAT: tokens.PAT,
}

# An attacker with a dump is not rate-limited.
UNLIMITED = RateLimit(10**9, 1)
LIMITS = Limits(
    password_cost=4,
    account_and_source_budget=UNLIMITED,
    account_budget=UNLIMITED,
    source_budget=UNLIMITED,
)


@pytest.fixture
def database(storage, tmp_path) -> Iterator[Database]:
    location = storage.make(tmp_path)
    database = Database(location, keys=Keyring(ROOT), limits=LIMITS)
    check_root_key(database)
    yield database
    database.close()
    storage.drop(location)


@pytest.fixture
def secrets(database):
    """One live credential of every kind, created by the acts."""
    with database.transaction(writing=True) as session:
        ensure_signing_key(session)
    with database.transaction(writing=True) as session:
        signup = sign_up(
            session,
            email="alice@example.com",
            password=PASSWORD,
            display_name="A Person",
            tenant_name="Example",
            user_agent=None,
        )
    user = signup.user
    with database.transaction(writing=True) as session:
        tenant = session.get_one(Tenant, user.tenant_id)
        client, client_secret = add_client(
            session, tenant, name="A program", scopes=sorted(SESSION_RIGHTS)
        )
    with database.transaction(writing=True) as session:
        principal = authenticate(session, Presented(CredentialKind.SESSION, signup.token))
        _, api_key = create_api_key(
            session,
            principal,
            name="A key",
            scopes=SCOPES,
            dataset_access_mode="all_available",
            expires_at=None,
        )
        _, pat = create_pat(
            session,
            principal,
            name="A token",
            scopes=SCOPES,
            expires_at=session.now + timedelta(days=300),
            client_id=client.id,
            client_secret=client_secret,
        )
        issued = exchange_session(
            session,
            load_key_set(session),
            client,
            subject_token=signup.token,
            scope=SCOPES[0],
            audience=None,
        )
        pending = {
            purpose: issue_secret(session, purpose, user.user_id, ADDRESS)
            for purpose in SecretPurpose
        }
        post_message(
            session,
            MessageKind.EMAIL_VERIFICATION,
            user,
            secret=pending[SecretPurpose.EMAIL_VERIFICATION],
        )
        request_password_reset(session, "alice@example.com")
        access_token = reveal_access_token(session, user)
        response = {"api_key": api_key, "pat": pat, "session_token": signup.token}
        store_response(
            session, Attempt("ipto.createApiKey", "once", PASSWORD), json.dumps(response)
        )
    return SimpleNamespace(
        user=user,
        client_id=client.id,
        credentials={
            CredentialKind.SESSION: signup.token,
            CredentialKind.ACCESS_TOKEN: access_token,
            CredentialKind.API_KEY: api_key,
            CredentialKind.PAT: pat,
        },
        pending=pending,
        client_secret=client_secret,
        refresh_token=issued.refresh_token,
        jwt=issued.access_token,
    )


def _dump(database):
    """Return every value of every column of every table."""
    with database.transaction(writing=False) as session:
        names = inspect(session.core).get_table_names()
        rows = {
            name: session.core.exec_driver_sql(f'SELECT * FROM "{name}"').all()  # noqa: S608 # its own table names
            for name in names
        }
    assert "access_token" in rows
    # A credential kind stored in another table belongs into the fixture above.
    assert {name for name, table_rows in rows.items() if not table_rows} <= {
        "user_settings",
        "device",
        "event_link",
        "event_seal",
        "event_erasure",
        "picture",
        "revoked_jwt",
        "login_network",
        "former_email",
        # unit/accounts/flows/factors/test_enrolment.py looks for them.
        *("totp_factor", "recovery_code", "login_challenge"),
    }
    return [
        value
        for table_rows in rows.values()
        for row in table_rows
        for value in row
        if value is not None
    ]


def _base62(number, length):
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def _encodings(value):
    """Yield the encodings of a value."""
    content = value if isinstance(value, bytes) else str(value).encode()
    yield content.decode("latin-1")
    yield content.decode(errors="replace")
    yield content.hex()
    yield base64.b64encode(content).decode()
    yield base64.urlsafe_b64encode(content).decode().rstrip("=")


def _as_tokens(value, prefix):
    """Yield a value in the form of a token, as `mint` makes it, so that its form is valid.

    Encoded as a number, and its first characters: as an attacker would who takes the stored value
    for the token.
    """
    content = value if isinstance(value, bytes) else str(value).encode()
    bodies = [_base62(int.from_bytes(content[-32:]), 43)]
    letters = "".join(letter for letter in str(value) if letter in ALPHABET)
    if len(letters) >= 43:
        bodies.append(letters[:43])
    for body in bodies:
        unchecked = prefix + body
        yield unchecked + _base62(crc32(unchecked.encode()), 6)


def _entry_points(session, client_id):
    """Yield each entry point: its name, its credentials' prefix, a function that tries one."""
    api_key_prefix = session.core.exec_driver_sql("SELECT prefix FROM api_key").scalar_one()
    prefixes = PREFIXES | {CredentialKind.API_KEY: f"ipto_{api_key_prefix}_"}
    for kind, prefix in prefixes.items():
        yield kind, prefix, lambda token, kind=kind: authenticate(session, Presented(kind, token))
    for purpose in SecretPurpose:
        yield purpose, tokens.ONE_TIME_SECRET, partial(read_secret, session, purpose)
    yield (
        "client secret",
        tokens.CLIENT_SECRET,
        lambda secret: authenticate_client(session, ClientCredentials(client_id, secret)),
    )
    yield "refresh token", tokens.REFRESH_TOKEN, partial(find_refresh_token, session)
    key_set = load_key_set(session)
    yield (
        "JWT",
        "eyJ",
        lambda token: key_set.verify(token, issuer=LIMITS.issuer, audience=None, now=session.now),
    )


def _accepted(session, secrets, candidates):
    """Yield the name of an entry point for each candidate that it accepts.

    `candidates` is called with the prefix of its credentials.
    """
    for name, prefix, authenticate_with in _entry_points(session, secrets.client_id):
        for candidate in candidates(prefix):
            with suppress(InvalidToken, SecretInvalid, InvalidClient):
                if authenticate_with(candidate) is not None:
                    yield name


def test_issued_credentials_are_accepted(database, secrets):
    """TK-08: otherwise the tests below would prove nothing."""
    issued = [
        *secrets.credentials.values(),
        *secrets.pending.values(),
        secrets.client_secret,
        secrets.refresh_token,
        secrets.jwt,
    ]
    with database.transaction(writing=True) as session:
        accepted = list(_accepted(session, secrets, lambda _: issued))
    assert set(accepted) == {
        *secrets.credentials,
        *SecretPurpose,
        "client secret",
        "refresh token",
        "JWT",
    }
    assert len(accepted) == len(issued)


def test_no_dumped_value_is_accepted(database, secrets):
    """TK-08: as it is, in hex, in base64 or as text."""
    values = {encoding for value in _dump(database) for encoding in _encodings(value)}
    with database.transaction(writing=True) as session:
        assert list(_accepted(session, secrets, lambda _: values)) == []


def test_no_dumped_value_is_accepted_as_a_token(database, secrets):
    """TK-08: a digest is not the token that it belongs to, with any prefix and checksum."""
    values = _dump(database)

    def candidates(prefix):
        forged = {token for value in values for token in _as_tokens(value, prefix)}
        assert all(tokens.is_well_formed(token, prefix) for token in forged)
        return forged

    with database.transaction(writing=True) as session:
        assert list(_accepted(session, secrets, candidates)) == []


def test_no_dumped_value_is_the_password(database, secrets):
    """TK-08, PW-14: nor is the input of bcrypt, which is not stored."""
    assert secrets
    values = {encoding for value in _dump(database) for encoding in _encodings(value)}
    keys = Keyring(ROOT)
    with database.transaction(writing=False) as session:
        record = session.core.exec_driver_sql("SELECT record FROM password_record").scalar_one()
    assert password_hashing.verify(password_strength.normalise(PASSWORD), record, keys, LIMITS)
    for value in values:
        assert not password_hashing.verify(password_strength.normalise(value), record, keys, LIMITS)


@pytest.mark.only_on("sqlite")  # the files of a server are elsewhere
def test_no_secret_is_in_the_database_file(database, secrets, tmp_path):
    """TK-03, TK-08: nor twenty characters of one, in the file or its WAL."""
    issued = [
        *secrets.credentials.values(),
        *secrets.pending.values(),
        secrets.client_secret,
        secrets.refresh_token,
        secrets.jwt,
        PASSWORD,
        base64.urlsafe_b64encode(ROOT).decode(),
        "-----BEGIN PRIVATE KEY-----",
    ]
    with database.transaction(writing=True) as session:
        # A replaced one must not be there either.
        issued.append(
            regenerate_access_token(session, find_user_view(session, secrets.user.user_id))
        )
    files = sorted(tmp_path.glob("oneself.sqlite3*"))
    assert {"oneself.sqlite3", "oneself.sqlite3-wal"} <= {path.name for path in files}
    content = b"".join(path.read_bytes() for path in files)
    assert secrets.user.user_id.encode() in content
    for secret in issued:
        for start in range(len(secret) - 19):
            assert secret[start : start + 20].encode() not in content
    assert ROOT not in content


def test_swapped_sealed_tokens_cannot_be_decrypted(database, secrets):
    """TK-05: a seal is bound to its row, even if an attacker can write to the database."""
    with database.transaction(writing=True) as session:
        other_user = sign_up(
            session,
            email="bob@example.com",
            password=PASSWORD,
            display_name="Bob",
            tenant_name="Example",
            user_agent=None,
        ).user
    sealed = text("SELECT token_sealed FROM access_token WHERE user_id = :user_id")
    users = [secrets.user, other_user]
    with database.transaction(writing=True) as session:
        one, two = (
            session.core.execute(sealed, {"user_id": user.user_id}).scalar_one() for user in users
        )
        for user, moved in ((secrets.user, two), (other_user, one)):
            session.core.execute(
                text("UPDATE access_token SET token_sealed = :moved WHERE user_id = :user_id"),
                {"moved": moved, "user_id": user.user_id},
            )
    for user in users:
        with (
            database.transaction(writing=True) as session,
            pytest.raises(Exception, match="token") as error,
        ):
            reveal_access_token(session, user)
        assert isinstance(error.value.__cause__, SealBroken)
