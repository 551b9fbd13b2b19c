"""Changing the password, and resetting a forgotten one."""
