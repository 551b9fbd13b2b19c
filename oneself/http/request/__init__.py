"""Reads a request: client address, credentials, parameters and body."""
