"""Users of a row: those of the file, and the one that it has for itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from oneself_conformance.actors import PASSWORD, Actor, Actors
from oneself_conformance.cases.table import Row
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.placeholders import fill
from oneself_conformance.spares import Spares
from oneself_conformance.targets import Deployment

__all__ = ["RowUsers"]


@dataclass
class RowUsers:
    """The users of a row; `fresh`, its own, is created or borrowed when it is first needed."""

    row: Row
    deployment: Deployment
    actors: Actors
    spares: Spares | None = None
    was_throttled: bool = False
    _fresh: Actor | None = None
    #: New passwords that the row has asked for.
    _sent_passwords: list[str] = field(default_factory=list)

    def find(self, name: str | None, look_up: Callable[[str], Any]) -> Actor:
        """Return the user that a step names, by default the user of the row."""
        named = name or self.row.raw.get("as", "base")
        if named != "fresh":
            return self.actors.find(named)
        if self._fresh is None:
            self._fresh = self._take(look_up)
        return self._fresh

    def note(self, body: Any) -> None:
        """Note the new password in a request, so that it can be changed back."""
        if isinstance(body, Mapping):
            found = (body.get(name) for name in ("new_password", "newPassword"))
            self._sent_passwords += (each for each in found if isinstance(each, str))

    @property
    def must_change_back(self) -> bool:
        """True if the row has used a user who will be used again."""
        return self._fresh is not None and self._fresh.name != "fresh"

    def give_back(self) -> None:
        """Give a borrowed user back."""
        if self.spares is not None and self._fresh is not None and self._fresh.is_spare:
            is_limited = "times" in str(self.row.requests) or self.was_throttled
            self.spares.give_back(self._fresh, self._sent_passwords, is_limited=is_limited)

    def _take(self, look_up: Callable[[str], Any]) -> Actor:
        row, has_operator = self.row, self.actors.operator.is_available
        if self.deployment.is_foreign:
            if self._can_share:
                return self.actors.find("base")
        elif row.needs_client and not has_operator and "signup" not in row.raw:
            # Rows name the password of a user who has signed up.
            is_public = PASSWORD in str(row.requests)
            spare = self.spares.borrow(with_public_password=is_public) if self.spares else None
            if spare is not None:
                return spare
            # A replaced token cannot be changed back.
            if row.raw.get("restores") and not any("remember" in each for each in row.requests):
                return self.actors.find("base")
        return self.actors.sign_up(**fill(row.raw.get("signup", {}), look_up))

    @property
    def _can_share(self) -> bool:
        """True if a user of the file can be used again: the row reads, or changes back."""
        if self.row.raw.get("restores") and not self.actors.operator.is_available:
            return True
        if self.deployment.recipe.sign_up is not None or "signup" in self.row.raw:
            return False
        called = [OPERATIONS.get(each.get("operation", "")) for each in self.row.requests]
        return all(each is not None and each.method == "get" for each in called)
