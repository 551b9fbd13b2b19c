"""The schema version that this code works with."""

__all__ = ["REVISION"]

#: The newest revision in `migrations/versions`; a test compares the two.
REVISION = "0005"
