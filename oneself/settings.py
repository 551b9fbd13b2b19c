"""What an operator sets, from the environment."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url

from accounts.limits import Limits
from accounts.values.email_address import canonical, parse_address
from oneself.database_urls import require_database, sqlite_path
from oneself.settings_parsers import (
    Network,
    parse_listener,
    parse_networks,
    parse_rate_limit,
    read_passwords,
    require_listener,
    require_networks,
)

__all__ = ["LOOPBACK_NAMES", "Settings"]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_CHECKOUT = Path(__file__).parent.parent

#: Attempts at once, a slash, and the seconds in which as many come back.
_BudgetText = Annotated[str, Field(pattern="^[1-9][0-9]{0,6}/[1-9][0-9]{0,6}$")]


class Settings(BaseSettings):
    """Every `ONESELF_…` environment variable; the README's table is checked against this class."""

    model_config = SettingsConfigDict(
        env_prefix="ONESELF_",
        frozen=True,
        extra="ignore",
        # A rejected value can be a secret; without this it would stand in the error.
        hide_input_in_errors=True,
        # What a compose file passes on, as ${X:-}, is empty where nobody has set it. An empty path
        # would be the working folder.
        env_ignore_empty=True,
    )

    data_dir: Path = Field(
        default=Path("data"),
        description="Folder of the SQLite file, the key file and mail that is not sent by SMTP.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="`postgresql+psycopg://user:password@host/name`, or `sqlite:///…`; empty for"
        " `oneself.sqlite3` in the data folder.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="The root secret, 32 bytes or more in base64url; empty for a key file.",
    )
    secret_key_former: SecretStr | None = Field(
        default=None,
        description="Root secrets that rows are still stored under, separated by commas.",
    )
    policy_dir: Path = Field(
        default=Path("policies"),
        validate_default=True,
        description="Folder of the Cedar policies, `*.cedar`; relative to the checkout.",
    )
    public_url: AnyHttpUrl = Field(
        default=AnyHttpUrl("http://localhost:8080"),
        description="Where people reach the service, without a path; its host is a known Host.",
    )
    signup: Literal["open", "closed"] = Field(
        default="open", description="Whether anybody may open an account."
    )
    validate_responses: bool = Field(
        default=False,
        description="Whether each answer is held against the document before it is sent.",
    )
    body_bytes: Annotated[int, Field(ge=1024, le=16_777_216)] = Field(
        default=65_536, description="Largest body, in bytes."
    )
    body_seconds: Annotated[float, Field(gt=0, le=15)] = Field(
        default=10, description="Longest time that a body may take to arrive, in seconds."
    )
    picture_bytes: Annotated[int, Field(ge=1024, le=5_242_880)] = Field(
        default=5_242_880, description="Largest picture that can be uploaded, in bytes."
    )
    head_seconds: Annotated[float, Field(ge=1, le=15)] = Field(
        default=10, description="Longest time that a head may take to arrive, in seconds."
    )
    drain_seconds: Annotated[int, Field(ge=1, le=300)] = Field(
        default=30,
        description="Longest time that requests in flight get after SIGTERM, in seconds.",
    )
    drain_delay_seconds: Annotated[int, Field(ge=0, le=300)] = Field(
        default=0,
        description="How long `/readyz` is a 503 after SIGTERM, while all else is served, in"
        " seconds.",
    )
    database_threads: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4,
        description="Threads that wait for the database, in each worker, with a connection each.",
    )
    password_threads: Annotated[int, Field(ge=1, le=64)] = Field(
        default=2,
        description="Threads that hash passwords, in each worker; by default no more than there are"
        " processors for all.",
    )
    password_queue: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=32, description="Password operations that may wait for a thread; past it, 503."
    )
    image_threads: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="Threads that decode pictures, in each worker."
    )
    image_queue: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=4, description="Pictures that may wait for a thread; past it, 503."
    )
    password_cost: Annotated[int, Field(ge=10, le=16)] = Field(
        default=12, description="The cost of bcrypt; each step doubles the time."
    )
    password_min_length: Annotated[int, Field(ge=8, le=64)] = Field(
        default=8, description="Fewest characters of a new password."
    )
    password_blocklist: Path | None = Field(
        default=None,
        description="Text file of leaked passwords, one a line, that nobody may choose.",
    )
    password_change_ends: Literal["none", "others"] = Field(
        default="none", description="Which sessions a change of the password ends."
    )
    email_change: Literal["client", "service"] = Field(
        default="client",
        description="Who mails the secret of a change of the address; `service` verifies it too.",
    )
    session_days: Annotated[int, Field(ge=1, le=365)] = Field(
        default=30, description="How long a session lasts, in days."
    )
    api_key_days: Annotated[int, Field(ge=1, le=3660)] = Field(
        default=365, description="How long an API key lasts at most, in days."
    )
    retention_days: Annotated[int, Field(ge=7, le=3660)] = Field(
        default=30, description="How long what has ended is kept until it is deleted, in days."
    )
    api_key_brand: Annotated[str, Field(pattern="^[a-z][a-z0-9]{1,15}$")] = Field(
        default="ipto", description="The word that API keys begin with."
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="`smtp://user:password@host:587` (STARTTLS) or `smtps://…`; empty for files.",
    )
    smtp_ca_file: Path | None = Field(
        default=None, description="Certificates that the mail server's is verified by."
    )
    smtp_seconds: Annotated[float, Field(gt=0, le=120)] = Field(
        default=20, description="Longest time that the delivery of one mail may take, in seconds."
    )
    template_dir: Path | None = Field(
        default=None, description="Folder of texts that replace those of `templates/`."
    )
    mail_from: str = Field(
        default="", description="Sender of mail; empty for `no-reply@` and the public host."
    )
    throttle_account_source: _BudgetText = Field(
        default="5/300",
        description="Failed attempts at one account from one source: so many in so many seconds.",
    )
    throttle_account: _BudgetText = Field(
        default="50/3600",
        description="Failed attempts at one account from all sources that it was never used from.",
    )
    throttle_source: _BudgetText = Field(
        default="100/600", description="Failed attempts from one source at all accounts."
    )
    throttle_signup: _BudgetText = Field(
        default="20/3600", description="Accounts opened from one source."
    )
    throttle_mail: _BudgetText = Field(
        default="5/3600", description="Mails that strangers can have sent to one address."
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks whose `X-Forwarded-For` is believed, by commas.",
    )
    metrics_remote: bool = Field(
        default=False,
        description="Let anybody on other machines ask for the metrics, in plain http.",
    )
    metrics_address: str = Field(
        default="",
        description="Where Prometheus asks for metrics, as `127.0.0.1:9464`; empty for nowhere.",
    )
    otlp_endpoint: str = Field(
        default="",
        description="Where spans go by OTLP over HTTP, as `http://collector:4318`; empty for"
        " nowhere.",
    )
    allow_http: bool = Field(
        default=False,
        description="Serve plain http off loopback: only behind a proxy that speaks https.",
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret:
            require_database(secret.get_secret_value())
        return secret

    @field_validator("public_url")
    @classmethod
    def _only_an_origin(cls, url: AnyHttpUrl) -> AnyHttpUrl:
        # It is published, in the metadata, in JWTs and in mail: a password in it would be too, and
        # a path would be left out of all of them.
        beyond = (url.username, url.password, url.query, url.fragment)
        if url.path not in {None, "/"} or any(part is not None for part in beyond):
            message = "must have a scheme, a host and a port at most, as in https://me.example.com"
            raise ValueError(message)
        return url

    @field_validator("password_blocklist")
    @classmethod
    def _readable_list(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_passwords(path)
        return path

    @field_validator("mail_from")
    @classmethod
    def _mailbox(cls, address: str) -> str:
        if address and canonical(address) is None:
            message = "must be an e-mail address"
            raise ValueError(message)
        return parse_address(address).mailbox if address else address

    @field_validator("policy_dir")
    @classmethod
    def _within_checkout(cls, path: Path) -> Path:
        return _CHECKOUT / path

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, text: str) -> str:
        require_networks(text)
        return text

    @field_validator("metrics_address")
    @classmethod
    def _own_listener(cls, text: str, info: ValidationInfo) -> str:
        if text:
            require_listener(text, remote=bool(info.data.get("metrics_remote")))
        return text

    @property
    def metrics_listener(self) -> tuple[str, int] | None:
        """Address and port for who asks for metrics, if anybody may."""
        return parse_listener(self.metrics_address) if self.metrics_address else None

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks that reverse proxies of ours ask from."""
        return parse_networks(self.trusted_proxies)

    @property
    def location(self) -> Path | URL:
        """Where the database is: a SQLite file, or the address of a PostgreSQL database."""
        url = self.database_url.get_secret_value() if self.database_url else ""
        if not url:
            return self.data_dir / "oneself.sqlite3"
        return sqlite_path(url) or make_url(url)

    @property
    def public_origin(self) -> str:
        """Scheme, host and port that people reach the service by, as in an `Origin` header."""
        parts = urlsplit(str(self.public_url))
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def known_hosts(self) -> frozenset[str]:
        """The host names, without port, that the service answers for."""
        return frozenset({self.public_url.host or "", *LOOPBACK_NAMES})

    @property
    def limits(self) -> Limits:
        """The settings that the acts keep to."""
        ends = self.password_change_ends
        return Limits(
            password_min_length=self.password_min_length,
            password_cost=self.password_cost,
            leaked_passwords=read_passwords(self.password_blocklist),
            password_change_ends_other_sessions=ends == "others",
            service_mails_email_changes=self.email_change == "service",
            session_lifetime=timedelta(days=self.session_days),
            api_key_lifetime=timedelta(days=self.api_key_days),
            retention=timedelta(days=self.retention_days),
            api_key_brand=self.api_key_brand,
            account_and_source_budget=parse_rate_limit(self.throttle_account_source),
            account_budget=parse_rate_limit(self.throttle_account),
            source_budget=parse_rate_limit(self.throttle_source),
            signup_budget=parse_rate_limit(self.throttle_signup),
            mail_budget=parse_rate_limit(self.throttle_mail),
            issuer=self.public_origin,
            signup_open=self.signup == "open",
        )
