"""The files of `docs/deploy/` for nginx and Caddy, started in front of the service."""

import shutil
import socket
import ssl
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.conftest import Deployed
from tests.deploy.proxies import HOSTS, proxied
from tests.http.running import PASSWORD
from tests.http.wire import Wire, head_of
from tests.support.deadlines import patient
from tests.support.pictures import encoded, gradient
from tests.support.ports import free_port

pytestmark = pytest.mark.nightly

PICTURE = "/resources/me/profile/picture"
LARGEST = 5 * 1024 * 1024
LOGIN = "/v1/auth/login"
#: The limit of both files for a request head, in seconds.
HEAD_SECONDS = 10
SLOW_CLIENTS = 200
#: States of a TCP connection in /proc/net/tcp.
ESTABLISHED, TIME_WAIT = "01", "06"


def _guess(deployed: Deployed, email: str, source: str, **headers: str) -> int:
    """Log in with a wrong password; return the status."""
    body = {"email": email, "password": "wr0ngP@ssword!"}
    return deployed.proxy.ask("POST", LOGIN, body=body, source=source, headers=headers).status


def test_session_works_as_bearer_token_and_as_cookie(deployed: Deployed):
    """Reliability finding 15, SE-08: the cookie needs https, and so the proxy."""
    proxy, alice = deployed.proxy, deployed.alice
    assert proxy.ask("GET", "/v1/me", headers=alice.bearer).status == 200
    body = {"email": alice.email, "password": PASSWORD, "cookie": True}
    answer = proxy.ask("POST", LOGIN, body=body, headers={"Sec-Fetch-Site": "same-origin"})
    cookie = (answer.header("set-cookie") or "").partition(";")[0]
    assert (answer.status, cookie.startswith("__Host-")) == (200, True)
    assert proxy.ask("GET", "/v1/me", headers={"Cookie": cookie}).status == 200
    # A write needs the origin of the public URL.
    headers = {"Cookie": cookie, "Origin": f"https://{proxy.host}"}
    changed = proxy.ask("PATCH", "/api/v1/me", headers=headers, body={"locale": "de-DE"})
    assert changed.status == 200


def test_largest_picture_passes_and_a_larger_one_is_refused_by_the_service(deployed: Deployed):
    """Reliability finding 15, IM-02: nginx would refuse one megabyte."""
    headers = {**deployed.alice.bearer, "Content-Type": "image/png"}
    picture = encoded(gradient()).ljust(LARGEST, b"\0")
    for body, status in ((picture, 200), (picture + b"\0", 413)):
        answer = deployed.proxy.ask("PUT", PICTURE, headers=headers, body=body)
        assert answer.status == status
    assert answer.code == "body_too_large"
    assert deployed.proxy.ask("GET", PICTURE, headers=deployed.alice.bearer).status == 200


def test_body_past_every_limit_is_refused(deployed: Deployed):
    """HT-07: nginx refuses it by itself; behind Caddy, which passes it on, the service does."""
    headers = {**deployed.alice.bearer, "Content-Type": "image/png"}
    body = bytes(LARGEST + 2 * 1024 * 1024)
    assert deployed.proxy.ask("PUT", PICTURE, headers=headers, body=body).status == 413


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "account.example.com.evil.example"])
def test_foreign_host_never_reaches_the_service(deployed: Deployed, host: str):
    """HT-10: also with the name of the certificate in the TLS handshake."""
    requests = deployed.service.log.count('"request_id"')
    with deployed.proxy.connect() as wire:
        wire.send(head_of("GET", "/v1/me", deployed.alice.bearer, host=host))
        answer = wire.answer()
        assert answer is None or answer.status == 421
    with Wire(deployed.proxy.http_port) as wire:
        wire.send(head_of("GET", "/v1/me", host=host))
        assert wire.answer() is None
    with pytest.raises(ssl.SSLError), deployed.proxy.connect(name="evil.example"):
        pass
    # One more request passes, and only that one is logged.
    deployed.service.line_of(deployed.proxy.ask("GET", "/v1/me", headers=deployed.alice.bearer))
    assert deployed.service.log.count('"request_id"') == requests + 1


def test_http_is_redirected_to_https(deployed: Deployed):
    with Wire(deployed.proxy.http_port) as wire:
        wire.send(head_of("GET", "/docs?x=1", host=deployed.proxy.host))
        answer = wire.answer()
        assert answer is not None
        assert answer.status == 308
        location = answer.header("location") or ""
        assert location.startswith(f"https://{deployed.proxy.host}")
        assert location.endswith("/docs?x=1")


def test_service_sees_the_address_of_the_client(deployed: Deployed):
    """LG-11, LG-15: a forged header changes nothing, and each client has its own rate limit."""
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9"}
    body = {"email": "unknown@example.com", "password": "wr0ngP@ssword!"}
    answer = deployed.proxy.ask("POST", LOGIN, body=body, source="127.0.0.2", headers=forged)
    assert deployed.service.line_of(answer)["address"] == "127.0.0.2"
    email = "guessed@example.com"
    guesses = [_guess(deployed, email, "127.0.0.3", **forged) for _ in range(5)]
    assert Counter(guesses) == {401: 3, 429: 2}
    assert _guess(deployed, email, "127.0.0.4") == 401


def _connections(local: int | None = None, remote: int | None = None) -> Counter[str]:
    """Count the connections of this machine by state, to or from a port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    states: Counter[str] = Counter()
    for line in lines:
        _, here, there, state, *_ = line.split()
        ports = int(here.rpartition(":")[2], 16), int(there.rpartition(":")[2], 16)
        if local in {None, ports[0]} and remote in {None, ports[1]}:
            states[state] += 1
    return states


def test_proxy_closes_idle_connections_before_the_service_does(deployed: Deployed):
    """Reliability finding 15: otherwise a request could meet a connection that is being closed.

    The side that closes first keeps the connection in TIME_WAIT.
    """
    port, headers = deployed.service.port, deployed.alice.bearer
    number = 8

    def change(_number: int) -> int:
        body = {"locale": "en-GB"}
        return deployed.proxy.ask("PATCH", "/api/v1/me", headers=headers, body=body).status

    with ThreadPoolExecutor(number) as threads:
        assert {*threads.map(change, range(number))} == {200}
        assert _connections(remote=port)[ESTABLISHED] >= 1
        before = _connections(local=port)[TIME_WAIT]
        deadline = time.monotonic() + patient(2 * HEAD_SECONDS)
        while _connections(remote=port)[ESTABLISHED]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert _connections(local=port)[TIME_WAIT] <= before
        assert _connections(remote=port)[TIME_WAIT] >= 1
        assert {*threads.map(change, range(number))} == {200}


def test_slow_heads_are_closed_and_delay_no_others(deployed: Deployed):
    """HT-08: they wait in the proxy, and the service has no connection for them."""
    with ExitStack() as stack:
        wires = [
            stack.enter_context(deployed.proxy.connect(source=f"127.0.1.{number % 20 + 1}"))
            for number in range(SLOW_CLIENTS)
        ]
        began = time.monotonic()
        for wire in wires:
            wire.send(b"GET /v1/me HTTP/1.1\r\nHost: ")
        assert deployed.proxy.ask("GET", "/v1/me", headers=deployed.alice.bearer).status == 200
        assert _connections(local=deployed.service.port)[ESTABLISHED] < SLOW_CLIENTS // 2
        for wire in wires:
            wire.socket.settimeout(patient(2 * HEAD_SECONDS))
            wire.seconds_until_closed()
        assert time.monotonic() - began < patient(2 * HEAD_SECONDS)


def test_http_2_is_offered(deployed: Deployed):
    with deployed.proxy.connect(alpn="h2") as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.selected_alpn_protocol() == "h2"
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is missing")
    proxy = deployed.proxy
    answer = subprocess.run(
        [
            *(curl, "--silent", "--http2", "--cacert", proxy.certificates),
            *("--resolve", f"{proxy.host}:{proxy.port}:127.0.0.1"),
            *("--header", f"Authorization: Bearer {deployed.alice.session}"),
            *("--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"),
            f"https://{proxy.host}:{proxy.port}/v1/me",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "2 200"


def test_old_tls_is_refused(deployed: Deployed):
    context = ssl.create_default_context(cafile=deployed.proxy.certificates)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", deployed.proxy.port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname=deployed.proxy.host)


@pytest.mark.parametrize("name", HOSTS)
def test_secrets_are_not_logged_even_while_the_service_is_down(name: str, tmp_path: Path):
    """LO-01: links have secrets in the query, and error lines of a proxy repeat requests."""
    paths = ("/reset-password", "/verify-email", "/change-email", "/undo-email-change")
    secrets = {"query": "ots_aQueryCanary", "referer": "ots_aRefererCanary"}
    secrets |= {"token": "sess_aTokenCanary", "key": "ipto_aKeyCanary", "cookie": "aCookieCanary"}
    with proxied(name, tmp_path / "proxy", free_port()) as proxy:
        for path in (*paths, "/release-email"):
            answer = proxy.ask(
                "GET",
                f"{path}?secret={secrets['query']}",
                headers={
                    "Referer": f"https://{proxy.host}/reset-password?secret={secrets['referer']}",
                    "Authorization": f"Bearer {secrets['token']}",
                    "X-API-Key": secrets["key"],
                    "Cookie": f"__Host-oneself_session={secrets['cookie']}",
                },
            )
            assert answer.status == 502
        deadline = time.monotonic() + patient(5)
        while "/release-email" not in proxy.logs and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "/release-email" in proxy.logs
        assert [kind for kind, secret in secrets.items() if secret in proxy.logs] == []


@pytest.mark.parametrize("deployed", ["nginx"], indirect=True)
def test_requests_of_one_address_are_limited(deployed: Deployed):
    """Reliability finding 7: past its burst, and other addresses are served meanwhile."""
    number = 600
    with deployed.proxy.connect(source="127.0.0.9") as wire:
        head = head_of("GET", "/healthz", host=deployed.proxy.host)
        answers = []
        for _ in range(number):
            wire.send(head)
            answers.append(wire.answer())
    statuses = Counter(answer.status for answer in answers if answer is not None)
    assert set(statuses) == {200, 429}
    [refused, *_] = [each for each in answers if each is not None and each.status == 429]
    assert refused.header("retry-after") == "1"
    assert refused.header("content-type") == "application/problem+json"
    assert refused.json["status"] == 429
    assert deployed.proxy.ask("GET", "/healthz", source="127.0.0.10").status == 200
