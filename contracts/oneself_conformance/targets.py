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

#: By the statuses of a deployment that cannot be tested as it is: what to do.
OVERLOADED: Mapping[int, str] = {
    HTTPStatus.TOO_MANY_REQUESTS: "raise the rate limits of the deployment",
    HTTPStatus.SERVICE_UNAVAILABLE: "test the deployment when it is idle",
}
#: The rate limits of our own service for these tests, as `serve --for-conformance` sets them. The
#: others keep their defaults, which rows compare.
RATE_LIMITS: Mapping[str, str] = {
    f"ONESELF_THROTTLE_{name}": "100000/1" for name in ("ACCOUNT", "SIGNUP", "SOURCE", "WRITE")
}
#: An answer may take so many times as long as the slowest until then.
_PATIENCE = 10
_LONGEST_WAIT = 300.0


class Unreachable(Exception):
    """A test needs something that cannot be reached over HTTP; the message says what.

    Examples are an operator's command or a mailbox. The test is skipped, not failed; the report
    counts the skipped tests with their reasons. `is_overload` is set if the deployment is too slow,
    or its rate limits are too low.
    """

    def __init__(self, message: str, *, is_overload: bool = False) -> None:
        super().__init__(message)
        self.is_overload = is_overload


@dataclass
class Pace:
    """The slowest answer until now, in seconds."""

    slowest: float = 0.0


@dataclass(frozen=True)
class Deployment:
    """The address and the users of a deployment.

    `url` is an origin without a path. `actors` maps names to what `demo --json` prints of each.
    `behind_proxy` allows headers that a reverse proxy sets. `traffic` records all exchanges.
    `hold` is the lowest level of assertions to check, and `recipe` says how it differs from ours.
    `timeout` is how long to wait for an answer, in seconds; unless `is_strict`, slow answers make
    it grow. `mask` collects its secrets.
    """

    url: str
    actors: Mapping[str, Mapping[str, Any]]
    behind_proxy: bool = field(default=False, kw_only=True)
    traffic: Traffic = field(default=Traffic(None), kw_only=True, compare=False)
    hold: Level = field(default=Level.HOUSE, kw_only=True)
    recipe: Recipe = field(default=Recipe(), kw_only=True)
    timeout: float = field(default=30.0, kw_only=True)
    is_strict: bool = field(default=False, kw_only=True)
    pace: Pace = field(default_factory=Pace, kw_only=True, compare=False)
    mask: SecretMask = field(default_factory=SecretMask, kw_only=True, compare=False)

    @property
    def is_foreign(self) -> bool:
        """True if the house rules are not checked, so that no other dialect may be used."""
        return self.hold is not Level.HOUSE

    @property
    def deadline(self) -> float:
        """The wait for the next answer, in seconds."""
        if self.is_strict:
            return self.timeout
        return max(self.timeout, min(_PATIENCE * self.pace.slowest, _LONGEST_WAIT))

    def ask(self, request: Request) -> Answer:
        """Send a request as `http_client.ask` does, and record the exchange."""
        started = datetime.now(UTC)
        answer = ask(self.url, request, timeout=self.deadline)
        if not request.dribbles:  # those wait for the deployment's own timeout
            took = (datetime.now(UTC) - started).total_seconds()
            self.pace.slowest = max(self.pace.slowest, took)
        self.traffic.write(request, answer, started)
        self.mask.learn(answer)
        return answer

    def ask_json(self, request: Request) -> Any:
        """Return the JSON body of a response, or None if empty; raise `Unreachable` if rejected."""
        answer = self.ask(request)
        require_success(request, answer)
        return answer.json() if answer.body else None


def require_success(request: Request, answer: Answer) -> None:
    """Raise `Unreachable` if a response to a request that prepares a test is a refusal."""
    if answer.status >= HTTPStatus.BAD_REQUEST:
        what = f"{request.method} {request.target}, which it needs, returns {answer.status}"
        hint = OVERLOADED.get(answer.status)
        raise Unreachable(f"{what}; {hint}" if hint else what, is_overload=hint is not None)
