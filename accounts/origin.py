"""The origin of a request, recorded with events."""

from typing import NamedTuple


class Origin(NamedTuple):
    """The request, client address and credential behind an act.

    `request_id` identifies the request in the log; `address` is the client's IP address as text;
    the credential is the one that authenticated the request, and `user_agent` is the header as it
    was sent. All are None for the command line.
    """

    request_id: str | None = None
    address: str | None = None
    credential_kind: str | None = None
    credential_id: str | None = None
    user_agent: str | None = None


#: The origin of acts by operators and background jobs.
NO_ORIGIN = Origin()
