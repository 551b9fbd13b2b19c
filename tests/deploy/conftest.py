"""A service behind nginx, and another one behind Caddy."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.deploy.proxies import HOSTS, Proxy, proxied
from tests.http.running import Account, Running, open_account, running


@dataclass(frozen=True, slots=True)
class Deployed:
    """A proxy, the service behind it, and a user who signed up through it."""

    proxy: Proxy
    service: Running
    alice: Account


@pytest.fixture(scope="session", params=HOSTS)
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """The files of `docs/deploy/`, with the settings that they name."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {
        "public_url": f"https://{HOSTS[request.param]}",
        "trusted_proxies": "127.0.0.1",
        "password_cost": 10,
        "throttle_account_source": "3/600",
    }
    with (
        running(folder, **settings) as service,
        proxied(request.param, folder / "proxy", service.port) as proxy,
    ):
        yield Deployed(proxy, service, open_account(proxy, "alice@example.com"))
    assert '"status":5' not in service.log
