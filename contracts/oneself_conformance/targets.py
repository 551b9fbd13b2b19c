"""The deployment under test, accessed over HTTP like any of its clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from oneself_conformance.http_client import Answer, Request, ask
from oneself_conformance.levels import Level
from oneself_conformance.masking import SecretMask
from oneself_conformance.recipe import Recipe
from oneself_conformance.traffic import Traffic

_HINTS: Mapping[int, str] = {
    HTTPStatus.TOO_MANY_REQUESTS: "; raise the rate limits of the deployment",
    HTTPStatus.SERVICE_UNAVAILABLE: "; the deployment is overloaded",
}


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
    `hold` is the lowest level of assertions to check, and `recipe` says how it differs from ours.
    `timeout` is how long to wait for an answer, in seconds. `mask` collects its secrets.
    """

    url: str
    actors: Mapping[str, Mapping[str, Any]]
    behind_proxy: bool = field(default=False, kw_only=True)
    traffic: Traffic = field(default=Traffic(None), kw_only=True, compare=False)
    hold: Level = field(default=Level.HOUSE, kw_only=True)
    recipe: Recipe = field(default=Recipe(), kw_only=True)
    timeout: float = field(default=30.0, kw_only=True)
    mask: SecretMask = field(default_factory=SecretMask, kw_only=True, compare=False)

    @property
    def is_foreign(self) -> bool:
        """True if the house rules are not checked, so that no other dialect may be used."""
        return self.hold is not Level.HOUSE

    def ask(self, request: Request) -> Answer:
        """Send a request as `http_client.ask` does, and record the exchange."""
        started = datetime.now(UTC)
        answer = ask(self.url, request, timeout=self.timeout)
        self.traffic.write(request, answer, started)
        self.mask.learn(answer)
        return answer

    def ask_json(self, request: Request) -> Any:
        """Return the JSON body of a response, or None if empty; raise `Unreachable` if rejected."""
        answer = self.ask(request)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            what = f"{request.method} {request.target}"
            hint = _HINTS.get(answer.status, "")
            raise Unreachable(f"{what}, which it needs, returns {answer.status}{hint}")
        return answer.json() if answer.body else None
