"""The reimplementations of examples/reimplementation/, started as they are or with a fault."""

import importlib.util
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from tests.support.deadlines import patient
from tests.support.ports import free_port
from tests.support.service import ROOT

__all__ = [
    "HYPERCLAST",
    "HYPERCLAST_MUTANTS",
    "JITSUDO",
    "JITSUDO_MUTANTS",
    "Mutant",
    "Started",
    "serve_hyperclast",
    "start",
    "start_jitsudo",
]

REIMPLEMENTATIONS = ROOT / "examples/reimplementation"
HYPERCLAST = REIMPLEMENTATIONS / "hyperclast/server.py"
JITSUDO = REIMPLEMENTATIONS / "jitsudo/server.mjs"
_SECONDS_TO_START = 10


@dataclass(frozen=True)
class Started:
    """A server and the users that it printed."""

    url: str
    people: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Mutant:
    """A passage of a server replaced by a fault, and the sentence of the page that it breaks."""

    name: str
    breaks: str
    passage: str
    replacement: str

    def write(self, server: Path, folder: Path) -> Path:
        """Write a copy of a server with the fault."""
        text = server.read_text()
        assert text.count(self.passage) == 1, self.passage
        mutated = folder / server.name
        mutated.write_text(text.replace(self.passage, self.replacement))
        return mutated


HYPERCLAST_MUTANTS = [
    Mutant(
        "the old token stays valid",
        "The old token is immediately invalidated.",
        "    TOKENS.pop(user.access_token, None)\n",
        "",
    ),
    Mutant(
        "regeneration returns the old token",
        "Generate a new token",
        '    """Replace the access token."""\n    issue_token(user)\n',
        "",
    ),
    Mutant(
        "the new token is not accepted",
        "Generate a new token",
        '    issue_token(user)\n    return {"access_token": user.access_token}',
        '    issue_token(user)\n    return {"access_token": secrets.token_urlsafe(32)}',
    ),
    Mutant(
        "regeneration answers 201",
        "Regenerate Access Token: Response (200)",
        '@users.post("/token/regenerate/")',
        '@users.post("/token/regenerate/", status_code=201)',
    ),
    Mutant(
        "each read returns another token",
        "Returns only the access token.",
        '    """Return the access token."""\n',
        "    issue_token(user)\n",
    ),
    Mutant(
        "requests without a token are those of the first user",
        "Error (401): Not authenticated",
        '        raise HTTPException(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})',
        "        user = next(iter(USERS.values()))",
    ),
    Mutant(
        "requests without a token get 403",
        "Error (401): Not authenticated",
        "HTTPException(401,",
        "HTTPException(403,",
    ),
    Mutant(
        "any token shows the first user",
        "Returns the authenticated user's profile and access token.",
        "user = TOKENS.get(token.strip())",
        "user = next(iter(USERS.values())) if token.strip() in TOKENS else None",
    ),
    Mutant(
        "the profile shows the beginning of the token",
        "Returns the authenticated user's profile and access token.",
        'True,\n        "access_token": user.access_token,\n',
        'True,\n        "access_token": user.access_token[:17] + "...",\n',
    ),
    Mutant(
        "the profile has no last name",
        "Get Current User: Response (200)",
        '        "last_name": user.last_name,\n',
        "",
    ),
    Mutant(
        "a session does not read the token",
        "Bearer token or session",
        "return session.user if session else authenticate(request)",
        "return authenticate(request)",
    ),
]

JITSUDO_MUTANTS = [
    Mutant(
        "the password is not changed",
        "Password changed",
        "  user.password = hashPassword(changed);\n",
        "",
    ),
    Mutant(
        "another user's password is changed",
        "Change the current user's password",
        "  user.password = hashPassword(changed);\n",
        "  [...users.values()].at(1).password = hashPassword(changed);\n",
    ),
    Mutant(
        "any current password is accepted",
        "Invalid input (wrong current password)",
        "if (!isPasswordOf(user, current))",
        "if (false)",
    ),
    Mutant(
        "any new password is accepted",
        "Invalid input (weak new password)",
        "if (changed.length < MIN_PASSWORD_LENGTH) {",
        "if (changed.length < 1) {",
    ),
    Mutant(
        "requests without a token are those of the first user",
        "Unauthenticated",
        "  if (token === undefined) throw unauthenticated();\n",
        "  if (token === undefined) return users.values().next().value;\n",
    ),
    Mutant(
        "the password of an SSO user is a wrong one",
        "Forbidden (not a local auth user)",
        '  if (user.auth_provider !== "local") {\n    throw new ApiError(403',
        "  if (false) {\n    throw new ApiError(403",
    ),
    Mutant(
        "any tenant is accepted",
        "Must match the tenant associated with the credential.",
        "if (tenant.toLowerCase() !== user.tenant) {",
        "if (false) {",
    ),
    Mutant(
        "the code of another tenant is forbidden",
        "Returns 403 tenant_mismatch",
        'new ApiError(403, "tenant_mismatch"',
        'new ApiError(403, "forbidden"',
    ),
    Mutant(
        "the tenant in upper case is another one",
        "string format: uuid",
        "if (tenant.toLowerCase() !== user.tenant) {",
        "if (tenant !== user.tenant) {",
    ),
    Mutant(
        "the tenant may be left out",
        "X-Tenant-ID required",
        '  if (!UUID.test(tenant)) throw invalid("The header X-Tenant-ID must be a UUID.");\n',
        "  if (tenant === undefined) return user;\n",
    ),
    Mutant(
        "errors have no message",
        "Human-readable description of the error.",
        "body: { code, message,",
        "body: { code,",
    ),
]


@contextmanager
def start(command: Sequence[str]) -> Iterator[Started]:
    """Run the command of a server, which prints its users, until it accepts connections."""
    deadline = time.monotonic() + patient(_SECONDS_TO_START)
    port = free_port()
    with subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            people = json.loads(process.stdout.readline())
            while True:
                assert process.poll() is None
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert time.monotonic() < deadline, "it does not listen"
                    time.sleep(0.01)
            yield Started(f"http://127.0.0.1:{port}", people)
        finally:
            process.terminate()


@contextmanager
def start_jitsudo(server: Path = JITSUDO) -> Iterator[Started]:
    """Run jitsudo, or skip the test on a machine without Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("jitsudo's reimplementation needs Node")
    with start([node, str(server)]) as started:
        yield started


@contextmanager
def serve_hyperclast(server: Path = HYPERCLAST) -> Iterator[Started]:
    """Serve Hyperclast in a thread, without the second that a Python process needs to start."""
    spec = importlib.util.spec_from_file_location("hyperclast_server", server)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    port = free_port()
    uvicorn_server = uvicorn.Server(uvicorn.Config(module.app, port=port, log_config=None))
    thread = threading.Thread(target=uvicorn_server.run)
    thread.start()
    try:
        while not uvicorn_server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Started(f"http://127.0.0.1:{port}", module.create_people())
    finally:
        uvicorn_server.should_exit = True
        thread.join()
