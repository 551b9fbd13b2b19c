"""What fails inside comes out in the dialect's own words, and tells nothing (OP-05, DB-05)."""

import asyncio
import base64
import functools
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

import models
import oneself.app
from accounts.crypto import tokens
from accounts.crypto.keyring import Keyring
from accounts.limits import Limits
from accounts.services.signing_keys import ensure_signing_key
from oneself.conformance.rows.request_building import PICTURE, takes_pictures
from oneself.database import Database
from oneself.document import load_document, operation_specs, resolve
from oneself.http.request.schemas import Schemas
from oneself.settings import Settings
from tests.support.databases import Storage

DOCUMENT = load_document()
OPERATIONS = {each.operation_id: each for each in operation_specs(DOCUMENT)}
CANARY = "canary-of-the-cause"
CLIENT = f"cli_0a1b2c3d4e5f:{tokens.mint(tokens.CLIENT_SECRET)}"
#: Whether the process lives, and what it holds in memory, is told without the database (OP-02).
WITHOUT_DATABASE = {"status.getHealth", "oauth.getKeySet", "oauth.getServerMetadata"}

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def _request(operation, token: str) -> tuple[dict[str, Any], bytes]:
    """The document's own example of a request, by whoever has the token."""
    described = DOCUMENT["paths"][operation.path][operation.method]
    path = operation.path
    headers = [(b"host", b"localhost")]
    for each in operation.parameters:
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", each["example"])
        elif each["in"] == "header":
            headers.append((each["name"].lower().encode(), each["example"].encode()))
    if operation.accepted:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    if operation.client:
        headers.append((b"authorization", b"Basic " + base64.b64encode(CLIENT.encode())))
    body = b""
    if takes_pictures(operation):
        body = PICTURE
        headers.append((b"content-type", b"image/png"))
    elif operation.bodies:
        contents = resolve(DOCUMENT, described["requestBody"])["content"]
        media, content = next(iter(contents.items()))
        form = media == "application/x-www-form-urlencoded"
        body = (urlencode if form else json.dumps)(content["example"]).encode()
        headers.append((b"content-type", media.encode()))
    headers.append((b"content-length", str(len(body)).encode()))
    scope = {
        "type": "http",
        "method": operation.method.upper(),
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }
    return scope, body


def _ask(app: Any, scope: dict[str, Any], body: bytes) -> tuple[int, dict[str, str], bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, end = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, end["body"]


def _is_documented(operation, status: int, headers: dict[str, str], body: bytes) -> bool:
    content = operation.responses[status]["content"][headers["content-type"]]
    return bool(Schemas(DOCUMENT).validator(content["schema"]).is_valid(json.loads(body)))


@pytest.fixture(scope="module")
def signing_key(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """A row of `signing_key`, made once: to make one takes longer than a test."""
    location = storage.make(tmp_path_factory.mktemp("signing"))
    database = Database(location, keys=Keyring(b"x" * 32), limits=Limits())
    with database.transaction(writing=True) as session:
        ensure_signing_key(session)
        session.flush()
        row = session.core.exec_driver_sql("SELECT * FROM signing_key").one()
    database.close()
    return tuple(row)


@pytest.fixture
def app_of(env, tmp_path: Path, signing_key: tuple[Any, ...]) -> Callable[[], Any]:
    """Builds the application over the house's database."""
    env.execute("INSERT INTO signing_key VALUES (?, ?, ?, ?, ?, ?)", *signing_key)
    settings = Settings(data_dir=tmp_path, public_url="http://localhost")
    return lambda: oneself.app.create_app(settings, database=env.database)


@every_operation
def test_an_unforeseen_failure_is_a_500_with_a_request_id_and_nothing_else(
    operation, app_of, alice, monkeypatch, caplog
):
    """The cause stands in the log, with the traceback; the answer has the dialect's shape."""
    find = oneself.app.find_handler

    def find_broken(operation_id: str) -> Callable[..., Any]:
        @functools.wraps(find(operation_id))
        def broken(_context: object, **_arguments: Any) -> None:
            raise LookupError(CANARY)

        return broken

    monkeypatch.setattr(oneself.app, "find_handler", find_broken)
    with caplog.at_level(logging.ERROR):
        status, headers, body = _ask(app_of(), *_request(operation, alice.token))
    assert status == 500
    assert headers["x-request-id"].startswith("req_")
    assert b"internal_error" in body
    assert CANARY.encode() not in body
    assert _is_documented(operation, status, headers, body)
    assert CANARY in caplog.text


@every_operation
def test_a_database_that_does_not_answer_is_a_503_with_a_time_to_wait(
    operation, app_of, alice, env
):
    """The next try may do better; what asks no database answers as ever (OP-02)."""
    app = app_of()
    for table in (*models.metadata.tables, "alembic_version"):
        env.execute(f'ALTER TABLE "{table}" RENAME TO "gone_{table}"')
    status, headers, body = _ask(app, *_request(operation, alice.token))
    if operation.operation_id in WITHOUT_DATABASE:
        assert status == 200
        return
    # Signup is judged before the database is asked, and the example passes.
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert b"unavailable" in body
    assert _is_documented(operation, status, headers, body)


async def _answered(app: Any, scope: dict[str, Any], body: bytes) -> int:
    """The status of one request among others."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({**scope, "headers": list(scope["headers"])}, receive, send)
    return int(sent[0]["status"])


def test_a_queue_that_is_full_is_a_503(env, alice, monkeypatch):
    """Past its limit the pool for passwords refuses at once (LG-13)."""
    operation = OPERATIONS["ipto.logIn"]
    monkeypatch.setenv("ONESELF_PASSWORD_QUEUE", "0")
    monkeypatch.setenv("ONESELF_PASSWORD_THREADS", "1")
    settings = Settings(data_dir=Path("unused"), public_url="http://localhost")
    app = oneself.app.create_app(settings, database=env.database)
    scope, body = _request(operation, alice.token)

    async def ask_together() -> list[int]:
        return list(await asyncio.gather(*(_answered(app, scope, body) for _ in range(5))))

    statuses = asyncio.run(ask_together())
    assert sorted(statuses) == [401, 503, 503, 503, 503]


def test_pictures_that_are_decoded_keep_nobody_else_waiting(env, alice, monkeypatch):
    """IM-05, LG-13: with one in its thread and one in the queue, a third is a 503 at once.

    Whoever reads, writes or logs in meanwhile is answered, and so are the two in the end.
    """
    monkeypatch.setenv("ONESELF_IMAGE_QUEUE", "1")
    monkeypatch.setenv("ONESELF_IMAGE_THREADS", "1")
    settings = Settings(data_dir=Path("unused"), public_url="http://localhost")
    app = oneself.app.create_app(settings, database=env.database)
    opens, begun, go_on = Image.open, threading.Event(), threading.Event()

    def slowly(*arguments: Any, **named: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return opens(*arguments, **named)

    monkeypatch.setattr(Image, "open", slowly)

    async def ask(operation_id: str) -> int:
        return await _answered(app, *_request(OPERATIONS[operation_id], alice.token))

    async def ask_meanwhile() -> tuple[list[int], list[int]]:
        uploads = [asyncio.create_task(ask("hantera.uploadPicture")) for _ in range(3)]
        try:
            assert await asyncio.to_thread(begun.wait, 30)
            # Two have a place, so one of the three is refused: which, their first look decides.
            await asyncio.wait(uploads, return_when=asyncio.FIRST_COMPLETED, timeout=30)
            others = [
                await ask(operation_id)
                for operation_id in (
                    "hantera.uploadPicture",
                    "hantera.getProfile",
                    "scaikey.updateProfile",
                    "hantera.removePicture",
                    "ipto.logIn",
                )
            ]
            assert sum(each.done() for each in uploads) == 1
        finally:
            go_on.set()
        return others, [await each for each in uploads]

    others, uploads = asyncio.run(ask_meanwhile())
    assert others == [503, 200, 200, 204, 401]
    assert sorted(uploads) == [200, 200, 503]
