"""Settings that are each allowed, and dangerous together."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from oneself.commands.console.check_result import CheckResult, ok, problem

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL

    from oneself.settings import Settings

__all__ = ["find_unsafe_settings"]

_DAY = 86_400
#: A budget that lets so many times the default through in a day is none.
_FAR_TOO_MUCH = 10
#: In these PostgreSQL knows whom it sends the password to.
_VERIFIED = frozenset({"verify-ca", "verify-full"})


class _Danger(NamedTuple):
    found: str
    to_do: str


def find_unsafe_settings(settings: "Settings") -> CheckResult:
    """What the settings open between them, where people reach the service from elsewhere.

    Where the public URL is this machine's, it is being tried out: nobody else can be harmed then,
    but by plain http.
    """
    found = [*_of_transport(settings), *_of_the_database(settings.location)]
    if _is_public(settings):
        found += [*_of_the_source(settings), *_of_mail(settings), *_of_budgets(settings)]
    if found:
        return problem(
            "; ".join(danger.found for danger in found), " ".join(danger.to_do for danger in found)
        )
    if settings.validate_responses:
        # It costs and harms nobody, so it is said and is no problem.
        return ok("ONESELF_VALIDATE_RESPONSES is on, which costs time with each answer")
    return ok("nothing is dangerous together")


def _is_public(settings: "Settings") -> bool:
    from oneself.settings_parsers import is_loopback

    return not is_loopback((settings.public_url.host or "").strip("[]"))


def _of_transport(settings: "Settings") -> Iterator[_Danger]:
    if settings.public_url.scheme == "https":
        return
    if _is_public(settings):
        yield _Danger(
            "ONESELF_PUBLIC_URL is plain http: passwords and tokens can be read on the way, and"
            " links in mail lead there",
            "Put a proxy that speaks https in front, and set ONESELF_PUBLIC_URL to its address.",
        )
    elif settings.allow_http:
        yield _Danger(
            "ONESELF_ALLOW_HTTP serves plain http to other machines, and ONESELF_PUBLIC_URL names"
            " no proxy that speaks https",
            "Unset ONESELF_ALLOW_HTTP, or set ONESELF_PUBLIC_URL to the proxy's address.",
        )


def _of_the_source(settings: "Settings") -> Iterator[_Danger]:
    """The service speaks no https by itself, so behind such an address there is a proxy."""
    if settings.public_url.scheme == "https" and not settings.proxies:
        yield _Danger(
            "ONESELF_TRUSTED_PROXIES is empty behind a proxy: everybody is one source, and who"
            " guesses passwords locks all others out",
            "Set ONESELF_TRUSTED_PROXIES to the addresses that the proxy asks from.",
        )


def _of_mail(settings: "Settings") -> Iterator[_Danger]:
    if settings.smtp_url is not None and settings.smtp_url.get_secret_value():
        return
    if settings.signup == "open":
        yield _Danger(
            "ONESELF_SIGNUP is open and ONESELF_SMTP_URL is not set: no address is ever verified,"
            " and who forgets a password has lost the account",
            "Set ONESELF_SMTP_URL, or ONESELF_SIGNUP=closed.",
        )
    if settings.email_change == "service":
        yield _Danger(
            "ONESELF_EMAIL_CHANGE is service and ONESELF_SMTP_URL is not set: the secret of a"
            " change of the address reaches nobody",
            "Set ONESELF_SMTP_URL, or ONESELF_EMAIL_CHANGE=client.",
        )


def _of_budgets(settings: "Settings") -> Iterator[_Danger]:
    for name, field in type(settings).model_fields.items():
        if not name.startswith("throttle_"):
            continue
        budget, usual = (_in_a_day(text) for text in (getattr(settings, name), field.default))
        if budget > _FAR_TOO_MUCH * usual:
            variable = f"ONESELF_{name.upper()}"
            yield _Danger(
                f"{variable} lets {budget:,.0f} a day through, and its default {usual:,.0f}",
                f"Unset {variable}.",
            )


def _in_a_day(budget: str) -> float:
    """How many attempts a budget that is full in the morning lets through until the next."""
    attempts, _, seconds = budget.partition("/")
    return int(attempts) * (1 + _DAY / int(seconds))


def _of_the_database(location: "Path | URL") -> Iterator[_Danger]:
    """A name without a dot is one of this machine's own network, as in a compose file."""
    from sqlalchemy import URL

    if not isinstance(location, URL) or location.query.get("sslmode") in _VERIFIED:
        return
    host = location.host or location.query.get("host") or ""
    if not isinstance(host, str) or ("." not in host and ":" not in host) or _is_near(host):
        return
    yield _Danger(
        "ONESELF_DATABASE_URL has no sslmode=verify-full: whoever sits between can pass for the"
        " database, and read the password and all rows",
        "Add sslmode=verify-full to it, with sslrootcert=… for an authority of your own.",
    )


def _is_near(host: str) -> bool:
    from oneself.settings_parsers import is_loopback

    return host.startswith("/") or is_loopback(host)
