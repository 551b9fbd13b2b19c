"""Data URIs with content in base64 (RFC 2397)."""

import base64

from accounts.errors import InvalidRequest


def format_data_uri(media_type: str, content: bytes) -> str:
    """Return content as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def parse_data_uri(value: str, field: str) -> bytes:
    """Return the content of a data URI; its media type is not read.

    Raises:
        InvalidRequest: It is no data URI in base64.
    """
    head, comma, content = value.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        try:
            return base64.b64decode(content, validate=True)
        except ValueError:
            pass
    raise InvalidRequest.of(field, "must be a data URI in base64")
