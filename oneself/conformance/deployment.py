"""What is proven: a deployment, asked over HTTP like any of its clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oneself.conformance.http_client import Answer, Request, ask
from oneself.conformance.traffic import Traffic

__all__ = ["Deployment", "Unreachable"]


class Unreachable(Exception):
    """What a promise needs cannot be had from here; the message says what it is.

    It is no broken promise: an operator's command or a mailbox, for instance, is not reached
    through HTTP. Whoever proves a deployment reads how many promises were left out, and why.
    """


@dataclass(frozen=True)
class Deployment:
    """Where a deployment is, and the people who are known to it.

    `url` is an origin, without a path; `people` has, by name, what `demo --json` prints of each.
    A proxy in front has a name and a connection of its own, of which the document says nothing.
    `traffic` takes down what is exchanged.
    """

    url: str
    people: Mapping[str, Mapping[str, Any]]
    behind_proxy: bool = field(default=False, kw_only=True)
    traffic: Traffic = field(default=Traffic(None), kw_only=True, compare=False)

    def ask(self, request: Request) -> Answer:
        """Send it one request, over a connection of its own.

        Raises:
            OSError, http.client.HTTPException: There was no answer.
        """
        answer = ask(self.url, request)
        self.traffic.write(request, answer)
        return answer
