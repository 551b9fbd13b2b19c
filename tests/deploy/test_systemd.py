"""The systemd unit is valid, and the service runs within its restrictions."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.deploy.proxies import FILES
from tests.http.running import open_account, running

pytestmark = pytest.mark.nightly

UNIT = FILES / "oneself.service"
PYTHON = "/opt/oneself/venv/bin/python"
#: The exposure by `systemd-analyze security`: 10 is the worst, and 1.4 was measured.
MAX_EXPOSURE = 1.4
#: Calls that SQLite makes as root only; the service is another user.
CALLS_AS_ROOT = {"fchown"}
#: PR_SET_MDWE of prctl.
REFUSE_EXEC_GAIN = 65


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing")
    return path


def _analyse(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [_program("systemd-analyze"), "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_unit_is_valid(tmp_path: Path):
    """Reliability finding 15: the checked copy only has this machine's Python in it."""
    copy = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert text.count(PYTHON) == 1
    copy.write_text(text.replace(PYTHON, sys.executable))
    verified = _analyse("verify", "--man=no", copy)
    about = [line for line in verified.stderr.splitlines() if UNIT.name in line]
    assert (verified.returncode, about) == (0, [])
    copy.write_text(copy.read_text().replace("ProtectProc=", "ProtectedProc="))
    assert "ProtectedProc" in _analyse("verify", "--man=no", copy).stderr


def test_unit_has_little_exposure():
    """SC-06."""
    threshold = ("--offline=true", f"--threshold={MAX_EXPOSURE * 10:.0f}")
    analysed = _analyse("security", *threshold, UNIT)
    assert analysed.returncode == 0, analysed.stdout
    [exposure] = re.findall(r"exposure level for oneself.service: ([\d.]+)", analysed.stdout)
    assert float(exposure) <= MAX_EXPOSURE


@cache
def _calls_in(group: str) -> frozenset[str]:
    """Return the system calls of a group of systemd, and of the groups within it."""
    listed = _analyse("syscall-filter", group)
    assert listed.returncode == 0, listed.stderr
    calls: set[str] = set()
    for line in listed.stdout.splitlines()[1:]:
        if name := line.strip().partition("#")[0]:
            calls |= _calls_in(name) if name.startswith("@") else {name}
    return frozenset(calls)


def test_service_uses_allowed_system_calls_only(tmp_path: Path):
    """SC-06: a refused call would be an error that is noticed under load only."""
    strace = _program("strace")
    allowed = set(_calls_in("@default"))
    for rule in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        groups = {call for group in rule.lstrip("~").split() for call in _calls_in(group)}
        allowed = allowed - groups if rule.startswith("~") else allowed | groups
    trace = tmp_path / "trace"
    prefix = [strace, "-D", "-f", "-qq", "-o", str(trace)]
    with running(tmp_path, workers=2, prefix=prefix) as service:
        alice = open_account(service, "alice@example.com")
        assert service.ask("GET", "/v1/me", headers=alice.bearer).status == 200
    called = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)", re.MULTILINE)
    used = set(called.findall(trace.read_text()))
    assert {"execve", "setpriority"} <= used
    assert used - allowed - CALLS_AS_ROOT == set()


def test_service_runs_without_writable_executable_memory(tmp_path: Path):
    """SC-06: no library generates code at run time."""
    assert "\nMemoryDenyWriteExecute=true\n" in UNIT.read_text()
    # The same restriction by the kernel itself, which the started program inherits.
    code = (
        "import ctypes, os, sys;"
        f" ctypes.CDLL(None).prctl({REFUSE_EXEC_GAIN}, 1, 0, 0, 0) and sys.exit('too old');"
        " os.execv(sys.argv[1], sys.argv[1:])"
    )
    prefix = [sys.executable, "-c", code]
    if subprocess.run([*prefix, sys.executable, "-c", ""], check=False).returncode:
        pytest.skip("the kernel is older than 6.3")
    maps = "import mmap; mmap.mmap(-1, 4096, prot=7)"
    assert subprocess.run([*prefix, sys.executable, "-c", maps], check=False).returncode
    with running(tmp_path, prefix=prefix) as service:
        alice = open_account(service, "alice@example.com")
        assert service.ask("GET", "/v1/me", headers=alice.bearer).status == 200
