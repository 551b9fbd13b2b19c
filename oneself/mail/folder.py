"""Mail transport: a folder of files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oneself.mail.transport import Email, TransportUnavailable, errno_name
from oneself.runtime.durable_files import make_folder, put, write


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of `.eml` files, for deployments without an SMTP server."""

    path: Path
    seconds: float = 5.0

    @contextmanager
    def open(self) -> Iterator[Callable[[Email], None]]:
        """Return a context with a function that writes one file."""
        yield self._send

    def file_of(self, message_id: str) -> Path:
        """Return the path of the file of a message."""
        return self.path / f"{message_id}.eml"

    def _send(self, message: Email) -> None:
        """Write a file atomically, readable by its owner only: it can contain a secret."""
        path = self.file_of(message.id)
        part = path.with_suffix(".part")
        try:
            make_folder(path.parent)
            write(part, bytes(message.mail))
            put(part, path)
        except OSError as error:
            raise TransportUnavailable(
                f"The folder cannot be written ({errno_name(error)})."
            ) from None
