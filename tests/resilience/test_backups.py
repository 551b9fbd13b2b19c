"""Backups under load: all that was acknowledged before one began is in it, and it is whole."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.http.running import open_account, running
from tests.support.databases import Files, url_of
from tests.support.journal import Load

ROOT = Path(__file__).parents[2]
CLIENTS, BACKUPS, MOST_KEYS = 3, 3, 20


class Counting:
    """Somebody who counts upwards in their settings and makes keys, and knows what was told."""

    def __init__(self, service, account):
        self._ask = service.ask
        self._headers = account.bearer
        self.asked = self.told = 0
        self.keys = set()

    def ask_for_something(self):
        """One step further; each fifth makes a key."""
        self.asked += 1
        body = {"n": self.asked}
        answer = self._ask("PATCH", "/resources/me/settings", headers=self._headers, body=body)
        assert answer.status == 200, answer
        self.told = self.asked
        if self.asked % 5 == 0 and len(self.keys) < MOST_KEYS:
            body = {"name": f"Key {self.asked}", "scopes": ["me/profile:read"]}
            made = self._ask("POST", "/v1/api-keys", headers=self._headers, body=body)
            assert made.status == 201, made
            self.keys.add(made.json["data"]["api_key_id"])

    def check(self, service, before, latest):
        """What is stored is what was told before the backup began, or later, and never half."""
        told, keys = before
        read = service.ask("GET", "/resources/me/settings", headers=self._headers)
        assert told <= read.json["n"] <= latest
        there = service.ask("GET", "/v1/api-keys", headers=self._headers).json["data"]["items"]
        assert keys <= {item["api_key_id"] for item in there}


class OfFiles:
    """The commands that there are for SQLite."""

    settings: dict = {}  # noqa: RUF012 # never changed

    def back_up(self, data, file):
        _oneself(data, "db", "backup", file)

    def restore(self, data, file):
        _oneself(data, "db", "restore", file)
        return {}


class OfServers:
    """What the commands say that is used with a server."""

    def __init__(self, servers, programs):
        self._servers, self._programs = servers, programs
        self.settings = servers.settings()

    def _run(self, program, url, *words):
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        common = ["--no-owner", "--no-privileges", f"--dbname={plain}"]
        subprocess.run([self._programs / program, *common, *words], check=True)

    def back_up(self, _data, file):
        self._run("pg_dump", self.settings["database_url"], "--format=custom", f"--file={file}")

    def restore(self, _data, file):
        url = url_of(self._servers.blank())
        self._run("pg_restore", url, "--exit-on-error", "--single-transaction", file)
        return self.settings | {"database_url": url}


def _oneself(data, *words, **settings):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")},
        **{f"ONESELF_{name.upper()}": str(value) for name, value in settings.items()},
        "ONESELF_DATA_DIR": str(data),
    }
    command = [sys.executable, "-m", "oneself", *map(str, words), "--json"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert ran.stdout, ran.stderr.decode()
    return json.loads(ran.stdout)


@pytest.fixture
def way(storage):
    """How this kind of database is backed up and restored."""
    if isinstance(storage, Files):
        return OfFiles()
    programs = storage.programs
    if programs is None:
        pytest.skip("on a server of one's own, whose programs are not known")
    return OfServers(storage, programs)


def test_what_was_acknowledged_before_a_backup_began_is_in_it(way, tmp_path, outcomes):
    """DB-09: under load, several times; each is restored, doctored, and served."""
    source = tmp_path / "source"
    source.mkdir()
    taken = []
    with running(source, workers=2, password_cost=10, **way.settings) as service:
        people = [
            Counting(service, open_account(service, f"person{each}@example.com"))
            for each in range(CLIENTS)
        ]
        load = Load(people)
        load.go()
        try:
            for number in range(BACKUPS):
                time.sleep(0.3)
                file = tmp_path / f"backup{number}"
                before = [(each.told, set(each.keys)) for each in people]
                way.back_up(source / "data", file)
                taken.append((file, before, [each.asked for each in people]))
            load.pause()
        finally:
            load.close()
    # Without load the rest would show nothing.
    assert all(
        latest > told
        for _, before, after in taken
        for (told, _), latest in zip(before, after, strict=True)
    )
    outcome = outcomes["a backup under load, restored"]
    for file, before, after in taken:
        outcome.rounds += 1
        outcome.books.acknowledged += sum(told + len(keys) for told, keys in before)
        folder = tmp_path / f"restored {file.name}"
        data = folder / "data"
        data.mkdir(parents=True, mode=0o700)
        if not way.settings:
            shutil.copy(source / "data" / "secret.key", data)
        settings = way.restore(data, file)
        checks = _oneself(data, "doctor", **settings)["checks"]
        # The server of the tests is one that may lose what it has.
        assert {name for name in checks if not checks[name]["ok"]} <= {"durability"}
        with running(folder, password_cost=10, **settings) as service:
            for person, told, latest in zip(people, before, after, strict=True):
                person.check(service, told, latest)
