"""The floor: a bare ASGI callable with the minimum of work for a response, without a framework.

It hashes the bearer token, runs one joined SELECT and writes JSON; a PATCH is one UPDATE with its
commit. There are no other checks: no Host, no limits, no policies, no log. No service can be as
fast; the distance to it is the cost of everything else.

Settings come from the environment, since every worker reads them: FLOOR_DATABASE is the path of a
SQLite file, or a PostgreSQL URL.
"""

import hashlib
import os
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import psycopg

__all__ = ["TOKEN", "application", "prepare"]

TOKEN = "floor_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"  # noqa: S105 # for the benchmark's own database

Message = Mapping[str, Any]
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TABLES = """
    CREATE TABLE tenant (id VARCHAR(16) PRIMARY KEY, display_name VARCHAR(200) NOT NULL);
    CREATE TABLE person (
        id VARCHAR(16) PRIMARY KEY, tenant_id VARCHAR(16) NOT NULL REFERENCES tenant (id),
        email VARCHAR(254) NOT NULL, display_name VARCHAR(200), locale VARCHAR(35),
        is_platform_admin BOOLEAN NOT NULL, roles VARCHAR(200) NOT NULL
    );
    CREATE TABLE session (
        token_digest {binary} PRIMARY KEY, person_id VARCHAR(16) NOT NULL REFERENCES person (id),
        expires_at BIGINT NOT NULL
    );
    INSERT INTO tenant VALUES ('tnt_dd71c9423a61', 'Acme Corp');
    INSERT INTO person VALUES (
        'usr_ffbb6fc4dae3', 'tnt_dd71c9423a61', 'alice.chen@example.com', 'Alice Chen', 'en-US',
        false, '["owner"]'
    );
"""
_SESSION = "INSERT INTO session VALUES ({mark}, 'usr_ffbb6fc4dae3', 9999999999)"
_SELECT = """
    SELECT person.id, person.email, person.display_name, tenant.id, tenant.display_name,
        person.is_platform_admin, person.roles, person.locale
    FROM session JOIN person ON person.id = session.person_id
    JOIN tenant ON tenant.id = person.tenant_id WHERE session.token_digest = {mark}
"""
_UPDATE = "UPDATE person SET locale = {mark} WHERE id = 'usr_ffbb6fc4dae3'"


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def prepare(location: str) -> None:
    """Create the tables and one user."""
    if location.startswith("postgresql://"):
        with psycopg.connect(location) as server:
            server.execute(_TABLES.format(binary="BYTEA").encode())
            server.execute(_SESSION.format(mark="%s").encode(), (_digest(TOKEN.encode()),))
        return
    with sqlite3.connect(location) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.executescript(_TABLES.format(binary="BLOB"))
        file.execute(_SESSION.format(mark="?"), (_digest(TOKEN.encode()),))
    file.close()


class _Sqlite:
    """A connection in autocommit: a read is one statement, an UPDATE one commit."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._select, self._update = _SELECT.format(mark="?"), _UPDATE.format(mark="?")

    async def read(self, digest: bytes) -> Any:
        return self._connection.execute(self._select, (digest,)).fetchone()

    async def write(self, locale: str) -> None:
        self._connection.execute(self._update, (locale,))


class _Postgresql:
    """A connection in autocommit."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        self._select, self._update = (
            text.format(mark="%s").encode() for text in (_SELECT, _UPDATE)
        )

    async def read(self, digest: bytes) -> Any:
        return self._connection.execute(self._select, (digest,)).fetchone()

    async def write(self, locale: str) -> None:
        self._connection.execute(self._update, (locale,))


def application() -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Create the application of one worker."""
    location = os.environ["FLOOR_DATABASE"]
    database = (_Postgresql if location.startswith("postgresql://") else _Sqlite)(location)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["method"] == "PATCH":
            await database.write(orjson.loads((await receive())["body"])["locale"])
            content: Any = {"success": True}
        else:
            bearer = next(value for name, value in scope["headers"] if name == b"authorization")
            row = await database.read(_digest(bearer[7:]))
            content = {
                "user_id": row[0],
                "email": row[1],
                "display_name": row[2],
                "tenant_id": row[3],
                "tenant_display_name": row[4],
                "is_platform_admin": bool(row[5]),
                "roles": orjson.loads(row[6]),
            }
        body = orjson.dumps(content)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer
