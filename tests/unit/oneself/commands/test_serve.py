"""`serve`: errors before the start, and a real start with every curl command."""

import contextlib
import errno
import http.client
import io
import json
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from oneself import commands
from oneself.database import sqlite_driver
from oneself.settings import Settings
from oneself_conformance.targets import RATE_LIMITS
from tests.support.deadlines import patient

ROOT = Path(__file__).parents[4]
TIMEOUT = 30
EVERYWHERE = "0.0.0.0"  # noqa: S104 # nothing listens there: Granian is left out


def _has_ipv6():
    """Return whether this machine has IPv6; a container often has none."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def folder(monkeypatch, tmp_path, migrated_file):
    """A data folder with an empty database."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    shutil.copy(migrated_file, folder / "oneself.sqlite3")
    monkeypatch.setenv("ONESELF_DATA_DIR", str(folder))
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")
    return folder


@pytest.fixture
def serve(folder, port, monkeypatch, capsys):  # noqa: ARG001 # used through the settings
    """Runs the command up to the call of Granian; returns status, output and its arguments."""
    calls = []
    monkeypatch.setattr("oneself.server.serve", lambda _settings, **more: calls.append(more))
    # The command configures the logging of its process, which here is the tests' process.
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    # The command sets variables for its workers; restore them after the test.
    monkeypatch.delenv("ONESELF_PUBLIC_URL", raising=False)
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def serve(*options):
        monkeypatch.setattr(sys, "argv", ["oneself", "serve", "--port", str(port), *options])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as exit_info:
            commands.main()
        captured = capsys.readouterr()
        return exit_info.value.code or 0, captured.out, captured.err, calls

    return serve


def assert_refused(ran, *words, status=1):
    code, out, err, calls = ran
    assert (code, out, calls) == (status, "", [])
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err


def test_default_address_is_loopback(serve, port):
    """Nothing is printed: the service writes a log."""
    assert serve() == (0, "", "", [{"host": "127.0.0.1", "port": port, "workers": 1}])


def test_host_name_is_resolved(serve):
    """Granian takes only addresses."""
    *_, (calls,) = serve("--host", "localhost", "--workers", "3")
    assert (calls["host"], calls["workers"]) == ("127.0.0.1", 3)


def test_plain_http_off_loopback_must_be_allowed(serve, monkeypatch):
    assert_refused(serve("--host", EVERYWHERE), "--allow-http", status=2)
    assert serve("--host", EVERYWHERE, "--allow-http")[0] == 0
    monkeypatch.setenv("ONESELF_ALLOW_HTTP", "true")
    assert serve("--host", EVERYWHERE)[0] == 0


@pytest.mark.parametrize(
    ("url", "proxies", "is_logged"),
    [
        ("https://me.example.com", "", True),
        ("https://me.example.com", "10.0.0.1", False),
        ("https://localhost", "", False),
        ("http://me.example.com", "", False),
    ],
)
def test_https_without_trusted_proxies_is_logged(
    serve, monkeypatch, url, proxies, is_logged, *, caplog
):
    """LG-11, attack finding 7: all users would share one rate limit."""
    monkeypatch.setenv("ONESELF_PUBLIC_URL", url)
    monkeypatch.setenv("ONESELF_TRUSTED_PROXIES", proxies)
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    assert serve()[0] == 0
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [message.split()[0] for message in errors] == ["ONESELF_TRUSTED_PROXIES"] * is_logged


def test_first_start_on_a_full_disk_is_reported(serve, folder, monkeypatch):
    """OP-04, DB-06: the next start finds nothing unexpected."""

    def be_full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", be_full)
        assert_refused(serve(), str(folder / "secret."), "No space left on device. Free some space")
    assert [path.name for path in folder.iterdir()] == ["oneself.sqlite3"]
    assert serve()[0] == 0


def test_address_in_use_is_refused(serve, port):
    """Even if its user shares it, as another oneself would."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert_refused(serve(), f"port {port}", "in use")


def test_metrics_address_in_use_is_refused(serve, port, monkeypatch):
    """OP-11: otherwise another service's metrics would go unnoticed."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setenv("ONESELF_METRICS_ADDRESS", f"127.0.0.1:{taken}")
        assert_refused(serve(), "ONESELF_METRICS_ADDRESS", "in use")
    assert serve()[0] == 0
    with socket.create_server(("127.0.0.1", taken)):
        assert port != taken  # the metrics port is free again


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
def test_metrics_address_of_the_service_itself_is_refused(serve, port, host, tmp_path, monkeypatch):
    """OP-11: before each worker would fail at it."""
    monkeypatch.setenv("ONESELF_METRICS_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "fresh"))
    ran = serve("--host", host, "--allow-http")
    assert not (tmp_path / "fresh").exists()
    assert_refused(ran, f"ONESELF_METRICS_ADDRESS, 127.0.0.1:{port}", "in use", status=2)
    with socket.create_server(("127.0.0.1", port)):
        pass  # the port is free again


@pytest.mark.parametrize(
    "name",
    ["ONESELF_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
)
def test_tracing_without_its_library_is_refused(serve, monkeypatch, name):
    """Without tracing, the library is not needed."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert serve()[0] == 0
    monkeypatch.setitem(os.environ, name, "http://127.0.0.1:4318")
    code, _, err, _ = serve()
    assert code == 2
    assert "requirements/telemetry.txt" in err
    assert "ONESELF_OTLP_ENDPOINT" in err


@pytest.mark.parametrize("name", ["ONESELF_POLICY_DIR", "ONESELF_TEMPLATE_DIR"])
def test_invalid_folder_is_reported_as_a_setting(serve, folder, monkeypatch, name):
    """By its name, and before anything is created."""
    (folder / "oneself.sqlite3").unlink()
    elsewhere = folder.with_name("elsewhere")
    monkeypatch.setitem(os.environ, name, str(elsewhere))
    assert_refused(serve(), name, "folder", str(elsewhere), status=2)
    elsewhere.touch()
    assert_refused(serve(), name, "folder", str(elsewhere), status=2)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("ONESELF_SECRET_KEY", "canary"),
        ("ONESELF_SECRET_KEY_FORMER", "canary"),
        ("ONESELF_SECRET_KEY_FORMER", "k" * 43),
    ],
)
def test_bad_root_secret_is_reported_as_a_setting(serve, folder, monkeypatch, name, secret):
    """Nothing is created, and the secret is not shown."""
    (folder / "oneself.sqlite3").unlink()
    if secret != "k" * 43:
        monkeypatch.setitem(os.environ, "ONESELF_SECRET_KEY", "p" * 43)
    monkeypatch.setitem(os.environ, name, secret)
    ran = serve()
    assert_refused(ran, name, status=2)
    assert secret not in ran[2]
    assert list(folder.iterdir()) == []


def test_unknown_host_is_refused(serve):
    assert_refused(serve("--host", "nowhere.invalid"), "nowhere.invalid")


def test_other_root_key_than_the_databases_is_refused(serve, monkeypatch):
    serve()
    monkeypatch.setenv("ONESELF_SECRET_KEY", "k" * 43)
    code, _, err, calls = serve()
    assert (code, len(calls)) == (1, 1)
    assert "not the one that this database was made with" in err


def test_lost_key_file_is_refused_and_not_replaced(serve, folder):
    """OP-04, reliability finding 9: a synchronised copy of the folder would lose the right one."""
    serve()
    (folder / "secret.key").unlink()
    code, _, err, calls = serve()
    assert (code, len(calls)) == (1, 1)
    assert "Put back the one that the database was made with" in err
    assert not (folder / "secret.key").exists()


def test_key_file_readable_by_others_is_refused(serve, folder):
    """With the command that fixes it."""
    (folder / "secret.key").write_text("k" * 43)
    (folder / "secret.key").chmod(0o644)
    assert_refused(serve(), "chmod 600")


def test_older_database_is_refused_and_not_migrated(serve, folder):
    """An operator should back it up first."""
    with contextlib.closing(sqlite_driver().connect(folder / "oneself.sqlite3")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
        connection.commit()
        assert_refused(serve(), "0000", "python -m oneself db upgrade")
        present = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert present == ("0000",)


def test_bad_setting_is_refused(serve, monkeypatch):
    monkeypatch.setenv("ONESELF_DRAIN_SECONDS", "soon")
    assert_refused(serve(), "ONESELF_DRAIN_SECONDS must be a valid integer", status=2)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1", "http://localhost"),
        ("localhost", "http://localhost"),
        ("127.0.0.2", "http://127.0.0.2"),
        pytest.param("::1", "http://[::1]", marks=needs_ipv6),
    ],
)
def test_public_url_follows_the_address(serve, port, host, origin):
    """newcomer F10."""
    assert serve("--host", host)[::2] == (0, "")
    assert os.environ["ONESELF_PUBLIC_URL"] == f"{origin}:{port}"


def test_public_url_of_the_operator_is_kept(serve, monkeypatch):
    """newcomer F10."""
    monkeypatch.setitem(os.environ, "ONESELF_PUBLIC_URL", "https://me.example.com")
    assert serve()[0] == 0
    assert os.environ["ONESELF_PUBLIC_URL"] == "https://me.example.com"


def test_public_url_of_all_addresses_is_localhost(serve, port):
    """newcomer F10: as it was before, since 0.0.0.0 is no name."""
    assert serve("--host", EVERYWHERE, "--allow-http")[0] == 0
    assert os.environ["ONESELF_PUBLIC_URL"] == f"http://localhost:{port}"


@pytest.mark.parametrize(
    ("url", "options", "is_logged"),
    [
        ("http://localhost:1", (), True),
        ("http://[::1]:1", (), True),
        ("http://localhost:1", ("--host", EVERYWHERE, "--allow-http"), False),
        ("https://localhost:1", (), False),
        ("http://me.example.com:1", (), False),
    ],
)
def test_public_url_with_another_port_is_logged(
    serve, monkeypatch, caplog, url, *, options, is_logged
):
    """newcomer F10: unless a container or a reverse proxy can forward that port."""
    monkeypatch.setitem(os.environ, "ONESELF_PUBLIC_URL", url)
    monkeypatch.setitem(os.environ, "ONESELF_TRUSTED_PROXIES", "")
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    assert serve(*options)[0] == 0
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert ["ONESELF_PUBLIC_URL has port 1," in each for each in warnings] == [True] * is_logged


def test_public_url_of_a_trusted_proxy_may_have_another_port(serve, monkeypatch, caplog):
    """newcomer F10."""
    monkeypatch.setitem(os.environ, "ONESELF_PUBLIC_URL", "http://localhost:1")
    monkeypatch.setitem(os.environ, "ONESELF_TRUSTED_PROXIES", "127.0.0.1")
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    assert serve()[0] == 0
    assert caplog.records == []


def test_unknown_setting_is_logged_without_its_value(serve, monkeypatch, caplog):
    """newcomer F11."""
    monkeypatch.setitem(os.environ, "ONESELF_PASWORD_COST", "canary")
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    assert serve()[0] == 0
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "ONESELF_PASWORD_COST is not a setting, and is ignored. Did you mean ONESELF_PASSWORD_COST?"
    )


# The demo


def test_demo_prints_five_lines(serve, port, folder):
    """newcomer F16: its address, a login, its folders, and how to stop it."""
    code, out, err, calls = serve("--demo")
    assert (code, err, len(calls)) == (0, "", 1)
    password = json.loads((folder / "demo.json").read_text())["base"]["password"]
    origin = f"http://localhost:{port}"
    command = f"ONESELF_DATA_DIR={folder} ONESELF_PUBLIC_URL={origin} python -m oneself demo --curl"
    assert [line.split(maxsplit=1) for line in out.replace("Log in as", "Login").splitlines()] == [
        ["Open", f"{origin}/   API reference: {origin}/docs"],
        ["Login", f"alice.chen@example.com   password: {password}"],
        ["Data", f"{folder}   curl commands: {command}"],
        ["Mail", f"{folder}/mail"],
        ["Stop", "Ctrl-C"],
    ]


def test_demo_banner_of_a_server_has_no_url(serve, monkeypatch):
    """newcomer F16: URLs of servers have passwords."""
    monkeypatch.setitem(os.environ, "ONESELF_SMTP_URL", "smtp://me:canary@mail.example.com:587")
    monkeypatch.setitem(os.environ, "ONESELF_DOCS", "false")
    code, out, *_ = serve("--demo")
    assert code == 0
    assert "canary" not in out
    assert "/docs" not in out
    assert "ONESELF_SMTP_URL" in out


def test_demo_keeps_its_credentials(serve, tmp_path, folder):
    """newcomer F9, F2: over restarts, in a file of the data folder and in a chosen one."""
    chosen = tmp_path / "people.json"
    chosen.write_text("former")
    chosen.chmod(0o644)
    assert serve("--demo", "--credentials", str(chosen))[0] == 0
    written = json.loads(chosen.read_text())
    assert (folder / "demo.json").read_text() == chosen.read_text()
    assert {path.stat().st_mode & 0o777 for path in (chosen, folder / "demo.json")} == {0o600}
    assert serve("--demo")[0] == 0
    again = json.loads((folder / "demo.json").read_text())
    assert again["base"]["session_token"] == written["base"]["session_token"]
    assert again["base"]["password"] == written["base"]["password"]
    (folder / "demo.json").write_text("no JSON")
    assert serve("--demo")[0] == 0
    again = json.loads((folder / "demo.json").read_text())
    assert again["base"]["password"] != written["base"]["password"]


def test_credentials_without_a_demo_are_refused(serve, tmp_path):
    assert_refused(serve("--credentials", str(tmp_path / "people.json")), "--demo", status=2)


def test_demo_off_loopback_needs_the_option(serve, monkeypatch):
    """newcomer F9: the setting of a deployment does not open a demo to other machines."""
    monkeypatch.setitem(os.environ, "ONESELF_ALLOW_HTTP", "true")
    assert_refused(serve("--demo", "--host", EVERYWHERE), "--allow-http", status=2)
    assert serve("--demo", "--host", EVERYWHERE, "--allow-http")[0] == 0


def test_demo_in_a_database_of_real_users_is_refused(serve, folder, monkeypatch):
    """newcomer F9: `tox run -e serve` uses the data folder of the commands."""
    add = ["oneself", "tenant", "add", "Real", "--json"]
    monkeypatch.setattr(sys, "argv", add)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        commands.main()
    tenant = json.loads(printed.getvalue())["tenant_id"]
    add = ["user", "add", "real@example.com", "--tenant", tenant, "--name", "R", "--provider"]
    monkeypatch.setattr(sys, "argv", ["oneself", *add, "oidc"])
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        commands.main()
    assert_refused(serve("--demo"), "none of the demo", "ONESELF_DATA_DIR")
    status, _, err, calls = serve("--for-conformance")
    assert (status, calls) == (1, [])
    assert "none of the demo: --for-conformance is for test deployments" in err
    assert not (folder / "demo.json").exists()
    assert serve()[0] == 0


def test_rate_limits_are_raised_for_conformance_only(serve, monkeypatch, caplog):
    """contract 3: those that the tests print, and with a warning."""
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    assert serve("--demo")[0] == 0
    assert caplog.records == []
    usual = Settings().model_dump()
    assert serve("--demo", "--for-conformance")[0] == 0
    assert "rate limits" in caplog.text
    # The tests compare the other limits with their defaults.
    raised = {name.removeprefix("ONESELF_").lower(): each for name, each in RATE_LIMITS.items()}
    assert Settings().model_dump() == {**usual, **raised}


def test_demo_users_of_a_service_without_the_option_are_logged(serve, monkeypatch, caplog):
    """newcomer F9: a demo must not become a deployment."""
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    for _ in range(2):
        assert serve("--demo")[0] == 0
    assert caplog.records == []
    assert serve()[0] == 0
    assert ["demo users" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(("workers", "threads"), [("1", "2"), ("2", "1"), ("5", "1")])
def test_workers_share_the_processors(serve, monkeypatch, workers, threads):
    """LG-13: at most one hashing thread per processor, but at least one per worker."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert serve("--workers", workers)[0] == 0
    assert os.environ["ONESELF_PASSWORD_THREADS"] == threads


def test_configured_threads_are_not_divided(serve, monkeypatch):
    monkeypatch.setitem(os.environ, "ONESELF_PASSWORD_THREADS", "7")
    assert serve("--workers", "64")[0] == 0
    assert os.environ["ONESELF_PASSWORD_THREADS"] == "7"


def _parse_curl(line):
    """Return the request that a curl command makes."""
    words = shlex.split(line)
    name, value = words[words.index("-H") + 1].split(": ", 1)
    body = words[words.index("-d") + 1] if "-d" in words else None
    return ("POST" if body else "GET", words[1]), {"headers": {name: value}, "content": body}


def test_real_start_answers_every_curl_command_and_drains(tmp_path, port):
    """A request that is in flight at SIGTERM is answered, and the exit status is 0.

    newcomer F9: `demo --curl` beside the running demo prints credentials that work in both.
    """
    environment = {**os.environ, "ONESELF_DATA_DIR": str(tmp_path / "fresh")}
    with subprocess.Popen(
        [sys.executable, "-m", "oneself", "serve", "--demo", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            while not (line := process.stdout.readline()).startswith("Data "):
                assert line, "it ended"
            _wait_for(port)
            command = line.partition("curl commands: ")[2].replace("python", sys.executable, 1)
            printed = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=ROOT,
                env=os.environ,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
            assert re.search(
                r"^export SESSION=sess_\w+ ACCESS_TOKEN=tok_\w+ API_KEY=\w+ PAT=pat_",
                printed,
                re.MULTILINE,
            )
            lines = [line for line in printed.splitlines() if line.startswith("curl ")]
            assert len(lines) == 7
            lines.pop()  # a pipe with a token exchange, which the README's tests run
            for line in lines:
                request, more = _parse_curl(line)
                answer = _ask(*request, **more)
                assert answer.status_code == 200, line
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as login:
                rest = _send_without_the_end(login, *_parse_curl(lines[0]))
                process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
                login.send(rest)
                assert login.getresponse().status == 200
            assert process.wait(patient(TIMEOUT)) == 0
        finally:
            process.kill()


def _ask(method, url, **more):
    """Send a request, and again as often as a busy machine has the service refuse it."""
    deadline = time.monotonic() + patient(30)
    while True:
        answer = httpx.request(method, url, timeout=patient(30), **more)
        if answer.status_code != 503 or time.monotonic() > deadline:
            return answer
        time.sleep(float(answer.headers["Retry-After"]))


def _send_without_the_end(connection, request, more):
    """Send a request without the end of its body, and return the missing part."""
    body = more["content"].encode()
    connection.putrequest(request[0], httpx.URL(request[1]).path)
    for name, value in {**more["headers"], "Content-Length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders(body[:10])
    time.sleep(0.5)  # until a worker has it
    return body[10:]


def _wait_for(port):
    until = time.monotonic() + patient(TIMEOUT)
    while time.monotonic() < until:
        try:
            httpx.get(f"http://127.0.0.1:{port}/readyz")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("no answer")
