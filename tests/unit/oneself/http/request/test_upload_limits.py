"""Tests of the upload slots."""

import asyncio
import json
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import oneself.app
from accounts.crypto.keyring import Keyring
from accounts.errors import Unavailable
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.limits import Limits
from accounts.services.authentication import authenticate
from accounts.services.policies.policy_set import Decision, Question
from accounts.services.principal import CredentialKind, Presented
from oneself.commands.demo_data import make_demo
from oneself.database import Database
from oneself.http.request.upload_limits import UploadLimits
from oneself.runtime.policy_store import PolicyStore
from oneself.settings import Settings
from tests.support.databases import Storage
from tests.support.deadlines import patient
from tests.support.pictures import encoded, gradient

PATH = "/resources/me/profile/picture"
SMALL = 64 * 1024
PNG = encoded(gradient())


# The count itself


def test_slots_are_limited_in_all_and_for_each_user():
    """HT-07: beyond either limit a 503, which takes no slot."""
    limits = UploadLimits(slots=3, slots_per_user=2)
    with ExitStack() as slots:
        slots.enter_context(limits.slot_for("alice"))
        slots.enter_context(limits.slot_for("alice"))
        for _ in range(2):
            with pytest.raises(Unavailable), limits.slot_for("alice"):
                pass
        slots.enter_context(limits.slot_for("bob"))
        for name in ("alice", "bob", "carol"):
            with pytest.raises(Unavailable), limits.slot_for(name):
                pass
    with ExitStack() as slots:
        for name in ("alice", "alice", "carol"):
            slots.enter_context(limits.slot_for(name))


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, Unavailable])
def test_slot_is_released_after_an_error(error):
    """HT-07."""
    limits = UploadLimits(slots=1, slots_per_user=1)
    for _ in range(3):
        with pytest.raises(error), limits.slot_for("alice"):
            raise error
    with limits.slot_for("alice"):
        pass


# In the application


class Upload:
    """One request whose body arrives when the test says so."""

    def __init__(self, app: Any, headers: Mapping[str, str]) -> None:
        self.is_read = asyncio.Event()
        self._arriving: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent: list[dict[str, Any]] = []
        sent = {"host": "localhost", "content-type": "image/png", **headers}
        self._scope = {
            "type": "http",
            "method": "PUT",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
        self._running = asyncio.create_task(app(self._scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        self.is_read.set()
        return await self._arriving.get()

    async def _send(self, message: dict[str, Any]) -> None:
        self._sent.append(message)

    def arrive(self, body: bytes, *, more: bool = False) -> None:
        self._arriving.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._arriving.put_nowait({"type": "http.disconnect"})

    async def cancel(self) -> None:
        self._running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._running

    async def is_taken(self) -> "Upload":
        """Wait until the body is being read."""
        async with asyncio.timeout(20):
            await self.is_read.wait()
        return self

    async def answer(self) -> tuple[int, Mapping[str, str], Any]:
        async with asyncio.timeout(20):
            await self._running
        start, end = self._sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, json.loads(end["body"])


class Service:
    """The application over a database of its own, with demo users."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        limits = Limits(password_cost=4)
        self.database = Database(storage.make(folder), keys=Keyring(b"x" * 32), limits=limits)
        self.actors: Mapping[str, Any] = make_demo(self.database)
        self._settings = Settings(
            data_dir=folder, public_url=limits.issuer, body_seconds=5, secret_key="x" * 43
        )
        self._folder = folder

    def app(self, *, policy: str = "", **settings: Any) -> Any:
        folder = self._folder / f"policies-{len([*self._folder.iterdir()])}"
        shutil.copytree(Path(__file__).parents[5] / "policies", folder)
        (folder / "more.cedar").write_text(policy)
        changed = self._settings.model_copy(update={"policy_dir": folder, **settings})
        return oneself.app.create_app(changed, database=self.database)

    def bearer(self, who: str = "base", kind: str = "session_token") -> dict[str, str]:
        return {"authorization": f"Bearer {self.actors[who][kind]}"}


@pytest.fixture(scope="module")
def service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"), storage)
    yield service
    service.database.close()


@pytest.fixture(scope="module")
def app(service: Service) -> Any:
    return service.app()


def _narrow(service: Service) -> str:
    """Create a personal access token that may only read settings."""
    base = service.actors["base"]
    with service.database.transaction(writing=True) as session:
        presented = Presented(CredentialKind.SESSION, base["session_token"])
        _, token = create_pat(
            session,
            authenticate(session, presented),
            name="narrow",
            scopes=["me/settings:read"],
            expires_at=session.now + timedelta(days=1),
            client_id=base["client_id"],
            client_secret=base["client_secret"],
        )
    return token


#: Heads that do not announce a body of at most 64 KiB.
LARGE = (
    {"content-length": str(SMALL + 1)},
    {"content-length": str(5 * 1024 * 1024)},
    {"content-length": "9" * 20},
    {"transfer-encoding": "chunked"},
    {"transfer-encoding": "chunked", "content-length": "1"},
)
large = pytest.mark.parametrize("head", LARGE, ids=range(len(LARGE)))


def _is_closed(refused: tuple[int, Mapping[str, str], Any], status: int, code: str) -> bool:
    """Tell whether an answer is this refusal in its dialect, and closes the connection."""
    actual, headers, body = refused
    assert (actual, body["code"]) == (status, code)
    assert headers["content-type"] == "application/problem+json"
    return headers["connection"] == "close"


@large
def test_large_body_is_not_read_when_not_permitted(service: Service, app: Any, head):
    """HT-07, AZ-07: without the scope, or of another content type."""
    narrow, whole = {"authorization": f"Bearer {_narrow(service)}"}, service.bearer()

    async def ask() -> None:
        for status, code, headers in (
            (401, "not_authenticated", {}),
            (401, "invalid_token", {"authorization": "Bearer nonsense"}),
            (403, "insufficient_scope", narrow),
            (415, "unsupported_media_type", {**whole, "content-type": "image/gif"}),
            # In the order of any other request (ADR 5).
            (415, "unsupported_media_type", {**narrow, "content-type": "image/gif"}),
        ):
            upload = Upload(app, {**head, **headers})
            assert _is_closed(await upload.answer(), status, code)
            assert not upload.is_read.is_set()

    asyncio.run(ask())


def test_large_body_is_not_read_when_a_policy_forbids_it(service: Service):
    """HT-07, AZ-07."""
    app = service.app(policy='@id("closed") forbid (principal, action, resource);')

    async def ask() -> None:
        upload = Upload(app, {**LARGE[0], **service.bearer()})
        assert _is_closed(await upload.answer(), 403, "policy_denied")
        assert not upload.is_read.is_set()

    asyncio.run(ask())


def test_policies_decide_again_after_a_large_body(service: Service, monkeypatch):
    """AZ-07: it may take long to arrive."""
    app, decide = service.app(), PolicyStore.decide
    answers = [None, Decision(allowed=False, code=None, notices=())]

    def decide_in_turn(store: PolicyStore, question: Question, *more: Any) -> Decision:
        return answers.pop(0) or decide(store, question, *more)

    monkeypatch.setattr(PolicyStore, "decide", decide_in_turn)

    async def ask() -> None:
        upload = await Upload(app, {**LARGE[0], **service.bearer()}).is_taken()
        upload.arrive(PNG)
        status, _, body = await upload.answer()
        assert (status, body["code"]) == (403, "policy_denied")

    asyncio.run(ask())
    assert answers == []


def test_third_upload_of_a_user_is_rejected(service: Service, app: Any):
    """HT-07: with 503 in its dialect; small bodies and other users go on."""

    async def ask() -> None:
        headers = {**LARGE[0], **service.bearer()}
        uploads = [await Upload(app, headers).is_taken() for _ in range(2)]
        for upload in uploads:
            upload.arrive(b"x" * SMALL, more=True)
        for kind in ("session_token", "pat", "jwt"):
            third = Upload(app, {**LARGE[0], **service.bearer(kind=kind)})
            refused = await third.answer()
            assert _is_closed(refused, 503, "unavailable")
            assert int(refused[1]["retry-after"]) >= 1
            assert not third.is_read.is_set()
        small = Upload(app, {"content-length": str(SMALL), **service.bearer()})
        small.arrive(PNG.ljust(SMALL, b"\0"))
        assert (await small.answer())[0] == 200
        another = Upload(app, {**LARGE[0], **service.bearer("other_tenant")})
        another.arrive(PNG.ljust(SMALL + 1, b"\0"))
        assert (await another.answer())[0] == 200
        for upload in uploads:
            upload.leave()
            assert (await upload.answer())[0] == 400

    asyncio.run(ask())


def test_upload_is_rejected_when_all_slots_are_taken(service: Service, monkeypatch):
    """HT-07: of any user."""
    monkeypatch.setattr(oneself.app, "UploadLimits", lambda: UploadLimits(2, 1))
    app = service.app()

    async def ask() -> None:
        names = ("base", "other_tenant")
        uploads = [
            await Upload(app, {**LARGE[0], **service.bearer(name)}).is_taken() for name in names
        ]
        last = Upload(app, {**LARGE[0], **service.bearer("sso_user")})
        assert _is_closed(await last.answer(), 503, "unavailable")
        uploads[0].arrive(PNG)
        assert (await uploads[0].answer())[0] == 200
        last = await Upload(app, {**LARGE[0], **service.bearer("sso_user")}).is_taken()
        for upload in (uploads[1], last):
            await upload.cancel()

    asyncio.run(ask())


async def _arrives(upload: Upload) -> None:
    upload.arrive(PNG.ljust(SMALL + 1, b"\0"))
    assert (await upload.answer())[0] == 200


async def _is_no_picture(upload: Upload) -> None:
    upload.arrive(b"x" * (SMALL + 1))
    assert (await upload.answer())[0] == 400


async def _leaves(upload: Upload) -> None:
    upload.arrive(b"x" * SMALL, more=True)
    upload.leave()
    assert (await upload.answer())[0] == 400


async def _stalls(upload: Upload) -> None:
    upload.arrive(b"x" * SMALL, more=True)
    assert (await upload.answer())[0] == 408


async def _is_too_large(upload: Upload) -> None:
    upload.arrive(b"x" * (5 * 1024 * 1024 + 1), more=True)
    assert (await upload.answer())[0] == 413


@pytest.mark.parametrize("end", [_arrives, _is_no_picture, _leaves, _stalls, _is_too_large])
def test_slot_is_released_at_the_end_of_an_upload(
    end: Callable[[Upload], Awaitable[None]], service: Service, monkeypatch
):
    """HT-07, HT-08: of any kind, twice as often as there are slots."""
    monkeypatch.setattr(oneself.app, "UploadLimits", lambda: UploadLimits(1, 1))
    app = service.app(body_seconds=0.2)

    async def ask() -> None:
        for _ in range(2):
            await end(await Upload(app, {**LARGE[0], **service.bearer()}).is_taken())

    asyncio.run(ask())


def test_slot_is_released_when_the_request_is_cancelled(service: Service, monkeypatch):
    """HT-07: as at the end of a worker, while the body arrives and while it is decoded."""
    monkeypatch.setattr(oneself.app, "UploadLimits", lambda: UploadLimits(1, 1))
    app = service.app()
    opens, decoding, go_on = Image.open, threading.Event(), threading.Event()

    def slowly(*arguments: Any, **named: Any) -> Any:
        decoding.set()
        assert go_on.wait(patient(30))
        return opens(*arguments, **named)

    async def ask() -> None:
        headers = {**LARGE[0], **service.bearer()}
        await (await Upload(app, headers).is_taken()).cancel()
        monkeypatch.setattr(Image, "open", slowly)
        decoded = await Upload(app, headers).is_taken()
        decoded.arrive(PNG)
        assert await asyncio.to_thread(decoding.wait, 20)
        # Its bytes are still in memory, so its slot is still taken.
        assert _is_closed(await Upload(app, headers).answer(), 503, "unavailable")
        await decoded.cancel()
        go_on.set()
        await _arrives(await Upload(app, headers).is_taken())

    asyncio.run(ask())
