"""Reads the credentials that one operation accepts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from accounts.crypto.jwts import Claims
from accounts.errors import InvalidClient
from accounts.services.clients import ClientCredentials
from accounts.services.principal import Presented
from oneself.document import OperationSpec
from oneself.http.request.credentials import (
    is_same_origin,
    read_client,
    read_credential,
    refuse_cross_site,
)
from oneself.runtime.signing_keys import SigningKeys

__all__ = ["CredentialReader", "RequestCredentials"]


class RequestCredentials(NamedTuple):
    """The credentials of a request: of a user, of a client, or neither.

    `presented` is the user's and not yet authenticated, `credentials` are the client's, and
    `by_cookie` tells whether a cookie carries the user's.
    """

    presented: Presented | None
    credentials: ClientCredentials | None
    by_cookie: bool


class CredentialReader:
    """Reads the credentials of one operation's requests, without a look at the database."""

    def __init__(
        self,
        spec: OperationSpec,
        *,
        api_key_brand: str,
        origins: frozenset[str],
        issuer: str,
        signing: SigningKeys,
    ) -> None:
        self._spec = spec
        self._brand = api_key_brand
        self._origins = origins
        self._issuer = issuer
        self._signing = signing

    def read(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> RequestCredentials:
        """Read the kind of credential that the operation accepts, and no other.

        Raises:
            NotAuthenticated, MultipleCredentials, InvalidToken: As `read_credential`.
            CrossSiteRequest: The credential is a cookie, and another site may have sent the
                request.
            InvalidClient: The client's header is missing or malformed.
        """
        presented, by_cookie, credentials = None, False, None
        if self._spec.accepted:
            presented, by_cookie = read_credential(
                scope["headers"], brand=self._brand, read_jwt=self._read_jwt
            )
            if by_cookie:
                same_origin = is_same_origin(headers, self._origins)
                refuse_cross_site(scope["method"], same_origin=same_origin)
        if self._spec.client is not None:
            credentials = read_client(headers)
            if credentials is None and self._spec.client == "required":
                raise InvalidClient
        return RequestCredentials(presented, credentials, by_cookie)

    def _read_jwt(self, token: str) -> Claims:
        return self._signing.current.verify(
            token, issuer=self._issuer, audience=self._issuer, now=datetime.now(UTC)
        )
