"""The deployment that probes are sent to, and what there is to say of it."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oneself.conformance.probes.wire import Address

__all__ = ["ProbeTarget"]


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A deployment, and what of its document the probes need.

    `read` is the path of a GET that needs a credential, with `read_methods` the methods that its
    path has; `post` is the path of a POST that takes JSON such as `example`. `credential` is a
    whole header line without its end, good for both. `health` is a path that anybody may GET; where
    there is none, `read` is asked for instead. `deadline_seconds` is how long the deployment says
    that it waits for a head or a body, and `patience_seconds` what it gets beyond that, and how
    long anybody else may wait for an answer.

    No probe sends the example both unaltered and in good order, so nothing is made of it; it needs
    a member that is a text, and `{}` should not do instead.
    """

    address: Address
    host: str
    read: str
    post: str
    example: Mapping[str, Any]
    credential: str | None = None
    health: str | None = None
    read_methods: frozenset[str] | None = None
    deadline_seconds: float = 10.0
    patience_seconds: float = 5.0
    #: Stands in what is sent, and nowhere else in the world: whoever answers with it echoes.
    canary: str = field(default_factory=lambda: f"probe{secrets.token_hex(6)}")

    @property
    def secret(self) -> str | None:
        """The credential without its header and its scheme."""
        return self.credential.rpartition(" ")[2] if self.credential else None

    def words(self) -> Mapping[str, bytes | None]:
        """What a probe can say of this target; None for what it does not have."""
        parent, _, last = self.read.rstrip("/").rpartition("/")
        slash = self.read[len(self.read.rstrip("/")) :]
        members = [f"{json.dumps(key)}:{json.dumps(each)}" for key, each in self.example.items()]
        text = next((key for key, each in self.example.items() if isinstance(each, str)), None)
        others = [f",{json.dumps(key)}:{json.dumps(each)}" for key, each in self.example.items()
                  if key != text]  # fmt: skip
        found = {
            "host": self.host,
            "foreign_host": f"{self.canary}.example",
            "canary": self.canary,
            "credential": f"{self.credential}\r\n" if self.credential else None,
            "health": self.health,
            "post": self.post,
            "read": self.read,
            "parent": parent,
            "last": f"{last}{slash}",
            "read_in_other_case": self.read.swapcase(),
            "last_escaped": "".join(f"%{byte:02x}" for byte in last.encode()) + slash,
            "last_escaped_twice": "".join(f"%25{byte:02x}" for byte in last.encode()) + slash,
            "read_with_other_end": self.read.rstrip("/") if slash else f"{self.read}/",
            "members": ",".join(members),
            "text_name": None if text is None else json.dumps(text),
            "other_members": "".join(others),
        }
        return {word: None if said is None else said.encode() for word, said in found.items()}
