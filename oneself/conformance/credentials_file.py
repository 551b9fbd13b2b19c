"""The file of credentials, as `python -m oneself demo --json` prints it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oneself.conformance.deployment import Deployment

__all__ = ["WrongCredentials", "WrongUrl", "open_deployment", "read_credentials"]


class WrongUrl(ValueError):
    """The address is not an origin that can be asked; the message says what one looks like."""


class WrongCredentials(ValueError):
    """The file does not have the shape that it must have; the message says where, and no secret."""


def read_credentials(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The people in a file of credentials, by name.

    Raises:
        OSError: There is no such file.
        WrongCredentials: It is not an object of objects of texts.
    """
    try:
        people = json.loads(path.read_bytes())
    except ValueError:
        message = f"{path} is no JSON"
        raise WrongCredentials(message) from None
    if not isinstance(people, dict) or "base" not in people:
        message = (
            f'{path} names nobody as "base"; `python -m oneself demo --json` makes such a file'
        )
        raise WrongCredentials(message)
    for name, known in people.items():
        texts = isinstance(known, dict) and all(isinstance(each, str) for each in known.values())
        if not texts:
            message = f"{path}: {name} must be an object of texts"
            raise WrongCredentials(message)
    return people


def open_deployment(url: str, credentials: Path, *, behind_proxy: bool = False) -> Deployment:
    """The deployment at an address, with the people in a file.

    Raises:
        WrongUrl: The address is no origin, such as `https://account.example.com`.
        OSError, WrongCredentials: As `read_credentials`.
    """
    origin = _origin_of(url)
    if origin is None:
        message = f"{url} is no address such as https://account.example.com, with no path"
        raise WrongUrl(message)
    return Deployment(origin, read_credentials(credentials), behind_proxy=behind_proxy)


def _origin_of(url: str) -> str | None:
    """An address as it is asked; None for what is none, or has more than a host and a port."""
    try:
        origin = urlsplit(url.rstrip("/"))
        _ = origin.port
    except ValueError:  # brackets around what is no address, or a port that cannot be one
        return None
    whole = origin.scheme in {"http", "https"} and origin.hostname
    return None if not whole or origin.path or origin.query else origin.geturl()
