"""Checks before a run, and commands beside it."""
