"""OAuth libraries with their defaults use the endpoints of the service.

Each program of tests/third_party/oauth/ prints the steps that it has taken; the service is another
one for each, since some libraries keep the keys of an issuer.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.operator_acts import open_actors
from tests.support.service import started
from tests.third_party.generators import DEBIAN_GO, program, run
from tests.third_party.table import Results
from tests.third_party.tools import PACKAGES, module_command, node_version, outsider, versions

PROGRAMS = Path(__file__).parent / "oauth"
_COMMON = ("exchange", "use", "refresh", "public client", "refusals")
#: What each library has of its own is beside what all of them do.
STEPS: Mapping[str, frozenset[str]] = {
    name: frozenset({*_COMMON, *more})
    for name, more in {
        "openid_client.mjs": ("discovery", "introspection", "revocation"),
        "oauth4webapi_client.mjs": (
            *("discovery", "resource metadata", "keys", "introspection", "revocation"),
        ),
        "authlib_client.py": ("discovery", "keys", "introspection", "revocation"),
        "requests_oauthlib_client.py": ("revocation",),
        "oauth2.go": ("discovery", "keys"),
    }.items()
}


def _node(*packages: str) -> str:
    return ", ".join(f"{name} {node_version(PACKAGES, name)}" for name in packages)


#: The name of each library with its version, for the table.
TOOLS: Mapping[str, Callable[[], str]] = {
    "openid_client.mjs": lambda: _node("openid-client"),
    "oauth4webapi_client.mjs": lambda: _node("oauth4webapi", "jose"),
    "authlib_client.py": lambda: versions("Authlib"),
    "requests_oauthlib_client.py": lambda: versions("requests-oauthlib", "oauthlib"),
    "oauth2.go": lambda: "x/oauth2 (Go, Debian's)",
}


def command_of(name: str, folder: Path) -> list[str]:
    """Return the command of a program; Go's is compiled."""
    path = PROGRAMS / name
    if path.suffix == ".mjs":
        return module_command(path, folder)
    if path.suffix == ".py":
        return [outsider(), str(path)]
    compiled = str(folder / "oauth2")
    run(
        *(program("go"), "build", "-o", compiled, str(path)),
        cwd=folder,
        GO111MODULE="off",
        GOPATH=DEBIAN_GO,
        GOCACHE=str(folder / "cache"),
    )
    return [compiled]


@pytest.mark.parametrize("name", STEPS)
def test_oauth_library_works_with_its_defaults(name: str, tmp_path: Path, results: Results):
    """Clients C3, C4, C10."""
    command = command_of(name, tmp_path)
    with started(tmp_path / "service") as service, open_actors(service) as actors:
        user = actors.sign_up()
        client = user.act("add client")
        output = run(
            *command,
            cwd=tmp_path,
            ONESELF_URL=service.url,
            SESSION=user["session_token"],
            USER_ID=user["user_id"],
            EMAIL=user["email"],
            CLIENT_ID=client["client_id"],
            CLIENT_SECRET=client["client_secret"],
            PUBLIC_ID=user.act("add client", public=True)["client_id"],
        )
    steps = output.splitlines()
    assert frozenset(steps) == STEPS[name]
    results.add(TOOLS[name](), ", ".join(steps))
