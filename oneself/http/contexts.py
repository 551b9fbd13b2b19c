"""Makes the context of a handler: what it may use of a request and of the service."""

from functools import partial

from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from handlers.context import ClientContext, Context, DatabaseContext, PrincipalContext, UserContext
from handlers.exchange import Exchange
from oneself.database import SingleReading
from oneself.document import OperationSpec
from oneself.http.caller import RequestCredentials
from oneself.http.guard import Request
from oneself.http.request.client_address import user_agent_of
from oneself.http.request.credentials import is_same_origin
from oneself.http.services import Services

#: What an operation reads and writes with: a transaction, single reads, or nothing.
Session = AccountSession | SingleReading | None


def make_context(
    services: Services,
    spec: OperationSpec,
    request: Request,
    credentials: RequestCredentials,
    *,
    session: Session,
    principal: Principal | None,
) -> Context:
    """Return the context of the kind that belongs to the session and the caller."""
    read_exchange = partial(_read_exchange, services, request, by_cookie=credentials.by_cookie)
    if isinstance(session, AccountSession):
        if principal is not None:
            return UserContext(services, read_exchange, session, principal)
        if spec.takes_client:
            return ClientContext(services, read_exchange, session, credentials.credentials)
        return DatabaseContext(services, read_exchange, session)
    if principal is not None:
        return PrincipalContext(services, read_exchange, principal)
    return Context(services, read_exchange)


def _read_exchange(services: Services, request: Request, *, by_cookie: bool) -> Exchange:
    return Exchange(
        user_agent=user_agent_of(request.headers),
        same_origin=is_same_origin(request.headers, services.origins),
        by_cookie=by_cookie,
    )
