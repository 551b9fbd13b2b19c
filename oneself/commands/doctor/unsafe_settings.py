"""The `settings` check of `doctor`: unsafe combinations of settings."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from oneself.commands.console.check_result import CheckResult, ok, problem

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL

    from oneself.settings import Settings

__all__ = ["find_unsafe_settings"]

_DAY = 86_400
#: A rate limit that allows this many times the default in a day is no protection.
_EXCESSIVE_FACTOR = 10
#: The `sslmode` values that verify the server before the password is sent.
_VERIFYING_MODES = frozenset({"verify-ca", "verify-full"})


class _Risk(NamedTuple):
    problem: str
    to_do: str


def find_unsafe_settings(settings: "Settings") -> CheckResult:
    """Report combinations of settings that are unsafe for a public service.

    If the public URL is on loopback, the service is only being tried out; then only plain http to
    other machines is reported.
    """
    risks = [*_transport_risks(settings), *_database_risks(settings.location)]
    if _is_public(settings):
        risks += [
            *_client_address_risks(settings),
            *_mail_risks(settings),
            *_rate_limit_risks(settings),
        ]
    if risks:
        return problem(
            "; ".join(risk.problem for risk in risks), " ".join(risk.to_do for risk in risks)
        )
    if settings.validate_responses:
        # Slow but harmless: mention it without reporting a problem.
        return ok("ONESELF_VALIDATE_RESPONSES is on, which slows down every response")
    return ok("no unsafe combination")


def _is_public(settings: "Settings") -> bool:
    from oneself.settings_parsers import is_loopback

    return not is_loopback((settings.public_url.host or "").strip("[]"))


def _transport_risks(settings: "Settings") -> Iterator[_Risk]:
    if settings.public_url.scheme == "https":
        return
    if _is_public(settings):
        yield _Risk(
            "ONESELF_PUBLIC_URL is plain http: passwords and tokens can be read in transit, and"
            " links in emails are not protected",
            "Put an https reverse proxy in front, and set ONESELF_PUBLIC_URL to its address.",
        )
    elif settings.allow_http:
        yield _Risk(
            "ONESELF_ALLOW_HTTP serves plain http to other machines, and ONESELF_PUBLIC_URL is not"
            " the address of an https reverse proxy",
            "Unset ONESELF_ALLOW_HTTP, or set ONESELF_PUBLIC_URL to the proxy's address.",
        )


def _client_address_risks(settings: "Settings") -> Iterator[_Risk]:
    """Yield a risk if the reverse proxy, which an https URL implies, is not trusted."""
    if settings.public_url.scheme == "https" and not settings.proxies:
        yield _Risk(
            "ONESELF_TRUSTED_PROXIES is empty behind a reverse proxy: all users share one client"
            " address, so one attacker who guesses passwords locks out everyone",
            "Set ONESELF_TRUSTED_PROXIES to the addresses that the proxy connects from.",
        )


def _mail_risks(settings: "Settings") -> Iterator[_Risk]:
    if settings.smtp_url is not None and settings.smtp_url.get_secret_value():
        return
    if settings.signup == "open":
        yield _Risk(
            "ONESELF_SIGNUP is open and ONESELF_SMTP_URL is not set: users can neither verify"
            " their address nor reset a forgotten password",
            "Set ONESELF_SMTP_URL, or ONESELF_SIGNUP=closed.",
        )
    if settings.email_change == "service":
        yield _Risk(
            "ONESELF_EMAIL_CHANGE is service and ONESELF_SMTP_URL is not set: the secret that"
            " confirms an email change is never delivered",
            "Set ONESELF_SMTP_URL, or ONESELF_EMAIL_CHANGE=client.",
        )


def _rate_limit_risks(settings: "Settings") -> Iterator[_Risk]:
    for name, field in type(settings).model_fields.items():
        if not name.startswith("throttle_"):
            continue
        rate_limit, default = (
            _attempts_per_day(text) for text in (getattr(settings, name), field.default)
        )
        if rate_limit > _EXCESSIVE_FACTOR * default:
            variable = f"ONESELF_{name.upper()}"
            yield _Risk(
                f"{variable} allows {rate_limit:,.0f} attempts a day, the default {default:,.0f}",
                f"Unset {variable}.",
            )


def _attempts_per_day(rate_limit: str) -> float:
    """Return the attempts that a full rate limit allows in a day."""
    attempts, _, seconds = rate_limit.partition("/")
    return int(attempts) * (1 + _DAY / int(seconds))


def _database_risks(location: "Path | URL") -> Iterator[_Risk]:
    """Yield a risk if the connection to a remote server is not verified.

    A host name without a dot is on a private network, as in a compose file.
    """
    from sqlalchemy import URL

    if not isinstance(location, URL) or location.query.get("sslmode") in _VERIFYING_MODES:
        return
    host = location.host or location.query.get("host") or ""
    if not isinstance(host, str) or ("." not in host and ":" not in host) or _is_local(host):
        return
    yield _Risk(
        "ONESELF_DATABASE_URL has no sslmode=verify-full: an attacker on the network can"
        " impersonate the database, and read the password and all rows",
        "Add sslmode=verify-full, and sslrootcert=… if you use a private certificate authority.",
    )


def _is_local(host: str) -> bool:
    from oneself.settings_parsers import is_loopback

    return host.startswith("/") or is_loopback(host)
