"""Prints what each reading costs with a thousand and with a million users, and their ratio.

Two databases of which nothing differs but the number of people, in one process, asked in turn in
small batches, each request for somebody else. On SQLite the processor's time is compared, which
other work on the machine disturbs the least; a server is another process, and so the time that
passes is. A ratio is that of two batches that follow one another, and the middle of all of them
counts; the quarter above and the quarter below are left out of the spread.

What it cannot show: what a cold disk costs. The files are in the memory of the machine, as they are
where they have just been written and there is room; SQLite's own cache, of two megabytes, holds
nearly all of the small one and next to nothing of the large one.
"""

import argparse
import gc
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from accounts.crypto.jwt_claims import LONGEST_LIFETIME, Claims
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.signing_keys import load_key_set
from accounts.values.identifiers import new_uuid
from bench.in_process import Application, Request
from oneself.document import load_document, operation_specs
from tests.support.databases import Files, Servers, Storage, url_of
from tests.support.postgresql import databases
from tests.support.seed_data import Known, settle

FEW = 1_000
#: People whose credentials are at hand, among few and among many as many.
KNOWN = 1_000
#: No reading may cost more than so many times as much.
HIGHEST = 1.15
ROUNDS, BATCH = 40, 50
#: Bytes of a person with all that they have, and with room to write it.
BYTES_OF_A_PERSON = 12_000


class Deployment(NamedTuple):
    """A service, and those of its people who ask."""

    application: Application
    known: Sequence[Known]

    def jwt(self, somebody: Known) -> str:
        """A JWT of everything, made of somebody's session."""
        now = datetime.now(UTC)
        with self.application.database.transaction(writing=False) as session:
            keys = load_key_set(session)
        issuer = self.application.settings.public_origin
        claims = Claims(
            subject=somebody.user_id,
            session_id=somebody.session_id,
            client_id=somebody.client_id,
            tenant_id=somebody.tenant_id,
            audience=issuer,
            scopes=frozenset(SESSION_RIGHTS),
            epoch=0,
            jti=new_uuid(),
            issued_at=now,
            expires_at=now + LONGEST_LIFETIME,
            authenticated_at=now,
        )
        return keys.sign(claims, issuer=issuer)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The header of a token."""
    return (("authorization", f"Bearer {token}"),)


Asking = Callable[[Deployment, Known], Request]


def readings() -> Mapping[str, Asking]:
    """Every operation that reads, by a session; the current user by each kind of credential."""

    def by_session(path: str) -> Asking:
        return lambda _, somebody: Request(
            "GET", path.replace("{id}", somebody.pat_id), bearer(somebody.session)
        )

    found = {
        each.operation_id: by_session(each.path)
        for each in operation_specs(load_document())
        if each.method == "get"
    }
    path = "/v1/me"
    return found | {
        "  by access token": lambda _, me: Request("GET", path, bearer(me.access_token)),
        "  by API key": lambda _, me: Request("GET", path, (("x-api-key", me.api_key),)),
        "  by PAT": lambda _, me: Request("GET", path, bearer(me.pat)),
        "  by JWT": lambda there, me: Request("GET", path, bearer(there.jwt(me))),
    }


@contextmanager
def deployment(storage: Storage, folder: Path, people: int) -> Iterator[Deployment]:
    """A service with so many people."""
    folder.mkdir()
    location = storage.make(folder)
    with Application(folder, database_url=url_of(location)) as application:
        began = time.perf_counter()
        known = settle(location, application.keys, people, known=KNOWN)
        took = time.perf_counter() - began
        size = location.stat().st_size if isinstance(location, Path) else 0
        print(f"{people:9,} people: written in {took:.0f} s, {size / 1e6:,.0f} MB", flush=True)
        yield Deployment(application, known)


def measure(there: Deployment, ask: Asking, clock: Callable[[], float]) -> float:
    """Microseconds of one request, over a batch of them for people who are drawn anew."""
    requests = [ask(there, each) for each in random.sample(there.known, BATCH)]
    began = clock()
    answers = there.application.ask(requests)
    took = clock() - began
    for request, answer in zip(requests, answers, strict=True):
        if answer.status != 200:  # noqa: PLR2004 # what a good reading is answered with
            sys.exit(f"{request.path} answers {answer.status}: {answer.body[:200]!r}")
    return took / BATCH * 1e6


def compare(few: Deployment, many: Deployment, clock: Callable[[], float]) -> bool:
    """Print each reading's costs and their ratio; tell whether all of them pass."""
    gc.collect()
    gc.freeze()
    gc.disable()
    passed = True
    print(f"\n{'':28} {'few':>8} {'many':>8} {'ratio':>6}  half of all ratios")
    for name, ask in readings().items():
        costs: list[tuple[float, float]] = []
        for number in range(-1, ROUNDS):
            order = [few, many] if number % 2 else [many, few]
            taken = {id(each): measure(each, ask, clock) for each in order}
            if number >= 0:  # what is prepared at the first time is not counted
                costs.append((taken[id(few)], taken[id(many)]))
        ratios = [after / before for before, after in costs]
        lower, ratio, upper = statistics.quantiles(ratios, n=4)
        before, after = (statistics.median(each) for each in zip(*costs, strict=True))
        good = ratio <= HIGHEST
        passed = passed and good
        print(f"{name:28} {before:6.0f}µs {after:6.0f}µs {ratio:6.2f}", end="")
        print(f"  {lower:.2f} to {upper:.2f}    {'PASS' if good else 'FAIL'}", flush=True)
    gc.enable()
    return passed


def main() -> None:
    """Fill both databases and compare; the exit status is 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oneself-growth-")))
        free = shutil.disk_usage(folder).free
        if free < chosen.people * BYTES_OF_A_PERSON:
            sys.exit(f"{folder} has {free / 1e9:.0f} GB left, which is too little")
        storage: Storage = Files(folder)
        clock = time.process_time
        if chosen.database == "postgresql":
            storage = Servers(stack.enter_context(databases()))
            clock = time.perf_counter
        few, many = (
            stack.enter_context(deployment(storage, folder / str(people), people))
            for people in (FEW, chosen.people)
        )
        passed = compare(few, many, clock)
    print(f"\n{'PASS' if passed else 'FAIL'}: at most {HIGHEST}")
    sys.exit(0 if passed else 1)


main()
