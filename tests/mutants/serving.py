"""The service as `python -m oneself serve` has it, but for one mutant at a time.

`PUT /-/mutant` tells it which, in which folder, and with which settings: each begins on a copy of
the data that was there at the start, so that none sees what another has done to them. One process
does for all, since building the application takes a third of the time in which it is imported.
"""

import argparse
import asyncio
import json
import logging.config
from collections.abc import MutableMapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneself.app import create_app
from oneself.conformance.http_client import Answer
from oneself.document import METHODS, load_document
from oneself.http.response.dialects import path_pattern
from oneself.logging import configuration
from oneself.runtime.policy_store import PolicyStore
from oneself.server import serve
from oneself.settings import Settings
from tests.mutants.drawing import every_mutant
from tests.mutants.mutation import Mutant

__all__ = ["CONTROL", "application"]

CONTROL = "/-/mutant"


class _Running:
    """An application between its start and its stop."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._life = asyncio.ensure_future(app(scope, self._told.get, self._said.put))

    async def tell(self, what: str) -> None:
        """Have it start up or shut down."""
        await self._told.put({"type": f"lifespan.{what}"})
        answer = asyncio.ensure_future(self._said.get())
        await asyncio.wait({answer, self._life}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() or answer.result()["type"] != f"lifespan.{what}.complete":
            message = f"the application does not {what}"
            raise RuntimeError(message)


@dataclass
class _Mutated:
    """The application with, at most, one mutant in it; it counts the answers that differ by it."""

    folder: Path
    mutant: Mutant | None = None
    running: _Running | None = None
    changed: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == CONTROL:
            await self._obey(scope, receive, send)
        elif self.mutant is not None and _concerns(scope, self.mutant):
            assert self.running is not None
            await self._change(self.mutant, self.running.app, scope, receive, send)
        else:
            assert self.running is not None
            await self.running.app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        # Of what the demo has made, before anything works with it.
        copytree(self.folder, self._pristine)
        await self._switch(None, Settings())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert self.running is not None
        await self.running.tell("shutdown")
        await send({"type": "lifespan.shutdown.complete"})

    @property
    def _pristine(self) -> Path:
        return self.folder.with_name("pristine")

    async def _obey(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Switch to a mutant, or say how many answers the present one has changed."""
        if scope["method"] == "PUT":
            wanted = json.loads((await receive())["body"])
            folder = Path(wanted["folder"])
            copytree(self._pristine, folder)
            named = wanted["mutant"]
            mutant = None if named is None else every_mutant()[named]
            await self._switch(mutant, Settings(data_dir=folder, **wanted["settings"]))
        await _send_answer(send, Answer(200, (), json.dumps({"changed": self.changed}).encode()))

    async def _switch(self, mutant: Mutant | None, settings: Settings) -> None:
        if self.running is not None:
            await self.running.tell("shutdown")
        self.mutant, self.changed = mutant, 0
        self.running = _Running(_build(mutant, settings))
        await self.running.tell("startup")

    async def _change(
        self, mutant: Mutant, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer, with what the mutant makes of the answer."""
        said: list[MutableMapping[str, Any]] = []

        async def keep(message: Message) -> None:
            said.append(message)

        await app(scope, receive, keep)
        headers = tuple(
            (name.decode(), value.decode("latin-1")) for name, value in said[0]["headers"]
        )
        body = b"".join(each.get("body", b"") for each in said[1:])
        answer = Answer(said[0]["status"], headers, body)
        changed = mutant.change_answer(answer)
        self.changed += changed != answer
        await _send_answer(send, changed)


def _build(mutant: Mutant | None, settings: Settings) -> ASGIApp:
    document: Any = deepcopy(load_document())
    # The schema of the policies is that of the true document, whose groups they name.
    policies = PolicyStore(settings.policy_dir, load_document())
    if mutant is not None:
        mutant.change_document(document)
    return create_app(settings, document=document, policies=policies)


def _concerns(scope: Scope, mutant: Mutant) -> bool:
    """Whether a request is for the operation, or for its path by a method that is nobody's."""
    operation = mutant.operation
    if not path_pattern(operation.path).fullmatch(scope["path"]):
        return False
    known = {each.upper() for each in load_document()["paths"][operation.path] if each in METHODS}
    asked = "GET" if scope["method"] == "HEAD" and "GET" in known else scope["method"]
    return asked == operation.method.upper() or asked not in known


async def _send_answer(send: Send, answer: Answer) -> None:
    headers = [
        (name.lower().encode(), value.encode("latin-1"))
        for name, value in answer.headers
        if name.lower() != "content-length"
    ]
    if answer.body:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def application() -> ASGIApp:
    """What Granian serves."""
    logging.config.dictConfig(configuration())
    return _Mutated(Settings().data_dir)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        serve(
            Settings(),
            host=given.host,
            port=given.port,
            workers=1,
            target="tests.mutants.serving:application",
        )


if __name__ == "__main__":
    _main()
