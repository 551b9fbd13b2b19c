"""What every operation and every job asks the database: over an index, and never in a loop.

The statements are those of the rows of all dialects, of each operation with each kind of
credential, and of the jobs as the application starts them. The database itself plans each of them.
What may cost more with every row that there is stands here with the reason why it does not.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from oneself.conformance.actors import Actors
from oneself.conformance.http_client import json_request
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.request_building import ACTOR_KEYS
from oneself.conformance.rows.table import Row, load_rows
from oneself.database import open_engine
from oneself.runtime.key_file import open_keyring
from tests.support.databases import Storage
from tests.support.in_process import InProcess
from tests.support.operator_acts import people_of
from tests.support.row_copies import multiply
from tests.support.seed_data import settle
from tests.support.statements import Asked, Step, asked_of, steps_of
from tests.support.stored import settings_of

KINDS = (*ACTOR_KEYS, "none")
#: So many people that an index is worth while; where nothing is planned, a few.
CROWD, A_FEW = 10_000, 10
#: How much of each thing a person has, or the jobs find.
FEW, MANY = 1, 10


class Exempt(NamedTuple):
    """A step that may be in statements with these words, and why it costs no more later on."""

    table: str
    how: str
    words: str
    why: str
    only_on: str | None = None

    def covers(self, step: Step, asked: Asked) -> bool:
        return step == (self.table, self.how) and self.words in asked.form

    def is_for(self, dialect: str) -> bool:
        return self.only_on in {None, dialect}


_FEW_ROWS = "a handful of rows, whatever the number of users"
_LIVE = "of one user those that are live, of which there are at most fifty"

_HOURLY = "a job once an hour; an index for it would cost whoever logs in, each time"

EXEMPT = (
    Exempt("alembic_version", "scan", "SELECT version_num", "one row"),
    Exempt("root_key", "scan", "FROM root_key ORDER BY", _FEW_ROWS),
    Exempt("root_key", "sort", "FROM root_key ORDER BY", _FEW_ROWS),
    Exempt("signing_key", "scan", "signing_key.retires_at", _FEW_ROWS),
    Exempt("signing_key", "sort", "ORDER BY signing_key.active_from", _FEW_ROWS),
    Exempt("login_session", "sort", "login_session.revoked_at IS NULL", _LIVE),
    Exempt("api_key", "sort", "api_key.revoked_at IS NULL", _LIVE),
    Exempt("personal_access_token", "sort", "personal_access_token.revoked_at IS NULL", _LIVE),
    Exempt("refresh_token", "sort", "refresh_token.revoked_at IS NULL", _LIVE),
    Exempt(
        "outbox_message",
        "sort",
        "outbox_message.delivered_at IS NULL",
        "of all mail what is not delivered, which is looked up",
    ),
    Exempt("outbox_message", "sort", "outbox_message.id IN (…)", "the ten that were leased"),
    Exempt("due", "scan", "WITH due AS", "the ten that are to be leased"),
    Exempt(
        "password_reset_request",
        "scan",
        "FROM password_reset_request ORDER BY",
        "the job that asks empties the table, fifty in each second",
    ),
    Exempt(
        "password_reset_request",
        "sort",
        "FROM password_reset_request ORDER BY",
        "as above, and no more than the first fifty are kept in order",
    ),
    Exempt("event_link", "scan", "ORDER BY event_link.sequence DESC LIMIT", "only the first one"),
    Exempt(
        "security_event",
        "range",
        "event_link.event_id IS NULL",
        "the newest end, from an hour before the last link: ids begin with the time",
    ),
    Exempt("security_event", "sort", "event_link.event_id IS NULL", "as above"),
    Exempt(
        "event_link",
        "scan",
        "event_link.event_id IS NULL",
        "while the whole index is no larger than what is looked up in it",
        only_on="postgresql",
    ),
    Exempt(
        "security_event",
        "sort",
        "security_event.user_id = ",
        "what it does for who has a page or less; test_event_listing.py is about the others",
        only_on="postgresql",
    ),
    Exempt("attempt_budget", "range", "DELETE FROM", "what it finds it deletes"),
    Exempt("revoked_jwt", "range", "DELETE FROM", "what it finds it deletes"),
    Exempt("kept_answer", "range", "DELETE FROM", "what it finds it deletes"),
    *(
        Exempt(table, "scan", f"{table}.id FROM {table} WHERE", _HOURLY)
        for table in (
            "api_key",
            "login_session",
            "one_time_secret",
            "outbox_message",
            "personal_access_token",
            "refresh_token",
        )
    ),
    Exempt("login_session", "scan", "refresh_token.id FROM refresh_token WHERE", _HOURLY),
)

_RESET = "a job takes fifty requests at most, and each gets a secret and a mail of its own"
_LETTER = (
    "each mail is sent and marked by itself, or it would be sent again for the sake of another"
)
#: By words of a statement, why the jobs ask it for each thing that they find.
LOOPS: Mapping[str, str] = {
    "user.verified_email IS NOT NULL": _RESET,
    "UPDATE one_time_secret SET superseded_at=? WHERE one_time_secret.purpose = ?": _RESET,
    "INSERT INTO one_time_secret": _RESET,
    "FROM user JOIN tenant ON tenant.id = user.tenant_id WHERE user.id = ?": _RESET,
    "INSERT INTO outbox_message": _RESET,
    "DELETE FROM password_reset_request": _RESET,
    "FROM outbox_message WHERE outbox_message.id = ?": _LETTER,
    "UPDATE outbox_message SET parameters_sealed=?, leased_until=?, delivered_at=?": _LETTER,
}


@dataclass
class Seen:
    """Each statement that was asked, by whom first, and how often where that is compared."""

    dialect: str
    statements: dict[str, Asked] = field(default_factory=dict)
    askers: dict[str, str] = field(default_factory=dict)
    #: By operation, or "jobs": how often each statement was asked of few and of many things.
    counts: dict[str, dict[int, Counter[str]]] = field(default_factory=dict)
    steps: dict[str, set[Step]] = field(default_factory=dict)
    #: By operation, the kinds of credential that were answered with what its row promises.
    let_in: dict[str, set[str]] = field(default_factory=dict)

    @contextmanager
    def by(self, asker: str) -> Iterator[Counter[str]]:
        """Note what is asked meanwhile; how often is known at the end."""
        counts: Counter[str] = Counter()
        with asked_of(self.dialect) as asked:
            yield counts
        for each in asked:
            if each.reads_or_writes:
                self.statements.setdefault(each.form, each)
                self.askers.setdefault(each.form, asker)
                counts[each.form] += 1

    def plan(self, there: InProcess) -> None:
        """Have the database plan every statement."""
        engine = open_engine(there.location)
        with engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.exec_driver_sql("ANALYZE")
            for form, asked in self.statements.items():
                self.steps[form] = steps_of(connection, asked)
        engine.dispose()


def _rows() -> Iterator[Row]:
    """The rows about an operation; those of the edge are about heads, and reach none."""
    for row in load_rows():
        if row.file != "edge" and "service" not in row.raw and not row.dribbles:
            yield row


def _good_rows() -> dict[str, Row]:
    """For each operation the first row that is a success and can be repeated."""
    found: dict[str, Row] = {}
    for row in _rows():
        good = row.refusal is None and row.status < 300 and "path" not in row.raw
        if good and row.operation_id and "email" not in row.raw.get("signup", {}):
            found.setdefault(row.operation_id, row)
    return found


GOOD = _good_rows()


@pytest.fixture(scope="module")
def seen(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """All that there is to ask, asked, and planned in a database with many people."""
    folder = tmp_path_factory.mktemp("plans")
    there = _fill(storage, folder, CROWD)
    found = Seen(there.faults.dialect)
    with people_of(there) as people:
        for number in (FEW, MANY):
            _count_operations(found, there, people, number)
        for operation_id, row in GOOD.items():
            for kind in KINDS:
                other = Row(row.file, {**row.raw, "with": kind})
                if _ask(found, there, people, other, operation_id) == row.status:
                    found.let_in.setdefault(operation_id, set()).add(kind)
        for row in _rows():
            _ask(found, there, people, row, str(row))
    found.counts["jobs"] = {
        number: _count_jobs(found, storage, tmp_path_factory.mktemp("jobs"), number)
        for number in (FEW, MANY)
    }
    found.plan(there)
    there.close()
    storage.drop(there.location)
    return found


def _fill(storage: Storage, folder: Path, crowd: int) -> InProcess:
    there = InProcess(folder, storage.make(folder))
    settle(there.location, open_keyring(settings_of(there)), crowd, known=1)
    return there


def _count_operations(found: Seen, there: InProcess, people: Actors, number: int) -> None:
    engine, grown = open_engine(there.location), set()
    for operation_id, row in GOOD.items():
        attempt = CaseRunner(row, there, people)
        request = attempt.prepare()
        user_id, tenant_id = (attempt.look_up(f"me.{name}") for name in ("user_id", "tenant_id"))
        if user_id not in grown and number > 1:
            with engine.begin() as connection:
                multiply(connection, user_id=user_id, tenant_id=tenant_id, times=number - 1)
            grown.add(user_id)
        with found.by(operation_id) as counts:
            answer = there.ask(request)
        assert answer.status == row.status, (operation_id, answer.body)
        found.counts.setdefault(operation_id, {})[number] = counts
    engine.dispose()


def _ask(found: Seen, there: InProcess, people: Actors, row: Row, asker: str) -> int:
    attempt = CaseRunner(row, there, people)
    request = attempt.prepare()
    with found.by(asker):
        return there.ask(request).status


def _count_jobs(found: Seen, storage: Storage, folder: Path, number: int) -> Counter[str]:
    """How often each statement is asked by the jobs, with so much for each of them to do."""
    there = _fill(storage, folder, A_FEW)
    with people_of(there) as people:
        there.faults.armed = True  # so that the mail is left for the jobs
        for _ in range(number):
            somebody = people.sign_up()
            somebody.ask("GET", "/api/users/me/token/")  # which is observed
            address = {"email": people.find("base")["email"]}
            there.ask(json_request("POST", "/v1/auth/password/forgot", address))
    stored = there.stored()
    # One mail of each of the crowd is sent already. All others are waited for: what the end of the
    # service leaves unsent it puts back, and that would be counted with the rest, or would not.
    blocking = len(stored["outbox_message"]) - A_FEW
    mails = blocking + len(stored["password_reset_request"])
    assert mails >= number
    with found.by("the jobs") as counts:
        asyncio.run(there.live(until=lambda: len([*there.data.glob("mail/*.eml")]) == mails))
    there.close()
    storage.drop(there.location)
    return counts


def _told(found: Seen, form: str) -> str:
    return f"{found.askers[form]}: {form}"


def test_every_operation_is_asked_with_every_credential_that_it_takes(seen: Seen):
    """HT-21: else what follows would leave it out."""
    assert seen.let_in.keys() == OPERATIONS.keys()
    for operation_id, operation in OPERATIONS.items():
        kinds = {kind.name.lower() for kind in operation.accepted}
        assert kinds <= seen.let_in[operation_id], operation_id
    written = {form.split()[0] for form in seen.statements if seen.askers[form] == "the jobs"}
    assert written >= {"SELECT", "INSERT", "UPDATE", "DELETE"}


def test_every_statement_goes_over_an_index(seen: Seen):
    """HT-21: what is asked costs as much with a million of users as with a thousand."""
    exempt = [each for each in EXEMPT if each.is_for(seen.dialect)]
    costly = [
        f"{step.how} of {step.table}: {_told(seen, form)}"
        for form, steps in seen.steps.items()
        for step in sorted(steps)
        if not any(each.covers(step, seen.statements[form]) for each in exempt)
    ]
    assert not costly, "\n".join(costly)


def test_what_is_exempt_is_there(seen: Seen):
    """HT-21: what need no longer be exempt would hide the next one."""
    needless = [
        each
        for each in EXEMPT
        if each.is_for(seen.dialect)
        and not any(
            each.covers(step, seen.statements[form])
            for form, steps in seen.steps.items()
            for step in steps
        )
    ]
    assert needless == []


def test_no_operation_asks_in_a_loop(seen: Seen):
    """HT-21: whoever has ten of each thing costs as many statements as whoever has one."""
    looped = [
        f"{seen.counts[operation_id][FEW][form]} to {times}: {_told(seen, form)}"
        for operation_id in OPERATIONS
        for form, times in seen.counts[operation_id][MANY].items()
        # What is there once or not at all, one statement may be about, or none.
        if times >= max(seen.counts[operation_id][FEW][form], 1) + (MANY - FEW) // 2
    ]
    assert not looped, "\n".join(looped)


def test_no_job_asks_in_a_loop(seen: Seen):
    """HT-21: but for what has to be done to each thing by itself."""
    few, many = (seen.counts["jobs"][number] for number in (FEW, MANY))
    looped = [form for form in many if many[form] >= few[form] + (MANY - FEW) // 2]
    reasoned = {words: [form for form in looped if words in form] for words in LOOPS}
    unreasoned = [form for form in looped if not any(words in form for words in LOOPS)]
    assert not unreasoned, "\n".join(_told(seen, form) for form in unreasoned)
    assert [words for words, forms in reasoned.items() if not forms] == []
