"""requests-oauthlib: the grants that oauthlib has, and the exchange as another one."""

import os
import time
from collections.abc import Callable

import requests
from oauthlib.oauth2 import (
    BackendApplicationClient,
    InvalidClientError,
    InvalidGrantError,
    OAuth2Error,
    UnsupportedGrantTypeError,
)
from requests_oauthlib import OAuth2Session

# The service under test has no TLS.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
# Without a requested scope, the server answers with those that it grants.
os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"] = "1"

URL, SESSION = os.environ["ONESELF_URL"], os.environ["SESSION"]
CLIENT_ID, CLIENT_SECRET = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
PUBLIC_ID = os.environ["PUBLIC_ID"]
TOKEN_URL = f"{URL}/oauth/token"


class ExchangeClient(BackendApplicationClient):
    """oauthlib has no token exchange, and this is how it takes other grants."""

    grant_type = "urn:ietf:params:oauth:grant-type:token-exchange"


def exchange(client_id: str, **fields: object) -> OAuth2Session:
    """Return a session with a token for the session of the user."""
    session = OAuth2Session(client=ExchangeClient(client_id))
    session.fetch_token(
        TOKEN_URL,
        subject_token=SESSION,
        subject_token_type="urn:ietf:params:oauth:token-type:access_token",
        **fields,
    )
    return session


# By default the secret is in the header, and with `include_client_id` in the form.
exchange(CLIENT_ID, auth=(CLIENT_ID, CLIENT_SECRET))
issued = exchange(CLIENT_ID, client_secret=CLIENT_SECRET, include_client_id=True).token
print("exchange")

# An expired token is renewed before the request.
renewals = []
session = OAuth2Session(
    CLIENT_ID,
    token={**issued, "expires_in": -30, "expires_at": time.time() - 30},
    auto_refresh_url=TOKEN_URL,
    auto_refresh_kwargs={"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
    token_updater=renewals.append,
)
assert session.get(f"{URL}/v1/me").json()["data"]["email"] == os.environ["EMAIL"]
print("use")
[renewed] = renewals
assert renewed["refresh_token"] != issued["refresh_token"]
print("refresh")


def revoke(client_id: str, token: str, **fields: str) -> None:
    """Send the request that oauthlib prepares."""
    url, headers, body = ExchangeClient(client_id).prepare_token_revocation_request(
        f"{URL}/oauth/revoke", token, "refresh_token", client_id=client_id, **fields
    )
    requests.post(url, body, headers=headers, timeout=30).raise_for_status()


def refuse(refusal: type[OAuth2Error], request: Callable[[], object]) -> None:
    """Check that the token endpoint refuses a request."""
    try:
        request()
    except refusal:
        return
    raise AssertionError(refusal)


def refresh(client_id: str, token: str, **fields: str) -> Callable[[], object]:
    """Return a request that renews a token."""
    session = OAuth2Session(client_id, token={"refresh_token": token})
    return lambda: session.refresh_token(TOKEN_URL, client_id=client_id, **fields)


revoke(CLIENT_ID, renewed["refresh_token"], client_secret=CLIENT_SECRET)
revoked = refresh(CLIENT_ID, renewed["refresh_token"], client_secret=CLIENT_SECRET)
refuse(InvalidGrantError, revoked)
print("revocation")

held = exchange(PUBLIC_ID, include_client_id=True).token["refresh_token"]
revoke(PUBLIC_ID, held)
refuse(InvalidGrantError, refresh(PUBLIC_ID, held))
print("public client")

machine = OAuth2Session(client=BackendApplicationClient(CLIENT_ID))
auth = (CLIENT_ID, CLIENT_SECRET)
refuse(UnsupportedGrantTypeError, lambda: machine.fetch_token(TOKEN_URL, auth=auth))
refuse(InvalidClientError, lambda: exchange(CLIENT_ID, auth=(CLIENT_ID, "wrong")))
print("refusals")
