"""The version of the tables that this code works with."""

__all__ = ["REVISION"]

#: The newest revision in `migrations/versions`; a test holds the two together.
REVISION = "0005"
