"""A data folder that is moved away under a running service, and put back."""

import json
import shutil
import time

import pytest

from tests.http.running import open_account, running
from tests.support.deadlines import patient

pytestmark = [pytest.mark.only_on("sqlite"), pytest.mark.nightly]

#: Enough new connections to reach each worker, except once in a million times.
_CONNECTIONS = 20
WORKERS = 2


def _statuses(service, account):
    """Return the statuses of a write and of the readiness check, on many connections."""
    write = {"headers": account.bearer, "body": {"a": 1}}
    return {
        status
        for _ in range(_CONNECTIONS)
        for status in (
            service.ask("PUT", "/resources/me/settings", **write).status,
            service.ask("GET", "/readyz").status,
        )
    }


def _errors(service):
    lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("logger") == "oneself.database"]


@pytest.mark.parametrize("comes_back", [True, False])
def test_every_worker_notices_a_lost_folder(tmp_path, comes_back):
    """DB-06, reliability finding 5: at once for writes, and within five seconds in the log."""
    with running(tmp_path, workers=WORKERS, password_cost=10) as service:
        account = open_account(service, "alice@example.com")
        assert _statuses(service, account) == {200}
        data, away = tmp_path / "data", tmp_path / "away"
        data.rename(away)
        if not comes_back:
            shutil.copytree(away, data)  # another file under the same name
        assert _statuses(service, account) == {503}
        deadline = time.monotonic() + patient(10)
        while len(_errors(service)) < WORKERS:
            assert time.monotonic() < deadline, service.log
            time.sleep(0.1)
        time.sleep(6)  # another run of the job, which does not repeat the line
        assert len(_errors(service)) == WORKERS
        assert {line["level"] for line in _errors(service)} == {"error"}
        assert "Traceback" not in service.log
        if comes_back:
            away.rename(data)
            assert _statuses(service, account) == {200}
