"""The service of `python -m oneself serve` with one mutant at a time.

`PUT /-/mutant` selects the mutant, its folder and its settings. Each mutant starts on a copy of the
initial data, so that mutants do not affect each other. All run in one process, because building the
application takes a third of the time of importing it.
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
from unittest.mock import patch

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneself.app import create_app
from oneself.document import METHODS, load_document
from oneself.http import handler_signature
from oneself.http.response.dialects import path_pattern
from oneself.logging import configuration
from oneself.runtime.policy_store import PolicyStore
from oneself.server import serve
from oneself.settings import Settings
from oneself_conformance.http_client import Answer
from tests.mutants.mutation import Mutant
from tests.mutants.sampling import all_mutants

__all__ = ["CONTROL", "application"]

CONTROL = "/-/mutant"

# A mutant's document and the handlers differ on purpose, which the start would reject.
patch.object(handler_signature, "differences", return_value=()).start()


class _RunningApp:
    """A started application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan_task = asyncio.ensure_future(app(scope, self._received.get, self._sent.put))

    async def signal(self, phase: str) -> None:
        """Send a lifespan event, and wait until it is complete."""
        await self._received.put({"type": f"lifespan.{phase}"})
        answer = asyncio.ensure_future(self._sent.get())
        await asyncio.wait({answer, self._lifespan_task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() or answer.result()["type"] != f"lifespan.{phase}.complete":
            message = f"the application failed to {phase}"
            raise RuntimeError(message)


@dataclass
class _MutableApp:
    """The application with at most one mutant; counts the responses that it changes."""

    folder: Path
    mutant: Mutant | None = None
    running: _RunningApp | None = None
    changed: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] == CONTROL:
            await self._control(scope, receive, send)
        elif self.mutant is not None and _concerns(scope, self.mutant):
            assert self.running is not None
            await self._change(self.mutant, self.running.app, scope, receive, send)
        else:
            assert self.running is not None
            await self.running.app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        # Copy the demo data before any mutant uses it.
        copytree(self.folder, self._pristine)
        await self._switch(None, Settings())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert self.running is not None
        await self.running.signal("shutdown")
        await send({"type": "lifespan.shutdown.complete"})

    @property
    def _pristine(self) -> Path:
        return self.folder.with_name("pristine")

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Switch to a mutant, or return the number of responses changed by the current one."""
        if scope["method"] == "PUT":
            command = json.loads((await receive())["body"])
            folder = Path(command["folder"])
            copytree(self._pristine, folder)
            name = command["mutant"]
            mutant = None if name is None else all_mutants()[name]
            await self._switch(mutant, Settings(data_dir=folder, **command["settings"]))
        await _send_answer(send, Answer(200, (), json.dumps({"changed": self.changed}).encode()))

    async def _switch(self, mutant: Mutant | None, settings: Settings) -> None:
        if self.running is not None:
            await self.running.signal("shutdown")
        self.mutant, self.changed = mutant, 0
        self.running = _RunningApp(_build(mutant, settings))
        await self.running.signal("startup")

    async def _change(
        self, mutant: Mutant, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Respond with the response as changed by the mutant."""
        messages: list[MutableMapping[str, Any]] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        await app(scope, receive, collect)
        headers = tuple(
            (name.decode(), value.decode("latin-1")) for name, value in messages[0]["headers"]
        )
        body = b"".join(each.get("body", b"") for each in messages[1:])
        answer = Answer(messages[0]["status"], headers, body)
        changed = mutant.change_answer(answer)
        self.changed += changed != answer
        await _send_answer(send, changed)


def _build(mutant: Mutant | None, settings: Settings) -> ASGIApp:
    document: Any = deepcopy(load_document())
    # The policy schema comes from the unchanged document, whose groups the policies name.
    policies = PolicyStore(settings.policy_dir, load_document())
    if mutant is not None:
        mutant.change_document(document)
    return create_app(settings, document=document, policies=policies)


def _concerns(scope: Scope, mutant: Mutant) -> bool:
    """Return whether a request is for the operation, or for its path with an unknown method."""
    operation = mutant.operation
    if not path_pattern(operation.path).fullmatch(scope["path"]):
        return False
    methods = {each.upper() for each in load_document()["paths"][operation.path] if each in METHODS}
    method = "GET" if scope["method"] == "HEAD" and "GET" in methods else scope["method"]
    return method == operation.method.upper() or method not in methods


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
    """Return the application for Granian."""
    logging.config.dictConfig(configuration())
    return _MutableApp(Settings().data_dir)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        serve(
            Settings(),
            host=arguments.host,
            port=arguments.port,
            workers=1,
            target="tests.mutants.serving:application",
        )


if __name__ == "__main__":
    _main()
