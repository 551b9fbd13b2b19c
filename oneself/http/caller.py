"""Identifies the caller of one operation, and decides whether they may use it."""

from accounts.services.authentication import authenticate
from accounts.services.authorization import authorise
from accounts.services.database import AccountSession
from accounts.services.principal import Presented, Principal
from oneself.database import SingleReading
from oneself.document import OperationSpec
from oneself.http.guard import Request
from oneself.http.request.credential_reader import CredentialReader, RequestCredentials
from oneself.http.services import Services

__all__ = ["CallerReader"]


class CallerReader:
    """Reads, authenticates and authorises the callers of one operation."""

    def __init__(self, spec: OperationSpec, services: Services) -> None:
        self._spec = spec
        self._services = services
        self._credentials = CredentialReader(
            spec,
            api_key_brand=services.api_key_brand,
            origins=services.origins,
            issuer=services.issuer,
            signing=services.signing,
        )

    def read_credentials(self, request: Request) -> RequestCredentials:
        """Read the credential from the head of a request; nothing is looked up.

        Raises:
            AccountError: As `CredentialReader.read`.
        """
        credentials = self._credentials.read(request.scope, request.headers)
        if credentials.presented is not None:
            request.request_context.credential_kind = credentials.presented.kind
        return credentials

    def find_principal(self, presented: Presented, *, blocking: bool) -> Principal:
        """Authenticate a credential outside of the operation's transaction.

        Raises:
            InvalidToken: It is unknown, revoked or expired, or its user is disabled.
        """
        with self._services.database.reading(blocking=blocking) as reading:
            return authenticate(reading, presented)

    def authenticate(
        self, session: AccountSession | SingleReading, presented: Presented
    ) -> Principal:
        """Authenticate a credential within the operation's transaction, and record its use.

        Raises:
            InvalidToken: As `find_principal`.
        """
        principal = authenticate(session, presented)
        credential = principal.credential
        self._services.usage.record_use(credential, session.now)
        if isinstance(session, AccountSession):  # a reading records no events
            session.origin = session.origin._replace(
                credential_kind=credential.kind.value, credential_id=credential.id
            )
        return principal

    def authorise(self, principal: Principal) -> None:
        """Let a caller pass who may use the operation.

        Raises:
            Forbidden: The kind of credential, its scopes or a policy do not allow it.
        """
        spec = self._spec
        authorise(
            principal,
            self._services.policies.decide,
            action=spec.operation_id,
            accepted=spec.accepted,
            scope=spec.scope,
        )
