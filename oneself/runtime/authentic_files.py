"""Small files in the data folder that only a holder of the root secret can have written.

They are not secret. An attacker who can write to the folder can delete one or put an older one
back, but cannot make one up.
"""

import json
from pathlib import Path
from typing import Any

from accounts.crypto.keyring import Keyring, Purpose
from oneself.runtime.durable_files import make_folder, put, write


def write_record(path: Path, record: object, keys: Keyring, purpose: Purpose) -> None:
    """Write a record of JSON types, replacing the file atomically.

    Raises:
        OSError: It cannot be written.
    """
    digest = keys.digest(purpose, _text(record))
    make_folder(path.parent)
    part = path.with_name(f"{path.name}.part")
    write(part, json.dumps({"record": record, "digest": digest.hex()}).encode())
    put(part, path)


def read_record(path: Path, keys: Keyring, purpose: Purpose) -> Any:
    """Return the record of a file; None if there is none that was written for this purpose."""
    try:
        content = json.loads(path.read_bytes())
        record, digest = content["record"], bytes.fromhex(content["digest"])
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return record if keys.matches(purpose, _text(record), digest) else None


def _text(record: object) -> str:
    return json.dumps(record, sort_keys=True)
