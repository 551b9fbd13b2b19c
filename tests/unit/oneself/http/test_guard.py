"""The outermost middleware: unknown hosts in the log, and the setting of HSTS."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from oneself.document import load_document
from oneself.http.guard import Guard
from oneself.http.response.dialects import Dialects


async def _next_app(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})


@pytest.fixture
def ask():
    """Sends a request with a host through one guard; returns the answer's status and headers."""

    def build(**options):
        guard = Guard(
            _next_app,
            dialects=Dialects(load_document()),
            hosts=frozenset({"accounts.example"}),
            clock=lambda: datetime.now(UTC),
            issuer="https://accounts.example",
            **options,
        )

        def ask(host, path="/v1/me"):
            sent = []

            async def send(message):
                sent.append(message)

            scope = {
                "type": "http",
                "http_version": "1.1",
                "method": "GET",
                "path": path,
                "query_string": b"",
                "headers": [(b"host", host.encode())],
            }
            asyncio.run(guard(scope, None, send))
            return sent[0]["status"], dict(sent[0]["headers"])

        return ask

    return build


@pytest.fixture
def hosts_logged(caplog):
    """Returns the hosts in the log."""
    caplog.set_level(logging.INFO, "oneself.http.guard")

    def hosts_logged():
        assert all("ONESELF_EXTRA_HOSTS" in record.getMessage() for record in caplog.records)
        return [record.host for record in caplog.records]

    return hosts_logged


def test_unknown_host_is_logged_once_with_the_setting(ask, hosts_logged):
    """HT-10, LO-05: an operator learns which name is missing."""
    send = ask()
    for _ in range(3):
        assert send("Pod.cluster.local:8080")[0] == 421
    assert hosts_logged() == ["pod.cluster.local"]


def test_unknown_hosts_do_not_flood_the_log(ask, hosts_logged):
    """HT-10, LO-05: of what clients choose, eight names of few characters get there."""
    send = ask()
    for number in range(100):
        assert send(f"evil-{number}.example")[0] == 421
    assert hosts_logged() == [f"evil-{number}.example" for number in range(8)]


@pytest.mark.parametrize(
    "host", ["a" * 65, "sess_8xV2pQ0mZr4Lw9Tn6Ys1Kc5Hb7Jd3Gf0Qa2We4Rt6Yu3IlpB7"]
)
def test_long_host_or_token_is_logged_without_its_text(ask, hosts_logged, host):
    """LO-01, LO-05."""
    assert ask()(host)[0] == 421
    assert hosts_logged() == [None]


@pytest.mark.parametrize("host", ["", "me@accounts.example", "a b", "accounts.example/x"])
def test_malformed_host_is_not_logged(ask, hosts_logged, host):
    """HT-09, LO-05."""
    assert ask()(host)[0] == 400
    assert hosts_logged() == []


def test_probe_with_an_unknown_host_is_not_logged(ask, hosts_logged):
    """HT-10."""
    assert ask()("10.1.2.3", "/healthz")[0] == 204
    assert hosts_logged() == []


@pytest.mark.parametrize(
    ("enabled", "value"),
    [(False, b"max-age=31536000"), (True, b"max-age=31536000; includeSubDomains")],
)
def test_hsts_covers_subdomains_if_it_is_set(ask, enabled, value):
    """HT-15, attack finding 22: below a bare domain, others' subdomains may have no https."""
    _, headers = ask(hsts_subdomains=enabled)("evil.example")
    assert headers[b"strict-transport-security"] == value
