"""OAuth: JWTs for the clients of a tenant, their introspection and the public keys."""

from collections.abc import Mapping
from typing import Any, cast

from accounts.errors import Invalid, InvalidClient, InvalidRequest
from accounts.flows.oauth import client_methods, token_exchange, token_introspection
from accounts.services.credentials import SESSION_RIGHTS
from handlers.context import ClientContext, Context
from handlers.dialect import Dialect, Refusal, notices
from handlers.errors import Malformed
from handlers.exchange import Reply
from models import Client, wire

_METHODS = (*client_methods.SECRET_METHODS, client_methods.NO_SECRET)
#: A new key signs a minute after it is stored, and the last replica has read it by then: no cache
#: may keep the set without it for as long.
KEY_SECONDS = 30
_METADATA_SECONDS = 300
_SCOPES = sorted(SESSION_RIGHTS)
_PLAIN = str.maketrans({'"': "'", "\\": "/"})


def _render(refusal: Refusal) -> Mapping[str, Any]:
    # RFC 6749 section 5.2 has one code for every request of a wrong shape, and allows no quotation
    # mark and no backslash in a description.
    error = refusal.error
    code = InvalidRequest.code if isinstance(error, Malformed) else error.code
    description = " ".join((str(error), *notices(refusal)))
    if refusal.violations is not None:
        description = "; ".join(map(str, refusal.violations))
    return {"error": code, "error_description": description.translate(_PLAIN)[:2000]}


#: Here the client is the caller: elsewhere it is named in a body, and InvalidClient is a 400.
_STATUSES = {Invalid: 400, InvalidClient: 401}
DIALECT = Dialect(_STATUSES, "application/json", _render, published=False)


def _client(
    context: ClientContext,
    body: wire.OauthTokenRequest | wire.OauthIntrospectionRequest | wire.OauthRevocationRequest,
) -> Client:
    return client_methods.identify_client(
        context.session,
        context.credentials,
        client_id=body.get("client_id"),
        client_secret=body.get("client_secret"),
    )


def issue_token(context: ClientContext, body: wire.OauthTokenRequest) -> Reply[wire.OauthToken]:
    issued = token_exchange.issue_token(
        context.session,
        context.service.key_set,
        _client(context, body),
        grant_type=body["grant_type"],
        subject_token=body.get("subject_token"),
        subject_token_type=body.get("subject_token_type"),
        refresh_token=body.get("refresh_token"),
        scope=body.get("scope"),
        audience=body.get("audience"),
        resource=body.get("resource"),
        # The document allows further parameters, and this one must not be ignored.
        actor_token=cast("str | None", body.get("actor_token")),
    )
    return Reply(
        {
            "access_token": issued.access_token,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": issued.seconds,
            "scope": " ".join(sorted(issued.scopes)),
            "refresh_token": issued.refresh_token,
        }
    )


def introspect_token(
    context: ClientContext, body: wire.OauthIntrospectionRequest
) -> Reply[wire.OauthIntrospection]:
    token = token_introspection.introspect_token(
        context.session, context.service.key_set, _client(context, body), body["token"]
    )
    if token is None:
        return Reply({"active": False})
    answer: wire.OauthIntrospection = {
        "active": True,
        "client_id": token.client_id,
        "sub": token.subject,
        "scope": " ".join(sorted(token.scopes)),
        "iss": context.service.issuer,
        "iat": int(token.issued_at.timestamp()),
        "exp": int(token.expires_at.timestamp()),
        "email_verified": token.email_verified,
    }
    if token.bearer:
        answer["token_type"] = "Bearer"  # noqa: S105 # the name of a scheme
    if token.audience is not None:
        answer["aud"] = token.audience
    if token.jti is not None:
        answer["jti"] = token.jti
    return Reply(answer)


def revoke_token(context: ClientContext, body: wire.OauthRevocationRequest) -> Reply[None]:
    token_introspection.revoke_token(
        context.session, context.service.key_set, _client(context, body), body["token"]
    )
    return Reply(None)


def get_key_set(context: Context, if_none_match: str | None) -> Reply[wire.OauthKeySet]:
    keys = [cast("wire.OauthKey", key) for key in context.service.key_set.public()]
    return Reply.cacheable({"keys": keys}, if_none_match, seconds=KEY_SECONDS)


def get_server_metadata(
    context: Context, if_none_match: str | None
) -> Reply[wire.OauthServerMetadata]:
    issuer = context.service.issuer
    metadata: wire.OauthServerMetadata = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": _SCOPES,
        "response_types_supported": [],
        "grant_types_supported": list(token_exchange.GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(_METHODS),
        "introspection_endpoint_auth_methods_supported": list(client_methods.SECRET_METHODS),
        "revocation_endpoint_auth_methods_supported": list(_METHODS),
    }
    return Reply.cacheable(metadata, if_none_match, seconds=_METADATA_SECONDS)


def get_openid_configuration(
    context: Context, if_none_match: str | None
) -> Reply[wire.OauthServerMetadata]:
    return get_server_metadata(context, if_none_match)


def get_resource_metadata(
    context: Context, if_none_match: str | None
) -> Reply[wire.OauthResourceMetadata]:
    issuer = context.service.issuer
    metadata: wire.OauthResourceMetadata = {
        "resource": issuer,
        "authorization_servers": [issuer],
        "scopes_supported": _SCOPES,
        "bearer_methods_supported": ["header"],
    }
    return Reply.cacheable(metadata, if_none_match, seconds=_METADATA_SECONDS)
