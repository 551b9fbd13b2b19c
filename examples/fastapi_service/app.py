"""A service of yours that believes oneself's tokens, in either of two ways.

A JWT is verified here, by the keys that oneself publishes: nothing is asked for, and one that was
revoked stays good for the rest of its ten minutes. Any other token is a personal access token, and
oneself is asked about it each time, so that one that was revoked is refused at once.

    pip install fastapi uvicorn 'pyjwt[crypto]>=2.15' dist/oneself_client-*.whl
    export ONESELF_URL=https://account.example.com CLIENT_ID=cli_… CLIENT_SECRET=cls_…
    export AUDIENCE=https://reports.example.com
    uvicorn --app-dir examples/fastapi_service app:app

The client is made with `python -m oneself client add reports --tenant tnt_… --scope me/profile:read
--audience https://reports.example.com`: its audience is this service, and nobody else's JWTs are
taken here (RFC 9068 section 4).
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
SCOPE = "me/profile:read"

oneself = AsyncOneself(ISSUER, client=(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]))
# It keeps the keys, and looks again when a token names one that it does not know. Anybody can send
# such tokens, so it does that once in 30 seconds at most; PyJWT before 2.14 does it for each. After
# a failure it asks again at once, one request at a time; all others wait for that, so not for long.
key_set = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", lifespan=3600, timeout=5)

# These say nothing about the token.
NOT_ANSWERED = (
    jwt.PyJWKClientConnectionError,
    errors.TooManyAttempts,
    errors.Unavailable,
    errors.UnexpectedAnswer,
    errors.Unreachable,
)


@dataclass(frozen=True)
class Caller:
    """Who asks, and what their token may be used for."""

    user_id: str
    scopes: frozenset[str]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close the connections at the end."""
    async with oneself:
        yield


app = FastAPI(lifespan=lifespan)


def verify(token: str) -> Caller | None:
    """The caller of a JWT, or None for one that is not good."""
    try:
        # The type keeps other JWTs of the same issuer out (RFC 9068 section 4). Whoever sends the
        # token writes its header, so that it need not be a string.
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
        # Not only InvalidTokenError: a key that is not in the set is a PyJWKClientError.
        return None
    return Caller(claims["sub"], frozenset(claims["scope"].split()))


async def introspect(token: str) -> Caller | None:
    """The caller of any other token, or None for one that is not good now."""
    try:
        told = await oneself.oauth.introspect_token(token=token)
    except errors.InvalidRequest:
        # It cannot even be asked about: it is longer than any token.
        return None
    if not told.active or not told.sub or not told.scope:
        return None
    # A JWT for somebody else has an audience; a personal access token has none.
    if told.aud and told.aud != AUDIENCE:
        return None
    return Caller(told.sub, frozenset(told.scope.split()))


async def find_caller(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> Caller:
    """Whoever the bearer token belongs to.

    Raises:
        HTTPException: The token is not good, or may not be used for this, or cannot be checked.
    """
    token = credentials.credentials
    try:
        if token.startswith("pat_"):
            caller = await introspect(token)
        else:
            # In a thread, since the keys may have to be fetched first.
            caller = await run_in_threadpool(verify, token)
    except NOT_ANSWERED as error:
        raise HTTPException(503, "Tokens cannot be checked just now.") from error
    if caller is None:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    if SCOPE not in caller.scopes:
        challenge = f'Bearer error="insufficient_scope", scope="{SCOPE}"'
        raise HTTPException(403, headers={"WWW-Authenticate": challenge})
    return caller


@app.get("/report")
async def read_report(caller: Annotated[Caller, Depends(find_caller)]) -> dict[str, str]:
    """What only a caller with the right token reads."""
    return {"for": caller.user_id}
