"""Deleting an account, and restoring it."""
