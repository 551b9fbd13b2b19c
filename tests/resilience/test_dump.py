"""What somebody has who has a copy of the database and not the root secret: nothing."""

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
from accounts.services.one_time_secrets import SecretPurpose, issue_secret, read_secret
from accounts.services.outbox import MessageKind, post_message
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

# A thief tries as often as they like.
ENDLESS = RateLimit(10**9, 1)
RULES = Limits(
    password_cost=4,
    account_and_source_budget=ENDLESS,
    account_budget=ENDLESS,
    source_budget=ENDLESS,
)


@pytest.fixture
def database(storage, tmp_path) -> Iterator[Database]:
    location = storage.make(tmp_path)
    database = Database(location, keys=Keyring(ROOT), limits=RULES)
    check_root_key(database)
    yield database
    database.close()
    storage.drop(location)


@pytest.fixture
def secrets(database):
    """One live credential of every kind, made by the acts."""
    with database.transaction(writing=True) as session:
        ensure_signing_key(session)
    with database.transaction(writing=True) as session:
        opened = sign_up(
            session,
            email="alice@example.com",
            password=PASSWORD,
            display_name="A Person",
            tenant_name="Example",
            user_agent=None,
        )
    person = opened.user
    with database.transaction(writing=True) as session:
        tenant = session.get_one(Tenant, person.tenant_id)
        client, client_secret = add_client(
            session, tenant, name="A program", scopes=sorted(SESSION_RIGHTS)
        )
    with database.transaction(writing=True) as session:
        principal = authenticate(session, Presented(CredentialKind.SESSION, opened.token))
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
            subject_token=opened.token,
            scope=SCOPES[0],
            audience=None,
        )
        pending = {
            purpose: issue_secret(session, purpose, person.user_id, ADDRESS)
            for purpose in SecretPurpose
        }
        post_message(
            session,
            MessageKind.EMAIL_VERIFICATION,
            person,
            secret=pending[SecretPurpose.EMAIL_VERIFICATION],
        )
        request_password_reset(session, "alice@example.com")
        access_token = reveal_access_token(session, person)
        made = {"api_key": api_key, "pat": pat, "session_token": opened.token}
        store_response(session, Attempt("ipto.createApiKey", "once", PASSWORD), json.dumps(made))
    return SimpleNamespace(
        person=person,
        client_id=client.id,
        credentials={
            CredentialKind.SESSION: opened.token,
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
    """Every value of every column of every table."""
    with database.transaction(writing=False) as session:
        names = inspect(session.core).get_table_names()
        rows = {
            name: session.core.exec_driver_sql(f'SELECT * FROM "{name}"').all()  # noqa: S608 # its own names
            for name in names
        }
    assert "access_token" in rows
    # A kind of credential that is kept in another table belongs into the fixture above.
    assert {name for name, found in rows.items() if not found} <= {
        "user_settings",
        "event_link",
        "picture",
        "revoked_jwt",
    }
    return [value for found in rows.values() for row in found for value in row if value is not None]


def _base62(number, length):
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def _spelt(value):
    """A value in all the ways that it can be written down."""
    content = value if isinstance(value, bytes) else str(value).encode()
    yield content.decode("latin-1")
    yield content.decode(errors="replace")
    yield content.hex()
    yield base64.b64encode(content).decode()
    yield base64.urlsafe_b64encode(content).decode().rstrip("=")


def _dressed(value, prefix):
    """A value in the form of a token, as it comes from `mint`, so that its form refuses nothing.

    As a number, as a thief would who believes that the token is stored; and its beginning.
    """
    content = value if isinstance(value, bytes) else str(value).encode()
    bodies = [_base62(int.from_bytes(content[-32:]), 43)]
    letters = "".join(letter for letter in str(value) if letter in ALPHABET)
    if len(letters) >= 43:
        bodies.append(letters[:43])
    for body in bodies:
        whole = prefix + body
        yield whole + _base62(crc32(whole.encode()), 6)


def _doors(session, client_id):
    """Each door: its name, how what opens it begins, and what tries something there."""
    key = session.core.exec_driver_sql("SELECT prefix FROM api_key").scalar_one()
    prefixes = PREFIXES | {CredentialKind.API_KEY: f"ipto_{key}_"}
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
        lambda token: key_set.verify(token, issuer=RULES.issuer, audience=None, now=session.now),
    )


def _opened_by(session, secrets, spell):
    """The doors that open, once for each spelling that does it; `spell` is given their prefixes."""
    for name, prefix, attempt in _doors(session, secrets.client_id):
        for spelling in spell(prefix):
            with suppress(InvalidToken, SecretInvalid, InvalidClient):
                if attempt(spelling) is not None:
                    yield name


def test_each_door_opens_for_what_was_given_out(database, secrets):
    """TK-08: so that the doors below are not merely shut."""
    everything = [
        *secrets.credentials.values(),
        *secrets.pending.values(),
        secrets.client_secret,
        secrets.refresh_token,
        secrets.jwt,
    ]
    with database.transaction(writing=True) as session:
        opened = list(_opened_by(session, secrets, lambda _: everything))
    assert set(opened) == {
        *secrets.credentials,
        *SecretPurpose,
        "client secret",
        "refresh token",
        "JWT",
    }
    assert len(opened) == len(everything)


def test_no_value_of_a_dump_opens_a_door(database, secrets):
    """TK-08: as it is, in hex, in base64 or as a text."""
    values = {spelling for value in _dump(database) for spelling in _spelt(value)}
    with database.transaction(writing=True) as session:
        assert list(_opened_by(session, secrets, lambda _: values)) == []


def test_no_value_of_a_dump_opens_a_door_in_the_form_of_a_token(database, secrets):
    """TK-08: a digest is not the token that it is the digest of, whatever is put around it."""
    values = _dump(database)

    def spell(prefix):
        dressed = {token for value in values for token in _dressed(value, prefix)}
        assert all(tokens.well_formed(token, prefix) for token in dressed)
        return dressed

    with database.transaction(writing=True) as session:
        assert list(_opened_by(session, secrets, spell)) == []


def test_no_value_of_a_dump_is_the_password(database, secrets):
    """TK-08, PW-14: nor is what bcrypt was given, which is not stored."""
    assert secrets
    values = {spelling for value in _dump(database) for spelling in _spelt(value)}
    keys = Keyring(ROOT)
    with database.transaction(writing=False) as session:
        record = session.core.exec_driver_sql("SELECT record FROM password_record").scalar_one()
    assert password_hashing.verify(password_strength.normalise(PASSWORD), record, keys, 4)
    for value in values:
        assert not password_hashing.verify(password_strength.normalise(value), record, keys, 4)


@pytest.mark.only_on("sqlite")  # the files of a server are elsewhere
def test_no_secret_is_in_the_file(database, secrets, tmp_path):
    """TK-03, TK-08: nor twenty characters of one; the WAL is read too."""
    planted = [
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
        # One that was replaced is none of anybody's business either.
        planted.append(
            regenerate_access_token(session, find_user_view(session, secrets.person.user_id))
        )
    files = sorted(tmp_path.glob("oneself.sqlite3*"))
    assert {"oneself.sqlite3", "oneself.sqlite3-wal"} <= {path.name for path in files}
    content = b"".join(path.read_bytes() for path in files)
    assert secrets.person.user_id.encode() in content
    for secret in planted:
        for start in range(len(secret) - 19):
            assert secret[start : start + 20].encode() not in content
    assert ROOT not in content


def test_two_tokens_that_change_places_open_no_more(database, secrets):
    """TK-05: a seal is bound to its row, also for somebody who can write into the database."""
    with database.transaction(writing=True) as session:
        other = sign_up(
            session,
            email="bob@example.com",
            password=PASSWORD,
            display_name="Somebody Else",
            tenant_name="Example",
            user_agent=None,
        ).user
    sealed = text("SELECT token_sealed FROM access_token WHERE user_id = :user_id")
    people = [secrets.person, other]
    with database.transaction(writing=True) as session:
        one, two = (
            session.core.execute(sealed, {"user_id": each.user_id}).scalar_one() for each in people
        )
        for person, moved in ((secrets.person, two), (other, one)):
            session.core.execute(
                text("UPDATE access_token SET token_sealed = :moved WHERE user_id = :user_id"),
                {"moved": moved, "user_id": person.user_id},
            )
    for person in people:
        with (
            database.transaction(writing=True) as session,
            pytest.raises(Exception, match="token") as refused,
        ):
            reveal_access_token(session, person)
        assert isinstance(refused.value.__cause__, SealBroken)
