"""The credentials file, as `python -m oneself demo --json` prints it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oneself_conformance.targets import Deployment


class WrongUrl(ValueError):
    """The address is not an origin; the message shows an example."""


class WrongCredentials(ValueError):
    """The file is malformed; the message says where, and contains no secret."""


def read_credentials(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the users of a credentials file, by name.

    Raises:
        OSError: There is no such file.
        WrongCredentials: It is not an object of objects of strings.
    """
    try:
        actors = json.loads(path.read_bytes())
    except ValueError:
        raise WrongCredentials(f"{path} is not JSON") from None
    if not isinstance(actors, dict) or "base" not in actors:
        raise WrongCredentials(
            f'{path} has no user "base"; `python -m oneself demo --json` prints such a file'
        )
    for name, fields in actors.items():
        is_text_map = isinstance(fields, dict) and all(
            isinstance(each, str) for each in fields.values()
        )
        if not is_text_map:
            raise WrongCredentials(f"{path}: {name} must be an object of strings")
    return actors


def write_credentials(path: Path, actors: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the users to a new file, which only its owner can read."""
    with open(path, "x", opener=_open_privately) as file:  # Path has no opener
        json.dump(actors, file)


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def open_deployment(
    url: str, actors: Mapping[str, Mapping[str, Any]], **settings: Any
) -> Deployment:
    """Return the deployment at an address, with its users and further settings.

    Raises:
        WrongUrl: The address is not an origin, such as `https://account.example.com`.
    """
    try:
        origin = urlsplit(url.rstrip("/"))
        _ = origin.port
        is_origin = origin.scheme in {"http", "https"} and bool(origin.hostname)
    except ValueError:  # a malformed IPv6 address or port
        is_origin = False
    if not is_origin or origin.path or origin.query or "@" in origin.netloc:
        raise WrongUrl(
            f"{url} is not an address without a path, such as https://account.example.com"
        )
    return Deployment(origin.geturl(), actors, **settings)
