"""Authlib's session and resource server: both methods with a secret, and its own checks."""

import os
import time

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet

URL, SESSION, USER_ID = (os.environ[name] for name in ("ONESELF_URL", "SESSION", "USER_ID"))
CLIENT = {"client_id": os.environ["CLIENT_ID"], "client_secret": os.environ["CLIENT_SECRET"]}
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
EXCHANGE = {
    "subject_token": SESSION,
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}

content = requests.get(f"{URL}/.well-known/oauth-authorization-server", timeout=30).json()
metadata = AuthorizationServerMetadata(content)
for name in metadata.REGISTRY_KEYS:
    # An empty list counts as missing here; RFC 8414 section 2 requires the member, and this
    # server has no authorization endpoint that could have response types.
    if name != "response_types_supported":
        getattr(metadata, f"validate_{name}", lambda: None)()
print("discovery")

token_url = metadata["token_endpoint"]
for method in ("client_secret_basic", "client_secret_post"):
    session = OAuth2Session(**CLIENT, token_endpoint_auth_method=method)
    session.fetch_token(token_url, grant_type=GRANT, **EXCHANGE)
print("exchange")


class Validator(JWTBearerTokenValidator):
    """The checks of RFC 9068, by the published keys."""

    def get_jwks(self):
        """Return the published keys."""
        return KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=30).json())


validator = Validator(issuer=URL, resource_server=URL)
claims = validator.authenticate_token(session.token["access_token"])
validator.validate_token(claims, ["me/profile:read"], None)
assert claims["sub"] == USER_ID
print("keys")

# An expired token is renewed before the request.
issued = session.token["refresh_token"]
session.metadata["token_endpoint"] = token_url
session.token["expires_at"] = int(time.time()) - 1
assert session.get(f"{URL}/v1/me").json()["data"]["email"] == os.environ["EMAIL"]
print("use")
assert session.token["refresh_token"] != issued
print("refresh")


def is_active(token: str) -> bool:
    """Return whether a token is active."""
    return session.introspect_token(metadata["introspection_endpoint"], token).json()["active"]


renewed = session.token["refresh_token"]
assert is_active(renewed)
print("introspection")
session.revoke_token(metadata["revocation_endpoint"], renewed).raise_for_status()
assert not is_active(renewed)
print("revocation")


def refuse(client: OAuth2Session, code: str, grant_type: str, **fields: str) -> None:
    """Check that the token endpoint refuses a request with a code."""
    try:
        client.fetch_token(token_url, grant_type=grant_type, **fields)
    except OAuthError as error:
        if error.error == code:
            return
        raise
    raise AssertionError(code)


public = OAuth2Session(os.environ["PUBLIC_ID"], revocation_endpoint_auth_method="none")
held = public.fetch_token(token_url, grant_type=GRANT, **EXCHANGE)["refresh_token"]
public.revoke_token(metadata["revocation_endpoint"], held).raise_for_status()
refuse(public, "invalid_grant", "refresh_token", refresh_token=held)
print("public client")

refuse(session, "unsupported_grant_type", "client_credentials")
refuse(OAuth2Session(CLIENT["client_id"], "wrong"), "invalid_client", GRANT, **EXCHANGE)
print("refusals")
