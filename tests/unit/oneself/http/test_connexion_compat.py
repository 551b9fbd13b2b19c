"""What a worker loads of Connexion, and what it does without."""

import json
import subprocess
import sys

import pytest

_LOADED = "import json, sys, oneself.app; print(json.dumps(sorted(sys.modules)))"
_ASKED_LATER = "import oneself.http.connexion_compat, {0}; print({0}.__file__ is not None)"


def test_a_worker_has_no_http_client_and_no_console() -> None:
    """Twelve megabytes of each worker were those of libraries that no request comes by."""
    ran = subprocess.run([sys.executable, "-c", _LOADED], check=True, stdout=subprocess.PIPE)
    loaded = {name.partition(".")[0] for name in json.loads(ran.stdout)}
    assert "connexion" in loaded
    assert not loaded & {"httpx", "requests", "urllib3", "rich", "pygments"}


@pytest.mark.parametrize("name", ["httpx", "requests", "starlette.testclient"])
def test_whoever_needs_what_was_left_out_has_it(name: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASKED_LATER.format(name)],
        check=True,
        stdout=subprocess.PIPE,
    )
    assert ran.stdout == b"True\n"
