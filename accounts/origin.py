"""Where a request came from, for what is remembered of it."""

from typing import NamedTuple

__all__ = ["NOWHERE", "Origin"]


class Origin(NamedTuple):
    """Who asked, as events have it.

    `request_id` names the request in the log; `address` is the client's IP address as text; the
    credential is the one that the request was made with. All are None for the command line.
    """

    request_id: str | None = None
    address: str | None = None
    credential_kind: str | None = None
    credential_id: str | None = None


#: The origin of what an operator or a job does.
NOWHERE = Origin()
