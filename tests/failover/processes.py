"""Processes of a cluster: started as an unprivileged user, stalled and killed with all children."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.deadlines import patient

__all__ = ["Program", "family", "give_away", "name_of", "send", "wait_until"]

_UNPRIVILEGED = 65_534
#: PostgreSQL and PgBouncer refuse to run as root. The capability lets their user read an
#: installation in a private folder, such as a Python below /root.
_AS_UNPRIVILEGED = [
    *("setpriv", f"--reuid={_UNPRIVILEGED}", f"--regid={_UNPRIVILEGED}", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
]


def give_away(folder: Path) -> None:
    """Make a folder private to the user that runs the programs."""
    if os.geteuid() == 0:
        os.chown(folder, _UNPRIVILEGED, _UNPRIVILEGED)
    folder.chmod(0o700)


class Program:
    """A program that can be stalled, killed and started again."""

    def __init__(
        self, command: Sequence[object], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        words = [str(word) for word in command]
        self._command = [*_AS_UNPRIVILEGED, *words] if os.geteuid() == 0 else words
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Its output so far."""
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """True if it was started, and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, **environment: str) -> None:
        """Start it; more variables are for this time only."""
        base = {
            name: value
            for name, value in (self._environment or os.environ).items()
            if not name.startswith(("ONESELF_", "PG", "PATRONI_"))
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd="/", env=base | environment, stdout=log, stderr=log
            )

    def processes(self) -> list[psutil.Process]:
        """Return it and all its descendants."""
        return family(self._process.pid) if self.is_running and self._process else []

    def kill(self) -> None:
        """End it at once, with all its descendants."""
        send(signal.SIGKILL, self.processes())
        if self._process is not None:
            self._process.wait()

    def stall(self) -> None:
        """Stop it: it keeps its connections, and answers none."""
        send(signal.SIGSTOP, self.processes())

    def resume(self) -> None:
        """Let it go on."""
        send(signal.SIGCONT, self.processes())


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants, if it exists."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def name_of(process: psutil.Process) -> str:
    """Return the name of a process; empty if it has ended."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def send(number: signal.Signals, processes: Sequence[psutil.Process]) -> None:
    """Send a signal to processes, some of which may have ended."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def wait_until(is_so: Callable[[], bool], seconds: float, describe: Callable[[], str]) -> None:
    """Wait until a condition holds; describe the state if that takes too long."""
    deadline = time.monotonic() + patient(seconds)
    while not is_so():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.1)


@contextmanager
def temporary_file_system(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a small file system on a folder, where that is permitted; yield whether it was."""
    mounted = (
        os.geteuid() == 0
        and shutil.which("mount") is not None
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder],  # noqa: S607
            check=False,
            capture_output=True,
        ).returncode
        == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607
