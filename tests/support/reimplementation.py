"""A reimplementation of jitsudo's one operation, as its page has it, with faults to plant."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Reimplementation", "serving_reimplementation"]

_TENANT = "7b0c5a1e-0d7f-4c8e-9a58-5f3f8f2b9a10"
_PATH = "/v1/users/me/password"


@dataclass
class Reimplementation:
    """Two users of one tenant; `fault` names what it does wrong."""

    fault: str | None = None
    url: str = ""
    passwords: dict[str, str | None] = field(
        default_factory=lambda: {
            "a-token-of-a-local-user": "Violet tangent 47",
            "a-token-of-another-user": None,
        }
    )
    requests: int = 0
    #: Seconds that each answer takes.
    delay: float = 0

    @property
    def users(self) -> dict[str, dict[str, str]]:
        """Its users, as a credentials file."""
        local, other = self.passwords
        return {
            "base": {
                "email": "john@example.com",
                "session_token": local,
                "password": str(self.passwords[local]),
                "tenant_uuid": _TENANT,
            },
            "sso_user": {"session_token": other, "tenant_uuid": _TENANT},
        }

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, object] | None]:
        """Return the status and the body of an answer."""
        self.requests += 1
        time.sleep(self.delay)
        if path == "/sign-in" and self.fault == "throttled sign-in":
            return 429, None
        if path == "/sign-in":
            return 200, {"ticket": "a-token-of-a-local-user"}
        if path != _PATH:
            return 404, {"code": "not_found", "message": "There is nothing here."}
        return self._authenticate(headers, body)

    def _authenticate(self, headers: Any, body: bytes) -> tuple[int, dict[str, object] | None]:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.passwords:
            return 401, {"code": "unauthenticated", "message": "Sign in first."}
        if self.fault == "overloaded":
            return 503, {"code": "busy", "message": "Come back later."}
        if self.fault == "throttled":
            return 429, {"code": "slow_down", "message": "Too many requests."}
        if headers.get("X-Tenant-ID", "").lower() != _TENANT and self.fault != "any tenant":
            return 403, {"code": "tenant_mismatch", "message": "That is another tenant."}
        if self.passwords[token] is None:
            return 403, {"code": "not_local", "message": "Your password is kept elsewhere."}
        return self._change(token, _parse_object(body))

    def _change(self, token: str, change: Any) -> tuple[int, dict[str, object] | None]:
        if self.fault in {"does nothing", "wrong success"}:
            return 302 if self.fault == "wrong success" else 204, None
        if change is None:
            return 400, {"code": "malformed", "message": "The body must be an object."}
        current, new = change.get("current_password"), change.get("new_password")
        if not isinstance(new, str) or (len(new) < 8 and self.fault != "weak passwords"):
            return 400, {"code": "weak", "message": "The new password is weak."}
        if current != self.passwords[token] and self.fault != "any password":
            message = (
                {} if self.fault == "no message" else {"message": "That is not your password."}
            )
            return 400, {"code": "wrong", **message}
        if self.fault != "changes nothing":
            self.passwords[token] = new
        return 204, None


def _parse_object(body: bytes) -> Any:
    """Return a JSON object, or None if the body is anything else."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


@contextmanager
def serving_reimplementation(fault: str | None = None) -> Iterator[Reimplementation]:
    """Serve a reimplementation on a free port."""
    reimplementation = Reimplementation(fault)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = reimplementation.answer(self.path, self.headers, body)
            data = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            if status != 204:
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST  # noqa: N815 # the names of the standard library

        def log_message(self, *_words: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        reimplementation.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield reimplementation
        finally:
            server.shutdown()
