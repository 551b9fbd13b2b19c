"""Load with a journal: it checks that no acknowledged write is lost or done twice.

A write without a response may be done or not. Each client sends one request after the other, so
there are few of those, and they are looked up before the next request.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.http.running import Account, Running
from tests.support.deadlines import patient

__all__ = ["Client", "Journal", "Load", "Outcome"]

_MAX_KEYS = 20


@dataclass
class Journal:
    """The counts of one round, or of all rounds."""

    acknowledged: int = 0
    unanswered: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def failures(self) -> int:
        """The number of responses with a 5xx status."""
        return sum(times for status, times in self.statuses.items() if status >= 500)

    def add(self, other: "Journal") -> None:
        """Add the counts of another round."""
        self.acknowledged += other.acknowledged
        self.unanswered += other.unanswered
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.statuses += other.statuses


@dataclass
class Outcome:
    """The results for one kind of fault: rounds, counts and recovery times."""

    rounds: int = 0
    journal: Journal = field(default_factory=Journal)
    #: Seconds from the fault until all clients get responses again, where measured.
    recoveries: list[float] = field(default_factory=list)

    def count_answer(self, status: int, *, faulty: bool) -> None:
        """Count a response, and a round if a fault came before it."""
        self.rounds += faulty
        self.journal.statuses[status] += 1
        self.journal.acknowledged += status < 300

    def cells(self) -> list[str]:
        """Return a row of the table: the counts, and the seconds of recovery."""
        counts = (
            self.rounds,
            self.journal.acknowledged,
            len(self.journal.lost),
            len(self.journal.duplicated),
            self.journal.unanswered,
            self.journal.failures,
        )
        seconds = self.recoveries
        recovery = (
            f"{sum(seconds) / len(seconds):.1f}, at most {max(seconds):.1f}" if seconds else ""
        )
        return [*map(str, counts), recovery]


class Client:
    """A client that changes its own account, and records what was acknowledged."""

    def __init__(self, service: Running, account: Account, seed: int) -> None:
        self.account = account
        self.journal = Journal()
        self._service = service
        self._random = random.Random(seed)  # noqa: S311 # chooses requests, not secrets
        self._number = 0
        # The acknowledged value, or the possible ones.
        self._values: dict[str, list[Any]] = {"settings": [None], "name": [None], "token": [None]}
        self._values["token"] = [account.access_token]
        self._keys: dict[str, str | None] = {}  # ids by name; None if unknown
        self._possibly_revoked: set[str] = set()

    def send_random_request(self) -> None:
        """Change one thing, chosen at random."""
        self._number += 1
        self._random.choice(
            [self._set, self._set, self._rename, self._regenerate, self._make_key, self._revoke_key]
        )()

    def _ask(self, method: str, target: str, body: Any = None) -> Any:
        """Send a request; return None if the result is unknown (no response, or a 5xx)."""
        try:
            answer = self._service.ask(method, target, headers=self.account.bearer, body=body)
        except (OSError, AssertionError, ValueError):
            self.journal.unanswered += 1
            time.sleep(0.02)  # the service is down; do not slow down its start
            return None
        self.journal.statuses[answer.status] += 1
        if answer.status >= 500:
            return None
        assert answer.status < 400, answer
        if method != "GET":
            self.journal.acknowledged += 1
        return answer

    def _change(self, name: str, value: Any, answer: Any) -> None:
        if answer is None:
            self._values[name].append(value)
        else:
            self._values[name] = [value]

    def _set(self) -> None:
        answer = self._ask("PATCH", "/resources/me/settings", {"n": self._number})
        self._change("settings", self._number, answer)

    def _rename(self) -> None:
        name = f"Number {self._number}"
        answer = self._ask("PATCH", "/api/v1/me", {"first_name": name})
        self._change("name", name, answer)

    def _regenerate(self) -> None:
        answer = self._ask("POST", "/api/users/me/token/regenerate/")
        # Without a response the new token is unknown: any token but a former one is right.
        self._change("token", answer and answer.json["access_token"], answer)

    def _make_key(self) -> None:
        if len(self._keys) >= _MAX_KEYS:
            self._revoke_key()
            return
        name = f"Key {self._number}"
        body = {"name": name, "scopes": ["me/profile:read"]}
        answer = self._ask("POST", "/v1/api-keys", body)
        self._keys[name] = answer and answer.json["data"]["api_key_id"]

    def _revoke_key(self) -> None:
        names = [
            name
            for name, key_id in self._keys.items()
            if key_id is not None and name not in self._possibly_revoked
        ]
        if not names:
            return
        name = self._random.choice(names)
        answer = self._ask("DELETE", f"/v1/api-keys/{self._keys[name]}")
        if answer is None:
            self._possibly_revoked.add(name)
        else:
            del self._keys[name]

    def check(self) -> Journal:
        """Compare the account with the journal; return the round's counts and start a new one."""
        present = {
            "settings": self._read("/resources/me/settings").get("n"),
            "name": self._read("/api/v1/me")["first_name"],
            "token": self._read("/api/users/me/token/")["access_token"],
        }
        for name, value in present.items():
            allowed = self._values[name]
            # After a request without a response, the token is unknown.
            is_unknown = name == "token" and None in allowed
            if value not in allowed and not is_unknown:
                self.journal.lost.append(f"{name}: {value} is not one of {allowed}")
            self._values[name] = [value]
        self._check_keys()
        journal, self.journal = self.journal, Journal()
        return journal

    def _check_keys(self) -> None:
        items = self._read("/v1/api-keys")["data"]["items"]
        counts = Counter(item["name"] for item in items if item["name"].startswith("Key "))
        ids = {item["name"]: item["api_key_id"] for item in items}
        for name, times in counts.items():
            if times > 1:
                self.journal.duplicated.append(f"{name}: {times} times")
            if name not in self._keys:
                self.journal.lost.append(f"{name}: it was revoked, but exists")
        for name, key_id in list(self._keys.items()):
            if name in counts:
                self._keys[name] = ids[name]
            else:
                if key_id is not None and name not in self._possibly_revoked:
                    self.journal.lost.append(f"{name}: it was created, but is missing")
                del self._keys[name]
        self._possibly_revoked.clear()

    def _read(self, target: str) -> Any:
        answer = self._service.ask("GET", target, headers=self.account.bearer)
        assert answer.status == 200, answer
        return answer.json


class Load:
    """Clients that send requests all the time, except while they are paused."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self._is_closed = False
        self._condition = threading.Condition()
        self._open_requests = 0
        self._is_paused = True
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=[client]) for client in clients]
        for thread in self._threads:
            thread.start()

    def _run(self, client: Client) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._is_closed or not self._is_paused)
                if self._is_closed:
                    return
                self._open_requests += 1
            try:
                client.send_random_request()
            except BaseException as failure:  # noqa: BLE001 # raised by `pause`
                self.failures.append(failure)
                return
            finally:
                with self._condition:
                    self._open_requests -= 1
                    self._condition.notify_all()

    def resume(self) -> None:
        """Let the clients send requests."""
        with self._condition:
            self._is_paused = False
            self._condition.notify_all()

    def pause(self) -> None:
        """Stop sending, and wait for the responses to open requests."""
        with self._condition:
            self._is_paused = True
            self._condition.wait_for(lambda: self._open_requests == 0, timeout=patient(60))
        if self.failures:
            raise self.failures[0]

    def check(self, look: Callable[[Client], Journal]) -> Journal:
        """Return the sum of a check of all clients, while they are paused."""
        total = Journal()
        for client in self._clients:
            total.add(look(client))
        return total

    def close(self) -> None:
        """Stop the clients for good."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(60)
