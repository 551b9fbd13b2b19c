"""Warnings that `serve` logs at its start, about settings that are likely mistakes."""

import logging
import os
from typing import TYPE_CHECKING

from oneself.commands.demo import has_demo
from oneself.commands.doctor.unsafe_settings import lacks_trusted_proxies, unknown_settings
from oneself.settings_parsers import is_loopback

if TYPE_CHECKING:
    from oneself.settings import Settings

_log = logging.getLogger(__name__)


def report_doubtful_settings(
    settings: "Settings", *, address: str, port: int, demo: bool, for_conformance: bool = False
) -> None:
    """Log each setting that is likely a mistake for a service at this address."""
    if for_conformance:
        _log.warning(
            "--for-conformance has raised the rate limits of logins, signups and writes: passwords"
            " can be guessed. Use it for test deployments only."
        )
    if lacks_trusted_proxies(settings):
        _log.error(
            "ONESELF_TRUSTED_PROXIES is empty and ONESELF_PUBLIC_URL is https: all users share one"
            " client address and its rate limits. Set it to the addresses that the reverse proxy"
            " connects from."
        )
    for unknown in unknown_settings(os.environ):
        _log.warning("%s. %s", unknown.found, unknown.to_do)
    url = settings.public_url
    is_direct = url.scheme == "http" and is_loopback((url.host or "").strip("[]"))
    if is_direct and is_loopback(address) and not settings.proxies and url.port != port:
        _log.warning(
            "ONESELF_PUBLIC_URL has port %s, and the service listens on port %s: links in emails,"
            " tokens and pages name the former. Unset it, or correct one of them.",
            url.port,
            port,
        )
    if has_demo(settings) and not demo:
        _log.warning(
            "The data folder has demo users, whose passwords are in its file demo.json. Use another"
            " ONESELF_DATA_DIR and database for real users."
        )
