"""Hyperclast's account API in one file, written from its Users page.

    pip install fastapi uvicorn
    python server.py --port 8000 > people.json

Users, sessions and tokens are in memory and end with the process. The two users that it starts with
are printed as a credentials file for the conformance tests.
"""

import argparse
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

ALPHANUMERICS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
PASSWORD_MIN_LENGTH = 8
READ = ["GET", "HEAD"]
SECURITY_HEADERS = {
    "vary": "Cookie",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


# Users, sessions and tokens


@dataclass
class User:
    """A user, with the fields of the Users page."""

    email: str
    username: str
    salt: bytes
    password_hash: bytes
    first_name: str = ""
    last_name: str = ""
    email_verified: bool = False
    external_id: str = field(
        default_factory=lambda: "".join(secrets.choice(ALPHANUMERICS) for _ in range(10))
    )
    access_token: str = ""


@dataclass
class Session:
    """A login of an app or a browser, with the CSRF token of the browser."""

    user: User
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    csrf_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))


USERS: dict[str, User] = {}
SESSIONS: dict[str, Session] = {}
TOKENS: dict[str, User] = {}


def hash_password(password: str, salt: bytes) -> bytes:
    """Hash a password."""
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def create_user(email: str, password: str, **profile: Any) -> User:
    """Create a user with an access token, and a username made of the email address."""
    salt = secrets.token_bytes(16)
    username = f"{email.partition('@')[0][:16]}{secrets.randbelow(10_000):04}"
    user = User(email, username, salt, hash_password(password, salt), **profile)
    USERS[email] = user
    issue_token(user)
    return user


def create_session(user: User) -> Session:
    """Create a session."""
    session = Session(user)
    SESSIONS[session.key] = session
    return session


def issue_token(user: User) -> None:
    """Replace the access token of a user by a new one, of 43 characters."""
    TOKENS.pop(user.access_token, None)
    user.access_token = secrets.token_urlsafe(32)
    TOKENS[user.access_token] = user


# Responses


class Json(JSONResponse):
    """JSON with a charset, and a space after each separator."""

    media_type = "application/json; charset=utf-8"

    def render(self, content: Any) -> bytes:
        """Serialize the content."""
        return json.dumps(content).encode()


app = FastAPI(title="Hyperclast, reimplemented", default_response_class=Json)


@app.middleware("http")
async def add_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Add the security headers."""
    response = await call_next(request)
    response.headers.update(SECURITY_HEADERS)
    return response


@app.exception_handler(StarletteHTTPException)
async def render_error(_request: Request, error: StarletteHTTPException) -> Json:
    """Render an error in the one format of the API."""
    body = {"error": "error", "message": error.detail, "detail": error.detail}
    return Json(body, error.status_code, headers=error.headers)


@app.exception_handler(RequestValidationError)
async def render_invalid_fields(_request: Request, error: RequestValidationError) -> Json:
    """Render the invalid fields of a body."""
    fields = [{name: each[name] for name in ("loc", "msg", "type")} for each in error.errors()]
    return Json({"error": "error", "message": "An error occurred.", "detail": fields}, 422)


class FormError(Exception):
    """A rejected login or signup."""


@app.exception_handler(FormError)
async def render_form_error(_request: Request, error: FormError) -> Json:
    """Render a rejected login or signup, as django-allauth does."""
    names = ("param", "code", "message")
    return Json({"status": 400, "errors": [dict(zip(names, error.args, strict=True))]}, 400)


# Credentials


def check_csrf(request: Request, csrf_token: str) -> None:
    """Reject a write that another site may have sent with the cookies of the browser."""
    sent = request.headers.get("x-csrftoken", "")
    if not csrf_token or not secrets.compare_digest(sent.encode(), csrf_token.encode()):
        raise HTTPException(403, "CSRF check failed.")


def find_cookie_session(request: Request) -> Session | None:
    """Return the session of the cookie, if it is valid."""
    session = SESSIONS.get(request.cookies.get("sessionid", ""))
    if session and request.method not in READ:
        check_csrf(request, session.csrf_token)
    return session


def authenticate(request: Request) -> User:
    """Return the user of the access token or of the session cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        # Decides alone: a browser adds the cookie by itself.
        user = TOKENS.get(token.strip())
    else:
        session = find_cookie_session(request)
        user = session.user if session else None
    if user is None:
        raise HTTPException(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})
    return user


def authenticate_with_app(request: Request) -> User:
    """Return the user of the session of an app, or as `authenticate`."""
    session = SESSIONS.get(request.headers.get("x-session-token", ""))
    return session.user if session else authenticate(request)


# The Users page


users = APIRouter(prefix="/users/me")


@users.api_route("/", methods=READ)
async def get_current_user(user: Annotated[User, Depends(authenticate)]) -> dict[str, Any]:
    """Return the user with the access token."""
    return {
        "external_id": user.external_id,
        "email": user.email,
        "email_verified": user.email_verified,
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "is_authenticated": True,
        "access_token": user.access_token,
    }


@users.api_route("/token/", methods=READ)
async def get_token(user: Annotated[User, Depends(authenticate_with_app)]) -> dict[str, str]:
    """Return the access token."""
    return {"access_token": user.access_token}


@users.post("/token/regenerate/")
async def regenerate_token(user: Annotated[User, Depends(authenticate_with_app)]) -> dict[str, str]:
    """Replace the access token."""
    issue_token(user)
    return {"access_token": user.access_token}


# The page says /api/; clients of the present version say /api/v1/.
app.include_router(users, prefix="/api")
app.include_router(users, prefix="/api/v1")


# Login and signup, as django-allauth does


class Form(BaseModel):
    """The fields of a login or signup."""

    email: Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
    password: Annotated[str, Field(max_length=128)]


def log_in(form: Form) -> Session:
    """Check a password, and create a session."""
    user = USERS.get(form.email.lower())
    # Hashes for unknown users as well: the time must not tell which addresses have an account.
    salt = user.salt if user else bytes(16)
    password_hash = hash_password(form.password, salt)
    if user is None or not secrets.compare_digest(password_hash, user.password_hash):
        message = "The email address and/or password you specified are not correct."
        raise FormError("password", "email_password_mismatch", message)
    return create_session(user)


def render_session(session: Session, **meta: str) -> Json:
    """Render a session."""
    user = {
        "external_id": session.user.external_id,
        "email": session.user.email,
        "has_usable_password": True,
    }
    data = {"user": user, "methods": [{"method": "password", "email": session.user.email}]}
    return Json({"status": 200, "data": data, "meta": {"is_authenticated": True, **meta}})


def render_logged_out(request: Request) -> Json:
    """Render what a browser can do without a session, with the CSRF token that it needs."""
    data = {"flows": [{"id": "login"}, {"id": "signup"}]}
    response = Json({"status": 401, "data": data, "meta": {"is_authenticated": False}}, 401)
    csrf_token = request.cookies.get("csrftoken") or secrets.token_urlsafe(24)
    response.set_cookie("csrftoken", csrf_token)
    return response


@app.post("/api/app/v1/auth/login")
async def log_in_app(form: Form) -> Json:
    """Log an app in."""
    session = log_in(form)
    return render_session(session, session_token=session.key)


@app.post("/api/app/v1/auth/signup")
async def sign_up_app(form: Form) -> Json:
    """Create a user, and log the app in."""
    email = form.email.lower()
    if email in USERS:
        raise FormError("email", "email_taken", "A user is already registered with this address.")
    if len(form.password) < PASSWORD_MIN_LENGTH:
        raise FormError("password", "password_too_short", "This password is too short.")
    session = create_session(create_user(email, form.password))
    return render_session(session, session_token=session.key)


@app.post("/api/browser/v1/auth/login")
async def log_in_browser(request: Request, form: Form) -> Json:
    """Log a browser in, which got a CSRF token when it asked for its session."""
    check_csrf(request, request.cookies.get("csrftoken", ""))
    session = log_in(form)
    response = render_session(session)
    response.set_cookie("sessionid", session.key, httponly=True)
    response.set_cookie("csrftoken", session.csrf_token)
    return response


@app.api_route("/api/browser/v1/auth/session", methods=READ)
async def get_session(request: Request) -> Json:
    """Return the session of a browser."""
    session = find_cookie_session(request)
    return render_session(session) if session else render_logged_out(request)


@app.delete("/api/browser/v1/auth/session")
async def log_out(request: Request) -> Json:
    """End the session of a browser."""
    if session := find_cookie_session(request):
        del SESSIONS[session.key]
    return render_logged_out(request)


def create_people() -> dict[str, dict[str, str]]:
    """Create two users, and return their credentials."""
    password = "correct horse battery"  # noqa: S105 # public: an example
    john = create_user(
        "john@example.com", password, first_name="John", last_name="Doe", email_verified=True
    )
    jane = create_user("jane@example.com", password)
    return {
        name: {
            "email": user.email,
            "password": password,
            "access_token": user.access_token,
            "session_token": create_session(user).key,
        }
        for name, user in (("base", john), ("other_tenant", jane))
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    print(json.dumps(create_people()), flush=True)
    uvicorn.run(app, port=arguments.port, access_log=False)
