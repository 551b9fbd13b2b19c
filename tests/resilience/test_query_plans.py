"""Every statement of operations and jobs uses an index, and none is run in a loop.

The statements are those of the rows of all dialects, of each operation with each kind of
credential, and of the jobs as the application starts them. The database itself plans each of them.
Exceptions, whose cost might grow with every row, are listed here with the reason why it does not.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from oneself.database import open_engine
from oneself.runtime.key_file import open_keyring
from oneself_conformance.actors import Actors
from oneself_conformance.cases.request_building import ACTOR_KEYS
from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import Row, load_rows
from oneself_conformance.http_client import json_request
from oneself_conformance.operations import OPERATIONS
from tests.support.databases import Storage
from tests.support.in_process import InProcess
from tests.support.operator_acts import open_actors
from tests.support.row_copies import multiply
from tests.support.seed_data import seed_users
from tests.support.statements import Statement, Step, costly_steps, record_statements
from tests.support.stored import settings_of

KINDS = (*ACTOR_KEYS, "none")
#: Enough users that an index pays off; and a few, for databases without planning.
MANY_USERS, FEW_USERS = 10_000, 10
#: How many rows of each kind a user has, or the jobs find.
FEW, MANY = 1, 10


#: The recording takes a minute, most of it for the rows.
pytestmark = pytest.mark.nightly


class Exempt(NamedTuple):
    """A plan step that is allowed in statements with these words, and why its cost is bounded."""

    table: str
    kind: str
    words: str
    reason: str
    only_on: str | None = None

    def covers(self, step: Step, statement: Statement) -> bool:
        return step == (self.table, self.kind) and self.words in statement.form

    def is_for(self, dialect: str) -> bool:
        return self.only_on in {None, dialect}


_FEW_ROWS = "a handful of rows, for any number of users"
_LIVE = "the live ones of one user, at most fifty"

_DELETED = "hourly, at most 1,000 rows in the order of the index, which are then deleted"

EXEMPT = (
    Exempt("alembic_version", "scan", "SELECT version_num", "one row"),
    Exempt("root_key", "scan", "FROM root_key ORDER BY", _FEW_ROWS),
    Exempt("root_key", "sort", "FROM root_key ORDER BY", _FEW_ROWS),
    Exempt("signing_key", "scan", "signing_key.retires_at", _FEW_ROWS),
    Exempt("signing_key", "sort", "ORDER BY signing_key.active_from", _FEW_ROWS),
    Exempt("login_session", "sort", "login_session.revoked_at IS NULL", _LIVE),
    Exempt("device", "sort", "login_session.revoked_at IS NULL", _LIVE),
    Exempt("api_key", "sort", "api_key.revoked_at IS NULL", _LIVE),
    Exempt("personal_access_token", "sort", "personal_access_token.revoked_at IS NULL", _LIVE),
    Exempt("refresh_token", "sort", "refresh_token.revoked_at IS NULL", _LIVE),
    Exempt(
        "outbox_message",
        "sort",
        "outbox_message.delivered_at IS NULL",
        "undelivered mail only, found by an index",
    ),
    Exempt("outbox_message", "sort", "outbox_message.id IN (…)", "the ten leased ones"),
    Exempt("due", "scan", "WITH due AS", "the ten to be leased"),
    Exempt(
        "password_reset_request",
        "scan",
        "FROM password_reset_request ORDER BY",
        "the job empties the table, fifty rows per second",
    ),
    Exempt(
        "password_reset_request",
        "sort",
        "FROM password_reset_request ORDER BY",
        "as above, and only the first fifty are sorted",
    ),
    Exempt("event_link", "scan", "ORDER BY event_link.sequence DESC LIMIT", "one row"),
    Exempt(
        "security_event",
        "range",
        "event_link.event_id IS NULL",
        "the newest rows, from an hour before the last link: ids begin with the time",
    ),
    Exempt("security_event", "sort", "event_link.event_id IS NULL", "as above"),
    Exempt(
        "event_link",
        "scan",
        "event_link.event_id IS NULL",
        "while the whole index is no larger than the part that is looked up",
        only_on="postgresql",
    ),
    Exempt(
        "security_event",
        "sort",
        "security_event.user_id = ",
        "for users with a page or less; test_event_listing.py tests the others",
        only_on="postgresql",
    ),
    Exempt("attempt_budget", "range", "DELETE FROM", "it deletes the rows that it finds"),
    Exempt("login_network", "range", "DELETE FROM", "rows without a login for a day, hourly"),
    Exempt("login_network", "range", "login_network.failed_since > ", "the failures of a day"),
    Exempt("login_network", "sort", "login_network.failed_since > ", "as above"),
    Exempt("revoked_jwt", "range", "DELETE FROM", "it deletes the rows that it finds"),
    Exempt("kept_answer", "range", "DELETE FROM", "it deletes the rows that it finds"),
    *(
        Exempt(table, "range", f"{table}.id FROM {table} WHERE", _DELETED)
        for table in (
            "api_key",
            "client",
            "login_session",
            "one_time_secret",
            "outbox_message",
            "personal_access_token",
            "refresh_token",
        )
    ),
)

_RESET = "a job takes at most fifty requests, and each gets a secret and a mail of its own"
_MAIL = "each mail is sent and marked by itself; otherwise the failure of one would resend others"
#: By words of a statement, the reason why the jobs run it for each row that they find.
LOOPS: Mapping[str, str] = {
    "user.claimed_email_canonical = ?": _RESET,
    "user.email_canonical = ?": _RESET,
    "user.email_canonical != ?": _RESET,
    "FROM user WHERE user.id = ?": _RESET,
    "one_time_secret.address_canonical = ?": _RESET,
    "UPDATE one_time_secret SET superseded_at=? WHERE one_time_secret.purpose = ?": _RESET,
    "INSERT INTO one_time_secret": _RESET,
    "FROM user JOIN tenant ON tenant.id = user.tenant_id WHERE user.id = ?": _RESET,
    "INSERT INTO outbox_message": _RESET,
    "DELETE FROM password_reset_request": _RESET,
    "FROM outbox_message WHERE outbox_message.id = ?": _MAIL,
    "UPDATE outbox_message SET parameters_sealed=?, leased_until=?, delivered_at=?": _MAIL,
}
#: As above, on one kind of database.
LOOPS_ON: Mapping[str, Mapping[str, str]] = {"postgresql": {"pg_advisory_xact_lock": _RESET}}


@dataclass
class Recording:
    """The recorded statements, their first source, and their counts where these are compared."""

    dialect: str
    statements: dict[str, Statement] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    #: By operation, or "jobs": how often each statement was run for few and for many rows.
    counts: dict[str, dict[int, Counter[str]]] = field(default_factory=dict)
    steps: dict[str, set[Step]] = field(default_factory=dict)
    #: By operation, the kinds of credential for which it succeeded.
    accepted_kinds: dict[str, set[str]] = field(default_factory=dict)

    @contextmanager
    def recorded_as(self, source: str) -> Iterator[Counter[str]]:
        """Record the statements run in this context; the counts are complete at its end."""
        counts: Counter[str] = Counter()
        with record_statements(self.dialect) as recorded:
            yield counts
        for statement in recorded:
            if statement.reads_or_writes:
                self.statements.setdefault(statement.form, statement)
                self.sources.setdefault(statement.form, source)
                counts[statement.form] += 1

    def plan(self, app: InProcess) -> None:
        """Let the database plan every statement."""
        engine = open_engine(app.location)
        with engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.exec_driver_sql("ANALYZE")
            for form, statement in self.statements.items():
                self.steps[form] = costly_steps(connection, statement)
        engine.dispose()


def _rows() -> Iterator[Row]:
    """Yield the rows about an operation; rows of the edge reach none."""
    for row in load_rows():
        if row.file != "edge" and "service" not in row.raw and not row.dribbles:
            yield row


def _repeatable_rows() -> dict[str, Row]:
    """Return for each operation the first row that succeeds and can be repeated."""
    rows: dict[str, Row] = {}
    for row in _rows():
        succeeds = row.refusal is None and row.status < 300 and "path" not in row.raw
        if succeeds and row.operation_id and "email" not in row.raw.get("signup", {}):
            rows.setdefault(row.operation_id, row)
    return rows


ROWS = _repeatable_rows()


@pytest.fixture(scope="module")
def recording(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """All statements, recorded and planned in a database with many users."""
    folder = tmp_path_factory.mktemp("plans")
    app = _fill(storage, folder, MANY_USERS)
    recording = Recording(app.faults.dialect)
    with open_actors(app) as actors:
        for number in (FEW, MANY):
            _count_operations(recording, app, actors, number)
        for operation_id, row in ROWS.items():
            for kind in KINDS:
                variant = Row(row.file, {**row.raw, "with": kind})
                if _send(recording, app, actors, variant, operation_id) == row.status:
                    recording.accepted_kinds.setdefault(operation_id, set()).add(kind)
        for row in _rows():
            _send(recording, app, actors, row, str(row))
    recording.counts["jobs"] = {
        number: _count_jobs(recording, storage, tmp_path_factory.mktemp("jobs"), number)
        for number in (FEW, MANY)
    }
    recording.plan(app)
    app.close()
    storage.drop(app.location)
    return recording


def _fill(storage: Storage, folder: Path, users: int) -> InProcess:
    app = InProcess(folder, storage.make(folder))
    seed_users(app.location, open_keyring(settings_of(app)), users, with_credentials=1)
    return app


def _count_operations(recording: Recording, app: InProcess, actors: Actors, number: int) -> None:
    engine, multiplied = open_engine(app.location), set()
    for operation_id, row in ROWS.items():
        attempt = CaseRunner(row, app, actors)
        request = attempt.prepare()
        user_id, tenant_id = (attempt.look_up(f"me.{name}") for name in ("user_id", "tenant_id"))
        if user_id not in multiplied and number > 1:
            with engine.begin() as connection:
                multiply(connection, user_id=user_id, tenant_id=tenant_id, times=number - 1)
            multiplied.add(user_id)
        with recording.recorded_as(operation_id) as counts:
            response = app.ask(request)
        assert response.status == row.status, (operation_id, response.body)
        recording.counts.setdefault(operation_id, {})[number] = counts
    engine.dispose()


def _send(recording: Recording, app: InProcess, actors: Actors, row: Row, source: str) -> int:
    attempt = CaseRunner(row, app, actors)
    request = attempt.prepare()
    with recording.recorded_as(source):
        return app.ask(request).status


def _count_jobs(recording: Recording, storage: Storage, folder: Path, number: int) -> Counter[str]:
    """Return how often the jobs run each statement, with `number` rows for each of them."""
    app = _fill(storage, folder, FEW_USERS)
    with open_actors(app) as actors:
        app.faults.armed = True  # leaves the mail to the jobs
        for _ in range(number):
            user = actors.sign_up()
            user.ask("GET", "/api/users/me/token/")  # which is observed
            address = {"email": user["email"]}
            app.ask(json_request("POST", "/v1/auth/password/forgot", address))
    stored = app.stored()
    # Of the seeded users, one mail each is sent already. The jobs wait for all others: mail that is
    # unsent at the end is put back, which may or may not be counted.
    pending = len(stored["outbox_message"]) - FEW_USERS
    mails = pending + len(stored["password_reset_request"])
    assert mails >= number
    with recording.recorded_as("the jobs") as counts:
        asyncio.run(app.live(until=lambda: len([*app.data.glob("mail/*.eml")]) == mails))
    app.close()
    storage.drop(app.location)
    return counts


def _describe(recording: Recording, form: str) -> str:
    return f"{recording.sources[form]}: {form}"


def test_recording_covers_each_operation_with_each_credential(recording: Recording):
    """HT-21: otherwise the tests below would miss some."""
    assert recording.accepted_kinds.keys() == OPERATIONS.keys()
    for operation_id, operation in OPERATIONS.items():
        kinds = {kind.name.lower() for kind in operation.accepted}
        assert kinds <= recording.accepted_kinds[operation_id], operation_id
    written = {
        form.split()[0] for form in recording.statements if recording.sources[form] == "the jobs"
    }
    assert written >= {"SELECT", "INSERT", "UPDATE", "DELETE"}


def test_every_statement_uses_an_index(recording: Recording):
    """HT-21: its cost does not grow from a thousand users to a million."""
    exemptions = [exempt for exempt in EXEMPT if exempt.is_for(recording.dialect)]
    costly = [
        f"{step.how} of {step.table}: {_describe(recording, form)}"
        for form, steps in recording.steps.items()
        for step in sorted(steps)
        if not any(exempt.covers(step, recording.statements[form]) for exempt in exemptions)
    ]
    assert not costly, "\n".join(costly)


def test_every_exemption_is_needed(recording: Recording):
    """HT-21: a needless one would hide the next slow statement."""
    needless = [
        exempt
        for exempt in EXEMPT
        if exempt.is_for(recording.dialect)
        and not any(
            exempt.covers(step, recording.statements[form])
            for form, steps in recording.steps.items()
            for step in steps
        )
    ]
    assert needless == []


def test_no_operation_runs_statements_in_a_loop(recording: Recording):
    """HT-21: with ten rows of each kind it runs as many statements as with one."""
    looped = [
        f"{recording.counts[operation_id][FEW][form]} to {times}: {_describe(recording, form)}"
        for operation_id in OPERATIONS
        for form, times in recording.counts[operation_id][MANY].items()
        # For a row that exists once or not at all, there may be one statement, or none.
        if times >= max(recording.counts[operation_id][FEW][form], 1) + (MANY - FEW) // 2
    ]
    assert not looped, "\n".join(looped)


def test_jobs_run_only_exempt_statements_in_a_loop(recording: Recording):
    """HT-21."""
    few, many = (recording.counts["jobs"][number] for number in (FEW, MANY))
    looped = [form for form in many if many[form] >= few[form] + (MANY - FEW) // 2]
    loops = {**LOOPS, **LOOPS_ON.get(recording.dialect, {})}
    reasoned = {words: [form for form in looped if words in form] for words in loops}
    unreasoned = [form for form in looped if not any(words in form for words in loops)]
    assert not unreasoned, "\n".join(_describe(recording, form) for form in unreasoned)
    assert [words for words, forms in reasoned.items() if not forms] == []
