"""The fail2ban filter of the examples, applied to lines of a running service."""

import json
import re
from collections.abc import Iterator
from configparser import ConfigParser
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.http.attacks import Attacker, attempts, running_under_attack
from tests.http.running import Account, Running, open_account

EXAMPLE = Path(__file__).parents[2] / "examples" / "fail2ban"
#: fail2ban replaces its tag by patterns for addresses; these are stricter.
_ADDRESS = r"(?P<address>[0-9a-f.:]+)"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("fail2ban")
    with running_under_attack(folder) as started:
        yield started


@pytest.fixture(scope="module")
def alice(service: Running) -> Account:
    return open_account(service, "alice@example.com")


@pytest.fixture(scope="module")
def definition() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(EXAMPLE / "filter.d" / "oneself.conf")
    return parser


@pytest.fixture(scope="module")
def failregex(definition: ConfigParser) -> re.Pattern[str]:
    return re.compile(definition["Definition"]["failregex"].replace("<ADDR>", _ADDRESS))


def _time_of(line: str, definition: ConfigParser) -> datetime:
    """Read the time of a line by the date pattern of the filter."""
    pattern = definition["Definition"]["datepattern"].replace("%%", "%").replace("\\.", ".")
    return datetime.strptime(f'"time":"{json.loads(line)["time"]}"', pattern)  # noqa: DTZ007 # it ends with %z


def test_filter_matches_each_refused_attempt(
    service: Running, alice: Account, definition: ConfigParser, failregex: re.Pattern[str]
):
    """LG-15, attack finding 11: with the address of the client, IPv4 or IPv6."""
    for address in ("203.0.113.9", "2001:db8::7"):
        attacker = Attacker(service, address)
        for answer in (
            attacker.guess_password(alice.email),
            attacker.guess_unknown(),
            attacker.change_password(alice),
            attacker.guess_client_secret(),
        ):
            service.line_of(answer)
            name = answer.header("x-request-id")
            [line] = [line for line in service.log.splitlines() if f'"{name}"' in line]
            # As in a file, whose lines are matched without the time, and as in the journal.
            for logged in (re.sub('"time":"[^"]*"', "", line), f"host oneself[4711]: {line}"):
                match = failregex.search(logged)
                assert match, logged
                assert match["address"] == address
            assert _time_of(line, definition).tzinfo == UTC


def test_filter_matches_nothing_else(service: Running, alice: Account, failregex: re.Pattern[str]):
    """LO-06: neither a good request nor another refusal, by which an attacker could have a user
    blocked."""
    for answer in attempts(Attacker(service, "203.0.113.10"), alice):
        service.line_of(answer)
    for line in service.log.splitlines():
        assert bool(failregex.search(line)) is ('"account":' in line), line


def test_filter_does_not_match_a_forged_line(failregex: re.Pattern[str]):
    """LO-05."""
    forged = '"code":"invalid_credentials","address":"192.0.2.1","account":"0a1b2c3d4e5f"}'
    assert not failregex.search(forged)


def test_jail_uses_the_filter():
    jail = ConfigParser(interpolation=None)
    jail.read(EXAMPLE / "jail.d" / "oneself.conf")
    assert (EXAMPLE / "filter.d" / f"{jail['oneself']['filter']}.conf").is_file()
    assert jail["oneself"].getboolean("enabled")
