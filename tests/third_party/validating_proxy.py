"""express-openapi-validator between the rows and the service; it forwards requests unchanged."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from oneself_conformance.http_client import Answer, Request, ask
from tests.support.deadlines import patient
from tests.support.ports import free_port
from tests.support.service import ROOT, Service
from tests.third_party.tools import module_command

__all__ = ["Exchange", "ProxiedService", "validating_proxy"]

_SCRIPT = Path(__file__).parent / "validators" / "proxy.mjs"
_SECONDS_TO_START = 30
_VERDICT = "x-verdict"


@dataclass(frozen=True)
class Exchange:
    """A request with its response, and why the validator rejects the one or the other.

    `skipped` says why the validator did not see the response, or not even the request.
    """

    request: Request
    answer: Answer
    bad_request: str = ""
    bad_response: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class ProxiedService(Service):
    """A service behind the proxy; what the proxy cannot forward is sent directly."""

    proxy_port: int = 0
    exchanges: list[Exchange] = field(default_factory=list)

    def ask(self, request: Request) -> Answer:
        """Send a request, and record the exchange."""
        exchange = self._exchange(request)
        self.exchanges.append(exchange)
        return exchange.answer

    def _exchange(self, request: Request) -> Exchange:
        if request.dribbles:
            reason = "the proxy waits for the end of a body"
            return Exchange(request, super().ask(request), skipped=reason)
        forwarded = request
        if "host" not in {name.lower() for name, _ in request.headers}:
            host = ("Host", f"127.0.0.1:{self.port}")
            forwarded = replace(request, headers=(host, *request.headers))
        answer = ask(f"http://127.0.0.1:{self.proxy_port}", forwarded)
        if not answer.values(_VERDICT):
            assert answer.status in {400, 431}, f"the proxy failed: {request} {answer}"
            reason = "the HTTP parser of Node rejects it"
            return Exchange(request, super().ask(request), skipped=reason)
        [header] = answer.values(_VERDICT)
        verdict = json.loads(unquote(header))
        headers = tuple(each for each in answer.headers if each[0].lower() != _VERDICT)
        return Exchange(
            request,
            replace(answer, headers=headers),
            verdict.get("request", ""),
            verdict.get("response", ""),
            verdict.get("skipped", ""),
        )


@contextmanager
def validating_proxy(service: Service, upstream: int, folder: Path) -> Iterator[ProxiedService]:
    """Start the proxy in front of a port of the service."""
    port = free_port()
    document = str(ROOT / "openapi" / "openapi.yaml")
    command = [*module_command(_SCRIPT, folder), document, f"127.0.0.1:{upstream}", str(port)]
    log = folder / "proxy.log"
    with log.open("wb") as output:
        # A separate process group, because the wheel's `node` starts a child process.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
        )
    try:
        _wait_until_ready(port, process, log)
        yield ProxiedService(
            service.url,
            service.actors,
            service.port,
            service.folder,
            service.environment,
            proxy_port=port,
        )
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + patient(_SECONDS_TO_START)
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if ask(f"http://127.0.0.1:{port}", Request("GET", "/healthz")).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    message = f"the proxy does not respond\n{log.read_text()}"
    raise AssertionError(message)
