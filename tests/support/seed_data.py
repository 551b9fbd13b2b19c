"""Seed data: many users, inserted past the acts, which would take hours."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from random import Random
from typing import Any, NamedTuple, get_args

import orjson

from accounts.crypto import tokens
from accounts.crypto.keyring import Keyring, Purpose
from accounts.limits import Limits
from models import wire
from oneself.database import Location
from tests.support.bulk_insert import writing

__all__ = ["SeededUser", "seed_users"]

_USERS_PER_TENANT = 10
#: Users per batch of rows.
_BATCH = 5_000
_EVENTS = 3
#: 2 ** 48 divided by the golden ratio: its multiples modulo 2 ** 48 are evenly spread.
_ODD = 0x9E3779B97F4B
_A_WEEK = timedelta(days=7)
_A_YEAR = timedelta(days=365)
_SETTINGS = orjson.dumps({"theme": "dark", "rows": 50, "columns": ["name", "size"]}).decode()
_CONTENT = b"RIFF" + bytes(1020)
#: The tables of a batch, in the order of their references.
_TABLES = (
    "tenant", "client", "user", "former_email", "password_record", "access_token", "login_session",
    "device", "api_key", "personal_access_token", "refresh_token", "one_time_secret",
    "user_settings", "picture", "outbox_message", "attempt_budget", "login_network", "revoked_jwt",
    "security_event", "event_link",
)  # fmt: skip

Rows = dict[str, list[dict[str, Any]]]


class SeededUser(NamedTuple):
    """A seeded user with usable credentials."""

    user_id: str
    tenant_id: str
    client_id: str
    session_id: str
    session: str
    access_token: str
    api_key: str
    pat: str
    pat_id: str


def seed_users(
    location: Location, keys: Keyring, count: int, *, with_credentials: int
) -> list[SeededUser]:
    """Add users; `with_credentials` of them, evenly spread, have usable credentials.

    Each has one live credential of each kind, an expired session, a delivered email, a used secret,
    settings and linked events. One in ten has a picture, and so have all users with credentials.
    """
    users: list[SeededUser] = []
    with writing(location) as write:
        for rows, seeded in _SeedData(keys, count, with_credentials=with_credentials).rows():
            for table in filter(rows.__getitem__, _TABLES):
                write(table, rows[table])
            users += seeded
    return users


class _SeedData:
    """Generates users, identical for the same number except for their secrets."""

    def __init__(self, keys: Keyring, count: int, *, with_credentials: int) -> None:
        self._keys = keys
        self._count = count
        self._interval = count // with_credentials
        self._random = Random(1)  # noqa: S311 # for ids, which are not secret
        self._now = datetime.now(UTC)
        self._tenant_id = self._client_id = ""
        self._sequence = self._ids = 0
        self._event_interval = _A_YEAR / (count * _EVENTS)

    def rows(self) -> Iterator[tuple[Rows, list[SeededUser]]]:
        numbers = iter(range(self._count))
        while batch := list(islice(numbers, _BATCH)):
            rows: Rows = {table: [] for table in _TABLES}
            seeded = []
            for number in batch:
                if number % _USERS_PER_TENANT == 0:
                    self._add_tenant(rows, number)
                user = self._add_user(rows, number, with_credentials=number % self._interval == 0)
                if user is not None:
                    seeded.append(user)
            yield rows, seeded

    def _id(self, prefix: str) -> str:
        # Spread over the index like random ids, but unique: with a million random ids of each of
        # ten kinds, one run in fifty would have a collision.
        self._ids += 1
        return f"{prefix}{self._ids * _ODD % 2**48:012x}"

    def _uuid(self, occurred_at: datetime | None = None) -> str:
        milliseconds = int((occurred_at or self._now).timestamp() * 1000)
        digits = f"{milliseconds:012x}7{self._random.getrandbits(60):015x}{0:04x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _digest(self) -> bytes:
        return self._random.randbytes(32)

    def _add_tenant(self, rows: Rows, number: int) -> None:
        self._tenant_id, self._client_id = self._id("tnt_"), self._id("cli_")
        key_id, then = self._keys.key_id, self._now - _A_YEAR
        rows["tenant"].append(
            {
                "id": self._tenant_id,
                "uuid": self._uuid(),
                "display_name": f"Tenant {number}",
                "created_at": then,
                "disabled_at": None,
            }
        )
        rows["client"].append(
            {
                "id": self._client_id,
                "tenant_id": self._tenant_id,
                "name": "A program",
                "secret_digest": self._digest(),
                "key_id": key_id,
                "scopes": '["me/profile:read"]',
                "is_public": False,
                "audiences": "[]",
                "created_at": then,
                "disabled_at": None,
                "removed_at": None,
            }
        )

    def _add_user(self, rows: Rows, number: int, *, with_credentials: bool) -> SeededUser | None:
        user_id = self._id("usr_")
        key_id, now, then = self._keys.key_id, self._now, self._now - _A_WEEK
        address = f"user.{number}@seed.example"
        rows["former_email"].append(
            {
                "user_id": user_id,
                "depth": 0,
                "address_canonical": f"former.{address}",
                "verified_at": None,
                "replaced_at": then,
            }
        )
        rows["user"].append(
            {
                "id": user_id,
                "uuid": self._uuid(),
                "external_id": f"{number * _ODD % 2**40:010x}",
                "tenant_id": self._tenant_id,
                "email": address,
                "email_canonical": address,
                "email_verified_at": then,
                "claimed_email": None,
                "claimed_email_canonical": None,
                "verified_email": address,
                "verified_email_canonical": address,
                "first_email": None,
                "first_email_canonical": None,
                "username": f"user.{number}",
                "first_name": "A",
                "last_name": "Person",
                "display_name": f"User {number}",
                "phone": None,
                "picture": None,
                "locale": "de-DE",
                "timezone": "Europe/Berlin",
                "provider": "local",
                "roles": '["member"]',
                "is_platform_admin": False,
                "credential_epoch": 0,
                "created_at": then,
                "disabled_at": None,
            }
        )
        seeded = self._make_credentials(user_id) if with_credentials else None
        row = {"user_id": user_id, "key_id": key_id, "created_at": then}
        credential = {**row, "expires_at": now + _A_WEEK, "last_used_at": then, "revoked_at": None}
        digests = self._digests(seeded)
        session_id = seeded.session_id if seeded else self._id("ses_")
        rows["password_record"].append(
            {"user_id": user_id, "record": f"1${key_id}$2b$10${'x' * 53}", "changed_at": then}
        )
        sealed = (
            self._keys.seal(Purpose.ACCESS_TOKEN, seeded.access_token, user_id)
            if seeded
            else digests.spare
        )
        rows["access_token"].append(
            {**row, "token_digest": digests.access_token, "token_sealed": sealed}
        )
        for name, digest, expires_at in (
            (session_id, digests.session, now + _A_WEEK),
            (self._id("ses_"), self._digest(), then),
        ):
            rows["login_session"].append(
                {
                    **credential,
                    "id": name,
                    "token_digest": digest,
                    "source_digest": self._digest(),
                    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101",
                    "expires_at": expires_at,
                }
            )
        rows["device"].append(
            {
                "session_id": session_id,
                "user_id": user_id,
                "client_id": self._uuid(),
                "name": "iPhone 15",
                "os": "ios",
                "app_version": "1.0.0",
                "details": "{}",
            }
        )
        rows["api_key"].append(
            {
                **credential,
                "id": self._id("key_"),
                "name": "A program",
                "prefix": digests.prefix,
                "key_digest": digests.api_key,
                "scopes": orjson.dumps(get_args(wire.ApiKeyScope)).decode(),
                "dataset_access_mode": "all_available",
            }
        )
        rows["personal_access_token"].append(
            {
                **credential,
                "id": seeded.pat_id if seeded else self._uuid(),
                "client_id": self._client_id,
                "name": "A program",
                "token_digest": digests.pat,
                "scopes": orjson.dumps(get_args(wire.Scope)).decode(),
            }
        )
        rows["refresh_token"].append(
            {
                **row,
                "id": self._id("rft_"),
                "family_id": self._id("fam_"),
                "session_id": session_id,
                "client_id": self._client_id,
                "scopes": '["me/profile:read"]',
                "audience": "http://localhost:8080",
                "token_digest": self._digest(),
                "expires_at": now + _A_WEEK,
                "used_at": None,
                "revoked_at": None,
            }
        )
        rows["one_time_secret"].append(
            {
                **row,
                "id": self._id("ots_"),
                "purpose": "email_verification",
                "address": address,
                "address_canonical": address,
                "secret_digest": self._digest(),
                "expires_at": then,
                "used_at": then,
                "superseded_at": None,
                "is_mailed": True,
            }
        )
        rows["user_settings"].append(
            {"user_id": user_id, "document": _SETTINGS, "changed_at": then}
        )
        if with_credentials or number % 10 == 0:
            rows["picture"].append(
                {
                    "user_id": user_id,
                    "media_type": "image/webp",
                    "content": _CONTENT,
                    "tag": sha256(user_id.encode()).hexdigest(),
                    "changed_at": then,
                }
            )
        rows["outbox_message"].append(
            {
                "id": self._id("msg_"),
                "kind": "email_verification",
                "recipient": address,
                "locale": "de-DE",
                "parameters_sealed": b"",
                "key_id": key_id,
                "created_at": then,
                "due_at": then + timedelta(microseconds=number),
                "leased_until": None,
                "attempts": 0,
                "last_problem": None,
                "delivered_at": then + timedelta(seconds=1, microseconds=number),
                "gave_up_at": None,
            }
        )
        rows["attempt_budget"].append(
            {
                "name_digest": self._digest(),
                "whole_at": 0,
                "failures": 0,
                "changed_at": then + timedelta(microseconds=number),
                "succeeded_at": then,
            }
        )
        rows["login_network"].append(
            {
                "name_digest": self._digest(),
                "user_id": user_id,
                "failures": 0,
                "failed_since": None,
                "succeeded_at": then,
                "notified_at": None,
                "changed_at": then + timedelta(microseconds=number),
            }
        )
        if number % 20 == 0:
            rows["revoked_jwt"].append(
                {"jti": self._uuid(), "expires_at": now + timedelta(minutes=10)}
            )
        for count in range(_EVENTS):
            # Spread over the year, in the order of their ids.
            occurred_at = now - _A_YEAR + (number * _EVENTS + count) * self._event_interval
            self._add_event(rows, user_id, occurred_at)
        return seeded

    def _add_event(self, rows: Rows, user_id: str, occurred_at: datetime) -> None:
        self._sequence += 1
        name = self._uuid(occurred_at)
        rows["security_event"].append(
            {
                "id": name,
                "kind": "authn_login_success",
                "tenant_id": self._tenant_id,
                "user_id": user_id,
                "occurred_at": occurred_at,
                "request_id": None,
                "source": "192.0.2.1",
                "credential_kind": "session",
                "credential_id": None,
                "details": '{"failures": 0}',
            }
        )
        rows["event_link"].append(
            {
                "sequence": self._sequence,
                "event_id": name,
                "chain_digest": self._digest(),
                "key_id": self._keys.key_id,
                "chained_at": occurred_at,
            }
        )

    def _make_credentials(self, user_id: str) -> SeededUser:
        return SeededUser(
            user_id=user_id,
            tenant_id=self._tenant_id,
            client_id=self._client_id,
            session_id=self._id("ses_"),
            session=tokens.mint(tokens.SESSION),
            access_token=tokens.mint(tokens.ACCESS_TOKEN),
            api_key=tokens.mint_api_key(Limits().api_key_brand).key,
            pat=tokens.mint(tokens.PAT),
            pat_id=self._uuid(),
        )

    def _digests(self, seeded: SeededUser | None) -> "_Digests":
        if seeded is None:
            prefix = f"{self._random.getrandbits(48):012x}"
            spare = self._random.randbytes(88)
            return _Digests(*(self._digest() for _ in range(4)), prefix, spare)
        digest = self._keys.digest
        return _Digests(
            digest(Purpose.SESSION, seeded.session),
            digest(Purpose.ACCESS_TOKEN, seeded.access_token),
            digest(Purpose.API_KEY, seeded.api_key),
            digest(Purpose.PAT, seeded.pat),
            tokens.api_key_prefix(seeded.api_key, Limits().api_key_brand) or "",
            secrets.token_bytes(88),
        )


class _Digests(NamedTuple):
    """The digests of a user's credentials; `spare` has the length of a sealed token."""

    session: bytes
    access_token: bytes
    api_key: bytes
    pat: bytes
    prefix: str
    spare: bytes
