"""Compare the cost of each read with a thousand and with a million users.

Two databases that differ only in the number of users are queried in one process, in turn and in
small batches, each request by another user. On SQLite, processor time is compared, which other work
on the machine disturbs least; for a PostgreSQL server, which is another process, elapsed time. Each
ratio compares two consecutive batches. The result is the median ratio; the spread shows the middle
half.

Not measured: a cold disk. The files are in the page cache, where they are after having been
written, if there is room. SQLite's own cache of two megabytes holds nearly all of the small file,
and almost none of the large one.
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

from accounts.crypto.jwt_claims import MAX_LIFETIME, Claims
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.signing_keys import load_key_set
from accounts.values.identifiers import new_uuid
from bench.in_process import Application, Request
from oneself.document import load_document, operation_specs
from tests.support.databases import PostgresqlStorage, SqliteStorage, Storage, location_url
from tests.support.postgresql import databases
from tests.support.seed_data import SeededUser, seed_users

FEW = 1_000
#: Users with usable credentials, the same number in both databases.
KNOWN = 1_000
#: The highest ratio that passes.
MAX_RATIO = 1.15
ROUNDS, BATCH = 40, 50
#: Disk space for a user with all rows, and for writing them.
BYTES_PER_USER = 12_000


class Deployment(NamedTuple):
    """A service, and its users with usable credentials."""

    application: Application
    with_credentials: Sequence[SeededUser]

    def jwt(self, user: SeededUser) -> str:
        """Sign a JWT with all scopes for a user's session."""
        now = datetime.now(UTC)
        with self.application.database.transaction(writing=False) as session:
            keys = load_key_set(session)
        issuer = self.application.settings.public_origin
        claims = Claims(
            subject=user.user_id,
            session_id=user.session_id,
            client_id=user.client_id,
            tenant_id=user.tenant_id,
            audience=issuer,
            scopes=frozenset(SESSION_RIGHTS),
            epoch=0,
            jti=new_uuid(),
            issued_at=now,
            expires_at=now + MAX_LIFETIME,
            authenticated_at=now,
        )
        return keys.sign(claims, issuer=issuer)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Return the Authorization header for a token."""
    return (("authorization", f"Bearer {token}"),)


RequestFactory = Callable[[Deployment, SeededUser], Request]


def read_requests() -> Mapping[str, RequestFactory]:
    """Return all reads by session, and the current user by each kind of credential."""

    def by_session(path: str) -> RequestFactory:
        return lambda _, user: Request(
            "GET", path.replace("{id}", user.pat_id), bearer(user.session)
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
        "  by JWT": lambda target, me: Request("GET", path, bearer(target.jwt(me))),
    }


@contextmanager
def deployment(storage: Storage, folder: Path, people: int) -> Iterator[Deployment]:
    """Run a service with this number of users."""
    folder.mkdir()
    location = storage.make(folder)
    with Application(folder, database_url=location_url(location)) as application:
        start = time.perf_counter()
        with_credentials = seed_users(location, application.keys, people, with_credentials=KNOWN)
        elapsed = time.perf_counter() - start
        size = location.stat().st_size if isinstance(location, Path) else 0
        print(f"{people:9,} users: written in {elapsed:.0f} s, {size / 1e6:,.0f} MB", flush=True)
        yield Deployment(application, with_credentials)


def measure(target: Deployment, ask: RequestFactory, clock: Callable[[], float]) -> float:
    """Return the microseconds per request, over a batch for random users."""
    requests = [ask(target, each) for each in random.sample(target.with_credentials, BATCH)]
    start = clock()
    answers = target.application.ask(requests)
    elapsed = clock() - start
    for request, answer in zip(requests, answers, strict=True):
        if answer.status != 200:  # noqa: PLR2004 # a success
            sys.exit(f"{request.path} answers {answer.status}: {answer.body[:200]!r}")
    return elapsed / BATCH * 1e6


def compare(few: Deployment, many: Deployment, clock: Callable[[], float]) -> bool:
    """Print the costs of each read and their ratio; return whether all pass."""
    gc.collect()
    gc.freeze()
    gc.disable()
    all_passed = True
    print(f"\n{'':28} {'few':>8} {'many':>8} {'ratio':>6}  half of all ratios")
    for name, ask in read_requests().items():
        costs: list[tuple[float, float]] = []
        for number in range(-1, ROUNDS):
            order = [few, many] if number % 2 else [many, few]
            taken = {id(each): measure(each, ask, clock) for each in order}
            if number >= 0:  # the first round, which prepares statements, is not counted
                costs.append((taken[id(few)], taken[id(many)]))
        ratios = [after / before for before, after in costs]
        lower, ratio, upper = statistics.quantiles(ratios, n=4)
        before, after = (statistics.median(each) for each in zip(*costs, strict=True))
        ok = ratio <= MAX_RATIO
        all_passed = all_passed and ok
        print(f"{name:28} {before:6.0f}µs {after:6.0f}µs {ratio:6.2f}", end="")
        print(f"  {lower:.2f} to {upper:.2f}    {'PASS' if ok else 'FAIL'}", flush=True)
    gc.enable()
    return all_passed


def main() -> None:
    """Seed both databases and compare; exit with 1 if a read is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oneself-growth-")))
        free = shutil.disk_usage(folder).free
        if free < options.people * BYTES_PER_USER:
            sys.exit(f"{folder} has {free / 1e9:.0f} GB left, which is not enough")
        storage: Storage = SqliteStorage(folder)
        clock = time.process_time
        if options.database == "postgresql":
            storage = PostgresqlStorage(stack.enter_context(databases()))
            clock = time.perf_counter
        few, many = (
            stack.enter_context(deployment(storage, folder / str(people), people))
            for people in (FEW, options.people)
        )
        all_passed = compare(few, many, clock)
    print(f"\n{'PASS' if all_passed else 'FAIL'}: at most {MAX_RATIO}")
    sys.exit(0 if all_passed else 1)


main()
