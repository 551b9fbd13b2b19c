"""A deployment that cannot be reached: what is said of it, and that it ends no proof."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oneself.conformance.deployment import Deployment
from oneself.conformance.fuzz.runs import Fuzzing, FuzzRun
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.outcomes import Verdict
from oneself.conformance.reachability import find_connection_problem
from oneself.conformance.suite import SUITES, Suite
from tests.support.ports import free_port

READ = "ipto.getCurrentUser"


def deployment(url: str) -> Deployment:
    return Deployment(url, {"base": {"email": "a@example.com", "password": "Violet tangent 47"}})


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of somebody who answers everybody with these bytes, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_all() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=answer_all)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_any_answer_is_one():
    """A reimplementation of one dialect need not have the path that is asked for."""
    with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as port:
        assert find_connection_problem(deployment(f"http://127.0.0.1:{port}")) is None


@pytest.mark.parametrize(
    ("answer", "scheme", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "https", "begins with http://"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "http", "begins with https://"),
        (b"", "http", "begins with https://"),
    ],
    ids=["plain", "tls", "nothing"],
)
def test_another_protocol_than_was_meant_is_told(answer: bytes, scheme: str, says: str):
    with answering(answer) as port:
        trouble = find_connection_problem(deployment(f"{scheme}://127.0.0.1:{port}"))
    assert trouble is not None
    assert trouble.endswith(says)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b"])
def test_a_host_that_is_not_known_is_told(host: str):
    assert find_connection_problem(deployment(f"http://{host}")) == "there is no host of that name"


@pytest.mark.parametrize("suite", SUITES)
def test_a_deployment_that_goes_away_ends_no_proof(suite: str, tmp_path: Path):
    """What the other suites have found before is still reported."""
    there = deployment(f"http://127.0.0.1:{free_port()}")
    assert find_connection_problem(there) == "nobody listens there"
    credentials = tmp_path / "people.json"
    credentials.write_text(json.dumps(there.people))
    proof = Suite(there, credentials, suites=(suite,), operations=frozenset({READ}))
    outcomes = [outcome for step in proof.steps() for outcome in step.outcomes]
    asked = [each for each in outcomes if each.verdict is not Verdict.NOT_ASKED]
    assert asked
    for each in asked:
        assert each.verdict is Verdict.BROKEN
        assert "no answer (ConnectionRefusedError)" in each.reasons[0]


def test_a_file_that_cannot_be_written_is_no_deployment_without_an_answer(tmp_path: Path):
    """It is told as what it is."""
    run = FuzzRun("session", (OPERATIONS[READ],))
    with answering(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") as port:
        people = {"base": {"session_token": "sess_" + "0" * 49}}
        there = Deployment(f"http://127.0.0.1:{port}", people)
        fuzzing = Fuzzing(there, tmp_path / "gone" / "people.json", examples=1, seed=1)
        with pytest.raises(FileNotFoundError):
            list(fuzzing.outcomes(run))
