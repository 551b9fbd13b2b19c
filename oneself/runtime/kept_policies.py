"""The last valid set of policies, kept in the data folder.

A worker that starts while the policy folder is invalid uses it. Otherwise a crash in that time
would be an outage. The file is authenticated by the root secret.
"""

import logging
from collections.abc import Mapping

from accounts.crypto.keyring import Keyring, Purpose
from oneself.runtime.authentic_files import read_record, write_record
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings

_log = logging.getLogger("oneself.runtime.policy_store")
_FILE = "policies.json"


class KeptPolicies:
    """The file of the last valid set: texts by file name."""

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet: before the first start there may be no root secret."""
        self._settings = settings
        self._path = settings.data_dir / _FILE

    def read(self) -> Mapping[str, str] | None:
        """Return the kept set; None if there is none, or not by this service.

        Raises:
            BadSecretKey: There is a file, and no usable root secret.
        """
        if not self._path.exists():
            return None
        texts: Mapping[str, str] | None = read_record(self._path, self._keys(), Purpose.POLICIES)
        return texts

    def write(self, texts: Mapping[str, str]) -> None:
        """Keep a set, if it is not the kept one; a full disk is logged, and stops nothing."""
        if self.read() == texts:
            return
        try:
            write_record(self._path, texts, self._keys(), Purpose.POLICIES)
        except OSError as error:
            _log.warning("the policies cannot be kept in %s: %s", self._path, error.strerror)

    def _keys(self) -> Keyring:
        return open_keyring(self._settings, make=False)
