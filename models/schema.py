"""The schema version that this code works with."""

#: The newest revision in `migrations/versions`; a test compares the two.
REVISION = "0015"
