"""Files with one secret each, as Docker, Kubernetes and systemd pass them to a service."""

import os
import stat
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo


def read_secret(path: Path) -> str:
    """Return the text of a file without the newline at its end.

    Raises:
        ValueError: It cannot be read, is empty, or other users can read it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            _require_private(os.fstat(file.fileno()))
            text = file.read().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("must be a text file in UTF-8 that can be read") from error
    if not text:
        raise ValueError("must be a file with a secret in it")
    return text


def _require_private(status: os.stat_result) -> None:
    """Check that other users cannot read the file.

    The group may read it if another user, such as root, owns it: that is how Kubernetes and
    systemd let a service read a file that it does not own.
    """
    is_own = status.st_uid == os.geteuid()
    if status.st_mode & (stat.S_IRWXO | (stat.S_IRWXG if is_own else stat.S_IWGRP)):
        raise ValueError("must be a file that other users cannot read: run chmod 600 on it")


def _require_secret(path: Path | None) -> Path | None:
    if path is not None:
        read_secret(path)
    return path


def _or_from_file(value: object, info: ValidationInfo) -> object:
    path = info.data.get(f"{info.field_name}_file")
    if path is None:
        return value
    if value is not None:
        raise ValueError(f"must not be set beside ONESELF_{str(info.field_name).upper()}_FILE")
    return read_secret(path)


#: A secret from its own variable, or from the file that the field before it names.
Secret = Annotated[SecretStr | None, BeforeValidator(_or_from_file)]
SecretFile = Annotated[Path | None, AfterValidator(_require_secret)]


def from_file() -> Any:
    """Return the default of a secret: it is read from its file, if there is one."""
    return Field(default=None, validate_default=True)
