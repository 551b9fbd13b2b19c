"""Changing and verifying the email address."""
