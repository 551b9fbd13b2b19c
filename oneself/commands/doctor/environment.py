"""Looking at what is around the service: the disk, the clock and the mail server."""

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from oneself.commands.console.check_result import CheckResult, ok, problem

if TYPE_CHECKING:
    from accounts.services.database import AccountSession
    from oneself.settings import Settings

__all__ = ["clock", "disk", "mail_server"]

_MIB = 1024 * 1024
#: Room for a day of a busy service, so that whoever reads of it can still do something.
_LEAST_FREE = 512 * _MIB
_OTHERS = 0o077
#: What clocks that are set by NTP never differ by.
_TOLERANCE = timedelta(minutes=1)


def disk(settings: "Settings") -> CheckResult:
    """Whether the data folder has room, can be written, and is nobody else's."""
    folder = settings.data_dir.absolute()
    # On PostgreSQL the folder is made with the first mail.
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    if os.statvfs(there).f_flag & os.ST_RDONLY or not os.access(there, os.W_OK):
        return problem(f"{there} cannot be written", "Mount it for writing, as the user of serve.")
    database = settings.location
    held = [folder, database] if isinstance(database, Path) else [folder]
    open_to_others = [each for each in held if each.exists() and each.stat().st_mode & _OTHERS]
    if open_to_others:
        names = " ".join(map(str, open_to_others))
        return problem(f"others can get at {names}", f"Run: chmod go= {names}")
    size = database.stat().st_size if isinstance(database, Path) else 0
    free = shutil.disk_usage(there).free
    # As much again as the database has, for its copy before the next migration.
    needed = max(_LEAST_FREE, size)
    if free < needed:
        return problem(
            f"{free // _MIB:,} MiB are free at {there}, of {needed // _MIB:,} that should be",
            "Make room: on a full disk every write is answered with a 503.",
        )
    return ok(f"{free // _MIB:,} MiB are free at {there}")


def clock(session: "AccountSession") -> CheckResult:
    """Whether anything has happened later than now, by the clock of this machine.

    Then the clock went back, or that of another replica is ahead, and what should have expired goes
    on. Nothing is asked of the network: a time server would be one more that has to be trusted.
    """
    from accounts.services.events import latest_event_time

    latest = latest_event_time(session)
    if latest is not None and latest > session.now + _TOLERANCE:
        ahead = (latest - session.now).total_seconds()
        return problem(
            f"the last event is {ahead:,.0f} seconds ahead of this machine's clock",
            "See that each machine's clock is set by NTP, this one's and those of all replicas.",
        )
    return ok(f"{session.now:%Y-%m-%d %H:%M:%S} UTC, and nothing has happened later")


def mail_server(settings: "Settings") -> CheckResult:
    """Whether mail can be handed over: the server takes a connection, with TLS and the login."""
    from oneself.mail.factory import open_messages
    from oneself.mail.smtp import parse_smtp_url
    from oneself.mail.transport import TransportUnavailable

    open_messages(settings)
    url = settings.smtp_url.get_secret_value() if settings.smtp_url else ""
    if not url:
        return ok(f"none: mail is written into {settings.data_dir / 'mail'}")
    try:
        server = parse_smtp_url(url, ca_file=settings.smtp_ca_file, seconds=settings.smtp_seconds)
        server.greet()
    except ValueError as broken:
        return problem(f"ONESELF_SMTP_URL {broken}", "Correct it.")
    except TransportUnavailable as away:
        return problem(
            f"{server.host}, port {server.port}: {away}",
            "See that ONESELF_SMTP_URL is right and that the server can be reached from here."
            " What is to be sent waits meanwhile.",
        )
    return ok(f"{server.host}, port {server.port}, takes mail from here")
