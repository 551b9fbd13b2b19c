"""Attempts that an attacker makes, with secrets, passwords and addresses that are known here."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accounts.crypto import tokens
from tests.http.running import Account, Running, running
from tests.http.wire import Answer

__all__ = ["Attacker", "attempts"]

_UNKNOWN_CLIENT = "cli_0123456789ab"
_LOGIN = "/v1/auth/login"
_FORM = "application/x-www-form-urlencoded"


def running_under_attack(folder: Path) -> AbstractContextManager[Running]:
    """Run a service that reads the addresses of attackers from a header."""
    return running(folder, password_cost=10, trusted_proxies="127.0.0.1", throttle_mail="100000/1")


@dataclass(slots=True)
class Attacker:
    """Sends requests from an address of its own, and remembers what must not be logged."""

    service: Running
    address: str
    number: int = 0
    #: Every password, secret and address of mail that was sent.
    sent: set[str] = field(default_factory=set)

    def secret(self, stem: str) -> str:
        """Return a new text that must not be logged."""
        self.number += 1
        text = f"{stem}Canary{self.number:06}"
        self.sent.add(text)
        return text

    def token(self, prefix: str) -> str:
        """Return a well-formed token that does not exist."""
        token = tokens.mint(prefix)
        self.sent.add(token)
        return token

    def email(self) -> str:
        """Return an address without an account."""
        email = f"{self.secret('mail').lower()}@example.org"
        self.sent.add(email)
        return email

    def ask(self, method: str, target: str, **more: Any) -> Answer:
        """Send one request."""
        headers = {"X-Forwarded-For": self.address, **more.pop("headers", {})}
        return self.service.ask(method, target, headers=headers, **more)

    # One function for each kind of attempt. These four are refused attempts at a secret.

    def guess_password(self, email: str) -> Answer:
        """Log in with a wrong password."""
        body = {"email": email, "password": self.secret("Guess")}
        return self.ask("POST", _LOGIN, body=body)

    def guess_unknown(self) -> Answer:
        """Log in to an address without an account."""
        return self.guess_password(self.email())

    def change_password(self, victim: Account) -> Answer:
        """Try a wrong current password in a stolen session."""
        body = {"current_password": self.secret("Guess"), "new_password": self.secret("Fresh9!")}
        return self.ask("POST", "/v1/me/password", headers=victim.bearer, body=body)

    def guess_client_secret(self, client_id: str = _UNKNOWN_CLIENT) -> Answer:
        """Introspect with a wrong client secret."""
        headers = {**_basic(client_id, self.token(tokens.CLIENT_SECRET)), "Content-Type": _FORM}
        body = f"token={self.token(tokens.PAT)}".encode()
        return self.ask("POST", "/oauth/introspect", headers=headers, body=body)


def _basic(name: str, secret: str) -> Mapping[str, str]:
    credentials = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


def attempts(attacker: Attacker, victim: Account) -> Iterator[Answer]:
    """Make each kind of attempt once: guesses, wrong tokens, malformed and good requests."""
    ask, secret, email = attacker.ask, attacker.secret, attacker.email
    yield attacker.guess_password(victim.email)
    yield attacker.guess_unknown()
    yield attacker.change_password(victim)
    yield attacker.guess_client_secret()
    # In the wrong place, as people paste them.
    yield attacker.guess_client_secret(email())
    yield attacker.guess_password(secret("NoAddress"))
    yield ask("POST", "/oauth/token", headers={"Authorization": f"Basic {secret('basic')}"})
    yield ask("GET", f"/v1/{secret('path')}/{victim.email}")
    yield ask("GET", f"/v1/me?password={secret('query')}&email={victim.email}")
    yield ask(secret("METHOD"), "/v1/me")
    # Wrong tokens of each kind, well formed and not.
    for prefix in (tokens.SESSION, tokens.ACCESS_TOKEN, tokens.PAT, "ipto_0123456789ab_"):
        for token in (attacker.token(prefix), f"{prefix}{secret('short')}"):
            yield ask("GET", "/v1/me", headers={"Authorization": f"Bearer {token}"})
            yield ask("GET", "/v1/me", headers={"X-API-Key": token})
            yield ask("GET", "/v1/me", headers={"Cookie": f"__Host-oneself_session={token}"})
    yield ask("GET", "/v1/me", headers={"Authorization": f"Bearer eyJ{secret('jwt')}.e30.e30"})
    # Wrong mailed secrets, at the pages and the operations.
    for page in ("reset-password", "verify-email", "change-email", "undo-email-change"):
        yield ask("GET", f"/{page}?secret={attacker.token(tokens.ONE_TIME_SECRET)}")
    reset = {"token": attacker.token(tokens.ONE_TIME_SECRET), "new_password": secret("Fresh9!")}
    yield ask("POST", "/v1/auth/password/reset", body=reset)
    yield ask("POST", "/v1/auth/password/forgot", body={"email": victim.email})
    yield ask("POST", "/v1/auth/password/forgot", body={"email": email()})
    # Malformed bodies.
    for body in (
        f'{{"email": "{victim.email}", "password": "{secret("cut")}',
        f'{{"email": "{email()}", "password": ["{secret("list")}"]}}',
        f'"{secret("text")}"',
        f"password={secret('form')}\x00\x1b[31m",
    ):
        yield ask("POST", _LOGIN, body=body.encode())
    yield ask("POST", _LOGIN, headers={"Content-Type": secret("type")}, body=b"{}")
    # Good requests in between.
    yield ask("POST", _LOGIN, body={"email": victim.email, "password": victim.password})
    yield ask("GET", "/v1/me", headers=victim.bearer)
