"""The `mail` commands: what each shows, and above all what it must not show."""

import json
from datetime import UTC, datetime, timedelta
from socket import create_server

import pytest
from sqlmodel import select
from typer.testing import CliRunner

from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.user_views import find_user_view
from accounts.services.users import open_tenant, open_user
from models import OutboxMessage
from oneself.commands import mail
from oneself.commands.console.failures import explain
from oneself.commands.console.session_setup import load_settings, open_database
from oneself.database import sqlite_driver

SECRET = "ots_canary"


class Run:
    """The output of a command, its exit status, and its error message."""

    def __init__(self, result):
        failure = explain(result.exception) if result.exception else None
        if result.exception and failure is None:
            raise result.exception
        self.status = failure.status if failure else result.exit_code
        self.out, self.err = result.stdout, result.stderr
        self.sentence = str(failure or "")

    @property
    def json(self):
        """The object that a program reads from standard output."""
        assert (self.status, self.err) == (0, ""), self.sentence
        return json.loads(self.out)

    def refused(self, *words, status=1):
        """Return True if it ended with this status and message, and wrote no standard error."""
        assert (self.status, self.err) == (status, "")
        assert all(word in self.sentence for word in words), self.sentence
        return True


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Returns the data folder of the settings."""
    for name in ("SECRET_KEY", "SECRET_KEY_FORMER", "DATABASE_URL", "SMTP_URL"):
        monkeypatch.delenv(f"ONESELF_{name}", raising=False)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_PUBLIC_URL", "https://accounts.example")
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")
    return tmp_path / "data"


@pytest.fixture
def database(folder):  # noqa: ARG001 # used through the settings
    """Opens the database of the settings, with empty tables."""
    with open_database(load_settings(), make=True) as database:
        yield database


@pytest.fixture
def run(database):  # noqa: ARG001 # used by the command
    """Runs one of the commands."""
    return lambda *arguments: Run(CliRunner().invoke(mail.app, arguments))


@pytest.fixture
def post(database):
    """Puts a message to Alice into the outbox; returns its id."""
    with database.transaction(writing=True) as session:
        alice = open_user(
            session,
            open_tenant(session, "Example"),
            email="alice@example.com",
            display_name="Alice",
            record=None,
            provider="oidc",
        )

    def ids():
        with database.transaction(writing=False) as session:
            return set(session.exec(select(OutboxMessage.id)))

    def post():
        before = ids()
        with database.transaction(writing=True) as session:
            view = find_user_view(session, alice.id)
            post_message(session, MessageKind.PASSWORD_RESET, view, secret=SECRET)
        (posted,) = ids() - before
        return posted

    return post


@pytest.fixture
def sql(folder):
    """Runs a statement on the file, bypassing the commands."""

    def sql(statement, *parameters):
        connection = sqlite_driver().connect(folder / "oneself.sqlite3")
        with connection:
            rows = connection.execute(statement, parameters).fetchall()
        connection.close()
        return rows

    return sql


@pytest.fixture
def mark_dead(sql):
    """Marks a message as dead."""
    return lambda message_id: sql(
        "UPDATE outbox_message SET gave_up_at = created_at, attempts = 7, due_at = created_at,"
        " last_problem = 'The server refused the recipient (550).' WHERE id = ?",
        message_id,
    )


def _after(**time):
    return (datetime.now(UTC) + timedelta(**time)).replace(tzinfo=None).isoformat(" ")


def _states(run, *options):
    listed = run("list", "--json", *options).json["messages"]
    return {message["id"]: message["state"] for message in listed}


@pytest.fixture
def one_of_each(post, mark_dead, sql):
    """Posts a message in each state; returns their ids by state."""
    ids = {state: post() for state in ("delivered", "dead", "leased", "waiting")}
    mark_dead(ids["dead"])
    sql("UPDATE outbox_message SET leased_until = ? WHERE id = ?", _after(minutes=5), ids["leased"])
    sql(
        "UPDATE outbox_message SET delivered_at = ?, parameters_sealed = x'' WHERE id = ?",
        _after(),
        ids["delivered"],
    )
    return ids


# list


def test_empty_outbox_is_listed(run):
    """OP-03."""
    assert run("list", "--json").json == {"messages": []}
    assert "none" in run("list").out


def test_list_shows_the_state_of_each_message(run, one_of_each):
    """EM-18: delivered ones only on request."""
    expected = {message_id: state for state, message_id in one_of_each.items()}
    delivered = expected.pop(one_of_each["delivered"])
    assert _states(run) == expected
    for state, message_id in one_of_each.items():
        assert _states(run, "--state", state) == {message_id: state}
    everything = [f"--state={state}" for state in one_of_each]
    assert _states(run, *everything) == expected | {one_of_each["delivered"]: delivered}


def test_newest_messages_are_listed_first(run, post, sql):
    """OP-03: at most --limit."""
    old, new = post(), post()
    sql("UPDATE outbox_message SET created_at = ? WHERE id = ?", _after(hours=-1), old)
    assert list(_states(run)) == [new, old]
    assert list(_states(run, "--limit", "1")) == [new]


def test_listed_message_has_the_reason_of_its_failure(run, post, mark_dead):
    """EM-18: with the recipient masked."""
    message_id = post()
    mark_dead(message_id)
    (listed,) = run("list", "--json").json["messages"]
    assert listed.pop("created_at") == listed.pop("due_at")
    assert listed == {
        "id": message_id,
        "kind": "password_reset",
        "recipient": "a…@example.com",
        "state": "dead",
        "attempts": 7,
        "last_problem": "The server refused the recipient (550).",
    }


def test_list_is_a_table_without_the_address(run, post):
    """LO-01."""
    first, second = post(), post()
    ran = run("list")
    assert ran.status == 0
    assert all(part in ran.out for part in (first, second, "a…@example.com", "waiting"))
    assert "alice" not in ran.out


# show


def test_waiting_message_shows_headers_only(run, post):
    """LO-01: its secret opens the recipient's account."""
    message_id = post()
    shown = run("show", message_id, "--json").json
    assert (shown["state"], shown["recipient"], shown["mail"]) == (
        "waiting",
        "alice@example.com",
        None,
    )
    assert shown["head"].keys() == {"To", "Subject", "Date", "Message-ID"}
    assert shown["head"]["Message-ID"] == f"<{message_id}@accounts.example>"


@pytest.mark.parametrize("state", ["waiting", "leased", "delivered", "dead"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_state_shows_a_secret(run, one_of_each, state, options):
    """LO-01."""
    shown = run("show", one_of_each[state], *options)
    assert (shown.status, shown.err) == (0, "")
    assert one_of_each[state] in shown.out
    assert SECRET not in shown.out


def test_message_in_the_mail_folder_is_shown(run, post):
    """EM-18: without a mail server, that is where it is delivered."""
    message_id = post()
    run("deliver")
    shown = run("show", message_id, "--json").json
    assert (shown["state"], shown["head"]) == ("delivered", None)
    assert SECRET in shown["mail"]
    assert run("show", message_id).out.endswith(shown["mail"])


def test_file_of_an_undelivered_message_is_not_shown(run, folder, post):
    """EM-18: it may be incomplete."""
    message_id = post()
    (folder / "mail").mkdir()
    (folder / "mail" / f"{message_id}.eml").write_text(SECRET)
    assert run("show", message_id, "--json").json["mail"] is None


def test_unreadable_message_is_shown_without_headers(run, post, sql):
    """TK-05."""
    message_id = post()
    sql("UPDATE outbox_message SET parameters_sealed = x'00'")
    assert run("show", message_id, "--json").json["head"] is None
    assert message_id in run("show", message_id).out


@pytest.mark.parametrize("command", ["show", "retry"])
@pytest.mark.parametrize("message_id", ["msg_000000000000", "../../etc/passwd"])
def test_unknown_message_is_named(run, command, message_id):
    """OP-03: an id is never used as a path."""
    assert run(command, message_id).refused(f"There is no message {message_id}.")


# deliver


def test_due_messages_are_delivered(run, folder, post):
    """EM-18."""
    ids = sorted(post() for _ in range(12))
    expected = {"delivered": 12, "failed": 0, "unreadable": 0}
    assert run("deliver", "--json").json == expected
    assert sorted(path.stem for path in (folder / "mail").iterdir()) == ids
    assert run("deliver", "--json").json == expected | {"delivered": 0}


def test_unreachable_server_is_reported_once(run, monkeypatch, post):
    """OP-03: with exit status 1, and without log lines."""
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("ONESELF_SMTP_URL", f"smtp+plain://127.0.0.1:{port}")
    message_id = post()
    ran = run("deliver", "--json")
    assert ran.refused("1 messages were not accepted", "cannot be reached (ECONNREFUSED).")
    assert json.loads(ran.out) == {"delivered": 0, "failed": 1, "unreadable": 0}
    (listed,) = run("list", "--json").json["messages"]
    assert (listed["id"], listed["attempts"]) == (message_id, 1)


def test_unreadable_message_is_reported(run, post, sql):
    """TK-05: the other messages are delivered."""
    unreadable_id, _ = post(), post()
    sql("UPDATE outbox_message SET parameters_sealed = x'00' WHERE id = ?", unreadable_id)
    ran = run("deliver", "--json")
    assert ran.refused("1 messages cannot be read")
    assert json.loads(ran.out) == {"delivered": 1, "failed": 0, "unreadable": 1}


def test_malformed_smtp_url_is_not_shown(run, monkeypatch, post):
    """LO-01: it contains a password."""
    post()
    monkeypatch.setenv("ONESELF_SMTP_URL", "smtp://u:can/ary@mail.example")
    ran = run("deliver")
    assert ran.refused("ONESELF_SMTP_URL must be smtp://", status=2)
    assert "ary" not in ran.sentence


# retry


def test_dead_message_is_retried(run, post, mark_dead):
    """EM-18: with its attempts reset."""
    message_id = post()
    mark_dead(message_id)
    assert run("deliver", "--json").json["delivered"] == 0
    assert run("retry", message_id, "--json").json == {"retried": 1}
    (listed,) = run("list", "--json").json["messages"]
    assert (listed["state"], listed["attempts"]) == ("waiting", 0)
    assert run("deliver", "--json").json["delivered"] == 1


def test_waiting_message_is_retried_at_once(run, post, sql):
    """EM-18: as when the server is back, and the next try is an hour away."""
    message_id = post()
    sql("UPDATE outbox_message SET due_at = ?", _after(hours=1))
    assert run("deliver", "--json").json["delivered"] == 0
    assert run("retry", message_id).status == 0
    assert run("deliver", "--json").json["delivered"] == 1


def test_message_with_an_expired_lease_is_retried(run, post, sql):
    """EM-18."""
    message_id = post()
    sql("UPDATE outbox_message SET leased_until = ?", _after(seconds=-1))
    assert run("retry", message_id, "--json").json == {"retried": 1}


def test_only_the_named_message_is_retried(run, post, mark_dead):
    """EM-18."""
    message_id, other_id = post(), post()
    mark_dead(message_id)
    mark_dead(other_id)
    run("retry", message_id)
    assert _states(run) == {message_id: "waiting", other_id: "dead"}


def test_all_dead_and_waiting_messages_are_retried(run, one_of_each):
    """EM-18: not delivered and leased ones."""
    assert run("retry", "--all", "--json").json == {"retried": 2}
    assert _states(run) == {
        one_of_each["dead"]: "waiting",
        one_of_each["waiting"]: "waiting",
        one_of_each["leased"]: "leased",
    }


@pytest.mark.parametrize(
    ("state", "reason"), [("delivered", "was already delivered"), ("leased", "is being sent")]
)
def test_message_that_cannot_be_retried_has_a_reason(run, one_of_each, state, reason):
    """EM-18: it would be sent twice."""
    ran = run("retry", one_of_each[state])
    assert ran.refused(reason)
    assert ran.out == ""


def test_message_without_content_is_not_retried(run, post, mark_dead, sql):
    """TK-08."""
    message_id = post()
    mark_dead(message_id)
    sql("UPDATE outbox_message SET parameters_sealed = x''")
    assert run("retry", message_id).refused("failed more than a week ago")
    assert run("retry", "--all", "--json").json == {"retried": 0}
    assert _states(run) == {message_id: "dead"}


@pytest.mark.parametrize("arguments", [(), ("msg_000000000000", "--all")])
def test_retry_needs_an_id_or_all(run, arguments):
    """OP-03."""
    assert run("retry", *arguments).refused("Give the ID of one message", status=2)
