"""Internal failures are answered in the dialect's own shape, without details (OP-05, DB-05)."""

import asyncio
import base64
import functools
import json
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

import models
import oneself.app
from accounts.crypto import tokens
from accounts.crypto.keyring import Keyring
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.limits import Limits
from accounts.services.one_time_secrets import SecretPurpose, issue_secret
from accounts.services.signing_keys import ensure_signing_key
from accounts.values.email_address import parse_address
from oneself.database import Database
from oneself.document import load_document, operation_specs, resolve
from oneself.http.request.schemas import Schemas
from oneself.settings import Settings
from oneself_conformance.cases.request_building import PICTURE, takes_pictures
from tests.support.databases import Storage
from tests.support.deadlines import patient

DOCUMENT = load_document()
OPERATIONS = {each.operation_id: each for each in operation_specs(DOCUMENT)}
CANARY = "canary-of-the-cause"
CLIENT = f"cli_0a1b2c3d4e5f:{tokens.mint(tokens.CLIENT_SECRET)}"
#: Health and what is kept in memory do not need the database (OP-02).
WITHOUT_DATABASE = {
    *("status.getHealth", "oauth.getKeySet", "oauth.getServerMetadata"),
    *("status.getDocument", "status.getYamlDocument"),
    *("status.getUpgradedDocument", "status.getDialectDocument"),
    *("oauth.getOpenidConfiguration", "oauth.getResourceMetadata"),
}

each_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def _request(operation, token: str, secret: str = "") -> tuple[dict[str, Any], bytes]:
    """Build the document's example of a request, with a token and, if given, a mailed secret."""
    description = DOCUMENT["paths"][operation.path][operation.method]
    path = operation.path
    # Browser logins refuse other sites before they use the database.
    headers = [(b"host", b"localhost"), (b"sec-fetch-site", b"same-origin")]
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif parameter["in"] == "header":
            headers.append((parameter["name"].lower().encode(), parameter["example"].encode()))
    if operation.accepted:
        is_key = token.startswith("ipto_")
        name, scheme = ("x-api-key", "") if is_key else ("authorization", "Bearer ")
        headers.append((name.encode(), f"{scheme}{token}".encode()))
    if operation.takes_client:
        headers.append((b"authorization", b"Basic " + base64.b64encode(CLIENT.encode())))
    body = b""
    if takes_pictures(operation):
        body = PICTURE
        headers.append((b"content-type", b"image/png"))
    elif operation.bodies:
        contents = resolve(DOCUMENT, description["requestBody"])["content"]
        media, content = next(iter(contents.items()))
        form = media == "application/x-www-form-urlencoded"
        example = content["example"] | ({"secret": secret} if secret else {})
        body = (urlencode if form else json.dumps)(example).encode()
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


def _token_of(env, alice, operation) -> str:
    """Return a credential of a kind that the operation accepts: mostly a session."""
    if not operation.accepted or "session" in operation.accepted:
        return str(alice.token)
    named = {"name": "A token", "expires_at": env.clock.now + timedelta(days=1)}
    if "apiKey" in operation.accepted:
        scopes = ["keys:read"]
        made = env.act(
            create_api_key,
            alice.principal,
            scopes=scopes,
            dataset_access_mode="allow_list",
            **named,
        )
        return str(made[1])
    client, secret = env.client(alice.view.tenant_id)
    made = env.act(
        create_pat,
        alice.principal,
        scopes=[operation.scope or "me/profile:read"],
        client_id=client.id,
        client_secret=secret,
        **named,
    )
    return str(made[1])


def _call(app: Any, scope: dict[str, Any], body: bytes) -> tuple[int, dict[str, str], bytes]:
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
    """A row of `signing_key`, made once: making one takes longer than a test."""
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
    """Builds the application over the database of `env`."""
    env.execute("INSERT INTO signing_key VALUES (?, ?, ?, ?, ?, ?)", *signing_key)
    settings = Settings(data_dir=tmp_path, public_url="http://localhost", secret_key="x" * 43)
    return lambda: oneself.app.create_app(settings, database=env.database)


@each_operation
def test_unexpected_error_returns_500_with_request_id_only(  # noqa: PLR0917 # fixtures
    operation, app_of, env, alice, monkeypatch, caplog
):
    """The log has the cause and the traceback; the response has the dialect's shape."""
    find = oneself.app.find_handler

    def find_broken(operation_id: str) -> Callable[..., Any]:
        @functools.wraps(find(operation_id))
        def broken(_context: object, **_arguments: Any) -> None:
            raise LookupError(CANARY)

        return broken

    monkeypatch.setattr(oneself.app, "find_handler", find_broken)
    secret = ""
    if operation.mailed_secret is not None:  # otherwise the handler would not be called
        address = parse_address(alice.view.email)
        purpose = SecretPurpose(operation.mailed_secret)
        secret = env.act(issue_secret, purpose, alice.user_id, address)
    with caplog.at_level(logging.ERROR):
        token = _token_of(env, alice, operation)
        status, headers, body = _call(app_of(), *_request(operation, token, secret))
    assert status == 500
    assert headers["x-request-id"].startswith("req_")
    assert b"internal_error" in body
    assert CANARY.encode() not in body
    assert _is_documented(operation, status, headers, body)
    assert CANARY in caplog.text


@each_operation
def test_unavailable_database_returns_503_with_retry_after(operation, app_of, alice, env):
    """Operations without a database answer as usual (OP-02)."""
    app = app_of()
    for table in (*models.metadata.tables, "alembic_version"):
        env.execute(f'ALTER TABLE "{table}" RENAME TO "gone_{table}"')
    status, headers, body = _call(app, *_request(operation, alice.token))
    if operation.operation_id in WITHOUT_DATABASE:
        assert status == 200
        return
    # Signup is validated before the database is used, and the example is valid.
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert b"unavailable" in body
    assert _is_documented(operation, status, headers, body)


async def _status_of(app: Any, scope: dict[str, Any], body: bytes) -> int:
    """Return the status of one of several concurrent requests."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({**scope, "headers": list(scope["headers"])}, receive, send)
    return int(sent[0]["status"])


def test_full_password_queue_returns_503(env, alice, monkeypatch, tmp_path):
    """LG-13."""
    operation = OPERATIONS["ipto.logIn"]
    monkeypatch.setenv("ONESELF_PASSWORD_QUEUE", "0")
    monkeypatch.setenv("ONESELF_PASSWORD_THREADS", "1")
    settings = Settings(data_dir=tmp_path, public_url="http://localhost", secret_key="x" * 43)
    app = oneself.app.create_app(settings, database=env.database)
    scope, body = _request(operation, alice.token)

    async def call_concurrently() -> list[int]:
        return list(await asyncio.gather(*(_status_of(app, scope, body) for _ in range(5))))

    statuses = asyncio.run(call_concurrently())
    assert sorted(statuses) == [401, 503, 503, 503, 503]


def test_picture_decoding_delays_no_other_request(env, alice, monkeypatch, tmp_path):
    """IM-05, LG-13: with one picture decoding and one queued, a third gets a 503 at once."""
    monkeypatch.setenv("ONESELF_IMAGE_QUEUE", "1")
    monkeypatch.setenv("ONESELF_IMAGE_THREADS", "1")
    settings = Settings(data_dir=tmp_path, public_url="http://localhost", secret_key="x" * 43)
    app = oneself.app.create_app(settings, database=env.database)
    opens, started, proceed = Image.open, threading.Event(), threading.Event()

    def slowly(*arguments: Any, **named: Any) -> Any:
        started.set()
        assert proceed.wait(patient(30))
        return opens(*arguments, **named)

    monkeypatch.setattr(Image, "open", slowly)

    async def call(operation_id: str) -> int:
        return await _status_of(app, *_request(OPERATIONS[operation_id], alice.token))

    async def call_meanwhile() -> tuple[list[int], list[int]]:
        uploads = [asyncio.create_task(call("hantera.uploadPicture")) for _ in range(3)]
        try:
            assert await asyncio.to_thread(started.wait, 30)
            # Two have a slot, so one of the three is refused, whichever comes last.
            await asyncio.wait(uploads, return_when=asyncio.FIRST_COMPLETED, timeout=patient(30))
            others = [
                await call(operation_id)
                for operation_id in (
                    "hantera.uploadPicture",
                    "hantera.getProfile",
                    "scaikey.updateProfile",
                    "hantera.removePicture",
                    "ipto.logIn",
                )
            ]
            assert sum(upload.done() for upload in uploads) == 1
        finally:
            proceed.set()
        return others, [await upload for upload in uploads]

    others, uploads = asyncio.run(call_meanwhile())
    assert others == [503, 200, 200, 204, 401]
    assert sorted(uploads) == [200, 200, 503]
