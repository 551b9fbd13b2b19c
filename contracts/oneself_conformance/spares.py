"""Spare users: those of the credentials file that rows use in turn, in place of new ones.

A row gets one that has a client and whose tenant is known, which users who sign up over HTTP
have not. What a row has changed is changed back, so that the file can be used again.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import Any

from oneself_conformance.actors import API_KEYS, PASSWORD, PATS, Actor, Actors, create_session
from oneself_conformance.targets import Unreachable

__all__ = ["Spares", "put_back", "read_profile"]

_CHANGE_PASSWORD = "/v1/me/password"  # noqa: S105 # a path
_PROFILE, _PICTURE, _SETTINGS = (
    "/api/v1/me",
    "/resources/me/profile/picture",
    "/resources/me/settings",
)
_FIELDS = ("first_name", "last_name", "display_name", "phone", "locale", "timezone")
#: Besides a session: what a row may have ended is created again when it is needed.
_LASTING = frozenset(
    {"user_id", "email", "password", "tenant_id", "tenant_uuid", "identity_id", "session_token"}
)


class Spares:
    """The spare users that no row is using."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        #: The profiles before the first row, by the names of users.
        self._profiles: dict[str, Mapping[str, Any]] = {}
        self._idle = deque(name for name in actors.names if actors.find(name).is_spare)

    @property
    def count(self) -> int:
        """The number of those left."""
        return len(self._idle)

    def borrow(self, *, with_public_password: bool) -> Actor | None:
        """Return a spare user with a session; None if there is none left.

        `with_public_password` gives it the password that rows name as that of new users.
        """
        for _ in range(len(self._idle)):
            try:
                spare = self._actors.find(self._idle.popleft())
            except IndexError:  # another thread took the last one
                return None
            with suppress(Unreachable, OSError, HTTPException):
                if not _has_session(spare):
                    _log_in(spare, [str(spare["password"]), PASSWORD])
                if with_public_password:
                    _change_password(spare, PASSWORD)
                if spare.name not in self._profiles:
                    self._profiles[spare.name] = read_profile(spare)
                return spare
        return None

    def give_back(
        self, spare: Actor, sent_passwords: Sequence[str] = (), *, is_limited: bool = False
    ) -> None:
        """Change back what a row has changed; of the passwords it has sent, one may be current.

        A user who has reached a rate limit or cannot log in is not used again in this run.
        """
        original = self._actors.original(spare.name)
        with suppress(Unreachable, OSError, HTTPException):
            if sent_passwords or not _has_session(spare):
                _log_in(spare, [*reversed(sent_passwords), str(spare["password"])])
            _change_password(spare, original["password"])
            put_back(spare, self._profiles[spare.name])
            for name in {*spare} - _LASTING - original.keys():
                spare.forget(name)
            spare.remember({name: original[name] for name in original.keys() - _LASTING})
            if not is_limited:
                self._idle.append(spare.name)


def read_profile(user: Actor) -> Mapping[str, Any]:
    """Return the fields of a user's profile that can be changed."""
    profile = user.ask("GET", _PROFILE)
    return {name: profile[name] for name in _FIELDS}


def put_back(user: Actor, profile: Mapping[str, Any]) -> None:
    """Change back what a user of our own service has, except the password."""
    user.delete_all(API_KEYS)
    user.delete_all(PATS)
    user.ask("PATCH", _PROFILE, profile)
    user.ask("PUT", _SETTINGS, {})
    with suppress(Unreachable):  # there may be none
        user.ask("DELETE", _PICTURE)


def _has_session(user: Actor) -> bool:
    try:
        user.ask("GET", "/v1/me")
    except Unreachable:
        return False
    return True


def _log_in(user: Actor, passwords: Iterable[str]) -> None:
    """Log in with the first of these passwords that is the current one."""
    problem = Unreachable("a spare user has no password")
    for password in dict.fromkeys(passwords):
        user.remember({"password": password})
        try:
            user.remember(create_session(user))
        except Unreachable as error:
            problem = error
        else:
            return
    raise problem


def _change_password(user: Actor, password: str) -> None:
    if user["password"] != password:
        change = {"current_password": user["password"], "new_password": password}
        user.ask("POST", _CHANGE_PASSWORD, change)
        user.remember({"password": password})
