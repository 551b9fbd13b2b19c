"""`user import` is killed in the middle, and continued."""

import json
import os
import subprocess
import sys
import time

import pytest

from oneself.database import sqlite_driver

pytestmark = [pytest.mark.nightly, pytest.mark.only_on("sqlite")]

USERS = 4000
BATCH = 200
DEADLINE_SECONDS = 120


def test_killed_import_leaves_whole_batches_and_is_continued(tmp_path):
    """DB-01: each batch is one transaction, and a second run skips what has come."""
    environment = {**os.environ, "ONESELF_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "oneself"]
    added = subprocess.run(
        [*command, "tenant", "add", "Example", "--json"],
        env=environment,
        capture_output=True,
        check=True,
    )
    file = tmp_path / "users.csv"
    rows = "".join(f"user{number}@example.com,User {number}\n" for number in range(USERS))
    file.write_text("email,name\n" + rows)
    import_ = [
        *(*command, "user", "import", str(file), "--skip-existing", "--json", "--tenant"),
        json.loads(added.stdout)["tenant_id"],
    ]
    connection = sqlite_driver().connect(tmp_path / "data" / "oneself.sqlite3")

    def count() -> int:
        return connection.execute("SELECT count(*) FROM user").fetchone()[0]

    process = subprocess.Popen(import_, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while count() == 0 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    present = count()
    assert 0 < present < USERS
    assert present % BATCH == 0
    again = subprocess.run(import_, env=environment, capture_output=True, check=True)
    result = json.loads(again.stdout)
    assert (result["imported"], result["skipped"]) == (USERS - present, present)
    assert count() == USERS
    # Each with its access token: nothing of a user is missing.
    tokens = connection.execute("SELECT count(*) FROM access_token JOIN user ON id = user_id")
    assert tokens.fetchone() == (USERS,)
    connection.close()
