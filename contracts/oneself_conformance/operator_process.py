"""Acts outside HTTP by a command of the tester, which answers JSON lines."""

import json
import shlex
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from typing import Any

from oneself_conformance.actors import Operator, with_client
from oneself_conformance.targets import Unreachable

__all__ = ["OperatorFailed", "OperatorProcess", "start_operator"]

#: For an act; reading an email includes the time until it has been delivered.
_SECONDS = 60


class OperatorFailed(Exception):
    """The command cannot be started, or ended at once; the message says why."""


class OperatorProcess(Operator):
    """A command that runs as long as the tests, reads requests, and answers each with a line.

    A request is an object with `act` and its arguments. The answer is an object with the results,
    or with `unable` and a reason.
    """

    is_available = True

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answers: Queue[str] = Queue()
        self._lock = threading.Lock()
        # A thread, because a pipe has no timeout.
        threading.Thread(target=self._read, daemon=True).start()

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply an act to a user, and return its results by name."""
        return with_client(self._ask({"act": name, "user_id": user_id, "arguments": arguments}))

    def add_user(self, fields: Mapping[str, str]) -> Mapping[str, Any]:
        """Create a user, and return its credentials."""
        return self._ask({"act": "add user", "user_id": "", "arguments": fields})

    def find_tenant_uuid(self, tenant_id: str) -> str:
        """Return the UUID of a tenant, which no dialect shows."""
        return str(self._ask({"act": "show tenant", "tenant_id": tenant_id})["tenant_uuid"])

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:
        """Return the newest email to a recipient with this subject, once there is one."""
        return self._ask({"act": "read mail", "to": recipient, "subject": subject})

    def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        what = f"the operator's act {request['act']!r}"
        with self._lock:
            try:
                assert self._process.stdin  # noqa: S101 # opened with a pipe
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
                line = self._answers.get(timeout=_SECONDS)
            except OSError:
                raise Unreachable(f"{what} failed: its command has ended") from None
            except Empty:
                # Its answer, if it comes late, must not be taken for that of another request.
                self._process.kill()
                raise Unreachable(f"{what} got no answer within {_SECONDS} s") from None
        if not line:
            raise Unreachable(f"{what} failed: its command has ended")
        try:
            answer = json.loads(line)
        except ValueError:
            raise Unreachable(f"{what} got an answer that is not JSON") from None
        if not isinstance(answer, dict) or "unable" in answer:
            reason = answer.get("unable") if isinstance(answer, dict) else "no JSON object"
            raise Unreachable(f"{what} failed: {reason}")
        return answer

    def _read(self) -> None:
        assert self._process.stdout  # noqa: S101 # opened with a pipe
        for line in self._process.stdout:
            self._answers.put(line)
        # Wakes a request that waits.
        self._answers.put("")


@contextmanager
def start_operator(command: str) -> Iterator[OperatorProcess]:
    """Run the command of an operator until the end of the block.

    Raises:
        OperatorFailed: It cannot be started.
    """
    try:
        words = shlex.split(command)
        process = subprocess.Popen(  # noqa: S603 # the tester's own command
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    except (OSError, ValueError, IndexError) as error:
        raise OperatorFailed(f"--operator {command!r} cannot be started: {error}") from error
    with process:
        try:
            yield OperatorProcess(process)
        finally:
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr] # opened with a pipe
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
