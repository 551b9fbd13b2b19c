"""The check of the event chain, and the file that keeps how far it was verified.

The file is in the data folder and not in the database: an attacker who can change events cannot
change it too, and a chain that was cut off no longer has the head that the file names. It is
authenticated by the root secret (ADR 41).
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from oneself.commands.console.check_result import CheckResult, ok, problem
from oneself.commands.console.failures import USAGE, Failure

if TYPE_CHECKING:
    from accounts.crypto.keyring import Keyring
    from accounts.jobs.event_verification import ChainReport, Verified
    from accounts.services.database import AccountSession

_DIGEST_BYTES = 32
_FILE = "events.verified"


def parse_head(head: str) -> bytes:
    """Return the digest that `--head` names."""
    try:
        digest = bytes.fromhex(head)
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise Failure("--head must be the 64 hex digits of a `head` in the log.", status=USAGE)
    return digest


def check_event_chain(
    session: "AccountSession", *, folder: Path, head: bytes | None, is_full: bool
) -> CheckResult:
    """Verify the chain from where the last check ended, or all of it."""
    from accounts.jobs.event_verification import contains_head, verify_chain

    file = folder / _FILE
    report = verify_chain(session, None if is_full else _read(file, session.keys))
    problems = list(report.problems)
    if head is not None and not contains_head(session, head):
        problems.insert(0, "--head is not in the chain: events at its end were deleted")
    if not problems:
        if report.verified is not None:
            _write(file, report.verified, session.keys)
        return ok(_summary(report))
    return problem(
        "; ".join(problems),
        "If events have no link, check that the service runs, and what its log says about the"
        " job. If archived links are still here, run `events archive` again; a head from before"
        " the last archive is found by `events verify --head`. If you restored a backup, run"
        " `doctor --full` once, which begins anew. Otherwise the event tables were tampered with:"
        " keep a copy of the database and of the logs, and compare it with a backup.",
    )


def _summary(report: "ChainReport") -> str:
    links = f"{report.checked} links"
    if report.again:
        links = f"{report.checked - report.again} new links and {report.again} older ones"
    archived = f" after {report.archived} archived ones" if report.archived else ""
    return (
        f"{links}{archived}, {report.unchained} events not linked yet, head {report.head or 'none'}"
    )


def _read(file: Path, keys: "Keyring") -> "Verified | None":
    """Return how far the chain was verified; None for all of it, if that is not known for sure."""
    from accounts.crypto.keyring import Purpose
    from accounts.jobs.event_verification import Verified
    from oneself.runtime.authentic_files import read_record

    record = read_record(file, keys, Purpose.EVENT_HEAD)
    if record is None:
        return None
    return Verified(record["sequence"], bytes.fromhex(record["head"]), record["again"])


def _write(file: Path, verified: "Verified", keys: "Keyring") -> None:
    from accounts.crypto.keyring import Purpose
    from oneself.runtime.authentic_files import write_record

    sequence, digest, again = verified
    record = {"sequence": sequence, "head": digest.hex(), "again": again}
    # If it cannot be written, the next check only has more to read.
    with suppress(OSError):
        write_record(file, record, keys, Purpose.EVENT_HEAD)
