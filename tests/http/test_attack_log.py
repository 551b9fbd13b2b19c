"""The log of an attack names attempts by address and digest, and reveals nothing that was sent."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from itertools import count
from pathlib import Path

import pytest

from accounts.services.attempts import digests_of
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.http.attacks import Attacker, attempts, running_under_attack
from tests.http.running import Account, Running, open_account, running

#: Lines of the log; as many as 10,000 in the nightly run, with `--rounds`.
_LINES, _MANY_LINES = 400, 10_000
_NAMED = {"invalid_credentials", "wrong_password", "invalid_client", "too_many_attempts"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("attack")
    with running_under_attack(folder) as started:
        yield started


@pytest.fixture(scope="module")
def alice(service: Running) -> Account:
    return open_account(service, "alice.victim@example.com")


def _digest(service: Running, account: str) -> str:
    """Compute the digest as `user digest` does."""
    settings = Settings(data_dir=service.folder / "data")
    [digest] = digests_of(open_keyring(settings), account).values()
    return digest


def test_refused_attempt_has_address_and_account(service: Running, alice: Account):
    """LG-15, LO-06, attack finding 11."""
    attacker = Attacker(service, "203.0.113.9")
    client = "cli_0123456789ab"
    for answer, status, account in (
        (attacker.guess_password(alice.email), 401, alice.email),
        (attacker.guess_password(alice.email.upper()), 401, alice.email),
        (attacker.guess_password("nobody@example.com"), 401, "nobody@example.com"),
        (attacker.change_password(alice), 400, alice.email),
        (attacker.guess_client_secret(client), 401, client),
    ):
        line = service.line_of(answer)
        assert (answer.status, line["address"]) == (status, "203.0.113.9")
        assert line["account"] == _digest(service, account)
        assert line["code"] in _NAMED


def test_other_lines_have_neither_address_nor_account(service: Running, alice: Account):
    """LO-06: there is no record of where a user is, unless an attempt fails."""
    attacker = Attacker(service, "203.0.113.9")
    good = {"email": alice.email, "password": alice.password}
    for answer in (
        attacker.ask("POST", "/v1/auth/login", body=good),
        attacker.ask("GET", "/v1/me", headers=alice.bearer),
        attacker.ask("GET", "/v1/me"),
        attacker.ask("POST", "/v1/auth/password/forgot", body={"email": alice.email}),
    ):
        assert not {"address", "account"} & service.line_of(answer).keys()


def test_attempt_beyond_the_limit_has_address_and_account(tmp_path: Path):
    """LG-12, attack finding 11."""
    with running(tmp_path, password_cost=10, throttle_account_source="1/300") as service:
        attacker = Attacker(service, "203.0.113.9")
        attacker.guess_password("nobody@example.com")
        line = service.line_of(attacker.guess_password("nobody@example.com"))
        assert (line["status"], line["code"]) == (429, "too_many_attempts")
        # Without a trusted proxy, the header of the client is ignored.
        assert line["address"] == "127.0.0.1"
        assert line["account"] == _digest(service, "nobody@example.com")


def test_log_of_an_attack_reveals_nothing(
    service: Running, alice: Account, pytestconfig: pytest.Config
):
    """LO-01, LO-05, LO-06, attack finding 11: no secret, password or address of mail."""
    wanted = _MANY_LINES if pytestconfig.getoption("--rounds") else _LINES
    sent = {*_secrets_of(alice)}
    statuses: set[int] = set()
    made = 0
    for number in count(1):
        attacker = Attacker(service, f"2001:db8:{number:x}::1", number * 1000)
        answers = list(attempts(attacker, alice))
        made += len(answers)
        sent |= attacker.sent
        statuses |= {answer.status for answer in answers}
        if made >= wanted:
            break
    service.line_of(answers[-1])
    assert {200, 400, 401, 404} <= statuses
    assert max(statuses) < HTTPStatus.INTERNAL_SERVER_ERROR
    log = service.log
    lines = [json.loads(line) for line in log.splitlines()]
    requests = [line for line in lines if line["logger"] == "oneself.requests"]
    assert len(requests) >= wanted
    assert [secret for secret in sent if secret.lower() in log.lower()] == []
    assert "@" not in log
    assert "Canary" not in log
    named = [line for line in requests if "account" in line]
    assert len(named) >= wanted // 10
    assert {line["code"] for line in named} <= _NAMED
    assert all(set(line["account"]) <= set("0123456789abcdef") for line in named)


def _secrets_of(account: Account) -> Iterator[str]:
    yield from (account.email, account.password, account.session)
    yield from (account.access_token, account.api_key)
