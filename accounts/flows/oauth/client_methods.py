"""The three ways in which a client identifies itself (RFC 6749 section 2.3)."""

from accounts.errors import InvalidClient, InvalidRequest
from accounts.services.clients import ClientCredentials, authenticate_client, find_public_client
from accounts.services.database import AccountSession
from models import Client

_BASIC = "client_secret_basic"
_POST = "client_secret_post"

#: With a secret: in a Basic header or in the form. The names are IANA's.
SECRET_METHODS = (_BASIC, _POST)
#: Without a secret, public clients only.
NO_SECRET = "none"  # noqa: S105 # the name of a method

_NEEDS_SECRET = f"Send its secret by {_BASIC} or {_POST}; only public clients have none."


def identify_client(
    session: AccountSession,
    credentials: ClientCredentials | None,
    *,
    client_id: str | None,
    client_secret: str | None,
) -> Client:
    """Return the client of a request: by the credentials of its header, or by its form.

    Raises:
        InvalidClient: The client is unknown, or its secret is missing or wrong.
        InvalidRequest: The form has a secret as well as the header, or without an id; or it names
            another client than the header.
        TooManyAttempts: The client or the source has failed too often.
    """
    if credentials is not None:
        if client_secret is not None:
            raise InvalidRequest.of("client_secret", f"must not be sent with {_BASIC}")
        client = authenticate_client(session, credentials)
        if client_id not in {None, client.id}:
            raise InvalidRequest.of("client_id", "must be the client that authenticates")
        return client
    if client_secret is not None:
        if client_id is None:
            raise InvalidRequest.of("client_id", "is required with a client_secret")
        return authenticate_client(session, ClientCredentials(client_id, client_secret))
    try:
        return find_public_client(session, client_id or "")
    except InvalidClient:
        raise InvalidClient(_NEEDS_SECRET) from None


def require_secret(client: Client) -> None:
    """Refuse a public client, which any program can claim to be.

    Raises:
        InvalidClient: The client is public.
    """
    if client.is_public:
        raise InvalidClient(_NEEDS_SECRET)
