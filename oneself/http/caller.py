"""Identifies the caller of one operation, and decides whether they may use it."""

from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from accounts.crypto.jwts import Claims
from accounts.errors import CredentialNotAccepted, InvalidToken, TokenReused
from accounts.flows.tokens.rotation import end_reused, find_reuse
from accounts.origin import Origin
from accounts.services.authentication import authenticate
from accounts.services.clients import ClientCredentials
from accounts.services.database import AccountSession, lock_account
from accounts.services.policies.authorization import authorise, govern
from accounts.services.principal import CredentialKind, Presented, Principal
from accounts.services.recent_authentication import require_recent_authentication
from oneself.database import SingleReading
from oneself.document import OperationSpec
from oneself.http.guard import Request
from oneself.http.request.client_address import client_address_of
from oneself.http.request.credentials import (
    CARRIERS,
    SESSION_HEADER,
    is_same_origin,
    read_client,
    read_credential,
    refuse_cross_site,
)
from oneself.http.services import Services

#: The scope by which a personal access token rotates itself.
_ROTATION = "me/pat:rotate"


class RequestCredentials(NamedTuple):
    """The credentials of a request: of a user, of a client, or neither.

    `presented` is the user's and not yet authenticated, `credentials` are the client's, and
    `by_cookie` tells whether a cookie carries the user's.
    """

    presented: Presented | None
    credentials: ClientCredentials | None
    by_cookie: bool


class CallerReader:
    """Reads, authenticates and authorises the callers of one operation."""

    def __init__(self, spec: OperationSpec, services: Services) -> None:
        self._spec = spec
        self._services = services
        self._carriers = CARRIERS | {SESSION_HEADER} if spec.takes_session_header else CARRIERS

    def read_credentials(self, request: Request) -> RequestCredentials:
        """Read the kind of credential that the operation accepts, and no other, from the head.

        Raises:
            NotAuthenticated, MultipleCredentials, InvalidToken: As `read_credential`.
            CrossSiteRequest: The credential is a cookie, and another site may have sent the
                request.
            CredentialNotAccepted: The credential is a cookie, which the operation does not take.
            InvalidClient: The client's header is malformed.
        """
        presented, by_cookie, credentials = None, False, None
        if self._spec.accepted:
            presented, by_cookie = read_credential(
                request.scope["headers"],
                self._carriers,
                brand=self._services.api_key_brand,
                read_jwt=self._read_jwt,
            )
            if by_cookie:
                same_origin = is_same_origin(request.headers, self._services.origins)
                refuse_cross_site(request.scope["method"], same_origin=same_origin)
                if not self._spec.takes_cookie:
                    raise CredentialNotAccepted
            request.request_context.credential_kind = presented.kind
        if self._spec.takes_client:
            credentials = read_client(request.headers)
        return RequestCredentials(presented, credentials, by_cookie)

    def _read_jwt(self, token: str) -> Claims:
        issuer = self._services.issuer
        return self._services.signing.current.verify(
            token, issuer=issuer, audience=issuer, now=datetime.now(UTC)
        )

    def find_principal(
        self, presented: Presented, origin: Origin, *, blocking: bool = True
    ) -> Principal:
        """Authenticate a credential before the operation's transaction, and record its use.

        Raises:
            InvalidToken: It is unknown, revoked or expired, or its user is disabled.
            TokenReused: It was to be rotated, although a newer token has replaced it.
        """
        try:
            with self._services.database.reading(blocking=blocking, origin=origin) as reading:
                return self.authenticate(reading, presented)
        except InvalidToken:
            if self._spec.scope == _ROTATION and presented.kind is CredentialKind.PAT:
                self._end_if_reused(presented.token, origin)
            raise

    def _end_if_reused(self, token: str, origin: Origin) -> None:
        # A read first: made-up tokens must not keep writers waiting.
        with self._services.database.reading(origin=origin) as reading:
            user_id = find_reuse(reading, token)
        if user_id is None:
            return
        with self._services.database.transaction(writing=True, origin=origin) as session:
            has_ended = end_reused(session, user_id, token)
        if has_ended:
            raise TokenReused

    def authenticate(
        self,
        reading: AccountSession | SingleReading,
        presented: Presented,
        user: Principal | None = None,
    ) -> Principal:
        """Authenticate a credential, and record its use.

        If `user` was found before the transaction of a write, they are locked, and the credential
        is looked up again: one that was revoked meanwhile writes nothing.

        Raises:
            InvalidToken: As `find_principal`.
        """
        session = reading if isinstance(reading, AccountSession) else None
        if session is not None and user is not None:
            lock_account(session, user.user.user_id)
            session.authenticate_again = partial(authenticate, session, presented)
        principal = authenticate(reading, presented)
        credential = principal.credential
        if user is None:
            self._services.usage.record_use(credential, reading.now)
            self._services.usage.record_source(principal, reading.origin.address)
        if session is not None:  # a reading records no events
            session.origin = session.origin._replace(
                credential_kind=credential.kind.value, credential_id=credential.id
            )
        return principal

    def authorise(self, principal: Principal, request: Request) -> None:
        """Let a caller pass who may use the operation.

        Raises:
            Forbidden: The kind of credential, its scopes or a policy do not allow it.
            RecentAuthenticationRequired: The user must authenticate again for it.
        """
        spec, now = self._spec, datetime.now(UTC)
        authorise(
            principal,
            self._services.policies.decide,
            action=spec.action,
            accepted=spec.accepted,
            scope=spec.scope,
            read_address=partial(client_address_of, request.scope, self._services.proxies),
            now=now,
        )
        if spec.recent_authentication is not None:
            require_recent_authentication(
                principal,
                max_age=spec.recent_authentication,
                now=now,
                always=self._services.always_recent_authentication,
            )

    def govern(self, session: AccountSession) -> None:
        """Let the policies decide the operation, which is public, once the act knows its user."""
        govern(session, self._services.policies.decide, self._spec.action)
