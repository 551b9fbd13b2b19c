"""Rows: requests and their expected responses."""
