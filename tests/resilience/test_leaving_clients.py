"""Clients that disconnect early: the request is done once and completely, or not at all."""

import random
import re
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from oneself.database import open_engine
from tests.http.running import open_account, running
from tests.http.wire import Wire, head_of
from tests.support.deadlines import patient

REQUESTS = 120
SECONDS = 20


@pytest.fixture
def settings(storage):
    return {**storage.settings(), "throttle_account": "100000/1", "throttle_mail": "100000/1"}


def _engine(settings, folder: Path):
    url = settings.get("database_url")
    return open_engine(make_url(url) if url else folder / "data" / "oneself.sqlite3")


def _send_and_disconnect(port, bearer, number, pause):
    """Send a whole request, pause, and close the connection without reading."""
    target, method = "/v1/api-keys", "POST"
    body = b'{"name": "Key %d", "scopes": ["me/profile:read"]}' % number
    if number % 3 == 0:
        target, method = "/resources/me/settings", "PUT"
        body = b'{"n": %d, "m": %d}' % (number, number)
    entity = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    with Wire(port) as wire:
        wire.send(head_of(method, target, {**bearer, **entity}, host="localhost") + body)
        time.sleep(pause)


def test_request_of_a_disconnected_client_is_done_completely_or_not_at_all(
    settings, tmp_path, outcomes
):
    """OP-09: a key with its event and mail, or none of them; settings of one request."""
    chance = random.Random(3)  # noqa: S311 # when to disconnect
    outcome = outcomes["client disconnects before the response"]
    with running(tmp_path, workers=2, password_cost=10, **settings) as service:
        alice = open_account(service, "alice@example.com")
        engine = _engine(settings, tmp_path)
        for number in range(REQUESTS):
            pause = chance.choice((0, 0, chance.uniform(0, 0.02)))
            _send_and_disconnect(service.port, alice.bearer, number, pause)
            outcome.rounds += 1
            # A user may have at most fifty keys.
            listed = service.ask("GET", "/v1/api-keys", headers=alice.bearer).json["data"]
            for item in listed["items"][20:]:
                service.ask("DELETE", f"/v1/api-keys/{item['api_key_id']}", headers=alice.bearer)
        deadline = time.monotonic() + patient(SECONDS)
        while time.monotonic() < deadline:  # until all requests are done
            before = _stored(engine)
            time.sleep(0.3)
            if _stored(engine) == before:
                break
        keys, events, mails = _stored(engine)
        engine.dispose()
        document = service.ask("GET", "/resources/me/settings", headers=alice.bearer).json
        assert service.ask("GET", "/readyz").status == HTTPStatus.OK
        # A 503 is a documented refusal on a busy machine.
        assert not re.search(r'"status":5(?!03)', service.log)
    assert len(keys) > REQUESTS // 4  # otherwise too few were done at all
    assert events == mails == len(keys)
    duplicated = [name for name, times in Counter(keys).items() if times > 1]
    outcome.journal.duplicated += duplicated
    assert duplicated == []
    assert document == {} or document["n"] == document["m"]


def _stored(engine):
    with engine.connect() as connection:
        keys = connection.execute(text("SELECT name FROM api_key")).scalars().all()
        events = connection.execute(
            text("SELECT details FROM security_event WHERE kind = 'authn_token_created'")
        ).scalars()
        mails = connection.execute(
            text("SELECT count(*) FROM outbox_message WHERE kind = 'api_key_created'")
        ).scalar()
        of_keys = sum("key_" in str(details) for details in events)
        return sorted(keys), of_keys, mails
