"""Clients that know what their accounts must look like, one for each kind of act."""

import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from tests.failover.sending import Sender
from tests.http.running import Account, Running, open_account
from tests.support.linearizability import Operation, Refused, Swap, Value, find_violation

__all__ = ["Oracle", "open_oracles"]

_SETTINGS = "/resources/me/settings"
_MAX_KEYS = 3
_numbers = itertools.count()
#: Revoked credentials that are tried in a check; all, unless there are more.
_PROBES = 60


class Oracle(Sender):
    """A client of one kind, which checks the effects of what it sends."""

    def __init__(self, replicas: Sequence[Running], account: Account, seed: int) -> None:
        super().__init__(replicas, account, seed)
        #: The target and the headers with which a revoked credential would be accepted.
        self.revoked: list[tuple[str, dict[str, str | None]]] = []

    def send_random_request(self) -> None:
        """Change one thing, and check what a client can see of it."""
        self.change()
        if self.revoked and self.random.random() < 0.3:
            self.probe(
                self.random.choice(self.revoked[-_PROBES:]), self.random.choice(self.replicas)
            )
        self.pause()

    def change(self) -> None:
        """Change one thing."""
        raise NotImplementedError

    def check(self) -> None:
        """Compare the account with what was acknowledged, while no request is open."""
        for credential in self.revoked[-_PROBES:]:
            for replica in self.replicas:
                self.probe(credential, replica)

    def probe(self, credential: tuple[str, dict[str, str | None]], replica: Running) -> None:
        """Send a revoked credential, which must not be accepted by any replica."""
        target, headers = credential
        answer = self.send("GET", target, at=replica, headers=headers)
        if answer is not None and answer.status != 401:
            self.tally.resurrected.append(f"{target}: {answer.status}")

    def revoke(self, target: str, headers: dict[str, str | None]) -> None:
        """Note a revoked credential, and try it at each replica."""
        self.revoked.append((target, headers))
        for replica in self.replicas:
            self.probe(self.revoked[-1], replica)


class Register:
    """The settings of an account, which several clients change with `If-Match`."""

    def __init__(self) -> None:
        self.history: list[Operation] = []
        self.initial: dict[str, Any] = {}


class RegisterClient(Oracle):
    """Counts upwards in a register; the history must be linearizable."""

    def __init__(
        self, replicas: Sequence[Running], account: Account, seed: int, register: Register
    ) -> None:
        super().__init__(replicas, account, seed)
        self._register = register

    def change(self) -> None:
        read = self._read()
        if read is None:
            return
        number, tag = read
        requested = time.monotonic()
        headers = {**self.account.bearer, "If-Match": tag}
        answer = self.send("PATCH", _SETTINGS, headers=headers, body={"n": number + 1})
        swap = Swap(number, number + 1)
        if answer is None:
            if self.is_unknown:
                self._register.history.append(Operation(swap, requested))
        elif answer.status == 412:
            self._record(Refused(number), requested)
        else:
            self.acknowledge(answer)
            self._record(swap, requested)

    def _read(self) -> tuple[int, str | None] | None:
        requested = time.monotonic()
        answer = self.send("GET", _SETTINGS)
        if answer is None:
            return None
        assert answer.status == 200, answer
        number = answer.json.get("n", 0)
        self._record(Value(number), requested)
        return number, answer.header("etag")

    def _record(self, act: Value | Swap | Refused, requested: float) -> None:
        self._register.history.append(Operation(act, requested, time.monotonic()))

    def check(self) -> None:
        register = self._register
        if not register.history:  # checked by another of its clients
            return
        requested = time.monotonic()
        answer, _ = self.send_until_answered("GET", _SETTINGS)
        number = answer.json.get("n", 0)
        self._record(Value(number), requested)
        initial = register.initial.get("n", 0)
        swaps = [each for each in register.history if isinstance(each.act, Swap)]
        unknown = sum(each.is_unknown for each in swaps)
        known = len(swaps) - unknown
        counted = f"counted from {initial} to {number}: {known} acknowledged, {unknown} unknown"
        if number - initial < known:
            self.tally.lost.append(counted)
        elif number - initial > known + unknown:
            self.tally.duplicated.append(counted)
        elif violation := find_violation(register.history, initial):
            self.tally.lost.append(f"{counted}; not linearizable: {violation}")
        register.initial, register.history = answer.json, []


class KeyClient(Oracle):
    """Creates API keys, each of them once, and revokes them for good."""

    def __init__(self, replicas: Sequence[Running], account: Account, seed: int) -> None:
        super().__init__(replicas, account, seed)
        self._keys: dict[str, tuple[str, str]] = {}  # id and secret by name
        self._number = 0

    def change(self) -> None:
        if len(self._keys) < _MAX_KEYS:
            self._create()
        else:
            self._revoke(self.random.choice([*self._keys]))

    def _create(self) -> None:
        self._number += 1
        name = f"Key {self._number}"
        headers = {
            **self.account.bearer,
            "Idempotency-Key": str(uuid.UUID(int=self.random.getrandbits(128))),
        }
        body = {"name": name, "scopes": ["me/profile:read"]}
        answer, _ = self.send_until_answered("POST", "/v1/api-keys", headers=headers, body=body)
        created = self.acknowledge(answer).json["data"]
        self._keys[name] = (created["api_key_id"], created["key"])
        self._require_accepted(name)

    def _require_accepted(self, name: str) -> None:
        answer = self.send("GET", "/v1/me", headers={"X-API-Key": self._keys[name][1]})
        if answer is not None and answer.status != 200:
            self.tally.lost.append(f"{name} was created, but is rejected with {answer.status}")

    def _revoke(self, name: str) -> None:
        key_id, secret = self._keys[name]
        answer, was_unknown = self.send_until_answered("DELETE", f"/v1/api-keys/{key_id}")
        if answer.status == 404 and not was_unknown:
            self.tally.lost.append(f"{name} was created, but is gone")
        elif answer.status != 404:
            self.acknowledge(answer)
        del self._keys[name]
        self.revoke("/v1/me", {"X-API-Key": secret})

    def check(self) -> None:
        super().check()
        answer, _ = self.send_until_answered("GET", "/v1/api-keys")
        present = [
            item["name"] for item in answer.json["data"]["items"] if item["name"].startswith("Key ")
        ]
        for name in self._keys.keys() - set(present):
            self.tally.lost.append(f"{name} was created, but is missing")
        for name in set(present) - self._keys.keys():
            self.tally.resurrected.append(f"{name} was revoked, but exists")
        for name in {name for name in present if present.count(name) > 1}:
            self.tally.duplicated.append(f"{name}: {present.count(name)} times")
        for name in self._keys:
            self._require_accepted(name)


class TokenClient(Oracle):
    """Replaces the access token; the former one is rejected from then on."""

    def __init__(self, replicas: Sequence[Running], account: Account, seed: int) -> None:
        super().__init__(replicas, account, seed)
        self._token: str = account.access_token
        self._is_certain = True

    def change(self) -> None:
        former = self._token
        answer = self.send("POST", "/api/users/me/token/regenerate/")
        if answer is not None:
            self._token = self.acknowledge(answer).json["access_token"]
        elif self.is_unknown:
            self._is_certain = False
            answer, _ = self.send_until_answered("GET", "/api/users/me/token/")
            self._token = answer.json["access_token"]
        if self._token != former:
            self.revoke("/api/users/me/", _bearer(former))

    def check(self) -> None:
        super().check()
        answer, _ = self.send_until_answered("GET", "/api/users/me/token/")
        present = answer.json["access_token"]
        if present != self._token and self._is_certain:
            self.tally.lost.append("the acknowledged access token is not the present one")
        if ("/api/users/me/", _bearer(present)) in self.revoked:
            self.tally.resurrected.append("the access token is a former one")
        self._token, self._is_certain = present, True


class SecretClient(Oracle):
    """Changes the email address with a one-time secret, which works once."""

    def __init__(self, replicas: Sequence[Running], account: Account, seed: int) -> None:
        super().__init__(replicas, account, seed)
        self._number = 0
        self._email = account.email

    def change(self) -> None:
        self._number += 1
        name, _, domain = self.account.email.partition("@")
        address = f"{name}.{self._number}@{domain}"
        headers = {
            **self.account.bearer,
            "Idempotency-Key": str(uuid.UUID(int=self.random.getrandbits(128))),
        }
        answer, _ = self.send_until_answered(
            "POST", "/resources/me/email/change", headers=headers, body={"email": address}
        )
        pending = self.acknowledge(answer).json
        body = {"identityId": pending["identityId"], "secret": pending["secret"]}
        use = {"headers": {}, "body": body}
        answer, was_unknown = self.send_until_answered(
            "POST", "/resources/me/email/validate", **use
        )
        if answer.status == 200:
            self.acknowledge(answer)
        elif not was_unknown:
            self.tally.lost.append(f"a secret was issued, but is rejected: {answer.body!r}")
        self._email = address
        for replica in self.replicas:
            again = self.send("POST", "/resources/me/email/validate", at=replica, **use)
            if again is not None and again.status == 200:
                self.tally.duplicated.append("a one-time secret was used twice")

    def check(self) -> None:
        super().check()
        answer, _ = self.send_until_answered("GET", "/resources/me/profile")
        if answer.json["email"] != self._email:
            self.tally.lost.append("the address was changed, but is the former one")


def _bearer(token: str) -> dict[str, str | None]:
    return {"Authorization": f"Bearer {token}"}


def open_oracles(replicas: Sequence[Running], seed: int) -> list[Oracle]:
    """Sign up the accounts, and return the clients that change them."""

    def account() -> Account:
        return open_account(replicas[0], f"user{next(_numbers)}@example.com")

    oracles: list[Oracle] = []
    for _ in range(2):
        register, shared = Register(), account()
        oracles += [RegisterClient(replicas, shared, seed + at, register) for at in range(2)]
    kinds: list[Callable[[Sequence[Running], Account, int], Oracle]]
    kinds = [KeyClient, KeyClient, TokenClient, SecretClient]
    return oracles + [kind(replicas, account(), seed) for kind in kinds]
