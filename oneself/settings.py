"""Settings, read from `ONESELF_…` environment variables."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AnyHttpUrl, Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import URL, make_url

from accounts.limits import Limits
from oneself.account_settings import AccountSettings
from oneself.branding.brand import AppUrl, Brand, Colour, LogoFile, ProductName, Support, make_brand
from oneself.database_urls import require_database, sqlite_path
from oneself.host_names import parse_hosts, parse_origins, require_hosts, require_origins
from oneself.logging import LogFormat
from oneself.secret_files import Secret, SecretFile, from_file
from oneself.settings_parsers import (
    Network,
    PublicUrl,
    parse_listener,
    parse_networks,
    parse_sender,
    require_listener,
    require_networks,
)

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Settings(AccountSettings):
    """The settings of a process, from environment variables with the prefix `ONESELF_`.

    docs/settings.md is generated from these fields: `oneself.settings_page` says how and where its
    sections begin.
    """

    model_config = SettingsConfigDict(
        env_prefix="ONESELF_",
        use_attribute_docstrings=True,
        frozen=True,
        extra="ignore",
        # A rejected value can be a secret, and the error goes to a log.
        hide_input_in_errors=True,
        # A compose file passes an unset variable on as an empty one, with ${X:-}. An empty path
        # would mean the working directory.
        env_ignore_empty=True,
    )

    data_dir: Path = Path("data")
    """Folder of the SQLite file, the key file and, without SMTP, outgoing mail."""
    database_url_file: SecretFile = None
    """File with `ONESELF_DATABASE_URL`."""
    database_url: Annotated[Secret, AfterValidator(require_database)] = from_file()
    """`postgresql+psycopg://user:password@host/name`, or `sqlite:///path`. Unset: the file
    `oneself.sqlite3` in the data folder.
    """
    secret_key_file: SecretFile = None
    """File with `ONESELF_SECRET_KEY`."""
    secret_key: Secret = from_file()
    """Root secret: 32 bytes or more, in base64url. Every replica needs the same one. Unset: read
    from `secret.key` in the data folder; with SQLite the first start creates that file.
    """
    secret_key_former_file: SecretFile = None
    """File with `ONESELF_SECRET_KEY_FORMER`."""
    secret_key_former: Secret = from_file()
    """Previous root secrets still needed to read existing rows, comma-separated."""

    public_url: PublicUrl = AnyHttpUrl("http://localhost:8080")
    """Public base URL, without a path. Requests with any other Host header, except loopback names
    and those of `ONESELF_EXTRA_HOSTS`, get a 421; health checks are answered with any.
    """
    extra_hosts: Annotated[str, AfterValidator(require_hosts)] = ""
    """More host names that requests may name, comma-separated and without ports, such as a name
    inside the cluster. Links, cookies and JWTs keep the public URL.
    """
    cors_origins: Annotated[str, AfterValidator(require_origins)] = ""
    """Origins of pages in browsers that may call the API with a Bearer token or an API key,
    comma-separated, such as `https://app.example.com,http://localhost:5173`. The session cookie is
    never accepted from them. Unset: only pages of the public URL may call it.
    """
    hsts_subdomains: bool = False
    """Make browsers use https for all subdomains of the public URL, too (`includeSubDomains`).
    Enable it only if all of them have https, which is rare below a bare domain such as
    `example.com`.
    """
    docs: bool = True
    """Serve the interactive API reference at `/docs`. The document itself is always public."""
    allow_http: bool = False
    """Serve plain HTTP on addresses other than loopback. Enable it only behind a reverse proxy that
    terminates TLS.
    """
    trusted_proxies: Annotated[str, AfterValidator(require_networks)] = ""
    """Addresses or networks of reverse proxies, comma-separated. Only their `X-Forwarded-For`
    header is trusted. Behind a reverse proxy it must be set; otherwise all users share one rate
    limit.
    """
    head_seconds: Annotated[float, Field(ge=1, le=15)] = 10
    """Time limit for receiving the head of a request."""
    body_seconds: Annotated[float, Field(gt=0, le=15)] = 10
    """Time limit for receiving the body of a request."""
    body_bytes: Annotated[int, Field(ge=1024, le=16_777_216)] = 65_536
    """Largest request body, pictures aside."""
    picture_bytes: Annotated[int, Field(ge=1024, le=5_242_880)] = 5_242_880
    """Largest picture that can be uploaded; a JSON body with one has at most 512 KiB of it."""

    smtp_url_file: SecretFile = None
    """File with `ONESELF_SMTP_URL`."""
    smtp_url: Secret = from_file()
    """Mail server: `smtp://user:password@host:587` (STARTTLS) or `smtps://…`. Unset: mail is
    written to the data folder as `.eml` files.
    """
    smtp_ca_file: Path | None = None
    """CA certificates (PEM) to verify the mail server's certificate with. Unset: those of the
    system.
    """
    smtp_seconds: Annotated[float, Field(gt=0, le=120)] = 20
    """Time limit for delivering one email."""
    mail_from: Annotated[str, AfterValidator(parse_sender)] = ""
    """Sender address of mail. Unset: `no-reply@` and the host of the public URL."""
    template_dir: Path | None = None
    """Folder of mail and page templates that replace those of `templates/`."""

    product_name: ProductName = ""
    """Name of the product on pages and in mail, at most 40 characters. Unset: the public host."""
    logo: LogoFile = None
    """Logo and icon of pages: a PNG file, or an SVG file without scripts and links, of at most
    131,072 bytes. Mail has no image. Unset: a mark in the colour.
    """
    colour: Colour = ""
    """Colour of links and buttons on light pages and in mail, such as `#1f5fbf`. Dark pages use a
    lighter shade of it. A colour that is too pale to read (contrast 4.5, WCAG AA) stops the start.
    """
    support: Support = ""
    """Email address or URL where users get help, shown on pages and in mail."""
    app_url: AppUrl = ""
    """URL of the app in which users manage their account. Pages and mail lead to it."""

    database_threads: Annotated[int, Field(ge=1, le=64)] = 4
    """Database threads per worker that write, each with a connection of its own. One more reads.
    While some wait for a standby or a disk for more than a second, as many again take their place.
    """
    password_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Password hashing threads per worker. Unless it is set, `serve` lowers it so that all workers
    together have no more than there are processors.
    """
    password_queue: Annotated[int, Field(ge=0, le=10_000)] = 8
    """Password operations that may wait for a thread, per worker: as many as are done while a
    person waits. Beyond that, requests get a 503.
    """
    image_threads: Annotated[int, Field(ge=1, le=16)] = 1
    """Picture decoding threads per worker."""
    image_queue: Annotated[int, Field(ge=0, le=1000)] = 4
    """Pictures that may wait for a thread, per worker. Beyond that, requests get a 503."""
    drain_delay_seconds: Annotated[int, Field(ge=0, le=300)] = 0
    """Time after SIGTERM in which `/readyz` returns 503 and all other requests are still accepted,
    so that a load balancer can take the replica out.
    """
    drain_seconds: Annotated[int, Field(ge=1, le=300)] = 30
    """Time that requests in progress get to finish after SIGTERM (and after the drain delay)."""

    # Before the address, whose validator reads it.
    metrics_remote: bool = False
    """Allow a metrics address other than loopback. Metrics are served over plain HTTP without
    authentication.
    """
    metrics_address: str = ""
    """Address and port to serve Prometheus metrics on, such as `127.0.0.1:9464`. Unset: no metrics.
    """
    otlp_endpoint: str = ""
    """OpenTelemetry collector for traces, by OTLP over HTTP, such as `http://collector:4318`.
    Unset: the standard `OTEL_EXPORTER_OTLP_…` variables apply; without them no traces are sent.
    """
    log_format: LogFormat = "auto"
    """Format of the log: `json`, `text`, or `auto` for text in a terminal and JSON otherwise."""
    validate_responses: bool = False
    """Check each response against the OpenAPI document before it is sent. For tests: it costs time.
    """

    @field_validator("metrics_address")
    @classmethod
    def _require_listener(cls, text: str, info: ValidationInfo) -> str:
        if text:
            require_listener(text, remote=bool(info.data.get("metrics_remote")))
        return text

    @property
    def metrics_listener(self) -> tuple[str, int] | None:
        """The address and port to serve metrics on, or None."""
        return parse_listener(self.metrics_address) if self.metrics_address else None

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of trusted reverse proxies."""
        return parse_networks(self.trusted_proxies)

    @property
    def location(self) -> Path | URL:
        """The path of the SQLite file, or the URL of the PostgreSQL database."""
        url = self.database_url.get_secret_value() if self.database_url else ""
        if not url:
            return self.data_dir / "oneself.sqlite3"
        return sqlite_path(url) or make_url(url)

    @property
    def public_origin(self) -> str:
        """The scheme, host and port of the public URL, as in an `Origin` header."""
        parts = urlsplit(str(self.public_url))
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def known_hosts(self) -> frozenset[str]:
        """The host names, without port, which requests may name in their Host header."""
        extra = parse_hosts(self.extra_hosts)
        return frozenset({self.public_url.host or "", *extra, *LOOPBACK_NAMES})

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins whose pages may call the API."""
        return parse_origins(self.cors_origins)

    @property
    def shown_name(self) -> str:
        """The name of the product, else the public host."""
        return self.product_name or self.public_url.host or ""

    @property
    def brand(self) -> Brand:
        """The look of pages and mail."""
        return make_brand(self.shown_name, self.logo, self.colour, self.support, self.app_url)

    @property
    def limits(self) -> Limits:
        """The limits that these settings give the acts."""
        return self.limits_of(issuer=self.public_origin, product_name=self.shown_name)
