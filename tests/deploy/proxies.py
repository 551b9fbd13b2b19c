"""nginx and Caddy as `docs/deploy/` configures them, in front of a service on this machine."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.http.wire import Answer, Wire, request_of
from tests.support.deadlines import patient
from tests.support.ports import free_port

__all__ = ["FILES", "HOSTS", "Proxy", "proxied"]

FILES = Path(__file__).parents[2] / "docs" / "deploy"
#: The public name of each: for a name that is not local, Caddy would ask a certificate authority.
HOSTS = {"nginx": "account.example.com", "caddy": "localhost"}
#: The main file that nginx is packaged with, with its own files in one folder.
_MAIN = """
{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 768; }}
http {{
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/responses;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/oneself.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running reverse proxy; requests come from a loopback address of the caller's choice."""

    host: str
    port: int
    http_port: int
    folder: Path
    certificates: Path

    def connect(
        self, *, source: str = "127.0.0.1", name: str | None = None, alpn: str = "http/1.1"
    ) -> Wire:
        """Connect over TLS, as to the host name; the certificate is verified."""
        context = ssl.create_default_context(cafile=self.certificates)
        context.set_alpn_protocols([alpn])
        plain = socket.create_connection(
            ("127.0.0.1", self.port), timeout=patient(20), source_address=(source, 0)
        )
        try:
            wrapped = context.wrap_socket(plain, server_hostname=name or self.host)
        except BaseException:
            plain.close()
            raise
        return Wire(self.port, connection=wrapped)

    def ask(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str | None] | None = None,
        body: Any = None,
        source: str = "127.0.0.1",
        host: str | None = None,
    ) -> Answer:
        """Send one request on a connection of its own."""
        with self.connect(source=source) as wire:
            wire.send(request_of(method, target, headers, body, host=host or self.host))
            answer = wire.answer(method)
            assert answer is not None, "the connection was closed without an answer"
            return answer

    @property
    def logs(self) -> str:
        """All that the proxy has logged so far."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@contextmanager
def proxied(name: str, folder: Path, upstream: int) -> Iterator[Proxy]:
    """Start nginx or Caddy in front of a port, until the end of the block."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is missing (Debian: apt-get install --no-install-recommends {name})")
    folder.mkdir()
    start = {"nginx": _nginx, "caddy": _caddy}[name]
    proxy = Proxy(HOSTS[name], free_port(), free_port(), folder, folder / "certificates.pem")
    command, environment = start(proxy, program, upstream)
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    try:
        _wait(proxy, process)
        yield proxy
    finally:
        process.terminate()
        assert process.wait(patient(20)) == 0, proxy.logs


def _nginx(proxy: Proxy, program: str, upstream: int) -> tuple[list[str], dict[str, str]]:
    folder = proxy.folder
    text = (FILES / "nginx.conf").read_text()
    for old, new in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{upstream};"),
        ("listen 80", f"listen {proxy.http_port}"),
        ("listen [::]:80", f"listen [::]:{proxy.http_port}"),
        ("listen 443", f"listen {proxy.port}"),
        ("listen [::]:443", f"listen [::]:{proxy.port}"),
        ("/etc/ssl/oneself/", f"{folder}/"),
        ("/var/log/nginx/", f"{folder}/"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "oneself.conf").write_text(text)
    # Its worker processes must reach pytest's folder, which belongs to the user of the tests.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
    _certify(proxy)
    options = ["-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    command = [program, *map(str, options)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    # As copied, it causes no warning.
    assert "[warn]" not in checked.stderr
    return [*command, "-g", "daemon off;"], {}


def _caddy(proxy: Proxy, program: str, upstream: int) -> tuple[list[str], dict[str, str]]:
    folder = proxy.folder
    environment = {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "CADDY_ADMIN": f"127.0.0.1:{free_port()}",
        "CADDY_SITE": proxy.host,
        "CADDY_HTTP_PORT": str(proxy.http_port),
        "CADDY_HTTPS_PORT": str(proxy.port),
        "CADDY_UPSTREAM": f"127.0.0.1:{upstream}",
        "CADDY_LOG": f"file {folder}/oneself.log",
    }
    command = [program, "run", "--adapter", "caddyfile", "--config", str(FILES / "Caddyfile")]
    made = folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    proxy.certificates.symlink_to(made)
    return command, environment


def _certify(proxy: Proxy) -> None:
    """Write a certificate of the host that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, proxy.host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(proxy.host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    proxy.certificates.write_bytes(pem)
    (proxy.folder / "fullchain.pem").write_bytes(pem)
    (proxy.folder / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _wait(proxy: Proxy, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + patient(30)
    while True:
        assert process.poll() is None, proxy.logs
        try:
            proxy.ask("GET", "/healthz")
        except OSError:  # as well as a certificate that does not exist yet
            assert time.monotonic() < deadline, proxy.logs
            time.sleep(0.05)
        else:
            return
