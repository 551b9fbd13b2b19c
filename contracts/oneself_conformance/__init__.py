"""Conformance tests of the account APIs: a running deployment against the OpenAPI document."""
