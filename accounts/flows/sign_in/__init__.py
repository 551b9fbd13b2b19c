"""Signup, login, logout and sessions."""
