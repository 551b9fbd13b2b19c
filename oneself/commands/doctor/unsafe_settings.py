"""The `settings` check of `doctor`: unsafe combinations of settings."""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from oneself.commands.console.check_result import CheckResult, ok, problem

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL

    from oneself.settings import Settings

_DAY = 86_400
#: The least length of a password that is the only factor (NIST SP 800-63B-4 section 3.1.1.2).
_NIST_MIN_LENGTH = 15
#: A rate limit that allows this many times the default in a day is no protection.
_EXCESSIVE_FACTOR = 10
#: The `sslmode` values that verify the server before the password is sent.
_VERIFYING_MODES = frozenset({"verify-ca", "verify-full"})


def find_unsafe_settings(settings: "Settings") -> CheckResult:
    """Report unknown settings, and combinations that are unsafe for a public service.

    If the public URL is on loopback, the service is only being tried out; then of the combinations
    only plain http to other machines is reported.
    """
    from oneself.settings_parsers import is_loopback

    public = not is_loopback((settings.public_url.host or "").strip("[]"))
    risks = [
        *unknown_settings(os.environ),
        *_transport_risks(settings, public=public),
        *_database_risks(settings.location),
    ]
    if public:
        risks += [*_combined_risks(settings), *_rate_limit_risks(settings)]
    if risks:
        return problem(
            "; ".join(risk.found for risk in risks), " ".join(risk.to_do or "" for risk in risks)
        )
    if settings.validate_responses:
        # Slow but harmless: mention it without reporting a problem.
        return ok("ONESELF_VALIDATE_RESPONSES is on, which slows down every response")
    return ok("no unsafe combination")


def unknown_settings(names: Iterable[str]) -> Iterator[CheckResult]:
    """Report variables that are spelled like a setting and are none, without their values."""
    from oneself.settings import Settings

    known = [name.upper() for name in Settings.model_fields]
    for name in sorted(names):
        prefix, _, rest = name.upper().partition("_")
        if prefix == "ONESELF" and rest not in known:
            nearest = get_close_matches(rest, known, n=1)
            yield problem(
                f"{name} is not a setting, and is ignored",
                f"Did you mean ONESELF_{nearest[0]}?"
                if nearest
                else "docs/settings.md lists all settings.",
            )


def _transport_risks(settings: "Settings", *, public: bool) -> Iterator[CheckResult]:
    if settings.public_url.scheme == "https":
        return
    if public:
        yield problem(
            "ONESELF_PUBLIC_URL is plain http: passwords and tokens can be read in transit, and"
            " links in emails are not protected",
            "Put an https reverse proxy in front, and set ONESELF_PUBLIC_URL to its address.",
        )
    elif settings.allow_http:
        yield problem(
            "ONESELF_ALLOW_HTTP serves plain http to other machines, and ONESELF_PUBLIC_URL is not"
            " the address of an https reverse proxy",
            "Unset ONESELF_ALLOW_HTTP, or set ONESELF_PUBLIC_URL to the proxy's address.",
        )


def _combined_risks(settings: "Settings") -> Iterator[CheckResult]:
    from oneself.commands.demo import has_demo

    if has_demo(settings):
        yield problem(
            "the data folder has the passwords of demo users, in demo.json",
            "Use another ONESELF_DATA_DIR and database for real users.",
        )
    if lacks_trusted_proxies(settings):
        yield problem(
            "ONESELF_TRUSTED_PROXIES is empty behind a reverse proxy: all users share one client"
            " address, so one attacker who guesses passwords locks out everyone",
            "Set ONESELF_TRUSTED_PROXIES to the addresses that the proxy connects from.",
        )
    if settings.signup == "open" and not settings.smtp_url:
        yield problem(
            "ONESELF_SIGNUP is open and ONESELF_SMTP_URL is not set: users can neither verify"
            " their address nor reset a forgotten password",
            "Set ONESELF_SMTP_URL, or ONESELF_SIGNUP=closed.",
        )
    if not settings.password_classes and settings.password_min_length < _NIST_MIN_LENGTH:
        yield problem(
            "ONESELF_PASSWORD_CLASSES is false and ONESELF_PASSWORD_MIN_LENGTH is below"
            f" {_NIST_MIN_LENGTH}: short passwords of one kind of character are accepted",
            f"Set ONESELF_PASSWORD_MIN_LENGTH={_NIST_MIN_LENGTH}, as NIST SP 800-63B advises.",
        )
    if settings.email_change == "service" and not settings.smtp_url:
        yield problem(
            "ONESELF_EMAIL_CHANGE is service and ONESELF_SMTP_URL is not set: the secret that"
            " confirms an email change is never delivered",
            "Set ONESELF_SMTP_URL, or ONESELF_EMAIL_CHANGE=client.",
        )


def lacks_trusted_proxies(settings: "Settings") -> bool:
    """Return whether no proxy is named although the public URL is https, which implies one."""
    from oneself.settings_parsers import is_loopback

    host = (settings.public_url.host or "").strip("[]")
    return settings.public_url.scheme == "https" and not (is_loopback(host) or settings.proxies)


def _rate_limit_risks(settings: "Settings") -> Iterator[CheckResult]:
    for name, field in type(settings).model_fields.items():
        if not name.startswith("throttle_"):
            continue
        rate_limit, default = (
            _attempts_per_day(text) for text in (getattr(settings, name), field.default)
        )
        if rate_limit > _EXCESSIVE_FACTOR * default:
            variable = f"ONESELF_{name.upper()}"
            yield problem(
                f"{variable} allows {rate_limit:,.0f} attempts a day, the default {default:,.0f}",
                f"Unset {variable}.",
            )


def _attempts_per_day(rate_limit: str) -> float:
    """Return the attempts that a full rate limit allows in a day."""
    attempts, _, seconds = rate_limit.partition("/")
    return int(attempts) * (1 + _DAY / int(seconds))


def _database_risks(location: "Path | URL") -> Iterator[CheckResult]:
    """Yield a risk if the connection to a remote server is not verified.

    A host name without a dot is on a private network, as in a compose file.
    """
    from sqlalchemy import URL

    from oneself.settings_parsers import is_loopback

    if not isinstance(location, URL) or location.query.get("sslmode") in _VERIFYING_MODES:
        return
    host = location.host or location.query.get("host") or ""
    if not isinstance(host, str) or ("." not in host and ":" not in host):
        return
    if host.startswith("/") or is_loopback(host):
        return
    yield problem(
        "ONESELF_DATABASE_URL has no sslmode=verify-full: an attacker on the network can"
        " impersonate the database, and read the password and all rows",
        "Add sslmode=verify-full, and sslrootcert=… if you use a private certificate authority.",
    )
