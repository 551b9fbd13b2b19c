"""Rows of contracts/: requests and their expected responses."""
