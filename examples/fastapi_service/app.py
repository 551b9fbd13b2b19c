"""A service of yours that accepts oneself's tokens.

JWTs are verified here with oneself's published keys: no request is needed, but a revoked JWT stays
valid for the rest of its ten minutes. Personal access tokens are introspected with each request,
so a revoked one is rejected at once. Users create theirs with the client of this service: one that
was created with another client was given to another service, which must not be able to use it here.

    pip install fastapi uvicorn 'pyjwt[crypto]>=2.15' dist/oneself_client-*.whl
    export ONESELF_URL=https://account.example.com CLIENT_ID=cli_… CLIENT_SECRET=cls_…
    export AUDIENCE=https://reports.example.com
    uvicorn --app-dir examples/fastapi_service app:app

Create the client with `python -m oneself client add reports --tenant tnt_… --scope me/profile:read
--audience https://reports.example.com`. JWTs for other audiences are rejected here (RFC 9068
section 4).
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from oneself_client import AsyncOneself, errors

ISSUER = os.environ["ONESELF_URL"].rstrip("/")
AUDIENCE = os.environ["AUDIENCE"]
CLIENT_ID = os.environ["CLIENT_ID"]
SCOPE = "me/profile:read"

oneself = AsyncOneself(ISSUER, client=(CLIENT_ID, os.environ["CLIENT_SECRET"]))
# Caches the keys, and fetches them again if a token names an unknown key. Since attackers can send
# such tokens, it does so at most every 30 seconds; PyJWT before 2.14 does so for each. After a
# failed fetch it retries at once, one request at a time, hence the short timeout.
key_set = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", lifespan=3600, timeout=5)

# Errors that say nothing about the token.
CANNOT_CHECK = (
    jwt.PyJWKClientConnectionError,
    errors.TooManyAttempts,
    errors.Unavailable,
    errors.UnexpectedAnswer,
    errors.Unreachable,
)


@dataclass(frozen=True)
class Caller:
    """The user of a token, and its scopes."""

    user_id: str
    scopes: frozenset[str]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close the connections at the end."""
    async with oneself:
        yield


app = FastAPI(lifespan=lifespan)


def verify(token: str) -> Caller | None:
    """Return the caller of a JWT, or None if it is invalid."""
    try:
        # The type excludes other JWTs of the same issuer (RFC 9068 section 4). The header is not
        # verified yet, so the type may not be a string.
        if str(jwt.get_unverified_header(token).get("typ")).lower() != "at+jwt":
            return None
        claims = jwt.decode(
            token,
            key_set.get_signing_key_from_jwt(token).key,
            algorithms=["RS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "scope"]},
        )
    except jwt.PyJWKClientConnectionError:
        raise
    except jwt.PyJWTError:
        # Not only InvalidTokenError: an unknown key raises a PyJWKClientError.
        return None
    return Caller(claims["sub"], frozenset(claims["scope"].split()))


async def introspect(token: str) -> Caller | None:
    """Return the caller of another token, or None if it is not active."""
    try:
        token_info = await oneself.oauth.introspect_token(token=token)
    except errors.InvalidRequest:
        # The token is longer than any valid one.
        return None
    if not token_info.active or not token_info.sub or not token_info.scope:
        return None
    if token_info.aud and token_info.aud != AUDIENCE:
        return None
    # A personal access token has no audience, but the client that it was created with.
    if not token_info.aud and token_info.client_id != CLIENT_ID:
        return None
    return Caller(token_info.sub, frozenset(token_info.scope.split()))


async def find_caller(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> Caller:
    """Return the caller of the bearer token.

    Raises:
        HTTPException: The token is invalid, lacks the scope, or cannot be checked.
    """
    token = credentials.credentials
    try:
        if token.startswith("pat_"):
            caller = await introspect(token)
        else:
            # In a thread, since it may fetch the keys.
            caller = await run_in_threadpool(verify, token)
    except CANNOT_CHECK as error:
        raise HTTPException(503, "Tokens cannot be checked at the moment.") from error
    if caller is None:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    if SCOPE not in caller.scopes:
        challenge = f'Bearer error="insufficient_scope", scope="{SCOPE}"'
        raise HTTPException(403, headers={"WWW-Authenticate": challenge})
    return caller


@app.get("/report")
async def read_report(caller: Annotated[Caller, Depends(find_caller)]) -> dict[str, str]:
    """Return the report, for callers with a valid token."""
    return {"for": caller.user_id}
