"""Contexts: what an operation gives its handler beside the request's own parameters.

A handler's first parameter is annotated with the context that its operation has. The annotation
also says what is opened for it: a transaction for a `DatabaseContext`, one SELECT for a
`PrincipalContext`, and nothing for a `Context`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from accounts.crypto.jwts import KeySet
from accounts.services.clients import ClientCredentials
from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from handlers.exchange import Exchange


class Service(Protocol):
    """Facts about the running service."""

    @property
    def issuer(self) -> str:
        """The public URL: scheme, host and port, as the operator has set them."""

    @property
    def key_set(self) -> KeySet:
        """The keys that JWTs are signed and verified with."""

    def find_document(self, path: str) -> bytes | None:
        """Return the OpenAPI document in the version that a path serves, or None."""

    def find_degradation(self, session: AccountSession) -> str | None:
        """Return why an operator should look, although requests are answered; else None."""

    @property
    def unready_reason(self) -> str | None:
        """Tell why no change can be stored, if that is known before one is tried."""

    @property
    def is_draining(self) -> bool:
        """Tell whether the service is about to shut down."""


@dataclass(frozen=True, slots=True)
class Context:
    """The context of an operation that needs no database."""

    service: Service
    read_exchange: Callable[[], Exchange]

    @property
    def exchange(self) -> Exchange:
        """The facts about the request, which few operations need and each access computes."""
        return self.read_exchange()


@dataclass(frozen=True, slots=True)
class PrincipalContext(Context):
    """The context of an operation that only reads who the caller is."""

    principal: Principal


@dataclass(frozen=True, slots=True)
class DatabaseContext(Context):
    """The context of a public operation; `session` is in a transaction."""

    session: AccountSession


@dataclass(frozen=True, slots=True)
class UserContext(DatabaseContext):
    """The context of an operation on the account of an authenticated user."""

    principal: Principal


@dataclass(frozen=True, slots=True)
class ClientContext(DatabaseContext):
    """The context of an OAuth operation; `credentials` are those of a Basic header, unverified."""

    credentials: ClientCredentials | None
