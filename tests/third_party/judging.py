"""Prism between the rows and the service that they are asked of.

Prism passes each request on and holds the answer against the document; what it finds stands in a
header, `sl-violations`. It is a client of its own, which reads bodies as text and JSON, and so not
each request comes through it as it was.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneself.conformance.http_client import Answer, Request, ask
from oneself.conformance.operations import OPERATIONS
from tests.support.ports import free_port
from tests.support.service import ROOT, Service
from tests.third_party.tools import node_command

__all__ = ["Judged", "Judgement", "judged", "violations_of"]

_SECONDS_TO_START = 30
_VIOLATIONS = "sl-violations"
_TEMPLATES = {
    each.operation_id: (
        each.method.upper(),
        re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(each.path))),
    )
    for each in OPERATIONS.values()
}


@dataclass(frozen=True)
class Judgement:
    """What came of one request that was sent to Prism.

    `kept_from` says why there is none, and is empty where there is one.
    """

    operation_id: str | None
    answer: Answer | None
    kept_from: str = ""
    violations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged(Service):
    """A service that is asked through Prism, and directly where Prism stands in the way."""

    prism_port: int = 0
    judgements: list[Judgement] = field(default_factory=list)

    def ask(self, request: Request) -> Answer:
        """Have it judged, if that can be, and answered in any case."""
        judgement = self.judge(request)
        return super().ask(request) if judgement.answer is None else judgement.answer

    def judge(self, request: Request) -> Judgement:
        """Send a request through Prism."""
        judgement = self._judge(request)
        self.judgements.append(judgement)
        return judgement

    def _judge(self, request: Request) -> Judgement:
        operation_id = _operation_of(request)
        kept_from = next(_kept_from(request), "")
        if kept_from:
            return Judgement(operation_id, None, kept_from)
        answer = ask(f"http://127.0.0.1:{self.prism_port}", request)
        # Each answer of ours has both, and Prism's own have neither: those of requests that it does
        # not understand or cannot pass on, of which the ones that there are were kept from it.
        ours = any(answer.values(name) for name in ("x-request-id", "x-frame-options"))
        assert ours, f"Prism answered by itself: {request} {answer}"
        [said] = answer.values(_VIOLATIONS) or ["[]"]
        if "Selected route not found" in said:
            return Judgement(operation_id, answer, "not in the document")
        return Judgement(operation_id, answer, violations=tuple(violations_of(said)))


def violations_of(said: str) -> Iterator[str]:
    """Of what Prism says it found, that about the answer; requests are often meant to be wrong."""
    try:
        found = json.loads(said)
    except ValueError:
        yield said  # too many for a header, and cut off by Prism
        return
    for each in found:
        if each["location"][0] == "response":
            yield f"{'/'.join(map(str, each['location']))}: {each['message']}"


def _operation_of(request: Request) -> str | None:
    path = request.target.split("?")[0]
    for operation_id, (method, template) in _TEMPLATES.items():
        if method == request.method and template.fullmatch(path):
            return operation_id
    return None


def _kept_from(request: Request) -> Iterator[str]:
    """Why Prism cannot pass a request on as it is."""
    names = [name.lower() for name, _ in request.headers]
    if "%" in request.target.split("?")[0]:
        yield "Prism reads what is escaped in a path, which the service refuses"
    if request.method == "HEAD":
        yield "Prism looks for the body of an answer to HEAD"
    if request.method == "GET" and request.body:
        yield "Prism passes on no body of a GET"
    if "host" in names:
        yield "Prism writes the Host itself"
    if len(names) != len(set(names)):
        yield "Prism takes one of two headers of a name"
    yield from _kept_by_its_body(request)


def _kept_by_its_body(request: Request) -> Iterator[str]:
    media = dict(request.headers).get("Content-Type", "")
    if request.dribbles:
        yield "its body never ends, and Prism waits for all of it"
    if "charset=" in media:
        yield "Prism reads a body by the charset that it is said to have"
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        yield "Prism takes every body for text"
        return
    if text and "json" in media:
        try:
            json.loads(text, parse_constant=_refuse, object_pairs_hook=_only_once)
        except (ValueError, RecursionError):
            yield "Prism writes JSON anew, and hangs over what is none"


def _refuse(name: str) -> None:
    raise ValueError(name)  # Python's parser takes NaN, others do not


def _only_once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError


@contextmanager
def judged(service: Service, upstream: int, folder: Path) -> Iterator[Judged]:
    """Start a Prism in front of a port on which the service is reached."""
    port = free_port()
    log = folder / "prism.log"
    command = [
        *node_command("ONESELF_PRISM"),
        "proxy",
        str(ROOT / "openapi" / "openapi.yaml"),
        f"http://127.0.0.1:{upstream}",
        f"--port={port}",
        "--validate-request=false",
        "--cors=false",
        "--verboseLevel=warn",
    ]
    with log.open("wb") as output:
        # In a group of its own, since the `node` of the wheel starts another, which would be left.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
        )
    try:
        _wait_until_it_answers(port, process, log)
        yield Judged(
            service.url,
            service.people,
            service.port,
            service.folder,
            service.environment,
            prism_port=port,
        )
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait_until_it_answers(port: int, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if ask(f"http://127.0.0.1:{port}", Request("GET", "/healthz")).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    message = f"no answer of Prism's in {_SECONDS_TO_START} s\n{log.read_text()}"
    raise AssertionError(message)
