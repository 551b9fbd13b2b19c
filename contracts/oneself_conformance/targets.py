"""The deployment under test, accessed over HTTP like any of its clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from oneself_conformance.http_client import Answer, Request, ask
from oneself_conformance.traffic import Traffic


class Unreachable(Exception):
    """A test needs something that cannot be reached over HTTP; the message says what.

    Examples are an operator's command or a mailbox. The test is skipped, not failed; the report
    counts the skipped tests with their reasons.
    """


@dataclass(frozen=True)
class Deployment:
    """The address and the users of a deployment.

    `url` is an origin without a path. `actors` maps names to what `demo --json` prints of each.
    `behind_proxy` allows headers that a reverse proxy sets. `traffic` records all exchanges.
    """

    url: str
    actors: Mapping[str, Mapping[str, Any]]
    behind_proxy: bool = field(default=False, kw_only=True)
    traffic: Traffic = field(default=Traffic(None), kw_only=True, compare=False)

    def ask(self, request: Request) -> Answer:
        """Send a request as `http_client.ask` does, and record the exchange."""
        answer = ask(self.url, request)
        self.traffic.write(request, answer)
        return answer

    def ask_json(self, request: Request) -> Any:
        """Return the JSON body of a response, or None if empty; raise `Unreachable` if rejected."""
        answer = self.ask(request)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            what = f"{request.method} {request.target}"
            raise Unreachable(f"{what}, which it needs, returns {answer.status}")
        return answer.json() if answer.body else None
