"""Prism as a validating proxy between the rows and the service.

Prism forwards each request, validates the response against the document, and reports violations in
a header, `sl-violations`. It reads bodies as text and JSON, so it cannot forward every request
unchanged.
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

from oneself_conformance.http_client import Answer, Request, ask
from oneself_conformance.operations import OPERATIONS
from tests.support.ports import free_port
from tests.support.service import ROOT, Service
from tests.third_party.tools import node_command

__all__ = ["PrismResult", "PrismService", "operation_of", "prism_proxy", "violations_of"]

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
class PrismResult:
    """The result of one request through Prism.

    `reason` says why Prism did not validate it; empty if it did.
    """

    operation_id: str | None
    answer: Answer | None
    reason: str = ""
    violations: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrismService(Service):
    """A service behind Prism; requests that Prism cannot forward are sent directly."""

    prism_port: int = 0
    results: list[PrismResult] = field(default_factory=list)

    def ask(self, request: Request) -> Answer:
        """Send a request through Prism if possible, otherwise directly."""
        result = self.send(request)
        return super().ask(request) if result.answer is None else result.answer

    def send(self, request: Request) -> PrismResult:
        """Send a request through Prism, and record the result."""
        result = self._send(request)
        self.results.append(result)
        return result

    def _send(self, request: Request) -> PrismResult:
        operation_id = operation_of(request)
        reason = next(_unsendable_reasons(request), "")
        if reason:
            return PrismResult(operation_id, None, reason)
        answer = ask(f"http://127.0.0.1:{self.prism_port}", request)
        # Every response of the service has both headers; Prism's own responses to requests that it
        # does not understand or cannot forward have neither.
        is_from_service = any(answer.values(name) for name in ("x-request-id", "x-frame-options"))
        assert is_from_service, f"Prism responded itself: {request} {answer}"
        [header] = answer.values(_VIOLATIONS) or ["[]"]
        if "Selected route not found" in header:
            return PrismResult(operation_id, answer, "not in the document")
        return PrismResult(operation_id, answer, violations=tuple(violations_of(header)))


def violations_of(header: str) -> Iterator[str]:
    """Yield Prism's violations in the response; requests are often invalid on purpose."""
    try:
        violations = json.loads(header)
    except ValueError:
        yield header  # too long, and truncated by Prism
        return
    for each in violations:
        if each["location"][0] == "response":
            yield f"{'/'.join(map(str, each['location']))}: {each['message']}"


def operation_of(request: Request) -> str | None:
    """Return the operation of a request, or None if the document has none."""
    path = request.target.split("?")[0]
    for operation_id, (method, template) in _TEMPLATES.items():
        if method == request.method and template.fullmatch(path):
            return operation_id
    return None


def _unsendable_reasons(request: Request) -> Iterator[str]:
    """Yield reasons why Prism cannot forward a request unchanged."""
    names = [name.lower() for name, _ in request.headers]
    if "%" in request.target.split("?")[0]:
        yield "Prism decodes escapes in a path, which the service rejects"
    if request.method == "HEAD":
        yield "Prism expects a body in the response to HEAD"
    if request.method == "GET" and request.body:
        yield "Prism does not forward the body of a GET"
    if "host" in names:
        yield "Prism sets the Host itself"
    if len(names) != len(set(names)):
        yield "Prism forwards only one of repeated headers"
    yield from _unsendable_body_reasons(request)


def _unsendable_body_reasons(request: Request) -> Iterator[str]:
    media = dict(request.headers).get("Content-Type", "")
    if request.dribbles:
        yield "the body never ends, and Prism waits for all of it"
    if "charset=" in media:
        yield "Prism decodes a body by its declared charset"
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        yield "Prism treats every body as text"
        return
    if text and "json" in media:
        try:
            json.loads(text, parse_constant=_reject_constant, object_pairs_hook=_reject_duplicates)
        except (ValueError, RecursionError):
            yield "Prism reserialises JSON, and hangs on malformed JSON"


def _reject_constant(name: str) -> None:
    raise ValueError(name)  # Python's parser accepts NaN, others do not


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError


@contextmanager
def prism_proxy(service: Service, upstream: int, folder: Path) -> Iterator[PrismService]:
    """Start Prism in front of a port of the service."""
    port = free_port()
    log = folder / "prism.log"
    command = [
        *node_command("ONESELF_NODE_TOOLS", "@stoplight/prism-cli/dist/index.js"),
        "proxy",
        str(ROOT / "openapi" / "openapi.yaml"),
        f"http://127.0.0.1:{upstream}",
        f"--port={port}",
        "--validate-request=false",
        "--cors=false",
        "--verboseLevel=warn",
    ]
    with log.open("wb") as output:
        # A separate process group, because the wheel's `node` starts a child process.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
        )
    try:
        _wait_until_ready(port, process, log)
        yield PrismService(
            service.url,
            service.actors,
            service.port,
            service.folder,
            service.environment,
            prism_port=port,
        )
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if ask(f"http://127.0.0.1:{port}", Request("GET", "/healthz")).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    message = f"Prism did not respond within {_SECONDS_TO_START} s\n{log.read_text()}"
    raise AssertionError(message)
