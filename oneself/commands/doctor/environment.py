"""The checks of `doctor` on the environment: the disk, the clock and the mail server."""

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
#: Enough for a day of a busy service, so that operators have time to react.
_MIN_FREE = 512 * _MIB
_GROUP_AND_OTHERS = 0o077
#: Clocks set by NTP differ by less than this.
_TOLERANCE = timedelta(minutes=1)


def disk(settings: "Settings") -> CheckResult:
    """Check that the data folder is writable and private, and has enough free space."""
    folder = settings.data_dir.absolute()
    # With PostgreSQL, the first email creates the folder.
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    if os.statvfs(existing).f_flag & os.ST_RDONLY or not os.access(existing, os.W_OK):
        return problem(
            f"{existing} is not writable", "Make it writable for the user that runs `serve`."
        )
    database = settings.location
    paths = [folder, database] if isinstance(database, Path) else [folder]
    exposed = [path for path in paths if path.exists() and path.stat().st_mode & _GROUP_AND_OTHERS]
    if exposed:
        names = " ".join(map(str, exposed))
        return problem(f"other users can access {names}", f"Run: chmod go= {names}")
    size = database.stat().st_size if isinstance(database, Path) else 0
    free = shutil.disk_usage(existing).free
    # Room for a copy of the database before the next migration.
    needed = max(_MIN_FREE, size)
    if free < needed:
        return problem(
            f"{free // _MIB:,} MiB free at {existing}; at least {needed // _MIB:,} MiB are needed",
            "Free some space: on a full disk every write is rejected with 503.",
        )
    return ok(f"{free // _MIB:,} MiB free at {existing}")


def clock(session: "AccountSession") -> CheckResult:
    """Check that no event is in the future by this machine's clock.

    Otherwise the clock went back, or another replica's clock is ahead, and credentials live longer
    than they should. No time server is queried, since it would have to be trusted.
    """
    from accounts.services.events import latest_event_time

    latest = latest_event_time(session)
    if latest is not None and latest > session.now + _TOLERANCE:
        ahead = (latest - session.now).total_seconds()
        return problem(
            f"the last event is {ahead:,.0f} seconds ahead of this machine's clock",
            "Synchronise the clocks of all replicas with NTP.",
        )
    return ok(f"{session.now:%Y-%m-%d %H:%M:%S} UTC, and no event is later")


def mail_server(settings: "Settings") -> CheckResult:
    """Check that the mail server accepts a connection with TLS and the login."""
    from oneself.mail.factory import open_messages
    from oneself.mail.smtp import parse_smtp_url
    from oneself.mail.transport import TransportUnavailable

    open_messages(settings)
    url = settings.smtp_url.get_secret_value() if settings.smtp_url else ""
    if not url:
        return ok(f"none: emails are written to {settings.data_dir / 'mail'}")
    try:
        server = parse_smtp_url(url, ca_file=settings.smtp_ca_file, seconds=settings.smtp_seconds)
        server.greet()
    except ValueError as error:
        return problem(f"ONESELF_SMTP_URL {error}", "Correct it.")
    except TransportUnavailable as error:
        return problem(
            f"{server.host}, port {server.port}: {error}",
            "Check ONESELF_SMTP_URL, and that the server can be reached from here. Until then,"
            " emails wait in the outbox.",
        )
    return ok(f"{server.host}, port {server.port}, accepts connections")
