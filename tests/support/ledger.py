"""What clients were told is done, and whether it is: nothing that was acknowledged may be lost.

What was asked for and never answered may be done or not. Each client asks one thing after the
other, so there is little of that, and it is looked up before more is asked for.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.http.running import Account, Running

__all__ = ["Books", "Client", "Load", "Outcome"]

_MOST_KEYS = 20


@dataclass
class Books:
    """What one round, or all of them, came to."""

    acknowledged: int = 0
    unanswered: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def failures(self) -> int:
        """How many answers were a 5xx."""
        return sum(times for status, times in self.statuses.items() if status >= 500)

    def add(self, other: "Books") -> None:
        """Count another round's with these."""
        self.acknowledged += other.acknowledged
        self.unanswered += other.unanswered
        self.lost += other.lost
        self.doubled += other.doubled
        self.statuses += other.statuses


@dataclass
class Outcome:
    """What one kind of fault came to: how often it was, what followed, and how long it took."""

    rounds: int = 0
    books: Books = field(default_factory=Books)
    #: Seconds from the fault until everybody is answered again, where that was measured.
    recoveries: list[float] = field(default_factory=list)

    def count_answer(self, status: int, *, faulty: bool) -> None:
        """Count one answer, and a round if something went wrong before it."""
        self.rounds += faulty
        self.books.statuses[status] += 1
        self.books.acknowledged += status < 300

    def cells(self) -> list[str]:
        """The row of a table: what was counted, and the seconds of recovery."""
        counts = (
            self.rounds,
            self.books.acknowledged,
            len(self.books.lost),
            len(self.books.doubled),
            self.books.unanswered,
            self.books.failures,
        )
        taken = self.recoveries
        recovery = f"{sum(taken) / len(taken):.1f}, at most {max(taken):.1f}" if taken else ""
        return [*map(str, counts), recovery]


class Client:
    """Somebody who changes their own account, and remembers what they were told."""

    def __init__(self, service: Running, account: Account, seed: int) -> None:
        self.account = account
        self.books = Books()
        self._service = service
        self._random = random.Random(seed)  # noqa: S311 # what is asked for next, and no secret
        self._number = 0
        # What it has to be, or one of those that it may be.
        self._values: dict[str, list[Any]] = {"settings": [None], "name": [None], "token": [None]}
        self._values["token"] = [account.access_token]
        self._keys: dict[str, str | None] = {}  # the id of each, or None where nobody told
        self._perhaps_revoked: set[str] = set()

    def ask_for_something(self) -> None:
        """Change one thing, chosen by chance."""
        self._number += 1
        self._random.choice(
            [self._set, self._set, self._rename, self._regenerate, self._make_key, self._revoke_key]
        )()

    def _ask(self, method: str, target: str, body: Any = None) -> Any:
        """The answer, or None if there was none or a failure, and nobody knows what is done."""
        try:
            answer = self._service.ask(method, target, headers=self.account.bearer, body=body)
        except (OSError, AssertionError, ValueError):
            self.books.unanswered += 1
            time.sleep(0.02)  # nobody is there, and asking all the time would keep them from coming
            return None
        self.books.statuses[answer.status] += 1
        if answer.status >= 500:
            return None
        assert answer.status < 400, answer
        if method != "GET":
            self.books.acknowledged += 1
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
        # Whatever it became if nobody was told: any token that is not one of the former ones.
        self._change("token", answer and answer.json["access_token"], answer)

    def _make_key(self) -> None:
        if len(self._keys) >= _MOST_KEYS:
            self._revoke_key()
            return
        name = f"Key {self._number}"
        body = {"name": name, "scopes": ["me/profile:read"]}
        answer = self._ask("POST", "/v1/api-keys", body)
        self._keys[name] = answer and answer.json["data"]["api_key_id"]

    def _revoke_key(self) -> None:
        known = [
            name
            for name, key_id in self._keys.items()
            if key_id is not None and name not in self._perhaps_revoked
        ]
        if not known:
            return
        name = self._random.choice(known)
        answer = self._ask("DELETE", f"/v1/api-keys/{self._keys[name]}")
        if answer is None:
            self._perhaps_revoked.add(name)
        else:
            del self._keys[name]

    def check(self) -> Books:
        """Look whether all is as it was told; gives the books of the round, and begins new ones."""
        found = {
            "settings": self._read("/resources/me/settings").get("n"),
            "name": self._read("/api/v1/me")["first_name"],
            "token": self._read("/api/users/me/token/")["access_token"],
        }
        for name, value in found.items():
            allowed = self._values[name]
            # A token that nobody was told of is one that nobody has seen.
            untold = name == "token" and None in allowed
            if value not in allowed and not untold:
                self.books.lost.append(f"{name}: {value} is none of {allowed}")
            self._values[name] = [value]
        self._check_keys()
        books, self.books = self.books, Books()
        return books

    def _check_keys(self) -> None:
        items = self._read("/v1/api-keys")["data"]["items"]
        there = Counter(item["name"] for item in items if item["name"].startswith("Key "))
        ids = {item["name"]: item["api_key_id"] for item in items}
        for name, times in there.items():
            if times > 1:
                self.books.doubled.append(f"{name}: {times} times")
            if name not in self._keys:
                self.books.lost.append(f"{name}: it was revoked, and is there")
        for name, key_id in list(self._keys.items()):
            if name in there:
                self._keys[name] = ids[name]
            else:
                if key_id is not None and name not in self._perhaps_revoked:
                    self.books.lost.append(f"{name}: it was made, and is not there")
                del self._keys[name]
        self._perhaps_revoked.clear()

    def _read(self, target: str) -> Any:
        answer = self._service.ask("GET", target, headers=self.account.bearer)
        assert answer.status == 200, answer
        return answer.json


class Load:
    """Clients that ask all the time, but while somebody looks."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self._over = False
        self._turn = threading.Condition()
        self._asking = 0
        self._stopped = True
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=[each]) for each in clients]
        for thread in self._threads:
            thread.start()

    def _run(self, client: Client) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._over or not self._stopped)
                if self._over:
                    return
                self._asking += 1
            try:
                client.ask_for_something()
            except BaseException as failure:  # noqa: BLE001 # whoever waits for the end raises it
                self.failures.append(failure)
                return
            finally:
                with self._turn:
                    self._asking -= 1
                    self._turn.notify_all()

    def go(self) -> None:
        """Let them ask."""
        with self._turn:
            self._stopped = False
            self._turn.notify_all()

    def pause(self) -> None:
        """Let them ask no more, and wait for the answers to what they have asked."""
        with self._turn:
            self._stopped = True
            self._turn.wait_for(lambda: self._asking == 0, timeout=60)
        if self.failures:
            raise self.failures[0]

    def check(self, look: Callable[[Client], Books]) -> Books:
        """What all of them find, while none asks."""
        total = Books()
        for client in self._clients:
            total.add(look(client))
        return total

    def close(self) -> None:
        """End it."""
        with self._turn:
            self._over = True
            self._turn.notify_all()
        for thread in self._threads:
            thread.join(60)
