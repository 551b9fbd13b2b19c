"""Requests that Schemathesis makes up, and the checks that it has not itself."""
