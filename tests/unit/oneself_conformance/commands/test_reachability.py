"""Unreachable deployments: messages, and outcomes of the suite."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oneself_conformance.commands.reachability import find_connection_problem
from oneself_conformance.fuzz.runs import FuzzRun, FuzzRunner
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.outcomes import Verdict
from oneself_conformance.suite import SUITES, Suite
from oneself_conformance.targets import Deployment
from tests.support.ports import free_port

READ = "ipto.getCurrentUser"


def deployment(url: str) -> Deployment:
    return Deployment(url, {"base": {"email": "a@example.com", "password": "Violet tangent 47"}})


@contextmanager
def fixed_response(answer: bytes) -> Iterator[int]:
    """Yield the port of a server that sends these bytes to every client and disconnects."""
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


def test_any_http_response_counts_as_reachable():
    """A reimplementation of one dialect may lack the requested path."""
    with fixed_response(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as port:
        assert find_connection_problem(deployment(f"http://127.0.0.1:{port}")) is None


@pytest.mark.parametrize(
    ("answer", "scheme", "ending"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "https", "begin with http://"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "http", "begin with https://"),
        (b"", "http", "begin with https://"),
    ],
    ids=["plain", "tls", "empty"],
)
def test_wrong_protocol_is_reported(answer: bytes, scheme: str, ending: str):
    with fixed_response(answer) as port:
        problem = find_connection_problem(deployment(f"{scheme}://127.0.0.1:{port}"))
    assert problem is not None
    assert problem.endswith(ending)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b"])
def test_unknown_host_is_reported(host: str):
    assert find_connection_problem(deployment(f"http://{host}")) == "the host does not exist"


@pytest.mark.parametrize("suite", SUITES)
def test_suite_completes_when_deployment_goes_away(suite: str, tmp_path: Path):
    """The outcomes of earlier suites must still be reported."""
    gone = deployment(f"http://127.0.0.1:{free_port()}")
    assert find_connection_problem(gone) == "the connection is refused"
    credentials = tmp_path / "people.json"
    credentials.write_text(json.dumps(gone.actors))
    conformance = Suite(gone, credentials, suites=(suite,), operations=frozenset({READ}))
    outcomes = [outcome for step in conformance.steps() for outcome in step.outcomes]
    run = [each for each in outcomes if each.verdict is not Verdict.SKIPPED]
    assert run
    for each in run:
        assert each.verdict is Verdict.FAILED
        assert "no response (ConnectionRefusedError)" in each.reasons[0]


def test_unwritable_credentials_file_is_not_reported_as_missing_response(tmp_path: Path):
    run = FuzzRun("session", (OPERATIONS[READ],))
    with fixed_response(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") as port:
        actors = {"base": {"session_token": "sess_" + "0" * 49}}
        target = Deployment(f"http://127.0.0.1:{port}", actors)
        runner = FuzzRunner(target, tmp_path / "gone" / "people.json", examples=1, seed=1)
        with pytest.raises(FileNotFoundError):
            list(runner.outcomes(run))
