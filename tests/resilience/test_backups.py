"""Backups under load: they are whole, and contain every acknowledged change before their start."""

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
from tests.support.databases import SqliteStorage, location_url
from tests.support.journal import Load

ROOT = Path(__file__).parents[2]
CLIENTS, BACKUPS, MAX_KEYS = 3, 3, 20


class CountingClient:
    """A client that counts up in its settings and creates keys, and records acknowledgements."""

    def __init__(self, service, account):
        self._ask = service.ask
        self._headers = account.bearer
        self.requested = self.acknowledged = 0
        self.keys = set()

    def send_random_request(self):
        """Increment the counter; every fifth time create a key."""
        self.requested += 1
        body = {"n": self.requested}
        response = self._ask("PATCH", "/resources/me/settings", headers=self._headers, body=body)
        assert response.status == 200, response
        self.acknowledged = self.requested
        if self.requested % 5 == 0 and len(self.keys) < MAX_KEYS:
            body = {"name": f"Key {self.requested}", "scopes": ["me/profile:read"]}
            created = self._ask("POST", "/v1/api-keys", headers=self._headers, body=body)
            assert created.status == 201, created
            self.keys.add(created.json["data"]["api_key_id"])

    def check(self, service, before, latest):
        """Check that the stored state was acknowledged before the backup began, or is later."""
        acknowledged, keys = before
        read = service.ask("GET", "/resources/me/settings", headers=self._headers)
        assert acknowledged <= read.json["n"] <= latest
        stored = service.ask("GET", "/v1/api-keys", headers=self._headers).json["data"]["items"]
        assert keys <= {item["api_key_id"] for item in stored}


class SqliteBackups:
    """Backup and restore by our commands for SQLite."""

    settings: dict = {}  # noqa: RUF012 # never changed

    def back_up(self, data, file):
        _oneself(data, "db", "backup", file)

    def restore(self, data, file):
        _oneself(data, "db", "restore", file)
        return {}


class PostgresqlBackups:
    """Backup and restore by PostgreSQL's programs, as our commands recommend."""

    def __init__(self, servers, programs):
        self._servers, self._programs = servers, programs
        self.settings = servers.settings()

    def _run(self, program, url, *arguments):
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        common = ["--no-owner", "--no-privileges", f"--dbname={plain}"]
        subprocess.run([self._programs / program, *common, *arguments], check=True)

    def back_up(self, _data, file):
        self._run("pg_dump", self.settings["database_url"], "--format=custom", f"--file={file}")

    def restore(self, _data, file):
        url = location_url(self._servers.blank())
        self._run("pg_restore", url, "--exit-on-error", "--single-transaction", file)
        return self.settings | {"database_url": url}


def _oneself(data, *arguments, **settings):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")},
        **{f"ONESELF_{name.upper()}": str(value) for name, value in settings.items()},
        "ONESELF_DATA_DIR": str(data),
    }
    command = [sys.executable, "-m", "oneself", *map(str, arguments), "--json"]
    completed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert completed.stdout, completed.stderr.decode()
    return json.loads(completed.stdout)


@pytest.fixture
def backups(storage):
    """Backup and restore for this kind of database."""
    if isinstance(storage, SqliteStorage):
        return SqliteBackups()
    programs = storage.programs
    if programs is None:
        pytest.skip("the programs of an external server are unknown")
    return PostgresqlBackups(storage, programs)


@pytest.mark.nightly
def test_backup_contains_what_was_acknowledged_before_it(backups, tmp_path, outcomes):
    """DB-09: under load, several times; each is restored, checked by `doctor`, and served."""
    source = tmp_path / "source"
    source.mkdir()
    made = []
    with running(source, workers=2, password_cost=10, **backups.settings) as service:
        clients = [
            CountingClient(service, open_account(service, f"user{number}@example.com"))
            for number in range(CLIENTS)
        ]
        load = Load(clients)
        load.resume()
        try:
            for number in range(BACKUPS):
                time.sleep(0.3)
                file = tmp_path / f"backup{number}"
                before = [(client.acknowledged, set(client.keys)) for client in clients]
                backups.back_up(source / "data", file)
                made.append((file, before, [client.requested for client in clients]))
            load.pause()
        finally:
            load.close()
    # Without load, the rest would prove nothing.
    assert all(
        latest > acknowledged
        for _, before, after in made
        for (acknowledged, _), latest in zip(before, after, strict=True)
    )
    outcome = outcomes["backup under load, restored"]
    for file, before, after in made:
        outcome.rounds += 1
        outcome.journal.acknowledged += sum(
            acknowledged + len(keys) for acknowledged, keys in before
        )
        folder = tmp_path / f"restored {file.name}"
        data = folder / "data"
        data.mkdir(parents=True, mode=0o700)
        if not backups.settings:
            shutil.copy(source / "data" / "secret.key", data)
        settings = backups.restore(data, file)
        checks = _oneself(data, "doctor", **settings)["checks"]
        # The test server runs without durability.
        assert {name for name in checks if not checks[name]["ok"]} <= {"durability"}
        with running(folder, password_cost=10, **settings) as service:
            for client, acknowledged, latest in zip(clients, before, after, strict=True):
                client.check(service, acknowledged, latest)
