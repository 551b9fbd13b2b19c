"""Target of the probes: a deployment and the words that describe it."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oneself_conformance.probes.wire import Address

_FORMS_OF_READ = (
    "read", "parent", "last", "read_in_other_case", "last_escaped", "last_escaped_twice",
    "read_with_other_end",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A deployment, and the parts of its document that probes need.

    `read` is the path of a GET that needs a credential, and `read_methods` are the methods of that
    path. `post` is the path of a POST that accepts JSON such as `example`. Either can be None; the
    probes that need it are then skipped. `credential` is a header line without its end, valid for
    both. `health` is a public path to GET; by default, `read` is used. `deadline_seconds` is how
    long the deployment waits for a head or a body. It gets `timeout_seconds` more, which is also
    how long other clients may wait for a response.

    No probe sends the example complete and well-formed, so nothing is created. The example needs a
    member that is a string, and `{}` must not be valid in its place.
    """

    address: Address
    host: str
    read: str | None
    post: str | None
    example: Mapping[str, Any]
    credential: str | None = None
    health: str | None = None
    read_methods: frozenset[str] | None = None
    deadline_seconds: float = 10.0
    timeout_seconds: float = 5.0
    #: A unique word in every request; a response that contains it echoes the request.
    canary: str = field(default_factory=lambda: f"probe{secrets.token_hex(6)}")

    @property
    def secret(self) -> str | None:
        """The credential without its header name and scheme."""
        return self.credential.rpartition(" ")[2] if self.credential else None

    def words(self) -> Mapping[str, bytes | None]:
        """Return the words that probes can use, with None for those this target lacks."""
        members = {
            key: f"{json.dumps(key)}:{json.dumps(value)}" for key, value in self.example.items()
        }
        text = next((key for key, each in self.example.items() if isinstance(each, str)), None)
        other_members = [f",{member}" for key, member in members.items() if key != text]
        texts = {
            "host": self.host,
            "foreign_host": f"{self.canary}.example",
            "canary": self.canary,
            "credential": f"{self.credential}\r\n" if self.credential else None,
            "health": self.health,
            "post": self.post,
            "path": self.read or self.post,
            "members": ",".join(members.values()) if members else None,
            "text_name": None if text is None else json.dumps(text),
            "other_members": "".join(other_members) if members else None,
            **self._forms_of_read(),
        }
        return {word: None if value is None else value.encode() for word, value in texts.items()}

    def _forms_of_read(self) -> Mapping[str, str | None]:
        """Return the path to read, whole, in parts, and misspelled."""
        if self.read is None:
            return dict.fromkeys(_FORMS_OF_READ)
        path = self.read.rstrip("/")
        parent, _, last = path.rpartition("/")
        slash = self.read[len(path) :]
        forms = (
            self.read,
            parent,
            f"{last}{slash}",
            self.read.swapcase(),
            "".join(f"%{byte:02x}" for byte in last.encode()) + slash,
            "".join(f"%25{byte:02x}" for byte in last.encode()) + slash,
            path if slash else f"{self.read}/",
        )
        return dict(zip(_FORMS_OF_READ, forms, strict=True))
